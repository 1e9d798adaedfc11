// SPDX-License-Identifier: Apache-2.0
#include "sys/tap.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <linux/mount.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"

#define QUEUE_FLAGS (IFF_TAP | IFF_NO_PI | IFF_VNET_HDR)

static void close_all(int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fd_close(&fds[i]);
}

/* flags: beside those of every queue. */
static int open_queue(const char *name, int flags, int *ret)
{
	_cleanup_close_ int fd = open("/dev/net/tun", O_RDWR | O_CLOEXEC | O_NONBLOCK);
	struct ifreq ifr = { .ifr_flags = (short)(QUEUE_FLAGS | flags) };

	if (fd < 0)
		return -errno;
	if (strlen(name) >= sizeof ifr.ifr_name)
		return -EINVAL;
	strcpy(ifr.ifr_name, name);
	if (ioctl(fd, TUNSETIFF, &ifr) < 0)
		return -errno;
	*ret = take_fd(&fd);
	return 0;
}

int tap_create(const char *name, size_t n, int *fds)
{
	int multi = n > 1 ? IFF_MULTI_QUEUE : 0;

	for (size_t i = 0; i < n; i++) {
		/* Without IFF_TUN_EXCL this would be a queue of whatever tap has the name. */
		int r = open_queue(name, multi | (i ? 0 : IFF_TUN_EXCL), &fds[i]);

		if (r < 0) {
			close_all(fds, i);
			return r;
		}
	}
	return 0;
}

int tap_create_persistent(const char *name)
{
	_cleanup_close_ int fd = -1;
	int r = open_queue(name, IFF_TUN_EXCL, &fd);

	if (r < 0)
		return r;
	return ioctl(fd, TUNSETPERSIST, 1) < 0 ? -errno : 0;
}

/* ---- macvtap ---- */

/* A mount of its own that has no place in the file tree. Of sysfs it shows the calling thread's network namespace. */
static int detached_mount(const char *fstype)
{
	_cleanup_close_ int fs = (int)syscall(SYS_fsopen, fstype, FSOPEN_CLOEXEC);
	int mnt;

	if (fs < 0 || syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
		return -errno;
	mnt = (int)syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, 0);
	return mnt < 0 ? -errno : mnt;
}

/* "246:1\n" */
static int device_number(const char *name, int index, dev_t *ret)
{
	_cleanup_close_ int sysfs = detached_mount("sysfs");
	_cleanup_free_ char *text = NULL;
	unsigned major_no, minor_no;
	char path[64];
	int r;

	if (sysfs < 0)
		return sysfs;
	snprintf(path, sizeof path, "class/net/%.15s/tap%d/dev", name, index);
	r = file_read_at(sysfs, path, 64, &text, NULL);
	if (r < 0)
		return r;
	if (sscanf(text, "%u:%u", &major_no, &minor_no) != 2)
		return -EBADMSG;
	*ret = makedev(major_no, minor_no);
	return 0;
}

int macvtap_open(const char *name, int index, size_t n, int *fds)
{
	_cleanup_close_ int files = -1;
	dev_t dev = 0;
	int r = device_number(name, index, &dev);

	if (r < 0)
		return r;
	files = detached_mount("tmpfs");
	if (files < 0)
		return files;
	if (mknodat(files, "tap", S_IFCHR | 0600, dev) < 0)
		return -errno;
	for (size_t i = 0; i < n && r == 0; i++) {
		struct ifreq ifr = { .ifr_flags = QUEUE_FLAGS | (n > 1 ? IFF_MULTI_QUEUE : 0) };

		fds[i] = openat(files, "tap", O_RDWR | O_CLOEXEC | O_NONBLOCK);
		if (fds[i] < 0 || ioctl(fds[i], TUNSETIFF, &ifr) < 0) {
			r = -errno;
			close_all(fds, fds[i] < 0 ? i : i + 1);
		}
	}
	return r;
}
