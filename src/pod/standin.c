/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See standin.h. The child of a process that may have threads: between fork(2) and its end it makes system calls only,
 * takes no lock and no memory. It has every signal blocked and reads them from a signalfd, so that whatever is sent to
 * it becomes one message, until it is told how to end.
 */
#include "pod/standin.h"

#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "sys/mounts.h"
#include "sys/namespaces.h"
#include "sys/pty.h"
#include "sys/shown_args.h"
#include "sys/spawn.h"

#define STATUS_OWNER_GONE 255
#define WORD_WINDOW       255 /* no signal has this number */

/* The longest message of standin_show(). */
#define VIEW_SIZE 16384

/* What the child says first: how far it came. */
struct greeting {
	int32_t code; /* errno; 0: it is ready */
	char step[28];
};

/* ---- the child ---- */

static __attribute__((noreturn)) void give_up(int fd, const char *step)
{
	struct greeting g = { .code = errno };

	for (size_t i = 0; i + 1 < sizeof g.step && step[i]; i++)
		g.step[i] = step[i];
	(void)!send(fd, &g, sizeof g, MSG_NOSIGNAL);
	_exit(STATUS_OWNER_GONE);
}

/* ip link set lo up. */
static int bring_up_loopback(void)
{
	struct ifreq q = { .ifr_name = "lo" };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;

	if (fd < 0)
		return -1;
	r = ioctl(fd, SIOCGIFFLAGS, &q);
	q.ifr_flags |= IFF_UP;
	if (r == 0)
		r = ioctl(fd, SIOCSIFFLAGS, &q);
	close(fd);
	return r;
}

static void enter_network(const struct standin_params *p, int fd)
{
	int ns;

	if (p->new_netns) {
		if (unshare(CLONE_NEWNET) < 0 || bring_up_loopback() < 0)
			give_up(fd, "new network namespace");
		return;
	}
	if (!p->netns)
		return;
	ns = open(p->netns, O_RDONLY | O_CLOEXEC);
	if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
		give_up(fd, "network namespace");
	close(ns);
}

static void mount_proc(void)
{
	(void)mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
}

/*
 * In namespaces of its own it sees nothing but itself: clients that look into a container's /proc (podman top) would
 * find all of the host there. Without the right to mount it stays as it is.
 * Returns whether its mounts are its own.
 */
static bool hide_host_processes(void)
{
	if (getpid() != 1 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return false;
	mount_proc();
	return true;
}

/* Let the mount at path be the root, and nothing of the old one remain. */
static int enter_root(const char *path)
{
	if (chdir(path) < 0 || syscall(SYS_pivot_root, ".", ".") < 0)
		return -1;
	return umount2(".", MNT_DETACH) < 0 || chdir("/") < 0 ? -1 : 0;
}

static void make_readonly(int mount_fd)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };

	(void)mount_setattr(mount_fd, "", AT_EMPTY_PATH, &readonly, sizeof readonly);
}

/* What a message says of a mount, in front of its source. */
enum way { WRITABLE = 'w', READONLY = 'r', EMPTY = 'e' };

/* The mount that is meant, with no place yet; given: it came with the message. -1: there is none. */
static int take_up(const char *source, int given)
{
	int fd = given >= 0 ? given : *source == EMPTY ? -1 : mount_clone_at(AT_FDCWD, source + 1, true);

	if (fd >= 0 && *source == READONLY)
		make_readonly(fd);
	return fd < 0 ? -1 : fd;
}

static void show_empty(const char *target)
{
	(void)mount("tmpfs", target, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555");
}

/* There is nothing but /proc. */
static int show_empty_root(void)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };

	if (mount("tmpfs", "/proc", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=0555") < 0 ||
	    mkdir("/proc/proc", 0555) < 0 || enter_root("/proc") < 0)
		return -1;
	mount_proc();
	return mount_setattr(AT_FDCWD, "/", 0, &readonly, sizeof readonly);
}

/*
 * The message of standin_show(): source and target of each bind, all zero-terminated, the root first. Sources are taken
 * up before the root changes, and targets looked up behind that: no link in a container's root leads out of it.
 * root_mount becomes ours; -1: the root is at its source.
 */
