/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Four cases. A container of a pod whose shim lives, or one in whose VM there are others: it is ended there, and
 * nothing else is touched. The pod's first container, or one without a pod, whose shim lives: containerd has given it
 * up, so it is asked to end, and killed when it does not. A shim that is just ending: it is waited for. A dead one:
 * what it left is cleaned up.
 *
 * containerd gives all of it five seconds.
 */
#include "shim/delete.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "pod/hooks.h"
#include "pod/pod.h"
#include "pod/state.h"
#include "proto/empty.pb-c.h"
#include "proto/task.pb-c.h"
#include "shim/address.h"
#include "sys/namespaces.h"
#include "task/group.h"

#define SERVICE        "containerd.task.v2.Task"
#define ASK_MS         1000 /* for an answer */
#define END_MS         1500 /* for a shim to end after it was asked */
#define KILL_MS        1000 /* for the kernel to end one that was killed */
#define PAUSE_MS       20
#define KILLED         (128 + SIGKILL)
#define ROOTFS_LAYERS  32
#define PID_FILE_BYTES 32
#define LEFT_FILE      "caisson-left" /* in a bundle: a dead shim had this container, what it left has been removed */

/* ---- a shim that lives ---- */

struct peer {
	struct loop *loop;
	struct ttrpc_client *client;
	int fd; /* a copy, to see the end of the connection */
};

static void peer_fini(struct peer *p)
{
	ttrpc_client_free(p->client);
	loop_free(p->loop);
	fd_close(&p->fd);
}

static int peer_open(struct peer *p, const char *path, struct err *e)
{
	int fd, r;

	*p = (struct peer){ .fd = -1 };
	r = unix_connect(path, &fd);
	if (r < 0)
		return r;
	p->fd = dup(fd);
	r = loop_new(&p->loop, e);
	if (r < 0)
		close(fd);
	else
		r = ttrpc_client_new(p->loop, fd, -1, &p->client, e);
	if (r < 0)
		peer_fini(p);
	return r;
}

static void ask(struct peer *p, const char *method, const ProtobufCMessage *request,
		const ProtobufCMessageDescriptor *response)
{
	struct err e = { 0 };

	if (ttrpc_call(p->client, SERVICE, method, request, response, ASK_MS, NULL, &e) < 0)
		log_debug("%s: %s", method, e.text);
}

/* End one container of a pod that goes on. In the usual case it has gone long ago. */
static void end_member(struct peer *p, const char *id)
{
	Containerd__Task__V2__KillRequest kill_it = CONTAINERD__TASK__V2__KILL_REQUEST__INIT;
	Containerd__Task__V2__WaitRequest wait_for = CONTAINERD__TASK__V2__WAIT_REQUEST__INIT;
	Containerd__Task__V2__DeleteRequest forget = CONTAINERD__TASK__V2__DELETE_REQUEST__INIT;

	kill_it.id = wait_for.id = forget.id = (char *)id;
	kill_it.signal = SIGKILL;
	kill_it.all = true;
	ask(p, "Kill", &kill_it.base, &google__protobuf__empty__descriptor);
	ask(p, "Wait", &wait_for.base, &containerd__task__v2__wait_response__descriptor);
	ask(p, "Delete", &forget.base, &containerd__task__v2__delete_response__descriptor);
}

static void kill_process(pid_t pid)
{
	_cleanup_close_ int pidfd = pid > 1 && pid != getpid() ? pidfd_of(pid) : -1;
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	if (pidfd < 0 || kill(pid, SIGKILL) < 0)
		return;
	poll(&p, 1, KILL_MS);
}

static void end_shim(struct peer *p, const char *id)
{
	Containerd__Task__V2__ShutdownRequest shutdown_now = CONTAINERD__TASK__V2__SHUTDOWN_REQUEST__INIT;
	struct pollfd gone = { .fd = p->fd, .events = POLLRDHUP };
	struct ucred peer = { 0 };
	socklen_t n = sizeof peer;

	shutdown_now.id = (char *)id;
	shutdown_now.now = true;
	ask(p, "Shutdown", &shutdown_now.base, &google__protobuf__empty__descriptor);
	if (poll(&gone, 1, END_MS) == 0 && getsockopt(p->fd, SOL_SOCKET, SO_PEERCRED, &peer, &n) == 0) {
		log_warn("the shim of %s does not end: killing process %d", id, (int)peer.pid);
		kill_process(peer.pid);
	}
}

