/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A hostile driver and a hostile network: a program of steps, each a byte that chooses what to do and a few bytes of
 * how (write guest memory, offer descriptors, kick, send to the card, let the loop run, reset, pause).
 */
#include "net/fake_card.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t step(struct fake_card *f, const uint8_t *p, size_t left)
{
	unsigned queue = p[1] % f->dev->n_queues;

	switch (p[0] % 8) {
	case 0: /* rings and descriptors live in the first pages */
		if (left >= 8)
			memcpy(f->ram + (((unsigned)p[2] << 8 | p[3]) & 0x7ff8), p + 4, 4);
		return 8;
	case 1:
		fake_desc(&f->q[queue], p[2] % CARD_QUEUE, CARD_RX_DATA + p[3] * 64ULL, (uint32_t)p[4] << (p[5] & 15),
			  p[6] & 7, p[7] % CARD_QUEUE);
		return 8;
	case 2:
		fake_submit(&f->q[queue], p[2]);
		return 3;
	case 3:
		virtio_device_kick(f->dev, queue);
		return 2;
	case 4:
		(void)!send(f->wire[0], p + 2, p[1] < left - 2 ? p[1] : left - 2, MSG_NOSIGNAL | MSG_DONTWAIT);
		return 2 + p[1];
	case 5:
		loop_run_once(f->loop, 0);
		return 1;
	case 6:
		virtio_device_quiesce(f->dev);
		return 1;
	default:
		virtio_device_reset(f->dev);
		card_start(f, f->dev->features & ~((uint64_t)p[1] << 15));
		return 2;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct net_config c = { .n_pairs = 1 };
	struct fake_card f;

	if (size < 16 || size > 4096)
		return 0;
	c.n_pairs = 1 + (data[0] & 1);
	card_new(&f, &c);
	card_start(&f, f.dev->features);
	for (size_t at = 1; at + 8 < size;)
		at += step(&f, data + at, size - at);
	for (int i = 0; i < 4; i++)
		loop_run_once(f.loop, 0);
	card_fini(&f);
	return 0;
}
