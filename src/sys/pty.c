/* SPDX-License-Identifier: Apache-2.0 */
/* See pty.h. */
#include "sys/pty.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sys/inroot.h"

/* Documentation/admin-guide/devices.txt: 5:2 is ptmx; the other nodes of a devpts are slaves. */
static int is_ptmx(int fd)
{
	struct statfs fs;
	struct stat st;

	if (fstatfs(fd, &fs) < 0 || fstat(fd, &st) < 0)
		return -errno;
	return fs.f_type == DEVPTS_SUPER_MAGIC && st.st_rdev == makedev(5, 2) ? 0 : -ENOTTY;
}

int pty_open(int root_fd, const char *path, int *ret_master, int *ret_slave)
{
	_cleanup_close_ int probe = inroot_open(root_fd, path, O_PATH, 0), master = -1;
	int unlock = 0, slave, r;

	/* Looked at before it is opened, which may have effects, and again afterwards: it may have been exchanged. */
	r = probe < 0 ? probe : is_ptmx(probe);
	if (r < 0)
		return r;
	master = inroot_open(root_fd, path, O_RDWR | O_NOCTTY | O_NONBLOCK, 0);
	r = master < 0 ? master : is_ptmx(master);
	if (r < 0)
		return r;
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
