/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Layout (VirtIO 1.2 §2.7.2 … §2.7.8): descriptor table of 16-byte entries {addr, len, flags, next}; available ring
 * {flags, idx, ring[size], used_event}; used ring {flags, idx, {id, len}[size], avail_event}. Indices run freely
 * modulo 2^16.
 *
 * What a hostile guest can do: point anywhere (guestmem checks), loop a chain (bounded by the table's size), jump the
 * index (more than `size` ahead is an error), change a descriptor while we look (each is copied once). It can always
 * offer more work: devices bound what they do per call.
 */
#include "virtio/queue.h"

#include <errno.h>

#include "guestmem/le.h"

#define DESC_NEXT     1
#define DESC_WRITE    2
#define DESC_INDIRECT 4

#define AVAIL_NO_INTERRUPT 1
#define USED_NO_NOTIFY     1

struct desc {
	le64 addr;
	le32 len;
	le16 flags;
	le16 next;
};

struct used_elem {
	le32 id;
	le32 len;
};

static gpa_t avail_entry(const struct virtq *q, uint16_t i)
{
	return q->avail + 4 + 2ULL * (i & (q->size - 1));
}

static gpa_t used_event(const struct virtq *q)
{
	return q->avail + 4 + 2ULL * q->size;
}

static gpa_t used_entry(const struct virtq *q, uint16_t i)
{
	return q->used + 4 + 8ULL * (i & (q->size - 1));
}

static gpa_t avail_event(const struct virtq *q)
{
	return q->used + 4 + 8ULL * q->size;
}

int virtq_start(struct virtq *q, uint16_t max_size)
{
	q->ready = q->broken = q->signalled_valid = false;
	q->why = NULL;
	if (!q->size || (q->size & (q->size - 1)) || q->size > max_size)
		return -EINVAL;
	if ((q->desc & 15) || (q->avail & 1) || (q->used & 3))
		return -EINVAL;
	if (!guestmem_valid(q->mem, q->desc, 16ULL * q->size) ||
	    !guestmem_valid(q->mem, q->avail, 4 + 2ULL * q->size + (q->event_idx ? 2 : 0)) ||
	    !guestmem_valid(q->mem, q->used, 4 + 8ULL * q->size + (q->event_idx ? 2 : 0)))
		return -EFAULT;
	/* A queue that goes on after a pause finds its own index here; a fresh one finds 0. */
	if (guestmem_load_le16(q->mem, q->used + 2, &q->used_idx) < 0)
		return -EFAULT;
	q->next_used = q->signalled = q->used_idx;
	q->avail_idx = q->next_avail;
	q->ready = true;
	return 0;
}

void virtq_stop(struct virtq *q)
{
	q->ready = false;
}

void virtq_break(struct virtq *q, const char *why)
{
	if (!q->broken)
		q->why = why;
	q->broken = true;
}

static int broken(struct virtq *q, const char *why)
{
	virtq_break(q, why);
	return -EPROTO;
}

/* Refresh avail_idx when all that is known was popped. 1: something to pop, 0, -EPROTO. */
static int look(struct virtq *q)
{
	if (q->next_avail != q->avail_idx)
		return 1;
	if (guestmem_load_le16(q->mem, q->avail + 2, &q->avail_idx) < 0)
		return broken(q, "the available ring left guest memory");
	if ((uint16_t)(q->avail_idx - q->next_avail) > q->size)
		return broken(q, "the available index jumped by more than the queue's size");
	return q->next_avail != q->avail_idx;
}

/* Add one buffer descriptor to the chain. */
static int add_buffer(struct virtq *q, struct virtq_chain *c, const struct desc *d)
{
	bool write = le16_get(d->flags) & DESC_WRITE;
	uint32_t *total = write ? &c->write_len : &c->read_len, len = le32_get(d->len), sum;
	unsigned used = c->n_read + c->n_write;
	ssize_t n;

	if (!write && c->n_write)
		return broken(q, "a readable descriptor behind a writable one"); /* §2.7.4.2 */
	if (__builtin_add_overflow(c->read_len, c->write_len, &sum) || __builtin_add_overflow(sum, len, &sum))
		return broken(q, "a descriptor chain longer than 2^32 bytes"); /* §2.7.4.1 */
	n = guestmem_iov(q->mem, le64_get(d->addr), len, c->iov + used, VIRTQ_CHAIN_MAX - used);
	if (n == -ENOBUFS)
		return broken(q, "a descriptor chain of too many pieces");
	if (n < 0)
		return broken(q, "a descriptor outside guest memory");
	*total += len;
	if (write) {
		c->n_write += n;
		guestmem_mark_dirty(q->mem, le64_get(d->addr), len);
	} else {
		c->n_read += n;
	}
	return 0;
}

static int walk(struct virtq *q, struct virtq_chain *c)
{
	uint32_t table_len = q->size, i = c->head, steps = 0, total = 0;
	gpa_t table = q->desc;
	bool indirect = false;

	for (;;) {
		struct desc d;
		uint16_t flags;
		int r;

		/* A chain that visits more entries than its table has, loops. */
		if (i >= table_len || steps++ >= table_len)
			return broken(q, i >= table_len ? "a descriptor index beyond its table"
							: "a descriptor chain that loops or is too long");
		if (guestmem_read(q->mem, table + 16ULL * i, &d, sizeof d) < 0)
			return broken(q, "a descriptor table outside guest memory");
		flags = le16_get(d.flags);
		if (flags & DESC_INDIRECT) {
			uint32_t len = le32_get(d.len);

			/* §2.7.5.3.1: negotiated, not nested, not chained on, a multiple of 16. */
			if (!q->indirect || indirect || (flags & DESC_NEXT) || !len || len % sizeof d)
				return broken(q, "a bad indirect descriptor");
			table = le64_get(d.addr);
			table_len = len / sizeof d;
			i = steps = 0;
			indirect = true;
			continue;
		}
		/* The indirect one is none of the chain's buffers: a driver may fill the table behind it to the limit.
		 */
		if (total++ == VIRTQ_CHAIN_MAX)
			return broken(q, "a descriptor chain that loops or is too long");
		r = add_buffer(q, c, &d);
		if (r < 0 || !(flags & DESC_NEXT))
			return r;
		i = le16_get(d.next);
	}
}

int virtq_pop(struct virtq *q, struct virtq_chain *ret)
{
	int r;

	if (q->broken)
		return -EPROTO;
	if (!q->ready)
		return 0;
	r = look(q);
	if (r <= 0)
		return r;
	if (guestmem_load_le16(q->mem, avail_entry(q, q->next_avail), &ret->head) < 0)
		return broken(q, "the available ring left guest memory");
	ret->n_read = ret->n_write = 0;
	ret->read_len = ret->write_len = 0;
	r = walk(q, ret);
	if (r < 0)
		return r;
	q->next_avail++;
	return 1;
}

void virtq_unpop(struct virtq *q)
{
	q->next_avail--;
}

void virtq_push(struct virtq *q, uint16_t head, uint32_t len)
{
	struct used_elem e = { le32_of(head), le32_of(len) };

	if (!q->ready || q->broken)
		return;
	if (guestmem_write(q->mem, used_entry(q, q->next_used), &e, sizeof e) < 0)
		virtq_break(q, "the used ring left guest memory");
	else
		q->next_used++;
}

bool virtq_publish(struct virtq *q)
{
	uint16_t old, event;
	bool valid;

	if (!q->ready || q->broken || q->next_used == q->used_idx)
		return false;
	/* The store publishes the entries; the load below may not pass it (§2.7.10.1). */
	if (guestmem_store_le16(q->mem, q->used + 2, q->next_used) < 0) {
		virtq_break(q, "the used ring left guest memory");
		return false;
	}
	q->used_idx = q->next_used;
	old = q->signalled;
	valid = q->signalled_valid;
	q->signalled = q->used_idx;
	q->signalled_valid = true;
	if (guestmem_load_le16(q->mem, q->event_idx ? used_event(q) : q->avail, &event) < 0) {
		virtq_break(q, "the available ring left guest memory");
		return false;
	}
	if (!q->event_idx)
		return !(event & AVAIL_NO_INTERRUPT);
	/* Did the used index cross `event` since we told last? */
	return !valid || (uint16_t)(q->used_idx - event - 1) < (uint16_t)(q->used_idx - old);
}

bool virtq_want_kick(struct virtq *q)
{
	int r;

	if (!q->ready || q->broken)
		return false;
	if (q->event_idx)
		r = guestmem_store_le16(q->mem, avail_event(q), q->next_avail);
	else
		r = guestmem_store_le16(q->mem, q->used, 0);
	if (r < 0) {
		virtq_break(q, "the used ring left guest memory");
		return false;
	}
	return look(q) == 1;
}

void virtq_want_no_kick(struct virtq *q)
{
	/* With the event index, not moving avail_event has the same effect. */
	if (q->ready && !q->broken && !q->event_idx)
		guestmem_store_le16(q->mem, q->used, USED_NO_NOTIFY);
}
