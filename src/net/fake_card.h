/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A network driver on plain memory, for tests and fuzzers only: up to two pairs and the control queue. The wire is a
 * socket in passt's form.
 */
#pragma once

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net/net.h"
#include "virtio/fake_driver.h"

#define CARD_RAM     0x200000
#define CARD_QUEUE   16
#define CARD_RX_DATA 0x100000 /* a buffer every 4096 bytes */
#define CARD_TX_DATA 0x180000
#define CARD_QUEUES  5

struct fake_card {
	struct virtio_transport transport;
	struct loop *loop;
	struct virtio_device *dev;
	struct guestmem *mem;
	uint8_t *ram;
	int wire[2];
	struct fake_queue q[CARD_QUEUES];
	unsigned signals[CARD_QUEUES], config_signals, needs_reset;
};

static inline void card_signal(struct virtio_transport *t, unsigned queue)
{
	((struct fake_card *)(void *)t)->signals[queue]++;
}

static inline void card_signal_config(struct virtio_transport *t)
{
	((struct fake_card *)(void *)t)->config_signals++;
}

static inline void card_needs_reset(struct virtio_transport *t, const char *why)
{
	((struct fake_card *)(void *)t)->needs_reset++;
}

/* c: its backends are made here. */
static inline void card_new(struct fake_card *f, struct net_config *c)
{
	static const struct virtio_transport_ops ops = { card_signal, card_signal_config, card_needs_reset };
	struct net_backend *backends[2];

	*f = (struct fake_card){ .transport.ops = &ops, .wire = { -1, -1 } };
	f->ram = aligned_alloc(4096, CARD_RAM);
	if (!f->ram || guestmem_new(&f->mem) < 0 || loop_new(&f->loop, NULL) < 0)
		abort();
	memset(f->ram, 0, CARD_RAM);
	guestmem_add_buffer(f->mem, 0, CARD_RAM, f->ram);
	for (size_t i = 0; i < c->n_pairs; i++) {
		int s[2];

		if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s) < 0 ||
		    net_passt_from_fd(s[0], &backends[i], NULL) < 0)
			abort();
		f->wire[i] = s[1];
	}
	c->name = "test";
	c->backends = backends;
	if (net_new(f->loop, c, &f->dev, NULL) < 0)
		abort();
	f->dev->transport = &f->transport;
	f->dev->mem = f->mem;
}

static inline void card_start(struct fake_card *f, uint64_t features)
{
	f->dev->acked = features;
	memset(f->ram, 0, 0x1000 * (CARD_QUEUES + 1)); /* as a driver does with its rings */
	for (unsigned i = 0; i < f->dev->n_queues; i++) {
		fake_init(&f->q[i], f->ram, 0x1000 * (i + 1), CARD_QUEUE);
		fake_attach(&f->q[i], f->mem, &f->dev->queues[i]);
		f->dev->queues[i].next_avail = 0;
		virtio_device_start_queue(f->dev, i);
	}
	virtio_device_activate(f->dev);
}

static inline void card_fini(struct fake_card *f)
{
	virtio_device_free(f->dev);
	for (int i = 0; i < 2; i++)
		if (f->wire[i] >= 0)
			close(f->wire[i]);
	loop_free(f->loop);
	guestmem_free(f->mem);
	free(f->ram);
}