static void look(const char *view, size_t n, int root_mount)
{
	const char *end = view + n, *p = view, *source[STANDIN_BINDS_MAX], *target[STANDIN_BINDS_MAX];
	int fds[STANDIN_BINDS_MAX], n_binds = 0, r = -1;

	while (p < end && n_binds < STANDIN_BINDS_MAX) {
		source[n_binds] = p;
		p += strlen(p) + 1;
		if (p >= end)
			break;
		target[n_binds] = p;
		p += strlen(p) + 1;
		fds[n_binds] = take_up(source[n_binds], n_binds ? -1 : root_mount);
		n_binds++;
	}
	if (n_binds && *source[0] == EMPTY)
		(void)show_empty_root();
	else if (n_binds && fds[0] >= 0 && mount_attach_path(fds[0], source[0] + 1) == 0)
		r = enter_root(source[0] + 1);
	if (r == 0)
		mount_proc();
	for (int i = 0; i < n_binds; i++) {
		if (r == 0 && i && *source[i] == EMPTY)
			show_empty(target[i]);
		else if (r == 0 && i && fds[i] >= 0)
			(void)mount_attach_path(fds[i], target[i]);
		if (fds[i] >= 0)
			close(fds[i]);
	}
}

static void close_others(const struct standin_params *p, int fd)
{
	int keep[STANDIN_KEEP_MAX + 1] = { fd };

	for (size_t i = 0; i < p->n_keep_fds; i++)
		keep[i + 1] = p->keep_fds[i];
	fd_close_others(keep, p->n_keep_fds + 1);
}

static void place_stdio(const struct standin_params *p, int fd)
{
	int from = p->terminal_fd;

	if (p->keep_stdio)
		return;
	if (from < 0)
		from = open("/dev/null", O_RDWR | O_CLOEXEC);
	for (int i = 0; i <= STDERR_FILENO; i++)
		if (from < 0 || dup2(from, i) < 0)
			give_up(fd, "streams");
}

/* The owner's word for a signal; 0: none. */
static uint8_t word_of(const struct signalfd_siginfo *info)
{
	if (info->ssi_signo == SIGCHLD)
		return 0;
	/* A terminal's change of size comes from the kernel; from others SIGWINCH is a signal like any other. */
	if (info->ssi_signo == SIGWINCH && info->ssi_code == SI_KERNEL)
		return WORD_WINDOW;
	return (uint8_t)info->ssi_signo;
}

union control {
	struct cmsghdr header;
	char data[CMSG_SPACE(sizeof(int))];
};

/* A message with the descriptor that came with it; -1: none. As recv(2). */
static ssize_t receive(int fd, char *message, size_t size, int *ret_passed)
{
	union control control;
	struct iovec v = { .iov_base = message, .iov_len = size };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	struct cmsghdr *c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	*ret_passed = -1;
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_passed, CMSG_DATA(c), sizeof(int));
	return n;
}

/* Serve until the end. */
static __attribute__((noreturn)) void serve(int fd, int signals, bool own_mounts)
{
	static char message[VIEW_SIZE];
	struct pollfd p[2] = { { .fd = fd }, { .fd = signals } };
	struct signalfd_siginfo info;
	uint8_t word = 0;
	int passed;
	ssize_t n;

	for (;;) {
		/* While a word waits for room no more signals are taken: the kernel keeps them. */
		p[0].events = (short)(POLLIN | (word ? POLLOUT : 0));
		p[1].events = word ? 0 : POLLIN;
		if (poll(p, 2, -1) < 0)
			continue;
		if (p[0].revents & (POLLIN | POLLHUP | POLLERR)) {
			n = receive(fd, message, sizeof message, &passed);
			if (n == 1)
				_exit((uint8_t)message[0]);
			if (n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR))
				_exit(STATUS_OWNER_GONE);
			if (n > 0 && own_mounts && message[n - 1] == 0)
				look(message, (size_t)n, passed);
			else if (passed >= 0)
				close(passed);
		}
		if (!word && (p[1].revents & POLLIN) && read(signals, &info, sizeof info) == sizeof info)
			word = word_of(&info);
		if (word && send(fd, &word, sizeof word, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof word)
			word = 0;
	}
}

