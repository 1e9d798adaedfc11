/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest driver on plain memory, for tests and fuzzers only: one queue at a fixed place in a buffer that is also the
 * guest's memory. Layout from `base`: descriptors, available ring, used ring, each on its own page or more.
 */
#pragma once

#include <stdint.h>
#include <string.h>

#include "guestmem/le.h"
#include "virtio/queue.h"

#define FAKE_NEXT     1
#define FAKE_WRITE    2
#define FAKE_INDIRECT 4

struct fake_desc {
	le64 addr;
	le32 len;
	le16 flags, next;
};

struct fake_queue {
	uint8_t *mem; /* host address of gpa 0 */
	gpa_t desc, avail, used;
	uint16_t size, avail_idx, used_idx;
};

static inline void fake_init(struct fake_queue *f, void *mem, gpa_t base, uint16_t size)
{
	*f = (struct fake_queue){ .mem = mem, .size = size, .desc = base };
	f->avail = base + 16ULL * size;
	f->used = (f->avail + 6 + 2ULL * size + 3) & ~3ULL;
}

static inline void fake_attach(const struct fake_queue *f, struct guestmem *mem, struct virtq *q)
{
	q->mem = mem;
	q->size = f->size;
	q->desc = f->desc;
	q->avail = f->avail;
	q->used = f->used;
}

static inline void fake_set_desc(void *table, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	struct fake_desc d = { le64_of(addr), le32_of(len), le16_of(flags), le16_of(next) };

	memcpy((uint8_t *)table + 16 * i, &d, sizeof d);
}

static inline void fake_desc(struct fake_queue *f, uint16_t i, gpa_t addr, uint32_t len, uint16_t flags, uint16_t next)
{
	fake_set_desc(f->mem + f->desc, i, addr, len, flags, next);
}

static inline void fake_store16(struct fake_queue *f, gpa_t at, uint16_t v)
{
	__atomic_store_n((uint16_t *)(void *)(f->mem + at), htole16(v), __ATOMIC_SEQ_CST);
}

static inline uint16_t fake_load16(struct fake_queue *f, gpa_t at)
{
	return le16toh(__atomic_load_n((uint16_t *)(void *)(f->mem + at), __ATOMIC_SEQ_CST));
}

static inline void fake_submit(struct fake_queue *f, uint16_t head)
{
	fake_store16(f, f->avail + 4 + 2 * (f->avail_idx & (f->size - 1)), head);
	fake_store16(f, f->avail + 2, ++f->avail_idx);
}

/* The next used element; false when there is none. */
static inline bool fake_used(struct fake_queue *f, uint32_t *id, uint32_t *len)
{
	le32 e[2];

	*id = *len = 0;
	if (fake_load16(f, f->used + 2) == f->used_idx)
		return false;
	memcpy(e, f->mem + f->used + 4 + 8 * (f->used_idx++ & (f->size - 1)), sizeof e);
	*id = le32_get(e[0]);
	*len = le32_get(e[1]);
	return true;
}

static inline void fake_set_used_event(struct fake_queue *f, uint16_t v)
{
	fake_store16(f, f->avail + 4 + 2 * f->size, v);
}

static inline uint16_t fake_avail_event(struct fake_queue *f)
{
	return fake_load16(f, f->used + 4 + 8 * f->size);
}
