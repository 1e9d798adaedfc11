/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One operation on the medium, from the moment it is submitted to an engine until it completes. An operation shrinks
 * from the front as its parts are done; what is left can always be carried on, by any engine.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/list.h"
#include "block/file.h"

/* Bytes that one part moves at most: how long a kick may keep the loop busy. */
#define BLOCK_PART_MAX (4u << 20)

enum block_kind {
	BLOCK_READ,
	BLOCK_WRITE,
	BLOCK_SYNC,    /* what has completed before survives a power cut after this */
	BLOCK_DISCARD, /* the content does not matter any more */
	BLOCK_ZERO,
};

struct block_io {
	struct list node; /* the engine's */
	enum block_kind kind;
	bool durable;      /* complete when it survives a power cut */
	bool unmap;        /* BLOCK_ZERO may free the space */
	bool zero_written; /* BLOCK_ZERO: the medium cannot; zeroes are written */
	const struct block_file *file;
	uint64_t offset, len; /* what is left */
	struct iovec *iov;    /* n_iov pieces of memory, len bytes in all (READ, WRITE) */
	unsigned n_iov;
	struct iovec part; /* scratch of block_io_part() */
	/* Once, from the engine; result: 0 or -errno. The operation is the caller's again. */
	void (*complete)(struct block_io *io, int result);
};

/* The next part of a READ or WRITE: its memory, *n entries, and the descriptor to use. */
const struct iovec *block_io_part(struct block_io *io, unsigned *n, int *ret_fd);
/* The fallocate(2) mode of a DISCARD or ZERO; -1: not done by fallocate. */
int block_io_fallocate_mode(const struct block_io *io);
/* n bytes are done (SYNC: any). True when nothing is left. */
bool block_io_advance(struct block_io *io, uint64_t n);

/* Do one part now, by plain system calls. 1: all is done; 0: go on; -errno. */
int block_io_step(struct block_io *io);