/* ---- one that is dead, or ending ---- */

/*
 * With the pod's state goes what tells of its other containers. Each has a delete of its own, which runs the hooks: it
 * finds this in its bundle.
 */
static void note_others(const struct pod_state *state, const char *id)
{
	for (size_t i = 0; i < state->n_containers; i++) {
		const struct pod_state_container *c = &state->containers[i];
		_cleanup_free_ char *path = str_eq(c->id, id) ? NULL : str_printf("%s/" LEFT_FILE, c->bundle);
		int r = path ? file_replace(path, "", 0, 0600) : 0;

		/* Its bundle goes with its own delete, which may have come before. */
		if (r < 0)
			log_debug("cannot write %s: %s", path, strerror(-r));
	}
}

static bool was_noted(const char *bundle)
{
	_cleanup_free_ char *path = str_printf("%s/" LEFT_FILE, bundle);

	return path && unlink(path) == 0;
}

/* Had a dead shim still this container? To be asked before what it left is removed. */
static bool was_left(const char *root, const char *sandbox, const char *id)
{
	_cleanup_pod_state_ struct pod_state state = { 0 };
	bool alive = true;

	if (state_read(root, sandbox, &state, &alive, NULL) < 0 || alive)
		return false;
	note_others(&state, id);
	return pod_state_has(&state, id);
}

static int wait_and_clean(const char *root, const char *sandbox, const char *id, unsigned timeout_ms, bool *ret_left,
			  struct err *e)
{
	uint64_t end = clock_ms() + timeout_ms;
	const struct timespec pause = { .tv_nsec = PAUSE_MS * 1000000L };
	int r;

	for (;;) {
		*ret_left = was_left(root, sandbox, id);
		r = pod_cleanup(root, sandbox, e);
		if (r != -EBUSY || clock_ms() >= end)
			return r;
		nanosleep(&pause, NULL);
	}
}

/* Namespaces have ids of their own, and all states are in one folder: is what is there under this id somebody else's?
 */
static bool is_anothers(const char *root, const char *sandbox, const char *namespace)
{
	_cleanup_pod_state_ struct pod_state state = { 0 };
	bool alive;

	return state_read(root, sandbox, &state, &alive, NULL) == 0 && !str_eq(state.namespace, namespace);
}

/* *ret_left: whether a dead shim had this container, so that nobody has run its poststop hooks. */
static int clean_pod(const char *sandbox, const struct shim_flags *flags, bool *ret_left, struct err *e)
{
	_cleanup_pod_state_ struct pod_state state = { 0 };
	char buf[PATH_MAX];
	const char *root = state_default_root(buf, sizeof buf);
	bool alive = false;
	int r;

	if (is_anothers(root, sandbox, flags->namespace))
		return 0;
	r = wait_and_clean(root, sandbox, flags->id, END_MS, ret_left, e);
	if (r != -EBUSY)
		return r;
	/* It holds the lock, so the process id is still its own. */
	if (state_read(root, sandbox, &state, &alive, NULL) == 0 && alive) {
		log_warn("the owner of %s does not end: killing process %d", sandbox, (int)state.pid);
		kill_process(state.pid);
	}
	return wait_and_clean(root, sandbox, flags->id, KILL_MS, ret_left, e);
}

/*
 * In whose VM a single container was, its bundle does not tell: the dead shim's state does. Who brought that VM takes
 * it along, as containerd deletes that one as well. *ret: the pod's id when it had gone before; else NULL. Returns
 * whether the dead shim had this container.
 */
static bool find_left(const struct shim_flags *flags, char **ret)
{
	_cleanup_strv_ struct strv ids = { 0 };
	char buf[PATH_MAX];
	const char *root = state_default_root(buf, sizeof buf);

	(void)state_list(root, &ids, NULL);
	for (size_t i = 0; i < ids.len; i++) {
		_cleanup_pod_state_ struct pod_state state = { 0 };
		bool alive;

		if (state_read(root, ids.v[i], &state, &alive, NULL) < 0 ||
		    !str_eq(state.namespace, flags->namespace) || !pod_state_has(&state, flags->id))
			continue;
		if (!pod_state_has(&state, ids.v[i]))
			*ret = strdup(ids.v[i]);
		return !alive;
	}
	return false;
}

