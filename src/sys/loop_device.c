/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/loop_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"

/* Others take loop devices at the same time: the one that was free is taken when we come, so often at most. */
#define ATTEMPTS_MAX 64

/* 1: somebody else was quicker. */
static int try_attach(int control, int file_fd, const struct loop_config *config, char **ret_path, int *ret_fd)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	int n = ioctl(control, LOOP_CTL_GET_FREE);

	if (n < 0)
		return -errno;
	path = str_printf("/dev/loop%d", n);
	if (!path)
		return -ENOMEM;
	fd = open(path, (config->info.lo_flags & LO_FLAGS_READ_ONLY ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (fd < 0)
		return errno == EBUSY || errno == ENXIO ? 1 : -errno;
	if (ioctl(fd, LOOP_CONFIGURE, config) < 0)
		return errno == EBUSY ? 1 : -errno;
	*ret_path = take_ptr(path);
	*ret_fd = take_fd(&fd);
	return 0;
}

int loop_device_attach(const char *file, bool readonly, char **ret_path, int *ret_fd, struct err *e)
{
	_cleanup_close_ int control = -1, fd = open(file, (readonly ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	struct loop_config config = { .info.lo_flags = LO_FLAGS_AUTOCLEAR | (readonly ? LO_FLAGS_READ_ONLY : 0) };
	int r = 1;

	if (fd < 0)
		return err_sys(e, errno, "open %s", file);
	control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	if (control < 0)
		return err_sys(e, errno, "open /dev/loop-control (is the kernel's loop module there?)");
	config.fd = (uint32_t)fd;
	/* A name for losetup(8); what is cut is told by sysfs. */
	strncpy((char *)config.info.lo_file_name, file, LO_NAME_SIZE - 1);
	for (int i = 0; r == 1 && i < ATTEMPTS_MAX; i++)
		r = try_attach(control, fd, &config, ret_path, ret_fd);
	if (r == 1)
		r = -EBUSY;
	return r < 0 ? err_sys(e, -r, "attach %s to a loop device", file) : 0;
}
