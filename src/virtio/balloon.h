/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The memory balloon (VirtIO 1.2 §5.5): takes memory from the guest and gives it back, tells how the guest's memory is
 * used, and hears which free pages the host may have meanwhile.
 */
#pragma once

#include "virtio/device.h"

#define VIRTIO_ID_BALLOON 5

#define VIRTIO_BALLOON_STATS 16

struct virtio_balloon_config {
	uint64_t bytes; /* to take at first; whole pages of 4 KiB count */
	bool deflate_on_oom, free_page_reporting;
	uint32_t stats_interval_s; /* 0: no statistics */
};

struct virtio_balloon_stats {
	uint64_t target, actual; /* bytes */
	uint32_t valid;          /* bit n: value[n] is there; tags of §5.5.6.4 */
	uint64_t value[VIRTIO_BALLOON_STATS];
};

int virtio_balloon_new(struct loop *loop, const struct virtio_balloon_config *c, struct virtio_device **ret,
		       struct err *e);

/* In the device's loop. -ERANGE: more than the device can name (16 TiB). */
int virtio_balloon_set_target(struct virtio_device *dev, uint64_t bytes);
/* Ask for statistics now and then every so often. 0: ask for no more; those that came last stay. */
void virtio_balloon_set_interval(struct virtio_device *dev, uint32_t seconds);
void virtio_balloon_get_stats(const struct virtio_device *dev, struct virtio_balloon_stats *ret);
