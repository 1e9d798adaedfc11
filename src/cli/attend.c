/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/attend.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "cli/terminal.h"
#include "sys/pty.h"

struct attendance {
	pid_t pid;
	int master, signals;
	bool stdin_ended;
	char typed[4096]; /* on its way to the terminal */
	size_t n_typed;
};

/* Those that stop or break us stay as they are. */
static void passed_on(sigset_t *set)
{
	static const int ours[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE, SIGABRT, SIGPIPE, SIGTTIN, SIGTTOU, SIGURG };

	sigfillset(set);
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		sigdelset(set, ours[i]);
}

int attend_begin(struct err *e)
{
	sigset_t set;

	passed_on(&set);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? err_sys(e, errno, "cannot block signals") : 0;
}

static void follow_size(const struct attendance *a)
{
	uint16_t rows, columns;

	if (a->master >= 0 && terminal_size(STDIN_FILENO, &rows, &columns) == 0)
		(void)pty_resize(a->master, rows, columns);
}

/* 1: it has ended, with *ret_status. */
static int take_signal(struct attendance *a, int *ret_status)
{
	struct signalfd_siginfo info;
	int status;

	if (read(a->signals, &info, sizeof info) != sizeof info)
		return 0;
	if (info.ssi_signo == SIGCHLD) {
		if (waitpid(a->pid, &status, WNOHANG) != a->pid)
			return 0;
		*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		return 1;
	}
	if (info.ssi_signo == SIGWINCH && a->master >= 0)
		follow_size(a);
	else
		kill(a->pid, (int)info.ssi_signo);
	return 0;
}

/* What the terminal prints. false: nobody holds its other end any more. */
static bool print(const struct attendance *a)
{
	char data[16384];
	ssize_t n = read(a->master, data, sizeof data);

	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return true;
	return n > 0 && fd_write_full(STDOUT_FILENO, data, (size_t)n) == 0;
}

static void type(struct attendance *a)
{
	ssize_t n = write(a->master, a->typed, a->n_typed);

	for (ssize_t i = 0; n > 0 && i + n < (ssize_t)a->n_typed; i++)
		a->typed[i] = a->typed[i + n];
	if (n > 0)
		a->n_typed -= (size_t)n;
}

static void read_typed(struct attendance *a)
{
	ssize_t n = read(STDIN_FILENO, a->typed, sizeof a->typed);

	if (n > 0)
		a->n_typed = (size_t)n;
	else if (n == 0 || (errno != EINTR && errno != EAGAIN))
		a->stdin_ended = true;
}

/* What was printed before the end, and is still on its way. */
static void drain(const struct attendance *a)
{
	while (a->master >= 0 && print(a))
		if (poll(&(struct pollfd){ .fd = a->master, .events = POLLIN }, 1, 0) <= 0)
			break;
}

static int serve(struct attendance *a)
{
	int status;

	for (;;) {
		struct pollfd p[3] = {
			{ .fd = a->signals, .events = POLLIN },
			{ .fd = a->master, .events = (short)(POLLIN | (a->n_typed ? POLLOUT : 0)) },
			{ .fd = a->master >= 0 && !a->stdin_ended && !a->n_typed ? STDIN_FILENO : -1,
			  .events = POLLIN },
		};

		if (poll(p, 3, -1) < 0)
			continue;
		if (p[1].revents & POLLOUT)
			type(a);
		if ((p[1].revents & (POLLIN | POLLHUP | POLLERR)) && !print(a))
			a->master = -1;
		if (p[2].revents)
			read_typed(a);
		if (p[0].revents && take_signal(a, &status) == 1) {
			drain(a);
			return status;
		}
	}
}

int attend(int pid, int master, struct err *e)
{
	struct attendance a = { .pid = pid, .master = master };
	sigset_t set;
	int r;

	passed_on(&set);
	a.signals = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (a.signals < 0)
		return err_sys(e, errno, "cannot wait for the process");
	if (master >= 0) {
		(void)fd_set_nonblock(master, true);
		follow_size(&a);
		(void)terminal_raw(STDIN_FILENO);
	}
	r = serve(&a);
	terminal_restore();
	close(a.signals);
	return r;
}
