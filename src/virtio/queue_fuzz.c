/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A driver that does anything: the input is a program of memory writes, submissions and device steps on one queue.
 * Checked: no access outside memory (ASan), bounded work, and what a popped chain claims.
 */
#include <stdlib.h>

#include "virtio/fake_driver.h"

#define RAM 0x8000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void step(struct fake_queue *f, struct virtq *q, struct virtq_chain *c, const uint8_t *op)
{
	uint16_t a = (uint16_t)(op[1] | op[2] << 8), b = (uint16_t)(op[3] | op[4] << 8);
	uint64_t sum = 0;

	switch (op[0] & 7) {
	case 0: /* anything anywhere in the rings */
		memcpy(f->mem + 0x1000 + (a & 0x3ff), &b, 2);
		break;
	case 1: /* a plausible descriptor */
		fake_desc(f, a & (f->size - 1), 0x2000 + (b & 0x5fff), op[5] * 16U, op[6] & 7, op[7] & (f->size - 1));
		break;
	case 2:
		fake_submit(f, a & (f->size - 1));
		break;
	case 3: /* an indirect table */
		fake_set_desc(f->mem + 0x4000, a & 63, 0x2000 + b, op[5] * 16U, op[6] & 7, op[7] & 63);
		break;
	case 4:
	case 5:
		if (virtq_pop(q, c) != 1)
			break;
		if (c->n_read + c->n_write > VIRTQ_CHAIN_MAX || c->head >= q->size)
			abort();
		for (unsigned i = 0; i < c->n_read + (unsigned)c->n_write; i++) {
			uint8_t *p = c->iov[i].iov_base;

			if (p < f->mem || p + c->iov[i].iov_len > f->mem + RAM)
				abort();
			sum += c->iov[i].iov_len;
		}
		if (sum != (uint64_t)c->read_len + c->write_len)
			abort();
		if (op[1] & 1)
			virtq_push(q, c->head, c->write_len);
		else if (op[1] & 2)
			virtq_unpop(q);
		break;
	case 6:
		virtq_publish(q);
		if (op[1] & 1)
			virtq_want_kick(q);
		else
			virtq_want_no_kick(q);
		break;
	case 7: /* start again, perhaps elsewhere */
		fake_attach(f, q->mem, q);
		q->size = op[1] & 1 ? f->size : a;
		if (op[1] & 2)
			q->desc = b;
		q->next_avail = op[1] & 4 ? b : f->avail_idx;
		virtq_start(q, 256);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static uint8_t *ram;
	static struct virtq_chain c;
	struct guestmem *mem;
	struct fake_queue f;
	struct virtq q = { 0 };

	if (size < 1)
		return 0;
	if (!ram)
		ram = aligned_alloc(4096, RAM);
	memset(ram, 0, RAM);
	if (guestmem_new(&mem) < 0)
		return 0;
	/* Two regions, so that descriptors may span. */
	guestmem_add_buffer(mem, 0, RAM / 2, ram);
	guestmem_add_buffer(mem, RAM / 2, RAM / 2, ram + RAM / 2);
	fake_init(&f, ram, 0x1000, 8);
	fake_attach(&f, mem, &q);
	q.event_idx = data[0] & 1;
	q.indirect = data[0] & 2;
	virtq_start(&q, 256);
	for (size_t i = 1; i + 8 <= size; i += 8)
		step(&f, &q, &c, data + i);
	guestmem_free(mem);
	return 0;
}
