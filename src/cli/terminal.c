/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/terminal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* The one terminal of this process and how it was: needed by whoever ends the program. */
static struct {
	int fd;
	bool raw;
	struct termios before;
} terminal = { .fd = -1 };

int terminal_raw(int fd)
{
	struct termios raw;

	if (tcgetattr(fd, &terminal.before) < 0)
		return -errno;
	raw = terminal.before;
	cfmakeraw(&raw);
	if (tcsetattr(fd, TCSANOW, &raw) < 0)
		return -errno;
	terminal.fd = fd;
	terminal.raw = true;
	return 0;
}

void terminal_restore(void)
{
	if (terminal.raw)
		tcsetattr(terminal.fd, TCSADRAIN, &terminal.before);
	terminal.raw = false;
}

int terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns)
{
	struct winsize w;

	if (ioctl(fd, TIOCGWINSZ, &w) < 0)
		return -errno;
	*ret_rows = w.ws_row;
	*ret_columns = w.ws_col;
	return 0;
}

void progress_show(const char *text)
{
	static bool shown;
	char line[256];
	int n;

	if (!text && !shown)
		return;
	if (!isatty(STDERR_FILENO))
		return;
	/* Carriage return and "erase to the end of the line" (ECMA-48 EL). */
	n = snprintf(line, sizeof line, "\r\033[K%s", text ? text : "");
	if (write(STDERR_FILENO, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1) < 0)
		return;
	shown = text != NULL;
}
