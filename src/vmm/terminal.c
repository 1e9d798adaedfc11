/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/terminal.h"

#include <fcntl.h>
#include <signal.h>
#include <termios.h>
#include <unistd.h>

/* The terminal of this process and how it was: a signal handler gets nothing handed in. */
static struct {
	bool raw, nonblocking;
	struct termios before;
} terminal;

void terminal_take(void)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, &terminal.before) < 0)
		return;
	raw = terminal.before;
	cfmakeraw(&raw);
	terminal.raw = tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

void terminal_output(void)
{
	int flags = fcntl(STDOUT_FILENO, F_GETFL);

	/* The flag belongs to the open file, which the shell may share with us. */
	if (flags >= 0 && !(flags & O_NONBLOCK))
		terminal.nonblocking = fcntl(STDOUT_FILENO, F_SETFL, flags | O_NONBLOCK) == 0;
}

void terminal_restore(void)
{
	if (terminal.raw)
		tcsetattr(STDIN_FILENO, TCSANOW, &terminal.before);
	terminal.raw = false;
	if (terminal.nonblocking) {
		int flags = fcntl(STDOUT_FILENO, F_GETFL);

		if (flags >= 0)
			fcntl(STDOUT_FILENO, F_SETFL, flags & ~O_NONBLOCK);
	}
	terminal.nonblocking = false;
}

static const struct {
	int signo, status;
} faults[] = {
	{ SIGSYS, 148 },  { SIGBUS, 149 }, { SIGSEGV, 150 }, { SIGXFSZ, 151 },
	{ SIGXCPU, 154 }, { SIGHUP, 156 }, { SIGILL, 157 },
};

static void on_fault(int signo)
{
	terminal_restore();
	for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
		if (faults[i].signo == signo)
			_exit(faults[i].status);
	_exit(1);
}

void terminal_catch_faults(void)
{
	struct sigaction sa = { .sa_handler = on_fault, .sa_flags = (int)SA_RESETHAND };

	for (unsigned i = 0; i < sizeof faults / sizeof faults[0]; i++)
		sigaction(faults[i].signo, &sa, NULL);
	sa = (struct sigaction){ .sa_handler = SIG_IGN };
	sigaction(SIGPIPE, &sa, NULL);
}
