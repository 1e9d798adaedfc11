/* SPDX-License-Identifier: Apache-2.0 */
/* The stage and the process up to exec. See child.h. The order of steps is the one runc established. */
#include "agent/child.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/hooks.h"
#include "agent/rootfs.h"
#include "agent/user.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "oci/spec.h"
#include "sys/inroot.h"
#include "sys/namespaces.h"
#include "sys/pty.h"
#include "sys/rlimits.h"
#include "sys/spawn.h"
#include "sys/filter.h"

struct child {
	const struct child_plan *plan;
	struct rootfs rootfs;
	struct caps caps;
	struct strv env;
	bool seccomp_late; /* load the filter right before exec */
	bool user_ns;
};

/* write(2) only: a seccomp filter may be active already. */
static int tell(int fd, uint32_t kind, int32_t code)
{
	struct child_message m = { .kind = kind, .code = code };

	return write(fd, &m, offsetof(struct child_message, text)) < 0 ? -errno : 0;
}

static void fail(const struct child_plan *plan, const struct err *e)
{
	struct child_message m = { .kind = CHILD_ERROR, .code = e->code, .domain = (uint32_t)e->domain };

	memcpy(m.text, e->text, sizeof(m.text));
	m.text[sizeof(m.text) - 1] = '\0';
	if (write(plan->sync_fd, &m, sizeof(m)) < 0)
		_exit(1);
	_exit(127);
}

