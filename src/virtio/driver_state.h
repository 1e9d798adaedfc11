/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the guest's driver has told a device so far: the device status (VirtIO 1.2 §2.1), the features, where the queues
 * are. The part of a transport that does not depend on how its registers are laid out (virtio-mmio, virtio-pci).
 *
 * The order of §3.1.1 is enforced: features are taken between DRIVER and FEATURES_OK, queues between FEATURES_OK and
 * DRIVER_OK, the device configuration is writable from FEATURES_OK on; a write out of order changes nothing. Status 0
 * resets at any time. Ring addresses and sizes are kept in dev->queues itself and checked when the device goes live.
 *
 * Everything is called inside the device's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "virtio/device.h"

struct virtio_driver {
	struct virtio_device *dev; /* borrowed; its mem and transport are set by then */
	uint8_t status;            /* VIRTIO_STATUS_* */
	uint32_t device_features_sel, driver_features_sel, queue_sel;
	uint64_t features;   /* as written by the driver; dev->acked once accepted */
	uint64_t enabled;    /* bit n: queue n was handed over */
	uint32_t generation; /* of the device configuration */
	bool paused, held;   /* for which of the two reasons it is stopped */
	bool restored;
	bool config_pending; /* to be told when it goes on */
};

/* What a write of the status register led to, for what the transport has to do itself. */
enum virtio_driver_step {
	VIRTIO_DRIVER_GOES_ON,
	VIRTIO_DRIVER_RESET, /* the device is as new */
	VIRTIO_DRIVER_LIVE,  /* DRIVER_OK was accepted; the device may be broken or held all the same */
};

enum virtio_ring_area { VIRTIO_RING_DESC, VIRTIO_RING_DRIVER, VIRTIO_RING_DEVICE };

void virtio_driver_init(struct virtio_driver *d, struct virtio_device *dev);

enum virtio_driver_step virtio_driver_set_status(struct virtio_driver *d, uint8_t value);

/* The selected half of the features that are offered, and of those that the driver wants. */
uint32_t virtio_driver_offered(const struct virtio_driver *d);
uint32_t virtio_driver_features(const struct virtio_driver *d);
void virtio_driver_set_features(struct virtio_driver *d, uint32_t value);

/* The selected queue. Beyond the last: maximum 0, NULL, not enabled, and writes change nothing. */
uint16_t virtio_driver_queue_max(const struct virtio_driver *d);
const struct virtq *virtio_driver_queue(const struct virtio_driver *d);
bool virtio_driver_queue_enabled(const struct virtio_driver *d);
void virtio_driver_set_queue_size(struct virtio_driver *d, uint32_t size);
/* One half of an address. */
void virtio_driver_set_queue_addr(struct virtio_driver *d, enum virtio_ring_area area, bool high, uint32_t value);
void virtio_driver_enable_queue(struct virtio_driver *d);
/* §4.2.2.2: the driver stops using the queue, which stays off until a reset when the device is live. */
void virtio_driver_disable_queue(struct virtio_driver *d);

/* Device configuration; what may not be written now is dropped. */
void virtio_driver_config_read(struct virtio_driver *d, uint32_t offset, void *data, uint32_t len);
void virtio_driver_config_write(struct virtio_driver *d, uint32_t offset, const void *data, uint32_t len);

/* For the transport's signal_config() and needs_reset(). True: the driver is to be told. */
bool virtio_driver_config_changed(struct virtio_driver *d);
bool virtio_driver_needs_reset(struct virtio_driver *d);

/*
 * Between the two the device touches neither guest memory nor interrupts: its queues are stopped. Resume begins with a
 * kick of each queue, so kicks that come in between may be dropped; after a load also with all interrupts, since one
 * may have been on its way when the state was saved.
 */
void virtio_driver_pause(struct virtio_driver *d);
void virtio_driver_resume(struct virtio_driver *d);
/* The same for the transport, whose guest may keep the device from memory (PCI: bus mastering). A pause is besides. */
void virtio_driver_hold(struct virtio_driver *d, bool held);
/* Of set_status and resume: start the enabled queues, activate the device unless it is active, kick. */
void virtio_driver_go_live(struct virtio_driver *d);

/* Save: while paused. Load: into a new object, which is then paused. 0 or -errno with *e. */
void virtio_driver_save(const struct virtio_driver *d, struct state *s);
int virtio_driver_load(struct virtio_driver *d, const struct state *s, struct err *e);
