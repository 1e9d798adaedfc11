/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The block device (VirtIO 1.2 §5.2): a raw file or a block device as a disk of the guest.
 *
 * A flush that has completed survives a power cut, and so do, for a driver that did not negotiate flushes, all writes
 * that have completed. Without `flush` neither holds: requests to flush are acknowledged at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "virtio/device.h"
#include "virtio/rate.h"

#define VIRTIO_ID_BLOCK 2

#define BLOCK_QUEUES_MAX     VIRTIO_QUEUES_MAX
#define BLOCK_QUEUE_SIZE_MAX 1024

struct block_config {
	const char *path; /* or NULL, and an open descriptor: */
	int fd;           /* taken over on success */
	bool readonly;
	bool flush;                  /* offer flushes and honour them */
	bool discard;                /* offer discard and write-zeroes, which give space back to the host */
	bool direct;                 /* O_DIRECT */
	bool io_uring;               /* where it is there */
	uint32_t queues, queue_size; /* 0: 1 and 256; the size is a power of two, 4 to BLOCK_QUEUE_SIZE_MAX */
	const char *serial;          /* at most 20 bytes; NULL: from device and inode */
	struct rate_config rate;
};

int block_new(struct loop *loop, const struct block_config *c, struct virtio_device **ret, struct err *e);

/* The rest is called in the device's loop. */

/*
 * Another medium, or the same one that has grown or shrunk: requests under way are finished on the old one, the guest
 * is told of the new size. On failure the old one stays.
 */
int block_set_path(struct virtio_device *dev, const char *path, struct err *e);
void block_set_rate(struct virtio_device *dev, const struct rate_config *c);
/* "io_uring" or "plain". */
const char *block_engine_name(const struct virtio_device *dev);
