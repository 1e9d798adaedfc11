// SPDX-License-Identifier: Apache-2.0
/*
 * The sandbox: what its containers share. The UTS and IPC namespaces have no process in them; they live by our
 * descriptors. A PID namespace lives by its PID 1, so there is a process for it that does nothing but reap.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/modules.h"
#include "agent/rootfs.h"
#include "agent/rpc.h"
#include "agent/storage.h"
#include "agent/user.h"
#include "base/fd.h"
#include "base/log.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"

#define RESOLV_CONF AGENT_SANDBOX_DIR "/resolv.conf"

/* ---- namespaces ---- */

/*
 * Make a namespace, keep a descriptor of it and go back. Only we run in this process, so nobody sees the moment inside.
 * inside: called there.
 */
static int make_ns(const char *name, int flag, int (*inside)(const void *arg), const void *arg, int *ret_fd)
{
	_cleanup_close_ int old = namespace_open(0, name), fresh = -1;
	int r = 0;

	if (old < 0)
		return old;
	if (unshare(flag) < 0)
		return -errno;
	fresh = namespace_open(0, name);
	if (fresh < 0)
		r = fresh;
	if (r == 0 && inside)
		r = inside(arg);
	if (setns(old, flag) < 0 && r == 0)
		r = -errno;
	if (r == 0)
		*ret_fd = take_fd(&fresh);
	return r;
}

static int set_hostname(const void *arg)
{
	const char *name = arg;

	return *name && sethostname(name, strlen(name)) < 0 ? -errno : 0;
}

/*
 * A container that may trace processes has this copy of the agent before it, and its root as /proc/1/root: there must
 * be nothing to gain.
 */
static int confine_pause(struct err *e)
{
	Grpc__Process process = GRPC__PROCESS__INIT;
	Grpc__User nobody = GRPC__USER__INIT;
	struct caps none = { 0 };
	int r;

	nobody.uid = nobody.gid = 65534;
	process.user = &nobody;
	r = rootfs_enter_empty(AGENT_SANDBOX_DIR, e);
	if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, errno, "set no_new_privs");
	if (r == 0)
		r = user_become(&process, &none, e);
	/* A change of user may have set it again. */
	if (r == 0 && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		r = err_sys(e, errno, "give up being dumpable");
	return r;
}

/* PID 1 of the shared PID namespace: orphans come to it. ready_fd: gets a struct err, empty when all is well. */
__attribute__((noreturn)) static void pause_main(int ready_fd)
{
	struct sigaction sa = { .sa_handler = SIG_DFL };
	struct err e = { 0 };
	sigset_t set;

	prctl(PR_SET_NAME, "pause");
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	confine_pause(&e);
	if (fd_write_full(ready_fd, &e, sizeof e) < 0 || err_is_set(&e))
		_exit(1);
	syscall(SYS_close_range, 0u, ~0u, 0u);
	for (int signo = 1; signo < NSIG; signo++)
		sigaction(signo, &sa, NULL);
	sigfillset(&set);
	sigprocmask(SIG_SETMASK, &set, NULL);
	sigemptyset(&set);
	sigaddset(&set, SIGCHLD);
	for (;;) {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwaitinfo(&set, NULL);
	}
}

static void on_pause_end(pid_t pid, int status, void *userdata)
{
	struct agent *a = userdata;

	(void)pid;
	log_error("the process that keeps the shared PID namespace has ended (status %#x)", (unsigned int)status);
	a->sandbox.pause_pid = 0;
}

static int make_pid_ns(struct agent *a, struct err *e)
{
	_cleanup_close_ int ready = -1, theirs = -1;
	struct err why = { 0 };
	int fds[2], r;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a shared PID namespace");
	ready = fds[0];
	theirs = fds[1];
	pid = clone_process(CLONE_NEWPID | CLONE_NEWNS, -1);
	if (pid == 0)
		pause_main(theirs);
	if (pid < 0)
		return err_sys(e, -pid, "cannot make a shared PID namespace");
	a->sandbox.pause_pid = pid;
	fd_close(&theirs);
	r = fd_read_full(ready, &why, sizeof why);
	if (r < 0)
		return err_sys(e, -r, "cannot make a shared PID namespace: its first process has died");
	if (err_is_set(&why))
		return err_set(e, why.domain, why.code, "cannot make a shared PID namespace: %s", why.text);
	r = namespace_open(pid, "pid");
	if (r < 0)
		return err_sys(e, -r, "cannot open the shared PID namespace");
	a->sandbox.pid_ns_fd = r;
	r = reaper_watch(a->reaper, pid, on_pause_end, a);
	return r < 0 ? err_sys(e, -r, "cannot watch the shared PID namespace") : 0;
}