/* Containers that came into the VM of a single one (pod/pod_join.h) go on without it, and so does its shim. */
static bool has_guests(const struct task_group *group, const struct shim_flags *flags)
{
	_cleanup_pod_state_ struct pod_state state = { 0 };
	bool alive = false, others = false;
	char root[PATH_MAX];

	if (!group->is_single ||
	    state_read(state_default_root(root, sizeof root), flags->id, &state, &alive, NULL) < 0 || !alive ||
	    !str_eq(state.namespace, flags->namespace))
		return false;
	for (size_t i = 0; i < state.n_containers; i++)
		others |= !str_eq(state.containers[i].id, flags->id);
	return others;
}

static void unmount_rootfs(const char *bundle)
{
	_cleanup_free_ char *path = str_printf("%s/rootfs", bundle);

	for (int i = 0; path && i < ROOTFS_LAYERS; i++)
		if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			return;
}

/* ---- the answer ---- */

static pid_t read_pid(const char *bundle)
{
	_cleanup_free_ char *path = str_printf("%s/init.pid", bundle), *text = NULL;
	uint64_t pid;

	if (!path || file_read(path, PID_FILE_BYTES, &text, NULL) < 0 || str_to_u64(text, 10, &pid) < 0 ||
	    pid > INT_MAX)
		return 0;
	return (pid_t)pid;
}

static int print_response(const char *bundle, struct err *e)
{
	Containerd__Task__V2__DeleteResponse response = CONTAINERD__TASK__V2__DELETE_RESPONSE__INIT;
	Google__Protobuf__Timestamp at = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	_cleanup_buf_ struct buf packed = { 0 };
	struct timespec now;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	at.seconds = now.tv_sec;
	at.nanos = (int32_t)now.tv_nsec;
	response.pid = (uint32_t)read_pid(bundle);
	response.exit_status = KILLED;
	response.exited_at = &at;
	r = pb_pack(&response.base, TTRPC_MESSAGE_MAX, &packed);
	if (r == 0)
		r = fd_write_full(STDOUT_FILENO, packed.data, packed.len);
	return r < 0 ? err_sys(e, -r, "cannot write the answer") : 0;
}

/*
 * Where the shim is or was, and whether it is that of another container, whose pod this one belongs to. That is seen by
 * the address, because the bundle may be half gone. *ret: NULL when nobody knows.
 */
static void find_shim(const struct shim_flags *flags, const char *bundle, const char *sandbox, char **ret,
		      bool *ret_member)
{
	_cleanup_free_ char *own = flags->address ? shim_address(flags->address, flags->namespace, flags->id) : NULL;
	char *address = NULL;

	if (shim_read_address(bundle, &address) < 0 || !shim_address_path(address)) {
		free(address);
		address = flags->address ? shim_address(flags->address, flags->namespace, sandbox) : NULL;
	}
	*ret = address;
	*ret_member = own ? !str_eq(own, address) : !str_eq(flags->id, sandbox);
}

int shim_delete(const struct shim_flags *flags, struct err *e)
{
	const char *bundle = flags->bundle ? flags->bundle : ".";
	_cleanup_task_group_ struct task_group group = { 0 };
	_cleanup_free_ char *address = NULL, *pod = NULL;
	const char *sandbox = flags->id, *path;
	bool alive, is_member, left = false, joined = false;
	struct peer peer;
	int r = 0;

	if (task_group_read(bundle, flags->id, &group, NULL) == 0)
		sandbox = group.sandbox;
	find_shim(flags, bundle, sandbox, &address, &is_member);
	is_member |= has_guests(&group, flags);
	path = address ? shim_address_path(address) : NULL;
	alive = path && peer_open(&peer, path, NULL) == 0;
	if (alive) {
		if (is_member)
			end_member(&peer, flags->id);
		else
			end_shim(&peer, flags->id);
		peer_fini(&peer);
	}
	if (!alive && is_member && str_eq(sandbox, flags->id))
		joined = find_left(flags, &pod);
	if (!alive || !is_member) {
		r = clean_pod(pod ? pod : sandbox, flags, &left, e);
		if (path && unlink(path) < 0 && errno != ENOENT)
			log_warn("cannot remove %s: %s", path, strerror(errno));
	}
	if (was_noted(bundle) || left || joined)
		hooks_run_poststop_left(flags->id, bundle);
	unmount_rootfs(bundle);
	return r < 0 ? r : print_response(bundle, e);
}
