/* SPDX-License-Identifier: Apache-2.0 */
/* The eventfds by which the guest's kicks reach a device: one for each queue, served by the device's loop. */
#pragma once

#include "virtio/device.h"

struct virtio_kicks {
	struct virtio_device *dev;
	struct virtio_kick {
		struct virtio_kicks *kicks;
		struct loop_source *source;
		int fd;
	} queue[VIRTIO_QUEUES_MAX];
};

/* 0 or -errno; then there is nothing to close. */
int virtio_kicks_open(struct virtio_kicks *k, struct loop *loop, struct virtio_device *dev);
/* Inside the loop. */
void virtio_kicks_close(struct virtio_kicks *k);