static int wait_go_on(const struct child_plan *plan)
{
	char byte;
	ssize_t n;

	do
		n = read(plan->sync_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	/* The agent has dropped the container, or died: there is nobody to tell. */
	if (n <= 0)
		_exit(1);
	return 0;
}

static int tell_and_wait(const struct child_plan *plan, uint32_t kind, struct err *e)
{
	int r = tell(plan->sync_fd, kind, 0);

	return r < 0 ? err_sys(e, -r, "tell the agent") : wait_go_on(plan);
}

/* ---- stage ---- */

static int set_rlimits(const Grpc__Process *p, struct err *e)
{
	for (size_t i = 0; i < p->n_rlimits; i++) {
		const Grpc__POSIXRlimit *l = p->rlimits[i];
		int resource = rlimit_by_name(l->type), r;

		if (resource < 0)
			return err_set(e, ERR_CONFIG, EINVAL, "rlimit \"%s\" is not known", l->type);
		r = rlimit_set(resource, l->soft, l->hard);
		if (r < 0)
			return err_sys(e, -r, "set %s to %llu:%llu", l->type, (unsigned long long)l->soft,
				       (unsigned long long)l->hard);
	}
	return 0;
}

static int set_oom_score(int64_t score, struct err *e)
{
	char text[24];
	int r;

	if (score < -1000 || score > 1000)
		return err_set(e, ERR_CONFIG, EINVAL, "oomScoreAdj %lld is not within -1000..1000", (long long)score);
	snprintf(text, sizeof(text), "%lld", (long long)score);
	r = file_write("/proc/self/oom_score_adj", text);
	/* Always written: the agent's own score must not be inherited. Refused only where there is nothing to set. */
	return r < 0 && score ? err_sys(e, -r, "set oomScoreAdj %s", text) : 0;
}

static int join_namespaces(const struct child_plan *plan, struct err *e)
{
	for (size_t i = 0; i < plan->n_join; i++)
		if (setns(plan->join[i].fd, plan->join[i].flag) < 0)
			return err_sys(e, errno, "join the %s namespace", namespace_type(plan->join[i].flag));
	if (plan->init_pidfd >= 0 && plan->init_flags && setns(plan->init_pidfd, plan->init_flags) < 0)
		return err_sys(e, errno, "join the container's namespaces");
	return 0;
}

/* ---- sysctls ---- */

/*
 * "net.ipv4.ip_forward" is net/ipv4/ip_forward; when a slash comes first, slashes separate and dots are literal
 * (sysctl.d(5)). Written through the agent's own /proc: the container's may be anything.
 */
static int set_sysctl(const char *key, const char *value, struct err *e)
{
	_cleanup_free_ char *path = strdup(key);
	_cleanup_close_ int dir = open("/proc/sys", O_PATH | O_DIRECTORY | O_CLOEXEC), fd = -1;
	size_t first = strcspn(key, "./");

	if (!path)
		return err_sys(e, ENOMEM, "set sysctl %s", key);
	if (key[first] == '.')
		for (char *p = path; *p; p++)
			*p = *p == '.' ? '/' : *p == '/' ? '.' : *p;
	if (dir < 0)
		return err_sys(e, errno, "set sysctl %s", key);
	fd = inroot_open(dir, path, O_WRONLY, 0);
	if (fd < 0)
		return err_sys(e, -fd, "set sysctl %s", key);
	return write(fd, value, strlen(value)) < 0 ? err_sys(e, errno, "set sysctl %s to \"%s\"", key, value) : 0;
}

/* Of which kind of namespace a setting is, of those that containers have. */
static int sysctl_flag(const char *key)
{
	size_t first = strcspn(key, "./");

	if (first == 3 && !strncmp(key, "net", first))
		return CLONE_NEWNET;
	return str_eq(key, "kernel.hostname") || str_eq(key, "kernel.domainname") ? CLONE_NEWUTS : CLONE_NEWIPC;
}

/* The groups that may ping are the container's: as the machine numbers them. Whoever has none of them says so. */
static void map_groups(const Grpc__Linux *l, const char *value, char *ret, size_t size)
{
	uint32_t low = 1, high = 0;

	snprintf(ret, size, "1 0");
	if (sscanf(value, "%u %u", &low, &high) != 2 || low > high)
		return;
	for (size_t i = 0; i < l->n_gidmappings; i++) {
		const Grpc__LinuxIDMapping *m = l->gidmappings[i];

		if (low < m->containerid || low - m->containerid >= m->size)
			continue;
		if (high - m->containerid >= m->size)
			high = m->containerid + m->size - 1;
		snprintf(ret, size, "%u %u", m->hostid + (low - m->containerid), m->hostid + (high - m->containerid));
	}
}

/*
 * A new user namespace's root may change what is of the namespaces that are made with it, and nothing of those that it
 * finds: the VM's network, the sandbox's IPC. That is changed before.
 */
static int set_sysctls(const struct child_plan *plan, bool before, struct err *e)
{
	const Grpc__Linux *l = plan->spec->linux;
	int r = 0;

	for (size_t i = 0; l && i < l->n_sysctl && r == 0; i++) {
		const char *key = l->sysctl[i]->key, *value = l->sysctl[i]->value;
		bool found = (plan->new_flags & CLONE_NEWUSER) && !(plan->new_flags & sysctl_flag(key));
		char groups[32];

		if (found && str_eq(key, "net.ipv4.ping_group_range")) {
			map_groups(l, value, groups, sizeof groups);
			value = groups;
		}
		if (found == before)
			r = set_sysctl(key, value, e);
	}
	return r;
}

static int stage(struct child *c, struct err *e)
{
	const struct child_plan *plan = c->plan;
	int r;

	/* A container's process must not look into this copy of the agent while it passes its namespaces. */
	prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	r = set_oom_score(plan->process->oomscoreadj, e);
	if (r == 0 && c->user_ns)
		r = set_rlimits(plan->process, e);
	if (r == 0 && !plan->exec && (plan->new_flags & CLONE_NEWNS))
		r = rootfs_open_sources(&c->rootfs, e);
	if (r == 0)
		r = join_namespaces(plan, e);
	if (r == 0 && c->rootfs.source_fds && (plan->new_flags & (CLONE_NEWUSER | CLONE_NEWIPC)) == CLONE_NEWUSER)
		r = rootfs_open_queues(&c->rootfs, e);
	if (r == 0 && !plan->exec && (plan->new_flags & CLONE_NEWNS))
		r = set_sysctls(plan, true, e);
	return r;
}

/* ---- namespaced settings ---- */

static int bring_lo_up(struct err *e)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };

	return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 ? err_sys(e, errno, "bring lo up") : 0;
}

