/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Persistent memory (VirtIO 1.2 §5.19): a file that the guest sees as memory. The machine maps it; this device tells
 * where that is and makes it safe against a power cut when the guest asks. A flush blocks the loop that the device was
 * made for as long as the file system takes.
 */
#pragma once

#include "virtio/device.h"
#include "virtio/rate.h"

#define VIRTIO_ID_PMEM 27

struct virtio_pmem_config {
	gpa_t start;
	uint64_t size;
	int fd;                  /* what is mapped there; taken over on success */
	struct rate_config rate; /* of flushes; bytes: none is counted */
};

int virtio_pmem_new(struct loop *loop, const struct virtio_pmem_config *c, struct virtio_device **ret, struct err *e);
/* In the device's loop. */
void virtio_pmem_set_rate(struct virtio_device *dev, const struct rate_config *c);
