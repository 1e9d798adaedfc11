/* SPDX-License-Identifier: Apache-2.0 */
#include "task/service.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/strv.h"
#include "proto/sandbox.pb-c.h"
#include "task/service_internal.h"

#define METHOD(name, type, fn)                                                                                         \
	{                                                                                                              \
		name, &containerd__task__v2__##type##__descriptor, fn                                                  \
	}

static const struct ttrpc_method methods[] = {
	METHOD("State", state_request, handle_state),
	METHOD("Create", create_task_request, handle_create),
	METHOD("Start", start_request, handle_start),
	METHOD("Delete", delete_request, handle_delete),
	METHOD("Pids", pids_request, handle_pids),
	METHOD("Pause", pause_request, handle_pause),
	METHOD("Resume", resume_request, handle_resume),
	METHOD("Checkpoint", checkpoint_task_request, handle_checkpoint),
	METHOD("Kill", kill_request, handle_kill),
	METHOD("Exec", exec_process_request, handle_exec),
	METHOD("ResizePty", resize_pty_request, handle_resize_pty),
	METHOD("CloseIO", close_iorequest, handle_close_io),
	METHOD("Update", update_task_request, handle_update),
	METHOD("Wait", wait_request, handle_wait),
	METHOD("Stats", stats_request, handle_stats),
	METHOD("Connect", connect_request, handle_connect),
	METHOD("Shutdown", shutdown_request, handle_shutdown),
};

#define SANDBOX_METHOD(name, type, fn)                                                                                 \
	{                                                                                                              \
		name, &containerd__runtime__sandbox__v1__##type##__descriptor, fn                                      \
	}

static const struct ttrpc_method sandbox_methods[] = {
	SANDBOX_METHOD("CreateSandbox", create_sandbox_request, handle_create_sandbox),
	SANDBOX_METHOD("StartSandbox", start_sandbox_request, handle_start_sandbox),
	SANDBOX_METHOD("Platform", platform_request, handle_platform),
	SANDBOX_METHOD("StopSandbox", stop_sandbox_request, handle_stop_sandbox),
	SANDBOX_METHOD("WaitSandbox", wait_sandbox_request, handle_wait_sandbox),
	SANDBOX_METHOD("SandboxStatus", sandbox_status_request, handle_sandbox_status),
	SANDBOX_METHOD("PingSandbox", ping_request, handle_ping_sandbox),
	SANDBOX_METHOD("SandboxMetrics", sandbox_metrics_request, handle_sandbox_metrics),
	SANDBOX_METHOD("ShutdownSandbox", shutdown_sandbox_request, handle_shutdown_sandbox),
};

/* The second one is containerd's only. */
static const struct ttrpc_service services[] = {
	{ "containerd.task.v2.Task", methods, sizeof methods / sizeof *methods },
	{ "containerd.runtime.sandbox.v1.Sandbox", sandbox_methods, sizeof sandbox_methods / sizeof *sandbox_methods },
};

/* ---- processes that Exec made ---- */

static void exec_note_free(struct exec_note *n)
{
	list_remove(&n->node);
	free(n->id);
	free(n->exec_id);
	free(n);
}

/* Without memory the process has no details in the answer to Pids. */
void exec_note_add(struct task_service *s, const char *id, const char *exec_id, pid_t pid)
{
	struct exec_note *n = calloc(1, sizeof *n);

	if (!n)
		return;
	n->id = strdup(id);
	n->exec_id = strdup(exec_id);
	n->pid = pid;
	list_append(&s->execs, &n->node);
	if (!n->id || !n->exec_id)
		exec_note_free(n);
}

void exec_note_remove(struct task_service *s, const char *id, const char *exec_id)
{
	struct exec_note *n;

	list_foreach (n, &s->execs, struct exec_note, node)
		if (str_eq(n->id, id) && (!exec_id || str_eq(n->exec_id, exec_id)))
			exec_note_free(n);
}

/* ---- life ---- */

static void on_shutdown(struct loop_source *source, void *userdata)
{
	struct task_service *s = userdata;

	s->params.shutdown(s->params.userdata);
}

int task_service_new(const struct task_service_params *params, struct task_service **ret, struct err *e)
{
	_cleanup_(task_service_free_p) struct task_service *s = calloc(1, sizeof *s);
	int listen_fd = params->listen_fd, r;

	if (!s) {
		fd_close(&listen_fd);
		return err_sys(e, ENOMEM, "cannot set up the Task service");
	}
	s->params = *params;
	list_init(&s->execs);
	list_init(&s->changes);
	r = loop_add_timer(params->loop, UINT64_MAX, on_shutdown, s, &s->shutdown);
	if (r < 0) {
		fd_close(&listen_fd);
		return err_sys(e, -r, "cannot set up the Task service");
	}
	r = ttrpc_server_new(params->loop, listen_fd, services, params->sandboxes ? 2 : 1, s, &s->server, e);
	if (r == 0)
		*ret = take_ptr(s);
	return r;
}

struct pod *task_service_pod(const struct task_service *s)
{
	return s->pod;
}

void task_service_free(struct task_service *s)
{
	struct exec_note *n;

	if (!s)
		return;
	pod_free(take_ptr(s->pod)); /* answers those that wait */
	ttrpc_server_free(s->server);
	loop_source_free(s->shutdown);
	list_foreach (n, &s->execs, struct exec_note, node)
		exec_note_free(n);
	service_sandbox_fini(s);
	free(s);
}
