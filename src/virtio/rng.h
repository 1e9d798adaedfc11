/* SPDX-License-Identifier: Apache-2.0 */
/* The entropy device (VirtIO 1.2 §5.4): random bytes of the host's kernel for the guest's. */
#pragma once

#include "virtio/device.h"
#include "virtio/rate.h"

#define VIRTIO_ID_RNG 4

int virtio_rng_new(struct loop *loop, const struct rate_config *c, struct virtio_device **ret, struct err *e);
/* In the device's loop. */
void virtio_rng_set_rate(struct virtio_device *dev, const struct rate_config *c);
