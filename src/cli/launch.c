/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/launch.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "cli/delete.h"
#include "cli/handover.h"
#include "cli/old_pod.h"
#include "cli/owner.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/standin.h"
#include "pod/state.h"
#include "proto/empty.pb-c.h"
#include "task/any.h"
#include "task/group.h"

/* "fd:PID:N" of pod/io.h: the streams that the stand-in holds. */
struct stream_names {
	char in[32], out[32], err[32];
};

static struct stream_names stream_names(const struct launch *l)
{
	struct stream_names n;

	snprintf(n.in, sizeof n.in, "fd:%d:0", l->pid);
	snprintf(n.out, sizeof n.out, "fd:%d:1", l->pid);
	snprintf(n.err, sizeof n.err, "fd:%d:2", l->pid);
	return n;
}

/* What runc asks of a terminal, in its words. */
static int check_streams(const struct launch_streams *s, struct err *e)
{
	if (s->terminal && s->detached && !s->console_socket)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "cannot allocate tty if caisson will detach without setting console socket");
	if (s->console_socket && (!s->terminal || !s->detached))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "cannot use console socket if caisson will not detach or allocate tty");
	return 0;
}

int launch_check_fds(uint64_t n, const Grpc__Process *process, struct err *e)
{
	const struct strv env = { .v = process ? process->env : NULL, .len = process ? process->n_env : 0 };

	if (n && strv_get_env(&env, "LISTEN_FDS")) {
		log_warn("--preserve-fds %llu has no effect: the sockets of LISTEN_FDS do not reach into a virtual "
			 "machine",
			 (unsigned long long)n);
		return 0;
	}
	return n ? err_set(e, ERR_CONFIG, ENOTSUP,
			   "--preserve-fds %llu: a process in a virtual machine cannot have descriptors of the host; "
			   "mount what they stand for instead",
			   (unsigned long long)n)
		 : 0;
}

/* By its program's name and arguments people know it in lists of the host's processes; without: program. */
static int start_standin(struct launch *l, const char *program, char *const *args, size_t n_args, const char *netns,
			 bool new_netns, const struct launch_streams *s, struct err *e)
{
	const char *name = n_args ? args[0] : program, *slash = strrchr(name, '/');
	struct standin_params p = { .name = slash ? slash + 1 : name,
				    .args = args,
				    .n_args = n_args,
				    .netns = netns,
				    .new_netns = new_netns,
				    .keep_stdio = !s->terminal,
				    .terminal_fd = -1 };
	int r = s->terminal ? console_open(&l->console, s->rows, s->columns, e) : 0;

	if (r < 0)
		return r;
	p.terminal_fd = l->console.slave;
	r = standin_start(&p, &l->pid, &l->standin_fd, e);
	if (r == 0)
		fd_close(&l->console.slave);
	if (r == 0 && s->console_socket)
		r = console_send(&l->console, s->console_socket, e);
	return r;
}

static int offer_standin(struct launch *l, const struct globals *g, const char *sandbox,
			 const struct handover_offer *offer, struct err *e)
{
	char path[PATH_MAX + 96];
	int r;

	snprintf(path, sizeof path, "%s/%s/" STANDIN_SOCKET, g->root, sandbox);
	r = handover_offer(path, offer, l->standin_fd, &l->offer_fd, e);
	/* From here on the owner holds it. */
	if (r == 0)
		fd_close(&l->standin_fd);
	return r;
}

/* ---- a container ---- */

/* The namespace of the spec: a path, a new one, or the host's. */
static void network_of(const Grpc__Spec *spec, const char **ret_path, bool *ret_new)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, "network");

	*ret_new = ns && str_empty(ns->path);
	*ret_path = ns && !*ret_new ? ns->path : NULL;
}

/*
 * Neither ours nor one of `caisson run`. *ret_netns: it has been here before, and its virtual machine lives on for
 * containers that share its network, which is this one; "" is the host's. NULL: not so.
 */
