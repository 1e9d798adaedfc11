// SPDX-License-Identifier: Apache-2.0
/* Volumes as CSI sees them: how full, and growing them. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/rpc.h"
#include "agent/storage.h"
#include "base/fd.h"
#include "proto/csi.pb-c.h"

/* Of the kernel's ext4 (fs/ext4/ext4.h): no header for programs has it. Argument: the new number of blocks. */
#define EXT4_IOC_RESIZE_FS _IOW('f', 16, uint64_t)

RPC(rpc_get_volume_stats)
{
	const Grpc__VolumeStatsRequest *m = (const Grpc__VolumeStatsRequest *)message;
	Grpc__VolumeStatsResponse resp = GRPC__VOLUME_STATS_RESPONSE__INIT;
	Grpc__VolumeUsage bytes = GRPC__VOLUME_USAGE__INIT, inodes = GRPC__VOLUME_USAGE__INIT;
	Grpc__VolumeUsage *usage[] = { &bytes, &inodes };
	Grpc__VolumeCondition condition = GRPC__VOLUME_CONDITION__INIT;
	struct err e = { 0 };
	struct statvfs st;

	(void)userdata;
	if (!storage_path_valid(m->volume_guest_path)) {
		err_set(&e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not an absolute path", m->volume_guest_path);
		rpc_fail(req, &e);
		return;
	}
	if (statvfs(m->volume_guest_path, &st) < 0) {
		err_sys(&e, errno, "volume %.128s", m->volume_guest_path);
		rpc_fail(req, &e);
		return;
	}
	bytes.total = st.f_blocks * st.f_frsize;
	bytes.available = st.f_bavail * st.f_frsize;
	bytes.used = (st.f_blocks - st.f_bfree) * st.f_frsize;
	bytes.unit = GRPC__UNIT__BYTES;
	inodes.total = st.f_files;
	inodes.available = st.f_ffree;
	inodes.used = st.f_files - st.f_ffree;
	inodes.unit = GRPC__UNIT__INODES;
	resp.usage = usage;
	resp.n_usage = 2;
	resp.volume_condition = &condition;
	ttrpc_reply(req, &resp.base);
}

static int resize(const char *path, uint64_t size, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct statfs st;
	uint64_t blocks;

	if (!storage_path_valid(path))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.128s\" is not an absolute path", path);
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0 || fstatfs(fd, &st) < 0)
		return err_sys(e, errno, "volume %.128s", path);
	if (st.f_type != EXT4_SUPER_MAGIC)
		return err_set(e, ERR_PROTOCOL, ENOSYS, "volume %.128s: only ext4 can be resized by this agent", path);
	blocks = size / (uint64_t)st.f_bsize;
	if (blocks < st.f_blocks)
		return err_set(e, ERR_PROTOCOL, EINVAL, "volume %.128s cannot become smaller", path);
	if (ioctl(fd, EXT4_IOC_RESIZE_FS, &blocks) < 0)
		return err_sys(e, errno, "cannot resize volume %.128s to %llu bytes", path, (unsigned long long)size);
	return 0;
}

/* Is the disk of this volume smaller? False also where that cannot be told. */
static bool disk_is_smaller(const char *path, uint64_t size)
{
	_cleanup_free_ char *text = NULL;
	char sysfs[64];
	struct stat st;

	if (!storage_path_valid(path) || stat(path, &st) < 0)
		return false;
	snprintf(sysfs, sizeof sysfs, "/sys/dev/block/%u:%u/size", major(st.st_dev), minor(st.st_dev));
	return file_read(sysfs, 64, &text, NULL) == 0 && strtoull(text, NULL, 10) * 512 < size;
}

/* The kernel learns of a disk's new size in its own time, and tells by an event. */
static bool try_resize(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__ResizeVolumeRequest *m = (const Grpc__ResizeVolumeRequest *)ttrpc_request_message(req);
	bool smaller = disk_is_smaller(m->volume_guest_path, m->size);
	struct err e = { 0 };
	int r;

	(void)a;
	if (smaller && !last)
		return false;
	r = smaller ? err_set(&e, ERR_PROTOCOL, ENOSPC, "volume %.128s: its disk has less than %llu bytes",
			      m->volume_guest_path, (unsigned long long)m->size)
		    : resize(m->volume_guest_path, m->size, &e);
	rpc_result(req, r, &e);
	return true;
}

RPC(rpc_resize_volume)
{
	(void)message;
	agent_wait_device(userdata, req, try_resize);
}
