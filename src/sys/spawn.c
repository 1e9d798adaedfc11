/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"

/* What the child reports through the pipe when it cannot become the program. */
struct child_failure {
	int code;
	char step[32];
};

static void fail(int report_fd, const char *step)
{
	struct child_failure f = { .code = errno };

	snprintf(f.step, sizeof f.step, "%s", step);
	if (write(report_fd, &f, sizeof f) < 0) {
		/* The parent sees the pipe close and takes it for success; the exit status tells it otherwise. */
	}
	_exit(127);
}

void spawn_reset_signals(void)
{
	struct sigaction dfl = { .sa_handler = SIG_DFL };
	sigset_t none;

	for (int i = 1; i < NSIG; i++)
		sigaction(i, &dfl, NULL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

void spawn_keep_children(void)
{
	signal(SIGCHLD, SIG_DFL);
}

/* Stdio on 0..2. The sources are first lifted above 2, so that they cannot overwrite each other. */
static int place_stdio(const struct spawn *s)
{
	int from[3] = { s->stdin_fd, s->stdout_fd, s->stderr_fd };

	for (int i = 0; i < 3; i++) {
		from[i] = from[i] < 0 ? open("/dev/null", O_RDWR | O_CLOEXEC) : from[i];
		from[i] = fcntl(from[i], F_DUPFD_CLOEXEC, 3);
		if (from[i] < 0)
			return -1;
	}
	for (int i = 0; i < 3; i++)
		if (dup2(from[i], i) < 0)
			return -1;
	return 0;
}

/* Like place_stdio(), from 3 on. */
static int place_passed(const struct spawn *s)
{
	int first = 3, above = first + (int)s->n_pass_fds, from[SPAWN_PASS_MAX];

	for (size_t i = 0; i < s->n_pass_fds; i++) {
		from[i] = fcntl(s->pass_fds[i], F_DUPFD_CLOEXEC, above);
		if (from[i] < 0)
			return -1;
	}
	for (size_t i = 0; i < s->n_pass_fds; i++)
		if (dup2(from[i], first + (int)i) < 0)
			return -1;
	return 0;
}

static __attribute__((noreturn)) void child(const struct spawn *s, pid_t parent, int report_fd)
{
	/* Out of the way of what is passed on. */
	if (s->n_pass_fds)
		report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, 3 + SPAWN_PASS_MAX);
	if (s->die_with_parent) {
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0)
			fail(report_fd, "prctl");
		if (getppid() != parent)
			_exit(127);
	}
	spawn_reset_signals();
	if (s->own_session)
		setsid();
	if (s->netns) {
		_cleanup_close_ int ns = open(s->netns, O_RDONLY | O_CLOEXEC);

		if (ns < 0 || setns(ns, CLONE_NEWNET) < 0)
			fail(report_fd, "network namespace");
	}
	if (s->cwd && chdir(s->cwd) < 0)
		fail(report_fd, "chdir");
	if (place_stdio(s) < 0)
		fail(report_fd, "stdio");
	syscall(SYS_close_range, 3u, ~0u, CLOSE_RANGE_CLOEXEC);
	for (size_t i = 0; i < s->n_keep_fds; i++)
		if (fd_set_cloexec(s->keep_fds[i], false) < 0)
			fail(report_fd, "descriptors");
	if (place_passed(s) < 0)
		fail(report_fd, "descriptors");
	if (s->env)
		execvpe(s->path, s->argv, s->env);
	else
		execvp(s->path, s->argv);
	fail(report_fd, "exec");
	__builtin_unreachable();
}

int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, struct err *e)
{
	_cleanup_close_ int report_r = -1, report_w = -1, pidfd = -1;
	struct child_failure f;
	pid_t parent = getpid(), pid;
	int p[2], r;

	if (s->n_pass_fds > SPAWN_PASS_MAX)
		return err_sys(e, E2BIG, "cannot start %s", s->path);
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot start %s", s->path);
	report_r = p[0];
	report_w = p[1];
	pid = fork();
	if (pid < 0)
		return err_sys(e, errno, "cannot start %s", s->path);
	if (pid == 0)
		child(s, parent, report_w);
	fd_close(&report_w);
	r = fd_read_full(report_r, &f, sizeof f);
	if (r == 0) {
		waitpid(pid, NULL, 0);
		return err_sys(e, f.code, "cannot start %s (%s)", s->path, f.step);
	}
	pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (pidfd < 0) {
		r = errno;
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return err_sys(e, r, "cannot watch %s", s->path);
	}
	*ret_pid = pid;
	if (ret_pidfd)
		*ret_pidfd = take_fd(&pidfd);
	return 0;
}

int spawn_stop(pid_t pid, int pidfd, int grace_ms)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };
	int status = -1;
	pid_t r;

	if (pid <= 0)
		return -1;
	r = waitpid(pid, &status, WNOHANG);
	/* Not our child, or not any more: the number may be somebody else's by now. */
	if (r != 0)
		return r == pid ? status : -1;
	if (grace_ms > 0 && pidfd >= 0) {
		kill(pid, SIGTERM);
		while (poll(&p, 1, grace_ms) < 0 && errno == EINTR)
			;
	}
	kill(pid, SIGKILL);
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return status;
}
