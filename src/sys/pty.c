/* SPDX-License-Identifier: Apache-2.0 */
/* See pty.h. */
#include "sys/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"

int pty_open(const char *path, int *ret_master, int *ret_slave)
{
	_cleanup_close_ int probe = open(path, O_PATH | O_CLOEXEC | O_NOFOLLOW), master = -1;
	struct statfs fs;
	int unlock = 0, slave;

	if (probe < 0)
		return -errno;
	if (fstatfs(probe, &fs) < 0)
		return -errno;
	if (fs.f_type != DEVPTS_SUPER_MAGIC)
		return -ENOTTY;
	master = open(path, O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
	if (master < 0 || fstatfs(master, &fs) < 0)
		return -errno;
	if (fs.f_type != DEVPTS_SUPER_MAGIC)
		return -ENOTTY;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return -errno;
	/* Not by name: /dev/pts/N may be anything where the file system is not ours. Linux 4.13. */
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return -errno;
	*ret_slave = slave;
	*ret_master = take_fd(&master);
	return 0;
}

int pty_resize(int fd, uint16_t rows, uint16_t columns)
{
	struct winsize size = { .ws_row = rows, .ws_col = columns };

	return ioctl(fd, TIOCSWINSZ, &size) < 0 ? -errno : 0;
}

int pty_make_controlling(int fd)
{
	if (setsid() < 0 && errno != EPERM)
		return -errno;
	return ioctl(fd, TIOCSCTTY, 0) < 0 ? -errno : 0;
}
