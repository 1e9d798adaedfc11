/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A vsock driver on plain memory, for tests and fuzzers only: three queues, a receive buffer per descriptor, packets
 * sent and taken one at a time. Guest memory is one buffer at address 0.
 */
#pragma once

#include <stdlib.h>

#include "virtio/device.h"
#include "virtio/fake_driver.h"
#include "vsock/packet.h"

#define GUEST_RAM     0x100000
#define GUEST_CID     5
#define GUEST_RX_DATA 0x10000 /* receive buffers of GUEST_RX_SIZE */
#define GUEST_RX_SIZE 4096
#define GUEST_TX_DATA 0x80000 /* one packet of up to 64 KiB and header */
#define GUEST_QUEUE   32

struct fake_guest {
	struct virtio_transport transport;
	struct virtio_device *dev;
	struct guestmem *mem;
	uint8_t *ram;
	struct fake_queue q[3];
	unsigned signals[3], broken;
};

static inline void guest_signal(struct virtio_transport *t, unsigned queue)
{
	((struct fake_guest *)(void *)t)->signals[queue]++;
}

static inline void guest_signal_config(struct virtio_transport *t)
{
}

static inline void guest_needs_reset(struct virtio_transport *t, const char *why)
{
	((struct fake_guest *)(void *)t)->broken++;
}

static inline void guest_offer(struct fake_guest *g, uint16_t i)
{
	fake_desc(&g->q[0], i, GUEST_RX_DATA + i * (gpa_t)GUEST_RX_SIZE, GUEST_RX_SIZE, FAKE_WRITE, 0);
	fake_submit(&g->q[0], i);
}

/* Negotiate, set up the queues with rx_buffers receive buffers, activate. */
static inline void guest_start(struct fake_guest *g, unsigned rx_buffers)
{
	memset(g->ram, 0, GUEST_RAM);
	g->dev->acked = g->dev->features;
	g->dev->mem = g->mem;
	for (unsigned i = 0; i < 3; i++) {
		fake_init(&g->q[i], g->ram, 0x1000 * (i + 1), GUEST_QUEUE);
		fake_attach(&g->q[i], g->mem, &g->dev->queues[i]);
		g->dev->queues[i].next_avail = 0;
		virtio_device_start_queue(g->dev, i);
	}
	for (unsigned i = 0; i < rx_buffers; i++)
		guest_offer(g, (uint16_t)i);
	virtio_device_activate(g->dev);
	virtio_device_kick(g->dev, 0);
}

static inline void guest_new(struct fake_guest *g, struct virtio_device *dev)
{
	static const struct virtio_transport_ops ops = {
		.signal_queue = guest_signal,
		.signal_config = guest_signal_config,
		.needs_reset = guest_needs_reset,
	};

	*g = (struct fake_guest){ .transport.ops = &ops, .dev = dev };
	g->ram = aligned_alloc(4096, GUEST_RAM);
	if (!g->ram || guestmem_new(&g->mem) < 0)
		abort();
	guestmem_add_buffer(g->mem, 0, GUEST_RAM, g->ram);
	dev->transport = &g->transport;
}

static inline void guest_fini(struct fake_guest *g)
{
	guestmem_free(g->mem);
	free(g->ram);
}

/* Send hdr and its payload (hdr->len bytes) as one chain. */
static inline void guest_send(struct fake_guest *g, const struct vsock_hdr *hdr, const void *data, uint32_t len)
{
	uint32_t id, n;

	while (fake_used(&g->q[1], &id, &n))
		;
	memcpy(g->ram + GUEST_TX_DATA, hdr, sizeof *hdr);
	if (len)
		memcpy(g->ram + GUEST_TX_DATA + sizeof *hdr, data, len);
	/* Two descriptors with the seam inside the header: nobody may rely on a layout. */
	fake_desc(&g->q[1], 0, GUEST_TX_DATA, 30, FAKE_NEXT, 1);
	fake_desc(&g->q[1], 1, GUEST_TX_DATA + 30, VSOCK_HDR_LEN - 30 + len, 0, 0);
	fake_submit(&g->q[1], 0);
	virtio_device_kick(g->dev, 1);
}

/* Take the next packet from the device; its payload is at *ret_data until the buffer is offered again. */
static inline bool guest_recv(struct fake_guest *g, struct vsock_hdr *hdr, uint8_t **ret_data, uint16_t *ret_buffer)
{
	uint32_t id, len;

	if (!fake_used(&g->q[0], &id, &len) || id >= GUEST_QUEUE)
		return false;
	memcpy(hdr, g->ram + GUEST_RX_DATA + id * (gpa_t)GUEST_RX_SIZE, sizeof *hdr);
	*ret_data = g->ram + GUEST_RX_DATA + id * (gpa_t)GUEST_RX_SIZE + sizeof *hdr;
	*ret_buffer = (uint16_t)id;
	return true;
}