static int make_namespaces(struct agent *a, const Grpc__CreateSandboxRequest *m, struct err *e)
{
	int r = make_ns("uts", CLONE_NEWUTS, set_hostname, m->hostname, &a->sandbox.uts_ns_fd);

	if (r < 0)
		return err_sys(e, -r, "cannot make a UTS namespace with host name \"%.64s\"", m->hostname);
	r = make_ns("ipc", CLONE_NEWIPC, NULL, NULL, &a->sandbox.ipc_ns_fd);
	if (r < 0)
		return err_sys(e, -r, "cannot make an IPC namespace");
	return m->sandbox_pidns ? make_pid_ns(a, e) : 0;
}

/* ---- name servers ---- */

static int set_dns(struct agent *a, char *const *lines, size_t n, struct err *e)
{
	_cleanup_buf_ struct buf text = { 0 };
	_cleanup_mount_options_ struct mount_options o = { 0 };
	char *bind[] = { (char *)"bind" };
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		unsigned char ip[16];
		bool address = inet_pton(AF_INET, lines[i], ip) == 1 || inet_pton(AF_INET6, lines[i], ip) == 1;

		/* Hosts send lines of their resolv.conf; a bare address can mean only one thing. */
		r = buf_printf(&text, "%s%s\n", address ? "nameserver " : "", lines[i]);
	}
	if (r == 0)
		r = file_replace(RESOLV_CONF, text.data ? text.data : "", text.len, 0644);
	if (r < 0)
		return err_sys(e, -r, "cannot write " RESOLV_CONF);
	/* A guest that is only an initramfs may have none: then there is nothing to cover. */
	if (access("/etc/resolv.conf", F_OK) < 0) {
		int fd = mkdir("/etc", 0755) < 0 && errno != EEXIST
				 ? -1
				 : open("/etc/resolv.conf", O_CREAT | O_WRONLY | O_CLOEXEC, 0644);

		if (fd < 0) {
			log_warn("cannot make /etc/resolv.conf: %s", strerror(errno));
			return 0;
		}
		close(fd);
	}
	r = mount_options_parse(bind, 1, &o, e);
	if (r == 0)
		r = mount_at_path(RESOLV_CONF, "/etc/resolv.conf", "", &o, e);
	if (r < 0)
		return r;
	a->sandbox.resolv_conf = true;
	return 0;
}

/* ---- create and destroy ---- */

static int load_modules(Grpc__KernelModule *const *modules, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		int r = module_load(modules[i]->name, modules[i]->parameters, modules[i]->n_parameters, e);

		if (r < 0)
			return r;
	}
	return 0;
}

static int create(struct agent *a, const Grpc__CreateSandboxRequest *m, struct err *e)
{
	int r = dir_make(AGENT_SHARE_DIR, 0755);

	if (r == 0)
		r = dir_make(AGENT_SANDBOX_DIR, 0755);
	if (r < 0)
		return err_sys(e, -r, "cannot make the folders in " AGENT_RUN_DIR);
	if (*m->guest_hook_path && !(a->sandbox.guest_hooks = strdup(m->guest_hook_path)))
		return err_sys(e, ENOMEM, "cannot create the sandbox");
	r = load_modules(m->kernel_modules, m->n_kernel_modules, e);
	if (r == 0)
		r = make_namespaces(a, m, e);
	if (r == 0)
		r = storages_add(a, m->storages, m->n_storages, &a->sandbox.storages, e);
	if (r == 0 && m->n_dns)
		r = set_dns(a, m->dns, m->n_dns, e);
	return r;
}

