/* SPDX-License-Identifier: Apache-2.0 */
/* Create, Start, Exec, Kill, Delete, Wait: how processes begin and end. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "oci/spec.h"
#include "task/any.h"
#include "task/sandbox_bundle.h"
#include "task/service_internal.h"

/* ---- Create ---- */

static struct pod_io streams(const char *in, const char *out, const char *err, bool terminal)
{
	const char *console = terminal ? str_after(in, TASK_CONSOLE_SOCKET) : NULL;

	if (console)
		return (struct pod_io){ .terminal = true, .console_socket = console };
	return (struct pod_io){ .in = in, .out = out, .err = err, .terminal = terminal };
}

static struct pod_mount *mounts(const Containerd__Task__V2__CreateTaskRequest *q)
{
	struct pod_mount *m = calloc(q->n_rootfs + 1, sizeof *m);

	for (size_t i = 0; m && i < q->n_rootfs; i++)
		m[i] = (struct pod_mount){ .type = q->rootfs[i]->type,
					   .source = q->rootfs[i]->source,
					   .target = q->rootfs[i]->target,
					   .options = (const char *const *)q->rootfs[i]->options,
					   .n_options = q->rootfs[i]->n_options };
	return m;
}

static void take_standin(struct task_service *s, const char *id, const char *exec_id, int *fd, pid_t *pid)
{
	*fd = -1;
	*pid = 0;
	if (s->params.take_standin)
		s->params.take_standin(id, exec_id, fd, pid, s->params.userdata);
}

/* What came for a container meanwhile. */
struct parked {
	struct list node;
	struct ttrpc_request *req;
};

static struct change *find_change(struct task_service *s, const char *id, bool deletes)
{
	struct change *c;

	list_foreach (c, &s->changes, struct change, node)
		if (c->deletes == deletes && str_eq(c->id, id))
			return c;
	return NULL;
}

static bool park(struct change *c, struct ttrpc_request *req)
{
	struct parked *p = c ? malloc(sizeof *p) : NULL;

	/* Without memory it is told what the pod says: that the container is being created. */
	if (!p)
		return false;
	p->req = req;
	list_append(&c->parked, &p->node);
	return true;
}

bool service_park(struct task_service *s, struct ttrpc_request *req, const char *id)
{
	return park(find_change(s, id, false), req);
}

bool service_park_behind_delete(struct task_service *s, struct ttrpc_request *req, const char *id)
{
	return park(find_change(s, id, true), req);
}

static struct change *change_new(struct task_service *s, struct ttrpc_request *req, const char *id, bool deletes)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->service = s;
	c->req = req;
	c->id = id;
	c->deletes = deletes;
	list_init(&c->parked);
	list_append(&s->changes, &c->node);
	return c;
}

/* In the order in which they came; the last one may have deleted what it is about. */
static void change_end(struct change *c)
{
	struct parked *p;

	list_remove(&c->node);
	while ((p = list_first(&c->parked, struct parked, node))) {
		list_remove(&p->node);
		ttrpc_request_repeat(p->req, c->service);
		free(p);
	}
	free(c);
}

/* As the runc shim leaves it: for `delete` after a crash, and for people. */
static void write_pid(const char *bundle, pid_t pid)
{
	_cleanup_free_ char *path = str_printf("%s/init.pid", bundle);
	char text[16];
	int n = snprintf(text, sizeof text, "%d", (int)pid);
	int r = path ? file_replace(path, text, (size_t)n, 0644) : -ENOMEM;

	if (r < 0)
		log_debug("cannot write %s: %s", path ? path : "init.pid", strerror(-r));
}

static void on_undone(int result, pid_t pid, const struct pod_exit *exit, const struct err *e, void *userdata)
{
	struct change *c = userdata;
	struct task_service *s = c->service;

	if (result < 0)
		log_warn("container %s: %s", c->id, e->text);
	if (s->params.deleted)
		s->params.deleted(c->id, s->params.userdata);
	ttrpc_reply_error(c->req, TTRPC_CANCELLED, "the client has gone");
	change_end(c);
}

static void on_client_gone(struct ttrpc_request *req, void *userdata)
{
	((struct change *)userdata)->unwanted = true;
}

