/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device behind memory-mapped registers (VirtIO 1.2 §4.2, version 2): one page and one interrupt line.
 *
 * A kick goes by eventfd, matched by the queue's number, from the kernel straight to the device's loop; should the
 * machine have none to give, the same write arrives on the bus. All functions are called inside the device's loop
 * (loop_enter).
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "hw/bus.h"
#include "hw/platform.h"
#include "virtio/device.h"

#define VIRTIO_MMIO_SIZE 0x1000

struct state;
struct virtio_mmio;

/*
 * Put dev, whose mem is set, at base of the bus with interrupt line gsi. dev is taken over on success; loop is its own.
 * platform and bus are borrowed.
 */
int virtio_mmio_new(struct platform *platform, struct bus *mmio, struct loop *loop, uint64_t base, uint32_t gsi,
		    struct virtio_device *dev, struct virtio_mmio **ret, struct err *e);
/* Takes it off the bus and frees the device. NULL does nothing. */
void virtio_mmio_free(struct virtio_mmio *m);
DEFINE_CLEANUP(struct virtio_mmio *, virtio_mmio_free)

/* Between the two the device touches neither guest memory nor its interrupt; nothing gets lost. */
void virtio_mmio_pause(struct virtio_mmio *m);
void virtio_mmio_resume(struct virtio_mmio *m);

/* Transport and device. Save: while paused. Load: into a new one, which is paused from then on. */
void virtio_mmio_save(const struct virtio_mmio *m, struct state *s);
int virtio_mmio_load(struct virtio_mmio *m, const struct state *s, struct err *e);
