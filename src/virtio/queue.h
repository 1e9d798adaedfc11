/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device side of a split virtqueue (VirtIO 1.2 §2.7) with indirect descriptors and event index.
 *
 * The transport fills the addresses and calls virtq_start(); the device pops chains, fills them, pushes them back and
 * publishes. Everything the guest writes is read once and checked; a violation breaks the queue: every later
 * virtq_pop() fails, and the device tells its transport (virtio_device_break). All calls come from one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

#include "guestmem/guestmem.h"

#define VIRTQ_SIZE_MAX  32768 /* §2.7 */
#define VIRTQ_CHAIN_MAX 1024  /* descriptors, and iovecs, of one chain: what readv(2) takes at once */

struct virtq {
	/* Set by the transport before virtq_start(). */
	struct guestmem *mem;
	uint16_t size; /* a power of two, at most the device's maximum */
	gpa_t desc, avail, used;
	bool event_idx, indirect; /* negotiated features */
	uint16_t next_avail;      /* where to begin; 0 unless a migrated or paused queue goes on */

	/* State; read-only for others. */
	bool ready, broken;
	const char *why; /* what broke it */
	uint16_t avail_idx, next_used, used_idx, signalled;
	bool signalled_valid;
};

/* One request: iov[0..n_read) is for the device to read, iov[n_read..n_read+n_write) to write. */
struct virtq_chain {
	uint16_t head;
	uint16_t n_read, n_write;
	uint32_t read_len, write_len; /* bytes */
	struct iovec iov[VIRTQ_CHAIN_MAX];
};

static inline struct iovec *virtq_chain_read(struct virtq_chain *c)
{
	return c->iov;
}

static inline struct iovec *virtq_chain_write(struct virtq_chain *c)
{
	return c->iov + c->n_read;
}

/* Check size (at most max_size), alignment and addresses, and begin. 0, -EINVAL or -EFAULT; the queue is then off. */
int virtq_start(struct virtq *q, uint16_t max_size);
/* Pops nothing from now on; next_avail says where a later start goes on. */
void virtq_stop(struct virtq *q);

/*
 * The next request. 1: *ret is filled (its iovecs live until regions change); 0: there is none; -EPROTO: the guest
 * broke the queue. The writable part counts as dirty from here.
 */
int virtq_pop(struct virtq *q, struct virtq_chain *ret);
/* Undo the last virtq_pop(), before any other call. */
void virtq_unpop(struct virtq *q);

/* Hand a chain back; len: bytes written to its writable part. Seen by the guest after virtq_publish(). */
void virtq_push(struct virtq *q, uint16_t head, uint32_t len);
/* Publish what was pushed; true when the guest wants to be told (§2.7.10). */
bool virtq_publish(struct virtq *q);

/*
 * Ask the guest for a kick at the next request. True when there is one already: then pop again (the kick may be
 * missed). virtq_want_no_kick() is a hint.
 */
bool virtq_want_kick(struct virtq *q);
void virtq_want_no_kick(struct virtq *q);

/* Mark the queue broken; why: a string constant. */
void virtq_break(struct virtq *q, const char *why);
