/* SPDX-License-Identifier: Apache-2.0 */
#include "block/file.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"

/* Logical sectors beyond this size no disk has; it bounds what a strange device can make us tell the guest. */
#define SECTOR_MAX 65536

static bool plausible(unsigned size)
{
	return size >= BLOCK_SECTOR && size <= SECTOR_MAX && !(size & (size - 1));
}

static int look_at_device(struct block_file *f, const char *name, struct err *e)
{
	unsigned physical = 0;
	int logical = 0;
	uint64_t size;

	if (ioctl(f->fd, BLKGETSIZE64, &size) < 0 || ioctl(f->fd, BLKSSZGET, &logical) < 0)
		return err_sys(e, errno, "cannot ask the block device %s for its size", name);
	if (!plausible((unsigned)logical))
		return err_set(e, ERR_SYSTEM, EINVAL, "the block device %s has sectors of %d bytes", name, logical);
	f->logical = (uint32_t)logical;
	f->physical = ioctl(f->fd, BLKPBSZGET, &physical) == 0 && plausible(physical) ? physical : f->logical;
	f->size = size & ~(uint64_t)(BLOCK_SECTOR - 1);
	return 0;
}

/* Size, kind and identity of what f->fd is. */
static int look_at(struct block_file *f, const char *name, struct stat *st, struct err *e)
{
	if (fstat(f->fd, st) < 0)
		return err_sys(e, errno, "cannot look at %s", name);
	/* As Firecracker does, so that a guest finds its disk by the same id. */
	snprintf(f->id, sizeof f->id, "%ju%ju%ju", (uintmax_t)st->st_dev, (uintmax_t)st->st_rdev,
		 (uintmax_t)st->st_ino);
	if (S_ISBLK(st->st_mode)) {
		f->device = true;
		return look_at_device(f, name, e);
	}
	if (!S_ISREG(st->st_mode))
		return err_set(e, ERR_CONFIG, EINVAL, "%s is neither a file nor a block device", name);
	/* An image keeps its 512-byte sectors wherever it lies, or its partition table would be read wrongly. */
	f->logical = BLOCK_SECTOR;
	f->physical = plausible((unsigned)st->st_blksize) ? (uint32_t)st->st_blksize : 4096;
	f->size = (uint64_t)st->st_size & ~(uint64_t)(BLOCK_SECTOR - 1);
	if (f->size != (uint64_t)st->st_size)
		log_warn("%s is not made of whole sectors: its last %u bytes are not seen by the guest", name,
			 (unsigned)((uint64_t)st->st_size - f->size));
	return 0;
}

static int open_direct(struct block_file *f, const char *path, const char *name, const struct stat *st, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct stat again;

	fd = open(path, (f->readonly ? O_RDONLY : O_RDWR) | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s for direct I/O (not every file system can)", name);
	if (fstat(fd, &again) < 0 || again.st_dev != st->st_dev || again.st_ino != st->st_ino)
		return err_set(e, ERR_SYSTEM, ESTALE, "%s was replaced while it was opened", name);
	f->direct_fd = take_fd(&fd);
	return 0;
}

/* f->fd is open; path: how to open it again. */
static int complete(struct block_file *ret, struct block_file *f, const char *path, const char *name, bool direct,
		    struct err *e)
{
	struct stat st;
	int r = look_at(f, name, &st, e);

	if (r == 0 && direct)
		r = open_direct(f, path, name, &st, e);
	if (r == 0)
		*ret = *f;
	return r;
}

int block_file_open(struct block_file *ret, const char *path, bool readonly, bool direct, struct err *e)
{
	struct block_file f = { .direct_fd = -1, .readonly = readonly };
	int r;

	/* O_NONBLOCK: a FIFO in the place of a disk shall not hang us. It would also make io_uring give up early. */
	f.fd = open(path, (readonly ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (f.fd < 0)
		return err_sys(e, errno, "cannot open the disk %s%s", path, readonly ? "" : " for writing");
	fd_set_nonblock(f.fd, false);
	r = complete(ret, &f, path, path, direct, e);
	if (r < 0)
		fd_close(&f.fd);
	return r;
}

int block_file_take(struct block_file *ret, int fd, bool readonly, bool direct, struct err *e)
{
	struct block_file f = { .fd = fd, .direct_fd = -1, .readonly = readonly };
	char path[32], name[32];
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0)
		return err_sys(e, errno, "cannot use descriptor %d as a disk", fd);
	if ((flags & O_ACCMODE) == O_WRONLY || (!readonly && (flags & O_ACCMODE) != O_RDWR))
		return err_set(e, ERR_CONFIG, EBADF, "descriptor %d is not open for %s", fd,
			       readonly ? "reading" : "reading and writing");
	if ((flags & (O_DIRECT | O_NONBLOCK)) && fcntl(fd, F_SETFL, flags & ~(O_DIRECT | O_NONBLOCK)) < 0)
		return err_sys(e, errno, "cannot change the flags of descriptor %d", fd);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	snprintf(name, sizeof name, "descriptor %d", fd);
	return complete(ret, &f, path, name, direct, e);
}

void block_file_close(struct block_file *f)
{
	fd_close(&f->direct_fd);
	fd_close(&f->fd);
}
