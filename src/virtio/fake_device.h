/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device for tests and fuzzers of transports only: each request's writable part is filled with FAKE_FILL and
 * the request goes back. It counts what its transport does to it, and aborts when that makes no sense.
 */
#pragma once

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "state/state.h"
#include "virtio/device.h"

#define FAKE_DEVICE_TYPE     42
#define FAKE_DEVICE_QUEUES   3
#define FAKE_DEVICE_MAX      64
#define FAKE_DEVICE_FEATURES (VIRTIO_F_VERSION_1 | VIRTIO_F_EVENT_IDX | VIRTIO_F_INDIRECT_DESC | 1ULL << 5)
#define FAKE_FILL            0x5a

struct fake_device {
	struct virtio_device base;
	struct virtq queues[FAKE_DEVICE_QUEUES];
	struct virtq_chain chain;
	uint8_t config[16]; /* all writable */
	bool fail_activate;
	bool hold;    /* keep requests until quiesce */
	bool holding; /* chain is one, of held_queue */
	unsigned held_queue;
	unsigned activations, resets, kicks[FAKE_DEVICE_QUEUES], config_writes;
	uint64_t requests; /* the state of the device itself */
	bool *freed;       /* told when it ends */
};

static inline struct fake_device *fake_device(struct virtio_device *base)
{
	return (struct fake_device *)(void *)base;
}

static inline int fake_device_activate(struct virtio_device *base)
{
	fake_device(base)->activations++;
	return fake_device(base)->fail_activate ? -EIO : 0;
}

static inline void fake_device_finish(struct fake_device *d, unsigned queue)
{
	for (unsigned i = 0; i < d->chain.n_write; i++)
		memset(virtq_chain_write(&d->chain)[i].iov_base, FAKE_FILL, virtq_chain_write(&d->chain)[i].iov_len);
	virtq_push(&d->queues[queue], d->chain.head, d->chain.write_len);
	d->requests++;
}

static inline void fake_device_kick(struct virtio_device *base, unsigned queue)
{
	struct fake_device *d = fake_device(base);
	struct virtq *q = &d->queues[queue];

	if (!base->active || base->broken)
		abort();
	d->kicks[queue]++;
	for (int budget = 2 * FAKE_DEVICE_MAX; budget && !d->holding; budget--) {
		int r = virtq_pop(q, &d->chain);

		if (r == 0 && virtq_want_kick(q))
			continue;
		if (r <= 0)
			break;
		if (d->hold) {
			d->holding = true;
			d->held_queue = queue;
		} else {
			fake_device_finish(d, queue);
		}
	}
	virtio_device_signal(base, queue);
}

static inline void fake_device_quiesce(struct virtio_device *base)
{
	struct fake_device *d = fake_device(base);

	if (d->holding) {
		d->holding = false;
		fake_device_finish(d, d->held_queue);
		virtio_device_signal(base, d->held_queue);
	}
}

static inline void fake_device_config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	virtio_config_copy(fake_device(base)->config, 16, offset, data, len);
}

static inline void fake_device_config_write(struct virtio_device *base, uint32_t offset, const void *data, uint32_t len)
{
	fake_device(base)->config_writes++;
	if (offset < 16 && len <= 16 - offset)
		memcpy(fake_device(base)->config + offset, data, len);
}

static inline void fake_device_reset(struct virtio_device *base)
{
	fake_device(base)->resets++;
	fake_device(base)->holding = false;
}

static inline void fake_device_save(struct virtio_device *base, struct state *s)
{
	if (fake_device(base)->holding)
		abort(); /* not quiesced */
	state_put_u64(s, "requests", fake_device(base)->requests);
	state_put_bytes(s, "config", fake_device(base)->config, 16);
}

static inline int fake_device_load(struct virtio_device *base, const struct state *s, struct err *e)
{
	int r = state_get_u64(s, "requests", &fake_device(base)->requests, e);

	return r < 0 ? r : state_get_bytes(s, "config", fake_device(base)->config, 16, e);
}

static inline void fake_device_free(struct virtio_device *base)
{
	if (fake_device(base)->freed)
		*fake_device(base)->freed = true;
	free(base);
}

static inline struct fake_device *fake_device_new(struct guestmem *mem)
{
	static const uint16_t max[FAKE_DEVICE_QUEUES] = { FAKE_DEVICE_MAX, FAKE_DEVICE_MAX, FAKE_DEVICE_MAX };
	static const struct virtio_device_ops ops = {
		.activate = fake_device_activate,
		.queue_kick = fake_device_kick,
		.config_read = fake_device_config_read,
		.config_write = fake_device_config_write,
		.quiesce = fake_device_quiesce,
		.reset = fake_device_reset,
		.save = fake_device_save,
		.load = fake_device_load,
		.free = fake_device_free,
	};
	struct fake_device *d = calloc(1, sizeof *d);

	if (!d)
		abort();
	d->base = (struct virtio_device){
		.ops = &ops,
		.type = FAKE_DEVICE_TYPE,
		.features = FAKE_DEVICE_FEATURES,
		.n_queues = FAKE_DEVICE_QUEUES,
		.queue_max = max,
		.queues = d->queues,
		.mem = mem,
	};
	return d;
}