static int check_unused(const char *root, const char *id, char **ret_netns, struct err *e)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	char path[PATH_MAX + 96];
	bool alive = false;
	int r = state_check_id(id, e);

	if (r < 0)
		return r;
	snprintf(path, sizeof path, "%s/%s/oci.json", root, id);
	if (access(path, F_OK) == 0)
		return err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	/* What a killed `caisson run` left is swept away by the owner. */
	if (state_read(root, id, &s, &alive, NULL) < 0 || !alive)
		return 0;
	if (!s.n_containers || pod_state_has(&s, id))
		return err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	*ret_netns = strdup(s.netns);
	return *ret_netns ? 0 : err_sys(e, ENOMEM, "cannot create %s", id);
}

/* Which pod it is for. *before: as of check_unused(); NULL afterwards when that pod has been ended. */
static int find_group(const struct globals *g, const char *id, const Grpc__Spec *spec, char **before,
		      struct task_group *ret, struct err *e)
{
	int r = task_group_of(spec, id, ret, e);

	if (r == 0 && *before)
		r = old_pod_end(g->root, id, e);
	if (r > 0)
		free(take_ptr(*before));
	if (r < 0 || !*before)
		return r < 0 ? r : task_group_join(ret, spec, g->root, NULL, e);
	if (!ret->is_single)
		return err_set(e, ERR_CONFIG, EEXIST, "container with given ID already exists");
	ret->is_member = true;
	return 0;
}

/* The owner of a pod that there is; of one that begins with this container, see start_owner(). */
static int join_owner(struct launch *l, const struct globals *g, const char *id, struct task_group *group,
		      struct err *e)
{
	int r = group->is_member ? owner_link_connect(&l->link, g->root, group->sandbox, e) : 0;

	if (r == -ENOENT && group->may_be_alone) {
		*e = (struct err){ 0 };
		return task_group_alone(group, id, e);
	}
	if (r == -ENOENT || r == -ECONNREFUSED)
		return err_set(e, ERR_CONFIG, ENOENT, "the pod %s, which the %s, is not running", group->sandbox,
			       group->is_single ? "container shares namespaces with" : "annotations name");
	return r;
}

/* When all else is there: one that no client comes to lives on for a while. */
static int start_owner(struct launch *l, const struct globals *g, const struct task_group *group, struct err *e)
{
	int r = group->is_member ? 0 : owner_start(g, group->sandbox, e);

	return r < 0 || group->is_member ? r : owner_link_connect(&l->link, g->root, group->sandbox, e);
}

static int ask_create(struct launch *l, const char *id, const char *bundle, bool terminal, struct err *e)
{
	Containerd__Task__V2__CreateTaskRequest q = CONTAINERD__TASK__V2__CREATE_TASK_REQUEST__INIT;
	struct stream_names names = stream_names(l);

	q.id = (char *)id;
	q.bundle = (char *)bundle;
	q.terminal = terminal;
	q.stdin = names.in;
	q.stdout = names.out;
	q.stderr = terminal ? q.stderr : names.err;
	return owner_call(&l->link, "Create", &q.base, &containerd__task__v2__create_task_response__descriptor,
			  OWNER_CREATE_TIMEOUT_MS, NULL, e);
}

int launch_container(struct launch *l, const struct globals *g, const char *id, const char *bundle,
		     struct launch_streams *streams, struct err *e)
{
	struct handover_offer offer = { .id = id, .exec_id = "", .bundle = bundle };
	_cleanup_task_group_ struct task_group group = { 0 };
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	_cleanup_free_ char *before = NULL;
	const char *netns;
	bool new_netns;
	int r;

