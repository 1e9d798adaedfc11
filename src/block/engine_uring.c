/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Operations by io_uring: one entry per part, the medium's descriptors registered, completions in any order, told by
 * the ring's own descriptor in the loop (readable while there are completions; no eventfd to be read besides).
 *
 * What the ring refuses (an operation that this kernel or file system cannot do, an entry that was cancelled because
 * the thread that submitted it ended) is carried on by plain system calls, part by part, so that both engines give the
 * same results. An error of the medium is final: above all a failed sync is not asked again, as the kernel tells of
 * lost writes once.
 */
#include "block/engine.h"

#include <errno.h>
#include <liburing.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Slots of the registered descriptors. */
enum { SLOT_CACHED, SLOT_DIRECT, SLOTS };

/* The kernel had no memory for an entry: ask again after this time. */
#define BUSY_MS 1

struct uring {
	struct block_engine base;
	struct io_uring ring;
	bool open, has_files, completed;
	unsigned inflight; /* entries in the ring or in the kernel */
	struct list plain; /* operations whose next part goes by plain system calls */
	struct loop_source *event, *again;
};

static struct uring *uring(struct block_engine *e)
{
	return container_of(e, struct uring, base);
}

static void prepare(struct io_uring_sqe *sqe, struct block_io *io)
{
	const struct iovec *iov;
	int fd = io->file->fd;
	unsigned n;

	switch (io->kind) {
	case BLOCK_READ:
		iov = block_io_part(io, &n, &fd);
		io_uring_prep_readv(sqe, 0, iov, n, io->offset);
		break;
	case BLOCK_WRITE:
		iov = block_io_part(io, &n, &fd);
		io_uring_prep_writev(sqe, 0, iov, n, io->offset);
		sqe->rw_flags = io->durable ? RWF_DSYNC : 0;
		break;
	case BLOCK_SYNC:
		io_uring_prep_fsync(sqe, 0, IORING_FSYNC_DATASYNC);
		break;
	case BLOCK_DISCARD:
	case BLOCK_ZERO:
		io_uring_prep_fallocate(sqe, 0, block_io_fallocate_mode(io), (off_t)io->offset, (off_t)io->len);
		break;
	}
	sqe->fd = fd == io->file->direct_fd ? SLOT_DIRECT : SLOT_CACHED;
	sqe->flags |= IOSQE_FIXED_FILE;
	io_uring_sqe_set_data(sqe, io);
}

/* Put the next part of io where it will be done. */
static void carry_on(struct uring *u, struct block_io *io)
{
	bool trim = io->kind == BLOCK_DISCARD || io->kind == BLOCK_ZERO;
	struct io_uring_sqe *sqe = NULL;

	if (!trim || block_io_fallocate_mode(io) >= 0)
		sqe = io_uring_get_sqe(&u->ring);
	if (!sqe) {
		list_append(&u->plain, &io->node);
		return;
	}
	prepare(sqe, io);
	u->inflight++;
}

static void finish(struct uring *u, struct block_io *io, int result)
{
	u->completed = true;
	io->complete(io, result);
}

static bool refused(int res)
{
	return res == -EINVAL || res == -EOPNOTSUPP || res == -EAGAIN || res == -EINTR || res == -ECANCELED;
}

/* A part of io came back from the kernel. */
static void on_result(struct uring *u, struct block_io *io, int res)
{
	bool moves = io->kind == BLOCK_READ || io->kind == BLOCK_WRITE;

	if (refused(res))
		list_append(&u->plain, &io->node);
	else if (res < 0 || (moves && res == 0)) /* 0: see move() of io.c */
		finish(u, io, res ? res : -EIO);
	else if (block_io_advance(io, moves ? (uint64_t)res : io->len))
		finish(u, io, 0);
	else
		carry_on(u, io);
}

static void reap(struct uring *u)
{
	struct io_uring_cqe *cqe;

	while (io_uring_peek_cqe(&u->ring, &cqe) == 0) {
		struct block_io *io = io_uring_cqe_get_data(cqe);
		int res = cqe->res;

		io_uring_cqe_seen(&u->ring, cqe);
		u->inflight--;
		on_result(u, io, res);
	}
}

/* One part of each operation that the ring does not take. */
static void do_plain(struct uring *u)
{
	struct block_io *io;
	struct list end;

	list_append(&u->plain, &end); /* what comes behind it has its turn later */
	while (u->plain.next != &end) {
		int r;

		io = list_first(&u->plain, struct block_io, node);
		list_remove(&io->node);
		r = block_io_step(io);
		if (r == 0)
			carry_on(u, io);
		else
			finish(u, io, r < 0 ? r : 0);
	}
	list_remove(&end);
}