static bool try_create(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__CreateSandboxRequest *m = (const Grpc__CreateSandboxRequest *)ttrpc_request_message(req);
	struct err e = { 0 };
	int r = 0;

	if (a->sandbox.created)
		r = err_set(&e, ERR_PROTOCOL, EEXIST, "the sandbox exists already");
	else if (*m->sandbox_id && !agent_id_valid(m->sandbox_id))
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not a valid sandbox id", m->sandbox_id);
	else if (*m->guest_hook_path && !storage_path_valid(m->guest_hook_path))
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "guest hook path \"%.128s\" is not an absolute path",
			    m->guest_hook_path);
	else if (m->n_dns > 256 || m->n_kernel_modules > 256)
		r = err_set(&e, ERR_LIMIT, E2BIG, "too many name server lines or kernel modules");
	if (r == 0)
		r = storages_ready(m->storages, m->n_storages, &e);
	if (r == -EAGAIN && !last)
		return false;
	if (r == -EAGAIN) {
		e.code = ETIMEDOUT;
		err_append(&e, " after %u ms", a->config.hotplug_timeout_ms);
	}
	if (r == 0) {
		r = create(a, m, &e);
		if (r < 0)
			sandbox_destroy(a);
		else
			a->sandbox.created = true;
	}
	rpc_result(req, r, &e);
	return true;
}

RPC(rpc_create_sandbox)
{
	(void)message;
	agent_wait_device(userdata, req, try_create);
}

void sandbox_destroy(struct agent *a)
{
	struct agent_container *c;

	while ((c = list_first(&a->containers, struct agent_container, node)))
		agent_container_free(c);
	names_end(a);
	if (a->sandbox.resolv_conf && umount2("/etc/resolv.conf", MNT_DETACH) < 0)
		log_warn("cannot uncover /etc/resolv.conf: %s", strerror(errno));
	a->sandbox.resolv_conf = false;
	storages_release(a, &a->sandbox.storages);
	strv_fini(&a->sandbox.storages);
	fd_close(&a->sandbox.uts_ns_fd);
	fd_close(&a->sandbox.ipc_ns_fd);
	fd_close(&a->sandbox.pid_ns_fd);
	if (a->sandbox.pause_pid > 0) {
		reaper_unwatch(a->reaper, a->sandbox.pause_pid);
		kill(a->sandbox.pause_pid, SIGKILL); /* and the reaper takes it */
	}
	a->sandbox.pause_pid = 0;
	free(take_ptr(a->sandbox.guest_hooks));
	a->sandbox.created = false;
}

RPC(rpc_destroy_sandbox)
{
	(void)message;
	sandbox_destroy(userdata);
	rpc_done(req);
}

RPC(rpc_update_ephemeral_mounts)
{
	const Grpc__UpdateEphemeralMountsRequest *m = (const Grpc__UpdateEphemeralMountsRequest *)message;
	struct err e = { 0 };
	int r = storages_remount(userdata, m->storages, m->n_storages, &e);

	rpc_result(req, r, &e);
}

/* ---- mounts of a shared tree whose host side has gone (after a restore from a template) ---- */

RPC(rpc_remove_stale_mounts)
{
	_cleanup_fclose_ FILE *f = fopen("/proc/self/mountinfo", "re");
	_cleanup_free_ char *line = NULL;
	struct strv stale = { 0 };
	struct stat st;
	size_t size = 0;

	(void)message;
	(void)userdata;
	/* Field 5 is the mount point; spaces in it are octal escapes, which no path of the protocol has. */
	while (f && getline(&line, &size, f) > 0) {
		char point[4097];

		if (sscanf(line, "%*d %*d %*s %*s %4096s", point) != 1 || !str_after(point, AGENT_SHARE_DIR "/"))
			continue;
		if (stat(point, &st) < 0 && errno != EACCES)
			strv_add(&stale, point);
	}
	/* The youngest first: mounts on mounts. */
	for (size_t i = stale.len; i-- > 0;)
		if (umount2(stale.v[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			log_warn("cannot unmount stale %s: %s", stale.v[i], strerror(errno));
	strv_fini(&stale);
	rpc_done(req);
}