static int set_namespaced(struct child *c, struct err *e)
{
	const struct child_plan *plan = c->plan;
	const Grpc__Spec *spec = plan->spec;
	int r = 0;

	if ((plan->new_flags & CLONE_NEWUTS) && *spec->hostname &&
	    sethostname(spec->hostname, strlen(spec->hostname)) < 0)
		return err_sys(e, errno, "set the host name to %s", spec->hostname);
	if (plan->new_flags & CLONE_NEWNET)
		r = bring_lo_up(e);
	return r < 0 ? r : set_sysctls(plan, false, e);
}

/* ---- stdio ---- */

static int send_master(int sync_fd, int master)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct child_message m = { .kind = CHILD_TTY };
	struct iovec iov = { .iov_base = &m, .iov_len = offsetof(struct child_message, text) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *h = CMSG_FIRSTHDR(&msg);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &master, sizeof(int));
	return sendmsg(sync_fd, &msg, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* root_fd: where /dev/pts is looked up. *ret_slave: the process's end. */
static int make_terminal(struct child *c, int root_fd, int *ret_slave, struct err *e)
{
	const struct child_plan *plan = c->plan;
	const Grpc__Box *size = plan->process->consolesize;
	_cleanup_close_ int master = -1, slave = -1;
	int r = pty_open(root_fd, "/dev/pts/ptmx", &master, &slave);

	if (r < 0)
		return err_sys(e, -r, "allocate a terminal in the container's /dev/pts (is devpts mounted there?)");
	if (size && size->height && size->width)
		pty_resize(slave, (uint16_t)size->height, (uint16_t)size->width);
	if (!plan->exec && (plan->new_flags & CLONE_NEWNS)) {
		r = rootfs_bind_console(&c->rootfs, slave, e);
		if (r < 0)
			return r;
	}
	r = send_master(plan->sync_fd, master);
	if (r < 0)
		return err_sys(e, -r, "hand over the terminal");
	*ret_slave = take_fd(&slave);
	return 0;
}

static int place_stdio(struct child *c, int tty, struct err *e)
{
	const Grpc__User *user = c->plan->process->user;
	int r;

	if (tty >= 0) {
		r = pty_make_controlling(tty);
		if (r < 0)
			return err_sys(e, -r, "make the terminal the controlling one");
	}
	for (int i = 0; i < 3; i++) {
		int fd = tty >= 0 ? tty : c->plan->stdio[i];

		if (dup2(fd, i) < 0)
			return err_sys(e, errno, "place standard input and output");
		/* So that the user can open /dev/stdout again (as runc does); a foreign file may say no. */
		if (user && user->uid && fchown(i, user->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL &&
		    errno != EROFS)
			return err_sys(e, errno, "give standard input and output to user %u", user->uid);
	}
	if (tty > 2)
		close(tty);
	return 0;
}

/* ---- the process ---- */

static int change_dir(const char *cwd, struct err *e)
{
	char where[PATH_MAX];

	if (chdir(cwd) < 0)
		return err_sys(e, errno, "change to the working directory %s", cwd);
	/* The way may lead out through a link in /proc; a path outside the root does not begin with "/". getcwd(2). */
	if (syscall(SYS_getcwd, where, sizeof(where)) < 0 || where[0] != '/')
		return err_set(e, ERR_CONFIG, EPERM, "the working directory %s is outside of the container", cwd);
	return 0;
}

static int build_root(struct child *c, struct err *e)
{
	const struct child_plan *plan = c->plan;
	const Grpc__Hooks *hooks = plan->spec->hooks;
	struct hook_state state = {
		.id = plan->id, .bundle = plan->bundle, .status = "creating", .pid = getpid(), .spec = plan->spec
	};
	int r = rootfs_build(&c->rootfs, e), tty = -1;

	if (r == 0)
		r = set_namespaced(c, e);
	if (r == 0 && hooks && (hooks->n_prestart || hooks->n_createruntime))
		r = tell_and_wait(plan, CHILD_HOOKS, e);
	if (r == 0 && hooks)
		r = hooks_run("createContainer", hooks->createcontainer, hooks->n_createcontainer, &state, e);
	if (r == 0)
		r = rootfs_make_cwd(&c->rootfs, str_empty(plan->process->cwd) ? "/" : plan->process->cwd, e);
	if (r == 0 && plan->process->terminal)
		r = make_terminal(c, c->rootfs.root_fd, &tty, e);
	if (r == 0)
		r = rootfs_finish(&c->rootfs, e);
	if (r == 0)
		r = rootfs_enter(&c->rootfs, e);
	return r < 0 ? r : place_stdio(c, tty, e);
}

static int enter_exec(struct child *c, struct err *e)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int tty = -1, r = root < 0 ? err_sys(e, errno, "open the container's root") : 0;

	if (r == 0 && c->plan->process->terminal)
		r = make_terminal(c, root, &tty, e);
	return r < 0 ? r : place_stdio(c, tty, e);
}

/* Root of a user namespace whose maps the agent writes now. */
static int become_mapped_root(const struct child_plan *plan, struct err *e)
{
	int r = 0;

	if (plan->new_flags & CLONE_NEWUSER) {
		/* Readable for the agent only while it is dumpable; nothing secret has been done yet. */
		prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
		r = tell_and_wait(plan, CHILD_MAPS, e);
		prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	}
	if (r == 0 && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
		return err_sys(e, errno, "become root of the user namespace (is user 0 mapped?)");
	return r;
}

static int load_seccomp(const struct child_plan *plan, struct err *e)
{
	return filter_load(plan->seccomp->program, plan->seccomp->size, plan->seccomp->flags, e);
}

static int drop_privileges(struct child *c, struct err *e)
{
	const Grpc__Process *p = c->plan->process;
	bool filter = c->plan->seccomp->program;
	const char *cwd = str_empty(p->cwd) ? "/" : p->cwd;
	int r = 0;

	if (!c->user_ns)
		r = set_rlimits(p, e);
	if (r == 0 && p->nonewprivileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		r = err_sys(e, errno, "set no_new_privs");
	/*
	 * A filter may be loaded with no_new_privs or CAP_SYS_ADMIN. Where the process keeps one of them, it is loaded
	 * last, so that it sees nothing but execve(2); otherwise now.
	 */
	c->seccomp_late = p->nonewprivileges || (c->caps.effective & c->caps.permitted & CAP_BIT(21));
	if (r == 0 && filter && !c->seccomp_late)
		r = load_seccomp(c->plan, e);
	/* As root first; a directory that only the user may enter (FUSE, NFS) is tried again as the user. */
	if (r == 0 && change_dir(cwd, e) < 0 && (e->code != EACCES || !p->user || !p->user->uid))
		r = -e->code;
	if (r == 0 && err_is_set(e)) {
		*e = (struct err){ 0 };
		r = user_become(p, &c->caps, e);
		return r < 0 ? r : change_dir(cwd, e);
	}
	return r < 0 ? r : user_become(p, &c->caps, e);
}

static int run(struct child *c, struct err *e)
{
	const struct child_plan *plan = c->plan;
	const Grpc__Process *p = plan->process;
	const Grpc__Hooks *hooks = plan->spec->hooks;
	struct hook_state state = {
		.id = plan->id, .bundle = plan->bundle, .status = "created", .pid = getpid(), .spec = plan->spec
	};
	_cleanup_free_ char *path = NULL;
	_cleanup_strv_ struct strv argv = { 0 };
	int r;

	umask(p->user && (p->user->umask & OCI_UMASK_GIVEN) ? p->user->umask & 0777 : 0022);
	if (strv_copy_env(&c->env, p->env, p->n_env) < 0 || strv_copy(&argv, p->args, p->n_args) < 0 ||
	    user_set_home(&c->env, p->user ? p->user->uid : 0) < 0)
		return err_sys(e, ENOMEM, "prepare arguments and environment");
	r = drop_privileges(c, e);
	if (r == 0)
		r = program_find(p->args[0], &c->env, &path, e);
	if (r == 0)
		r = tell_and_wait(plan, CHILD_READY, e);
	/* With runc, whose hooks are started by the process itself, they have its environment. */
	state.env = c->env.v;
	if (r == 0 && !plan->exec && hooks)
		r = hooks_run("startContainer", hooks->startcontainer, hooks->n_startcontainer, &state, e);
	if (r == 0 && plan->seccomp->program && c->seccomp_late)
		r = load_seccomp(plan, e);
	if (r < 0)
		return r;
	execve(path, argv.v, c->env.v);
	return program_exec_error(p->args[0], errno, e);
}

static __attribute__((noreturn)) void process_main(struct child *c)
{
	const struct child_plan *plan = c->plan;
	struct err e = { 0 };
	int r = 0;

	/* Until the agent knows our pid from the stage. */
	wait_go_on(plan);
	setsid();
	if (c->user_ns)
		r = become_mapped_root(plan, &e);
	if (r == 0 && (plan->new_flags & CLONE_NEWCGROUP) && unshare(CLONE_NEWCGROUP) < 0)
		r = err_sys(&e, errno, "create a cgroup namespace");
	if (r == 0 && plan->late_cgroup_ns_fd >= 0 && setns(plan->late_cgroup_ns_fd, CLONE_NEWCGROUP) < 0)
		r = err_sys(&e, errno, "join the cgroup namespace");
	/* Before anything of the container runs: nothing but stdio survives exec. */
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	if (plan->exec)
		fd_close_others((const int[]){ plan->sync_fd, plan->stdio[0], plan->stdio[1], plan->stdio[2] }, 4);
	if (r == 0 && !plan->exec && (plan->new_flags & CLONE_NEWNS))
		r = build_root(c, &e);
	else if (r == 0)
		r = enter_exec(c, &e);
	/* From here on paths are the container's. */
	if (r == 0) {
		fd_close_others(&plan->sync_fd, 1);
		r = run(c, &e);
	}
	if (!err_is_set(&e))
		err_sys(&e, r < 0 ? -r : EIO, "start the process");
	fail(plan, &e);
	__builtin_unreachable();
}

/*
 * What the others have may not wait for us: their input has not ended while a copy of it is open here, and hooks may
 * take long.
 */
static void close_others(const struct child_plan *plan)
{
	int keep[8 + CHILD_JOIN_MAX] = { plan->sync_fd,   plan->stdio[0],   plan->stdio[1],          plan->stdio[2],
					 plan->cgroup_fd, plan->init_pidfd, plan->late_cgroup_ns_fd, log_get_fd() };
	size_t n = 8;

	for (size_t i = 0; i < plan->n_join; i++)
		keep[n++] = plan->join[i].fd;
	fd_close_others(keep, n);
}

void child_stage(const struct child_plan *plan)
{
	struct child c = { .plan = plan };
	struct err e = { 0 };
	int flags = plan->new_flags & ~CLONE_NEWCGROUP, r;
	pid_t pid;

	spawn_reset_signals();
	close_others(plan);
	c.user_ns = (plan->new_flags | plan->init_flags) & CLONE_NEWUSER;
	for (size_t i = 0; i < plan->n_join; i++)
		c.user_ns |= plan->join[i].flag == CLONE_NEWUSER;
	c.rootfs = (struct rootfs){
		.spec = plan->spec,
		.root_fd = -1,
		.user_ns = c.user_ns,
		.cgroup_ns = plan->new_flags & CLONE_NEWCGROUP,
		.cgroup_path = plan->cgroup_path,
		.bundle = plan->bundle,
	};
	caps_from_spec(plan->process->capabilities, &c.caps);
	r = stage(&c, &e);
	if (r < 0)
		fail(plan, &e);
	/*
	 * Before the container's processes can see them: what is only close-on-exec could be reached through
	 * /proc/self/fd, which the container's working directory may be a link to.
	 */
	if (plan->exec)
		fd_close_others((const int[]){ plan->sync_fd, plan->stdio[0], plan->stdio[1], plan->stdio[2],
					       plan->late_cgroup_ns_fd, plan->cgroup_fd },
				6);
	pid = clone_process((unsigned long long)(unsigned)flags | CLONE_PARENT, plan->cgroup_fd);
	if (pid == 0)
		process_main(&c);
	if (pid < 0) {
		err_sys(&e, -pid, "create the process in its namespaces");
		fail(plan, &e);
	}
	_exit(tell(plan->sync_fd, CHILD_PID, pid) < 0);
}