static void on_created(int result, pid_t pid, const struct err *e, void *userdata)
{
	Containerd__Task__V2__CreateTaskResponse answer = CONTAINERD__TASK__V2__CREATE_TASK_RESPONSE__INIT;
	struct change *c = userdata;
	struct task_service *s = c->service;
	const Containerd__Task__V2__CreateTaskRequest *q =
		(const Containerd__Task__V2__CreateTaskRequest *)ttrpc_request_message(c->req);

	if (result < 0) {
		log_error("container %s: %s", q->id, err_is_set(e) ? e->text : strerror(-result));
		/* The next try may come with another configuration. */
		if (s->pod && pod_is_empty(s->pod))
			pod_free(take_ptr(s->pod));
		if (s->params.deleted)
			s->params.deleted(q->id, s->params.userdata);
		/* "Already finished" is for who sends a signal. */
		answer_error(c->req, result == -ESRCH ? -EBUSY : result, e);
	} else if (c->unwanted) {
		log_warn("container %s is undone: who asked for it has gone", c->id);
		pod_delete(s->pod, c->id, "", true, on_undone, c);
		return;
	} else {
		write_pid(q->bundle, pid);
		service_tell_create(s, q, pid);
		answer.pid = (uint32_t)pid;
		ttrpc_reply(c->req, &answer.base);
	}
	change_end(c);
}

static int make_pod(struct task_service *s, const Containerd__Task__V2__CreateTaskRequest *q, struct err *e)
{
	int r = 0;

	if (s->sandbox.id)
		r = service_sandbox_runs(s) ? sandbox_bundle_give(s->sandbox.bundle, q->bundle, e)
					    : err_set(e, ERR_CONFIG, EBUSY, "sandbox %s does not run", s->sandbox.id);
	if (r == 0 && !s->pod)
		r = s->params.make_pod(q, service_on_pod_event, s, &s->pod, e, s->params.userdata);
	return r;
}

HANDLER(handle_create)
{
	const Containerd__Task__V2__CreateTaskRequest *q = (const Containerd__Task__V2__CreateTaskRequest *)request;
	struct task_service *s = userdata;
	_cleanup_free_ struct pod_mount *rootfs = mounts(q);
	struct pod_container_params p = { .id = q->id,
					  .bundle = q->bundle,
					  .rootfs = rootfs,
					  .n_rootfs = q->n_rootfs,
					  .io = streams(q->stdin, q->stdout, q->stderr, q->terminal) };
	struct change *c;
	struct err e = { 0 };
	int r;

	if (!str_empty(q->checkpoint)) {
		ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED,
				  "containers in virtual machines cannot be restored from a CRIU checkpoint: "
				  "not implemented");
		return;
	}
	if (find_change(s, q->id, false)) {
		r = err_set(&e, ERR_CONFIG, EEXIST, "container %s is being created", q->id);
		answer_error(req, r, &e);
		return;
	}
	c = rootfs ? change_new(s, req, q->id, false) : NULL;
	if (!c) {
		r = err_sys(&e, ENOMEM, "cannot create the container");
		answer_error(req, r, &e);
		return;
	}
	r = make_pod(s, q, &e);
	if (r < 0) {
		on_created(r, 0, &e, c);
		return;
	}
	take_standin(s, q->id, "", &p.standin_fd, &p.standin_pid);
	if (s->params.undo_unanswered)
		ttrpc_request_on_close(req, on_client_gone, c);
	pod_create(s->pod, &p, on_created, c);
}

/* ---- Start, Exec ---- */

static void on_started(int result, pid_t pid, const struct err *e, void *userdata)
{
	Containerd__Task__V2__StartResponse answer = CONTAINERD__TASK__V2__START_RESPONSE__INIT;
	struct ttrpc_request *req = userdata;
	struct task_service *s = ttrpc_request_data(req);
	const Containerd__Task__V2__StartRequest *q =
		(const Containerd__Task__V2__StartRequest *)ttrpc_request_message(req);

	if (result < 0) {
		log_warn("container %s: %s", q->id, err_is_set(e) ? e->text : strerror(-result));
		answer_error(req, result == -ESRCH ? -EBUSY : result, e);
		return;
	}
	if (!str_empty(q->exec_id))
		exec_note_add(s, q->id, q->exec_id, pid);
	service_tell_start(s, q->id, q->exec_id, pid);
	answer.pid = (uint32_t)pid;
	ttrpc_reply(req, &answer.base);
}

HANDLER(handle_start)
{
	const Containerd__Task__V2__StartRequest *q = (const Containerd__Task__V2__StartRequest *)request;
	struct task_service *s = userdata;

	if (!answer_find(s, req, q->id, q->exec_id, NULL))
		return;
	ttrpc_request_set_data(req, s);
	pod_start(s->pod, q->id, q->exec_id, on_started, req);
}