static void turn(struct uring *u)
{
	do_plain(u);
	/* Reads from the page cache complete inside the call. A failure leaves the entries in the ring. */
	io_uring_submit(&u->ring);
	reap(u);
	if (io_uring_sq_ready(&u->ring))
		io_uring_submit(&u->ring);
	if (!list_empty(&u->plain))
		loop_timer_set(u->again, 0);
	else
		loop_timer_set(u->again, io_uring_sq_ready(&u->ring) ? BUSY_MS : UINT64_MAX);
	if (u->completed) {
		u->completed = false;
		u->base.batch_done(u->base.userdata);
	}
}

static void on_event(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	turn(userdata);
}

static void on_again(struct loop_source *s, void *userdata)
{
	turn(userdata);
}

static void submit(struct block_engine *e, struct block_io *io)
{
	carry_on(uring(e), io);
}

static void kick(struct block_engine *e)
{
	turn(uring(e));
}

static void drain(struct block_engine *e)
{
	struct uring *u = uring(e);

	turn(u);
	while (u->inflight || !list_empty(&u->plain)) {
		if (list_empty(&u->plain))
			io_uring_submit_and_wait(&u->ring, 1);
		turn(u);
	}
}

static int set_file(struct block_engine *e, const struct block_file *f)
{
	struct uring *u = uring(e);
	int fds[SLOTS] = { [SLOT_CACHED] = f->fd, [SLOT_DIRECT] = f->direct_fd };
	int r;

	r = u->has_files ? io_uring_register_files_update(&u->ring, 0, fds, SLOTS)
			 : io_uring_register_files(&u->ring, fds, SLOTS);
	if (r < 0)
		return r;
	u->has_files = true;
	return 0;
}

static void uring_free(struct block_engine *e)
{
	struct uring *u = uring(e);

	loop_source_free(u->again);
	loop_source_free(u->event);
	if (u->open)
		io_uring_queue_exit(&u->ring);
	free(u);
}

static const struct block_engine_ops ops = {
	.name = "io_uring",
	.submit = submit,
	.kick = kick,
	.drain = drain,
	.set_file = set_file,
	.free = uring_free,
};

/*
 * The ring may do what is written above and nothing else, for the rest of its life. It works beside the filter of
 * system calls that the VM's threads are under (seccomp(2)), and could open files or connect otherwise.
 */
static int restrict_ring(struct io_uring *ring)
{
	struct io_uring_restriction allowed[] = {
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_READV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_WRITEV },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FSYNC },
		{ .opcode = IORING_RESTRICTION_SQE_OP, .sqe_op = IORING_OP_FALLOCATE },
		{ .opcode = IORING_RESTRICTION_SQE_FLAGS_REQUIRED, .sqe_flags = IOSQE_FIXED_FILE },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_FILES },
		{ .opcode = IORING_RESTRICTION_REGISTER_OP, .register_op = IORING_REGISTER_FILES_UPDATE },
	};
	unsigned n = sizeof allowed / sizeof *allowed;

	/* liburing has functions for both, which Debian 12's shared library does not export. */
	if (syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_RESTRICTIONS, allowed, n) < 0 ||
	    syscall(SYS_io_uring_register, ring->ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0) < 0)
		return -errno;
	return 0;
}

int block_engine_uring_new(struct loop *loop, struct block_engine **ret)
{
	struct uring *u = calloc(1, sizeof *u);
	int r;

	if (!u)
		return -ENOMEM;
	u->base.ops = &ops;
	list_init(&u->plain);
	/* Before Linux 5.10 rings cannot be restricted, and are not used. */
	r = io_uring_queue_init(BLOCK_INFLIGHT_MAX, &u->ring, IORING_SETUP_R_DISABLED);
	u->open = r == 0;
	if (r == 0)
		r = restrict_ring(&u->ring);
	if (r == 0)
		r = loop_add_io(loop, u->ring.ring_fd, EPOLLIN, on_event, u, &u->event);
	if (r == 0)
		r = loop_add_timer(loop, UINT64_MAX, on_again, u, &u->again);
	if (r < 0) {
		uring_free(&u->base);
		return r;
	}
	*ret = &u->base;
	return 0;
}
