/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The seam between a virtio device and what carries it (virtio-mmio, virtio-pci, vhost-user).
 *
 * A device knows its features, its configuration space and what to do when a queue is kicked; it knows neither its
 * transport nor where interrupts go. A transport negotiates, fills the queues' addresses, starts them (virtq_start),
 * calls activate(), then queue_kick() whenever the guest kicks. Everything happens on the thread of the loop that the
 * device was made with.
 *
 *   new → [transport: features, queues] → activate → queue_kick … → reset → … → free
 *
 * A concrete device is a structure that begins with `struct virtio_device`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "guestmem/guestmem.h"
#include "loop/loop.h"
#include "virtio/queue.h"

#define VIRTIO_QUEUES_MAX   64
#define VIRTIO_COUNTERS_MAX 32

/* Feature bits that are the transport's and the queue's (VirtIO 1.2 §6). */
#define VIRTIO_F_INDIRECT_DESC (1ULL << 28)
#define VIRTIO_F_EVENT_IDX     (1ULL << 29)
#define VIRTIO_F_VERSION_1     (1ULL << 32)

/* Device status (§2.1). */
#define VIRTIO_STATUS_ACKNOWLEDGE 1
#define VIRTIO_STATUS_DRIVER      2
#define VIRTIO_STATUS_DRIVER_OK   4
#define VIRTIO_STATUS_FEATURES_OK 8
#define VIRTIO_STATUS_NEEDS_RESET 64
#define VIRTIO_STATUS_FAILED      128

struct state; /* state/state.h */
struct virtio_device;
struct virtio_transport;

struct virtio_transport_ops {
	/* The guest wants to hear of the used buffers of this queue. */
	void (*signal_queue)(struct virtio_transport *t, unsigned queue);
	void (*signal_config)(struct virtio_transport *t);
	/* The device is broken: set DEVICE_NEEDS_RESET (§2.1.2), raise a configuration interrupt, kick it no more. */
	void (*needs_reset)(struct virtio_transport *t, const char *why);
};

struct virtio_transport {
	const struct virtio_transport_ops *ops;
};

struct virtio_device_ops {
	/*
	 * The driver is ready: dev->acked, dev->mem and the queues are set. 0, or -errno: the device needs a reset.
	 * NULL: nothing is to be done.
	 */
	int (*activate)(struct virtio_device *dev);
	/* The guest kicked, or the queue was just started. Bounded work per call. */
	void (*queue_kick)(struct virtio_device *dev, unsigned queue);
	/* Device configuration space; bytes beyond its end read as 0. write may be NULL: ignored. */
	void (*config_read)(struct virtio_device *dev, uint32_t offset, void *data, uint32_t len);
	void (*config_write)(struct virtio_device *dev, uint32_t offset, const void *data, uint32_t len);
	/* Finish or drop everything that refers to guest memory or to a popped chain. NULL: never holds any. */
	void (*quiesce)(struct virtio_device *dev);
	/*
	 * Back to the state after new; host resources that serve the next driver (listeners, files) stay. NULL: it has
	 * no other state.
	 */
	void (*reset)(struct virtio_device *dev);
	/*
	 * The device's own state beyond features and queues, which the transport keeps: for a snapshot, taken quiesced.
	 * load is called on a new device before it is activated again. NULL: there is none. load: 0 or -errno with *e.
	 */
	void (*save)(struct virtio_device *dev, struct state *s);
	int (*load)(struct virtio_device *dev, const struct state *s, struct err *e);
	void (*free)(struct virtio_device *dev);
};

struct virtio_device {
	const struct virtio_device_ops *ops;
	uint32_t type;     /* §5 */
	uint64_t features; /* offered */
	unsigned n_queues;
	const uint16_t *queue_max; /* n_queues maximum sizes */
	struct virtq *queues;      /* n_queues; owned by the device */
	/*
	 * What it counts: numbers that grow from 0 as long as it lives, touched in its loop only, and for each a name
	 * that says of what ("read_bytes"); at most VIRTIO_COUNTERS_MAX, behind them a NULL. NULL: it counts nothing.
	 */
	const char *const *counter_names;
	uint64_t *counters;

	/* Set by the transport. */
	struct virtio_transport *transport;
	struct guestmem *mem;
	uint64_t acked;

	bool active; /* between activate and reset */
	bool broken;
	unsigned breaks; /* logged ones: a guest may reset and break it for ever */
};

/* Makes a device for loop; the way in which a transport that knows no device gets one. */
typedef int (*virtio_device_factory)(struct loop *loop, void *userdata, struct virtio_device **ret, struct err *e);

/* For transports. */
int virtio_device_activate(struct virtio_device *dev);
/* Starts queue i, whose addresses, size and next_avail are set. 0 or -errno. */
int virtio_device_start_queue(struct virtio_device *dev, unsigned i);
void virtio_device_kick(struct virtio_device *dev, unsigned queue);
void virtio_device_quiesce(struct virtio_device *dev);
void virtio_device_reset(struct virtio_device *dev);
/* NULL does nothing. */
void virtio_device_free(struct virtio_device *dev);
DEFINE_CLEANUP(struct virtio_device *, virtio_device_free)

/* For devices. */
/* Publish what was pushed to the queue and tell the guest if it wants to know. */
void virtio_device_signal(struct virtio_device *dev, unsigned queue);
/* The guest violated the protocol, or the host cannot serve it any more: the device stops until it is reset. */
void virtio_device_break(struct virtio_device *dev, const char *why);
/* config_read() out of a structure. */
void virtio_config_copy(const void *config, uint32_t size, uint32_t offset, void *data, uint32_t len);
