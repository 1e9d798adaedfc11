/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"

void console_close(struct console *c)
{
	fd_close(&c->master);
	fd_close(&c->slave);
}

int console_open(struct console *c, uint32_t rows, uint32_t columns, struct err *e)
{
	struct winsize size = { .ws_row = (unsigned short)rows, .ws_col = (unsigned short)columns };
	struct termios t;

	*c = CONSOLE_NONE;
	c->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->master < 0 || unlockpt(c->master) < 0 || ptsname_r(c->master, c->name, sizeof c->name) != 0)
		goto failed;
	c->slave = open(c->name, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (c->slave < 0 || tcgetattr(c->slave, &t) < 0)
		goto failed;
	cfmakeraw(&t);
	if (tcsetattr(c->slave, TCSANOW, &t) < 0 || (rows && columns && ioctl(c->slave, TIOCSWINSZ, &size) < 0))
		goto failed;
	return 0;
failed:
	err_sys(e, errno, "cannot make a terminal");
	console_close(c);
	return -EIO;
}

/* The slave's name goes along, for people who look at the receiver's log. */
static int send_master(int fd, const struct console *c)
{
	union {
		struct cmsghdr header;
		char data[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec v = { .iov_base = (void *)c->name, .iov_len = strlen(c->name) };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *h = CMSG_FIRSTHDR(&m);

	h->cmsg_level = SOL_SOCKET;
	h->cmsg_type = SCM_RIGHTS;
	h->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(h), &c->master, sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int console_send(struct console *c, const char *path, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = unix_connect(path, &fd);

	if (r == 0)
		r = send_master(fd, c);
	if (r < 0)
		return err_sys(e, -r, "cannot send the terminal to --console-socket %s", path);
	fd_close(&c->master);
	return 0;
}
