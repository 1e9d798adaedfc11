/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes and goes while the guest runs: virtio-mem (VirtIO 1.2 §5.15).
 *
 * A region of guest addresses is divided into blocks; the host says how much of it the guest should use, and the guest
 * plugs and unplugs blocks to get there. What plugging means to the host (slots, mappings, discarding) is the
 * machine's: it is called for every range that changes, from the device's loop.
 */
#pragma once

#include "virtio/device.h"

#define VIRTIO_ID_MEM 24

#define VIRTIO_MEM_BLOCKS_MAX (1u << 20)

struct virtio_mem_host {
	/* The guest may use [gpa, gpa+len) from now on. 0 or -errno: the guest is told to try later. */
	int (*plug)(void *userdata, gpa_t gpa, uint64_t len);
	/* It does not use it any more: content is gone, accesses are errors. 0 or -errno as above. */
	int (*unplug)(void *userdata, gpa_t gpa, uint64_t len);
};

struct virtio_mem_config {
	gpa_t addr;         /* a multiple of block */
	uint64_t size;      /* of the region; a multiple of block */
	uint64_t block;     /* a power of two, 64 KiB and more */
	uint64_t requested; /* a multiple of block */
	const struct virtio_mem_host *host;
	void *userdata;
};

struct virtio_mem_status {
	uint64_t size, block, requested, plugged; /* bytes */
};

int virtio_mem_new(struct loop *loop, const struct virtio_mem_config *c, struct virtio_device **ret, struct err *e);

/* In the device's loop. */
int virtio_mem_set_requested(struct virtio_device *dev, uint64_t bytes, struct err *e);
void virtio_mem_get_status(const struct virtio_device *dev, struct virtio_mem_status *ret);