static __attribute__((noreturn)) void child(const struct standin_params *p, const struct shown_args *args, int fd)
{
	struct greeting ready = { 0 };
	bool own_mounts;
	sigset_t all;
	int signals;

	spawn_reset_signals();
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	prctl(PR_SET_NAME, p->name ? p->name : "caisson-standin");
	shown_args_set(args);
	setsid();
	if (chdir("/") < 0)
		give_up(fd, "chdir");
	enter_network(p, fd);
	own_mounts = hide_host_processes();
	place_stdio(p, fd);
	if (p->terminal_fd >= 0 && pty_make_controlling(p->terminal_fd) < 0)
		give_up(fd, "controlling terminal");
	close_others(p, fd);
	signals = signalfd(-1, &all, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0)
		give_up(fd, "signals");
	if (send(fd, &ready, sizeof ready, MSG_NOSIGNAL) != sizeof ready)
		_exit(STATUS_OWNER_GONE);
	serve(fd, signals, own_mounts);
}

/* ---- the owner ---- */

static int await_greeting(int fd, const char *name, const char *netns, struct err *e)
{
	struct greeting g;
	ssize_t n;

	do
		n = recv(fd, &g, sizeof g, 0);
	while (n < 0 && errno == EINTR);
	if (n != sizeof g)
		return err_set(e, ERR_SYSTEM, ESRCH, "the stand-in of %s ended at once", name);
	g.step[sizeof g.step - 1] = 0;
	if (g.code && netns)
		return err_sys(e, g.code, "cannot start the stand-in of %s in %s (%s)", name, netns, g.step);
	return g.code ? err_sys(e, g.code, "cannot start the stand-in of %s (%s)", name, g.step) : 0;
}

int standin_start(const struct standin_params *params, pid_t *ret_pid, int *ret_fd, struct err *e)
{
	const char *name = params->name ? params->name : "a process";
	_cleanup_close_ int ours = -1, theirs = -1;
	_cleanup_shown_args_ struct shown_args args = { 0 };
	int pair[2], r;
	pid_t pid;

	if (params->n_keep_fds > STANDIN_KEEP_MAX)
		return err_sys(e, E2BIG, "cannot start the stand-in of %s", name);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "cannot start the stand-in of %s", name);
	ours = pair[0];
	theirs = pair[1];
	shown_args_prepare(&args, params->args, params->n_args);
	pid = clone_process(CLONE_NEWPID | CLONE_NEWNS, -1);
	if (pid < 0)
		pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "cannot start the stand-in of %s", name);
	if (pid == 0)
		child(params, &args, theirs);
	fd_close(&theirs);
	r = await_greeting(ours, name, params->netns, e);
	if (r < 0) {
		while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
			;
		return r;
	}
	*ret_pid = pid;
	*ret_fd = take_fd(&ours);
	return 0;
}

/* Append a string with its zero. False: there is no room. */
static bool append(char *message, size_t *n, const char *text)
{
	size_t length = strlen(text) + 1;

	if (length > VIEW_SIZE - *n)
		return false;
	memcpy(message + *n, text, length);
	*n += length;
	return true;
}

static void send_view(int fd, char *message, size_t n, int root_mount)
{
	union control control = { 0 };
	struct iovec v = { .iov_base = message, .iov_len = n };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	if (root_mount >= 0) {
		m.msg_control = &control;
		m.msg_controllen = sizeof control;
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &root_mount, sizeof(int));
	}
	(void)!sendmsg(fd, &m, MSG_DONTWAIT | MSG_NOSIGNAL);
}

void standin_show(int fd, int root_mount, const struct standin_bind *binds, size_t n)
{
	char message[VIEW_SIZE];
	size_t used = 0, whole = 0;

	for (size_t i = 0; i < n && i < STANDIN_BINDS_MAX && used < VIEW_SIZE; i++) {
		const struct standin_bind *b = &binds[i];

		message[used++] = !b->source ? EMPTY : b->readonly ? READONLY : WRITABLE;
		if (!append(message, &used, b->source ? b->source : "") || !append(message, &used, b->target))
			break;
		whole = used;
	}
	if (whole)
		send_view(fd, message, whole, root_mount);
}

int standin_end(int fd, int status)
{
	uint8_t word = (uint8_t)status;

	return send(fd, &word, sizeof word, MSG_DONTWAIT | MSG_NOSIGNAL) == sizeof word ? 0 : -errno;
}

enum standin_word standin_read(int fd, int *ret_signo)
{
	uint8_t word;
	ssize_t n = recv(fd, &word, sizeof word, MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return STANDIN_NOTHING;
	if (n != sizeof word)
		return STANDIN_GONE;
	if (word == WORD_WINDOW)
		return STANDIN_WINCH;
	if (word == 0 || word >= NSIG)
		return STANDIN_NOTHING;
	*ret_signo = word;
	return STANDIN_SIGNAL;
}
