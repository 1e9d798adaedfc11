/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A transport, some memory and a driver for any device, for tests and fuzzers only. Chains are described piece by
 * piece, so that tests cut them where they like; memory for them is taken from the front and given back all at once.
 */
#pragma once

#include <stdlib.h>

#include "virtio/device.h"
#include "virtio/fake_driver.h"

#define FAKE_RAM        0x100000
#define FAKE_QUEUES     8
#define FAKE_QUEUE_SIZE 64
#define FAKE_DATA       0x10000 /* buffers begin here; queues lie below */

struct fake_machine {
	struct virtio_transport transport;
	struct virtio_device *dev;
	struct guestmem *mem;
	uint8_t *ram;
	struct fake_queue q[FAKE_QUEUES];
	unsigned signals[FAKE_QUEUES], config_signals, broken;
	const char *why;
	uint16_t next_desc[FAKE_QUEUES];
	gpa_t next_data;
};

/* One descriptor. data NULL: not filled. gpa is set by fake_send(); or given, when fixed is set. */
struct fake_buf {
	uint32_t len;
	bool write;
	const void *data;
	gpa_t gpa;
	bool fixed;
};

static inline void fake_on_queue(struct virtio_transport *t, unsigned queue)
{
	((struct fake_machine *)(void *)t)->signals[queue]++;
}

static inline void fake_on_config(struct virtio_transport *t)
{
	((struct fake_machine *)(void *)t)->config_signals++;
}

static inline void fake_on_needs_reset(struct virtio_transport *t, const char *why)
{
	((struct fake_machine *)(void *)t)->broken++;
	((struct fake_machine *)(void *)t)->why = why;
}

static inline void fake_machine_init(struct fake_machine *m)
{
	static const struct virtio_transport_ops ops = {
		.signal_queue = fake_on_queue,
		.signal_config = fake_on_config,
		.needs_reset = fake_on_needs_reset,
	};

	*m = (struct fake_machine){ .transport.ops = &ops, .next_data = FAKE_DATA };
	m->ram = aligned_alloc(65536, FAKE_RAM);
	if (!m->ram || guestmem_new(&m->mem) < 0)
		abort();
	memset(m->ram, 0, FAKE_RAM);
	guestmem_add_buffer(m->mem, 0, FAKE_RAM, m->ram);
}

static inline void fake_machine_fini(struct fake_machine *m)
{
	guestmem_free(m->mem);
	free(m->ram);
}

/* Negotiate those of the offered features, start the queues of the mask, activate, and kick as a transport does. */
static inline void fake_start(struct fake_machine *m, struct virtio_device *dev, uint64_t features, uint64_t queues)
{
	m->dev = dev;
	m->broken = 0;
	m->why = NULL;
	m->next_data = FAKE_DATA;
	memset(m->ram, 0, FAKE_DATA);
	memset(m->next_desc, 0, sizeof m->next_desc);
	dev->transport = &m->transport;
	dev->mem = m->mem;
	dev->acked = dev->features & features;
	for (unsigned i = 0; i < dev->n_queues && i < FAKE_QUEUES; i++) {
		fake_init(&m->q[i], m->ram, 0x1000 * (i + 1), FAKE_QUEUE_SIZE);
		if (!(queues >> i & 1))
			continue;
		fake_attach(&m->q[i], m->mem, &dev->queues[i]);
		dev->queues[i].next_avail = 0;
		if (virtio_device_start_queue(dev, i) < 0)
			abort();
	}
	virtio_device_activate(dev);
	for (unsigned i = 0; i < dev->n_queues; i++)
		virtio_device_kick(dev, i);
}

/* Take memory of the guest. */
static inline gpa_t fake_alloc(struct fake_machine *m, uint32_t len)
{
	gpa_t at = m->next_data;

	m->next_data += len;
	if (m->next_data > FAKE_RAM)
		abort();
	return at;
}

/* Offer a chain of n buffers without a kick. Returns its head. */
static inline uint16_t fake_send(struct fake_machine *m, unsigned queue, struct fake_buf *bufs, unsigned n)
{
	struct fake_queue *f = &m->q[queue];
	uint16_t head = m->next_desc[queue];

	for (unsigned i = 0; i < n; i++) {
		struct fake_buf *b = &bufs[i];
		uint16_t at = (uint16_t)((head + i) % FAKE_QUEUE_SIZE), next = (uint16_t)((at + 1) % FAKE_QUEUE_SIZE);

		if (!b->fixed)
			b->gpa = fake_alloc(m, b->len);
		if (b->data)
			memcpy(m->ram + b->gpa, b->data, b->len);
		fake_desc(f, at, b->gpa, b->len, (i + 1 < n ? FAKE_NEXT : 0) | (b->write ? FAKE_WRITE : 0), next);
	}
	m->next_desc[queue] = (uint16_t)((head + n) % FAKE_QUEUE_SIZE);
	fake_submit(f, head);
	return head;
}

/* The same and kick; true when the chain came back at once, with the length that the device gave. */
static inline bool fake_request(struct fake_machine *m, unsigned queue, struct fake_buf *bufs, unsigned n,
				uint32_t *ret_len)
{
	uint16_t head = fake_send(m, queue, bufs, n);
	uint32_t id;

	virtio_device_kick(m->dev, queue);
	return fake_used(&m->q[queue], &id, ret_len) && id == head;
}
