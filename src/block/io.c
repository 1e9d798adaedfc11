/* SPDX-License-Identifier: Apache-2.0 */
#include "block/io.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

static bool aligned(const struct block_io *io, const struct iovec *iov, unsigned n)
{
	uint64_t all = io->offset;

	for (unsigned i = 0; i < n; i++)
		all |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return !(all & (io->file->physical - 1));
}

const struct iovec *block_io_part(struct block_io *io, unsigned *n, int *ret_fd)
{
	const struct iovec *iov = io->iov;
	uint64_t sum = 0;

	*n = 0;
	if (iov->iov_len > BLOCK_PART_MAX) {
		io->part = (struct iovec){ iov->iov_base, BLOCK_PART_MAX };
		iov = &io->part;
		*n = 1;
	} else {
		while (*n < io->n_iov && (sum += iov[*n].iov_len) <= BLOCK_PART_MAX)
			++*n;
	}
	*ret_fd = io->file->direct_fd >= 0 && aligned(io, iov, *n) ? io->file->direct_fd : io->file->fd;
	return iov;
}

int block_io_fallocate_mode(const struct block_io *io)
{
	if (io->kind == BLOCK_DISCARD)
		return io->file->device ? -1 : FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
	if (io->zero_written)
		return -1;
	return (io->unmap ? FALLOC_FL_PUNCH_HOLE : FALLOC_FL_ZERO_RANGE) | FALLOC_FL_KEEP_SIZE;
}

static void consume_memory(struct block_io *io, uint64_t n)
{
	while (n) {
		size_t take = n < io->iov->iov_len ? n : io->iov->iov_len;

		io->iov->iov_base = (char *)io->iov->iov_base + take;
		io->iov->iov_len -= take;
		n -= take;
		if (!io->iov->iov_len) {
			io->iov++;
			io->n_iov--;
		}
	}
}

bool block_io_advance(struct block_io *io, uint64_t n)
{
	if (io->kind == BLOCK_SYNC)
		return true;
	if (io->kind == BLOCK_READ || io->kind == BLOCK_WRITE)
		consume_memory(io, n);
	io->offset += n;
	io->len -= n;
	if (io->len)
		return false;
	/* Writes carry their own flag (RWF_DSYNC); fallocate(2) has none. */
	if (io->durable && (io->kind == BLOCK_DISCARD || io->kind == BLOCK_ZERO)) {
		io->kind = BLOCK_SYNC;
		return false;
	}
	return true;
}

/* Bytes moved, or -errno. */
static ssize_t move(struct block_io *io)
{
	const struct iovec *iov;
	unsigned n;
	ssize_t r;
	int fd;

	iov = block_io_part(io, &n, &fd);
	if (io->kind == BLOCK_READ)
		r = preadv(fd, iov, (int)n, (off_t)io->offset);
	else
		r = pwritev2(fd, iov, (int)n, (off_t)io->offset, io->durable ? RWF_DSYNC : 0);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	/* The range was checked: an end of file inside it means that somebody truncated the file under us. */
	return r ? r : -EIO;
}

static ssize_t write_zeroes(struct block_io *io)
{
	static const uint8_t zeroes[4096];
	struct iovec iov[256];
	unsigned n = 0;
	ssize_t r;

	for (uint64_t left = io->len; left && n < 256; n++) {
		size_t take = left < sizeof zeroes ? left : sizeof zeroes;

		iov[n] = (struct iovec){ (void *)(uintptr_t)zeroes, take };
		left -= take;
	}
	r = pwritev(io->file->fd, iov, (int)n, (off_t)io->offset);
	if (r < 0)
		return errno == EINTR ? 0 : -errno;
	return r ? r : -EIO;
}

static ssize_t discard(struct block_io *io)
{
	uint64_t range[2] = { io->offset, io->len };
	int r;

	if (io->file->device)
		r = ioctl(io->file->fd, BLKDISCARD, range);
	else
		r = fallocate(io->file->fd, block_io_fallocate_mode(io), (off_t)io->offset, (off_t)io->len);
	if (r < 0 && errno == EINTR)
		return 0;
	/* Discarding is advice: a medium that cannot keeps its content. */
	return r < 0 && errno != EOPNOTSUPP ? -errno : (ssize_t)io->len;
}

static ssize_t zero(struct block_io *io)
{
	if (io->zero_written)
		return write_zeroes(io);
	if (fallocate(io->file->fd, block_io_fallocate_mode(io), (off_t)io->offset, (off_t)io->len) == 0)
		return (ssize_t)io->len;
	if (errno == EOPNOTSUPP)
		io->zero_written = true;
	return errno == EOPNOTSUPP || errno == EINTR ? 0 : -errno;
}

int block_io_step(struct block_io *io)
{
	ssize_t r = 0;

	switch (io->kind) {
	case BLOCK_READ:
	case BLOCK_WRITE:
		r = move(io);
		break;
	case BLOCK_SYNC:
		/* Not repeated after a failure: the kernel tells of lost writes once (§5.2.6.2 leaves it to us). */
		r = fdatasync(io->file->fd) < 0 ? -errno : 1;
		break;
	case BLOCK_DISCARD:
		r = discard(io);
		break;
	case BLOCK_ZERO:
		r = zero(io);
		break;
	}
	if (r <= 0)
		return (int)r;
	return block_io_advance(io, (uint64_t)r);
}