static int exec_spec(const Containerd__Task__V2__ExecProcessRequest *q, Grpc__Process **ret, struct err *e)
{
	int r;

	if (!any_is(q->spec, ANY_OCI_PROCESS))
		return err_set(e, ERR_PROTOCOL, EINVAL, "the process is of type \"%.100s\", not %s",
			       q->spec ? q->spec->type_url : "", ANY_OCI_PROCESS);
	r = oci_spec_parse_process((const char *)q->spec->value.data, q->spec->value.len, "process", ret, NULL, e);
	if (r == 0)
		(*ret)->terminal = q->terminal;
	return r;
}

HANDLER(handle_exec)
{
	const Containerd__Task__V2__ExecProcessRequest *q = (const Containerd__Task__V2__ExecProcessRequest *)request;
	struct pod_io io = streams(q->stdin, q->stdout, q->stderr, q->terminal);
	_cleanup_(oci_process_free_p) Grpc__Process *process = NULL;
	struct task_service *s = userdata;
	struct err e = { 0 };
	pid_t standin_pid;
	int standin_fd, r;

	if (!answer_find(s, req, q->id, NULL, NULL))
		return;
	if (str_empty(q->exec_id)) {
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "an exec id is needed: invalid argument");
		return;
	}
	r = exec_spec(q, &process, &e);
	if (r == 0) {
		take_standin(s, q->id, q->exec_id, &standin_fd, &standin_pid);
		r = pod_exec(s->pod, q->id, q->exec_id, process, &io, standin_fd, standin_pid, &e);
	}
	if (r == -EEXIST) {
		ttrpc_reply_error(req, TTRPC_ALREADY_EXISTS, "id %s: already exists", q->exec_id);
		return;
	}
	if (r < 0) {
		answer_error(req, r == -ESRCH ? -EBUSY : r, &e);
		return;
	}
	service_tell_exec_added(s, q->id, q->exec_id);
	answer_empty(req);
}

/* ---- Kill, Delete, Wait ---- */

HANDLER(handle_kill)
{
	const Containerd__Task__V2__KillRequest *q = (const Containerd__Task__V2__KillRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };

	if (!answer_find(s, req, q->id, q->exec_id, NULL))
		return;
	if (q->signal > (uint32_t)SIGRTMAX)
		answer_done(err_set(&e, ERR_CONFIG, EINVAL, "%u is no signal", q->signal), &e, req);
	else
		pod_kill(s->pod, q->id, q->exec_id, (int)q->signal, q->all, answer_done, req);
}

static void on_deleted(int result, pid_t pid, const struct pod_exit *exit, const struct err *e, void *userdata)
{
	Containerd__Task__V2__DeleteResponse answer = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;
	struct change *c = userdata;
	struct task_service *s = c->service;
	const Containerd__Task__V2__DeleteRequest *q =
		(const Containerd__Task__V2__DeleteRequest *)ttrpc_request_message(c->req);

	if (result < 0) {
		answer_error(c->req, result, e);
		change_end(c);
		return;
	}
	exec_note_remove(s, q->id, str_empty(q->exec_id) ? NULL : q->exec_id);
	if (str_empty(q->exec_id))
		service_tell_delete(s, q->id, pid, exit);
	if (str_empty(q->exec_id) && s->params.deleted)
		s->params.deleted(q->id, s->params.userdata);
	answer.pid = (uint32_t)pid;
	answer.exit_status = (uint32_t)exit->status;
	answer.exited_at = answer_time(&exit->at, &at);
	ttrpc_reply(c->req, &answer.base);
	change_end(c);
}

HANDLER(handle_delete)
{
	const Containerd__Task__V2__DeleteRequest *q = (const Containerd__Task__V2__DeleteRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };
	struct change *c;

	if (!answer_find(s, req, q->id, q->exec_id, NULL))
		return;
	c = change_new(s, req, q->id, true);
	if (c)
		pod_delete(s->pod, q->id, q->exec_id, false, on_deleted, c);
	else
		answer_error(req, err_sys(&e, ENOMEM, "cannot delete the container"), &e);
}

static void on_waited(const struct pod_exit *exit, void *userdata)
{
	Containerd__Task__V2__WaitResponse answer = CONTAINERD__TASK__V2__WAIT_RESPONSE__INIT;
	Google__Protobuf__Timestamp at;

	answer.exit_status = (uint32_t)exit->status;
	answer.exited_at = answer_time(&exit->at, &at);
	ttrpc_reply(userdata, &answer.base);
}

HANDLER(handle_wait)
{
	const Containerd__Task__V2__WaitRequest *q = (const Containerd__Task__V2__WaitRequest *)request;
	struct task_service *s = userdata;
	struct err e = { 0 };
	int r;

	if (!answer_find(s, req, q->id, q->exec_id, NULL))
		return;
	r = pod_wait(s->pod, q->id, q->exec_id, on_waited, req, &e);
	if (r < 0)
		answer_error(req, r, &e);
}