	r = oci_spec_load(bundle, &spec, NULL, e);
	if (r == 0)
		r = check_unused(g->root, id, &before, e);
	if (r == 0)
		r = find_group(g, id, spec, &before, &group, e);
	if (r < 0)
		return r;
	streams->terminal = spec->process && spec->process->terminal;
	if (spec->process && spec->process->consolesize) {
		streams->rows = spec->process->consolesize->height;
		streams->columns = spec->process->consolesize->width;
	}
	network_of(spec, &netns, &new_netns);
	if (new_netns && !str_empty(before)) {
		netns = before;
		new_netns = false;
	}
	if ((r = check_streams(streams, e)) < 0 ||
	    (r = launch_check_fds(streams->preserve_fds, spec->process, e)) < 0 ||
	    (r = join_owner(l, g, id, &group, e)) < 0 ||
	    (r = start_standin(l, "container", spec->process ? spec->process->args : NULL,
			       spec->process ? spec->process->n_args : 0, netns, new_netns, streams, e)) < 0 ||
	    (r = start_owner(l, g, &group, e)) < 0)
		return r;
	offer.pid = l->pid;
	l->link.record.id = strdup(id);
	if (!l->link.record.id)
		return err_sys(e, ENOMEM, "cannot create %s", id);
	r = offer_standin(l, g, group.sandbox, &offer, e);
	if (r == 0)
		r = ask_create(l, id, bundle, streams->terminal, e);
	if (r < 0) {
		/* The owner drops what came to nothing when we go; then the id is free again. */
		fd_close(&l->offer_fd);
		(void)delete_await_gone(g->root, group.sandbox, id, NULL);
	}
	return r;
}

/* ---- another process ---- */

static int ask_exec(struct launch *l, const char *exec_id, const char *process, bool terminal, struct err *e)
{
	Containerd__Task__V2__ExecProcessRequest q = CONTAINERD__TASK__V2__EXEC_PROCESS_REQUEST__INIT;
	Containerd__Task__V2__StartRequest start = CONTAINERD__TASK__V2__START_REQUEST__INIT;
	Google__Protobuf__Any spec = GOOGLE__PROTOBUF__ANY__INIT;
	struct stream_names names = stream_names(l);
	int r;

	spec.type_url = (char *)ANY_OCI_PROCESS;
	spec.value.data = (uint8_t *)process;
	spec.value.len = strlen(process);
	q.id = start.id = l->link.record.id;
	q.exec_id = start.exec_id = (char *)exec_id;
	q.terminal = terminal;
	q.stdin = names.in;
	q.stdout = names.out;
	q.stderr = terminal ? q.stderr : names.err;
	q.spec = &spec;
	r = owner_call(&l->link, "Exec", &q.base, &google__protobuf__empty__descriptor, OWNER_TIMEOUT_MS, NULL, e);
	return r < 0 ? r
		     : owner_call(&l->link, "Start", &start.base, &containerd__task__v2__start_response__descriptor,
				  OWNER_TIMEOUT_MS, NULL, e);
}

int launch_exec(struct launch *l, const struct globals *g, const char *exec_id, char *const *args, size_t n_args,
		const char *process, const struct launch_streams *streams, struct err *e)
{
	struct handover_offer offer = { .id = l->link.record.id, .exec_id = exec_id, .bundle = "" };
	char netns[64];
	struct owner_state s;
	int r;

	if ((r = check_streams(streams, e)) < 0 || (r = owner_state(&l->link, &s, e)) < 0)
		return r;
	/* runc's words. */
	if (s.status == OCI_STOPPED || s.status == OCI_CREATING)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot exec in a stopped container");
	if (s.status == OCI_PAUSED)
		return err_set(e, ERR_CONFIG, EBUSY,
			       "cannot exec in a paused container (use --ignore-paused to override)");
	snprintf(netns, sizeof netns, "/proc/%d/ns/net", s.pid);
	r = start_standin(l, "exec", args, n_args, netns, false, streams, e);
	offer.pid = l->pid;
	if (r == 0)
		r = offer_standin(l, g, l->link.record.sandbox, &offer, e);
	return r < 0 ? r : ask_exec(l, exec_id, process, streams->terminal, e);
}

/* ---- the end of it ---- */

int launch_write_pid(const struct launch *l, const char *path, struct err *e)
{
	char text[16];
	int n = snprintf(text, sizeof text, "%d", l->pid);
	int r = path ? file_replace(path, text, (size_t)n, 0644) : 0;

	return r < 0 ? err_sys(e, -r, "cannot write --pid-file %s", path) : 0;
}

void launch_end(struct launch *l, bool failed)
{
	if (failed && l->pid > 0) {
		kill(l->pid, SIGKILL);
		while (waitpid(l->pid, NULL, 0) < 0 && errno == EINTR)
			;
	}
	console_close(&l->console);
	fd_close(&l->standin_fd);
	fd_close(&l->offer_fd);
	owner_link_close(&l->link);
}
