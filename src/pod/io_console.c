/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/io_console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <termios.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"

static int make_raw(int fd)
{
	struct termios t;

	if (tcgetattr(fd, &t) < 0)
		return -errno;
	cfmakeraw(&t);
	return tcsetattr(fd, TCSANOW, &t) < 0 ? -errno : 0;
}

/* One message: the terminal's name, and the descriptor with it. */
static int send_master(const char *socket_path, int master, const char *name)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)name, .iov_len = strlen(name) };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control.space, .msg_controllen = sizeof control.space
	};
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	_cleanup_close_ int fd = -1;
	int r = unix_connect(socket_path, &fd);

	if (r < 0)
		return r;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &master, sizeof(int));
	return sendmsg(fd, &m, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

int io_console_open(const char *socket_path, int *ret_slave, struct err *e)
{
	_cleanup_close_ int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave = -1;
	char name[64] = "";
	int r = 0;

	if (master < 0 || unlockpt(master) < 0 || ptsname_r(master, name, sizeof name) != 0)
		return err_sys(e, errno, "cannot make a terminal");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0 || (r = make_raw(slave)) < 0)
		return err_sys(e, r ? -r : errno, "cannot make a terminal");
	r = send_master(socket_path, master, name);
	if (r < 0)
		return err_sys(e, -r, "cannot hand the terminal over at the console socket %s", socket_path);
	*ret_slave = take_fd(&slave);
	return 0;
}
