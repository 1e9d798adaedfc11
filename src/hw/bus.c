/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ranges in an array sorted by address, under a mutex that is held for the search only. A range lives as long as the
 * table or a running access refers to it.
 *
 * An access of a range with a loop runs inside that loop, and so does its removal: whoever comes later finds the range
 * dead. A range without a loop counts the accesses that are running, and its removal waits for them. An access that
 * found a range and is on its way into the loop keeps the range, but not the loop: see bus_settle().
 */
#include "hw/bus.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct range {
	uint64_t base, size;
	const struct bus_handler *handler;
	void *device;
	struct loop *loop;
	bool dead;       /* guarded by the loop, or by the bus's lock when there is none */
	unsigned refs;   /* the table's and one for each running access; guarded by the bus's lock */
	unsigned active; /* running accesses when there is no loop; guarded by the bus's lock */
	bool removed;    /* it is not in the table, and counted in stale; guarded by the bus's lock */
};

struct bus {
	pthread_mutex_t lock;
	pthread_cond_t idle; /* some range's active became 0, or stale did */
	struct range **ranges;
	size_t n, room;
	unsigned stale; /* ranges that were removed and that accesses still refer to */
};

int bus_new(struct bus **ret)
{
	struct bus *bus = calloc(1, sizeof *bus);

	if (!bus)
		return -ENOMEM;
	pthread_mutex_init(&bus->lock, NULL);
	pthread_cond_init(&bus->idle, NULL);
	*ret = bus;
	return 0;
}

void bus_free(struct bus *bus)
{
	if (!bus)
		return;
	for (size_t i = 0; i < bus->n; i++)
		free(bus->ranges[i]);
	free(bus->ranges);
	pthread_cond_destroy(&bus->idle);
	pthread_mutex_destroy(&bus->lock);
	free(bus);
}

/* Index of the first range that ends behind addr. */
static size_t search(const struct bus *bus, uint64_t addr)
{
	size_t low = 0, high = bus->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (bus->ranges[mid]->base + (bus->ranges[mid]->size - 1) < addr)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

static int insert(struct bus *bus, struct range *r)
{
	size_t at = search(bus, r->base);

	if (at < bus->n && bus->ranges[at]->base <= r->base + (r->size - 1))
		return -EEXIST;
	if (bus->n == bus->room) {
		size_t room = bus->room ? 2 * bus->room : 16;
		struct range **more = reallocarray(bus->ranges, room, sizeof *more);

		if (!more)
			return -ENOMEM;
		bus->ranges = more;
		bus->room = room;
	}
	memmove(&bus->ranges[at + 1], &bus->ranges[at], (bus->n - at) * sizeof *bus->ranges);
	bus->ranges[at] = r;
	bus->n++;
	return 0;
}

int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_handler *handler, void *device,
	    struct loop *loop)
{
	uint64_t end;
	struct range *r;
	int result;

	if (!size || __builtin_add_overflow(base, size - 1, &end))
		return -EINVAL;
	r = calloc(1, sizeof *r);
	if (!r)
		return -ENOMEM;
	*r = (struct range){
		.base = base, .size = size, .handler = handler, .device = device, .loop = loop, .refs = 1
	};
	pthread_mutex_lock(&bus->lock);
	result = insert(bus, r);
	pthread_mutex_unlock(&bus->lock);
	if (result < 0)
		free(r);
	return result;
}

static void unref_locked(struct bus *bus, struct range *r)
{
	if (--r->refs)
		return;
	if (r->removed && !--bus->stale)
		pthread_cond_broadcast(&bus->idle);
	free(r);
}

int bus_remove(struct bus *bus, uint64_t base)
{
	struct loop *loop;
	struct range *r;
	size_t at;

	pthread_mutex_lock(&bus->lock);
	at = search(bus, base);
	r = at < bus->n && bus->ranges[at]->base == base ? bus->ranges[at] : NULL;
	if (!r) {
		pthread_mutex_unlock(&bus->lock);
		return -ENOENT;
	}
	bus->n--;
	memmove(&bus->ranges[at], &bus->ranges[at + 1], (bus->n - at) * sizeof *bus->ranges);
	loop = r->loop;
	if (!loop) {
		r->dead = true;
		while (r->active)
			pthread_cond_wait(&bus->idle, &bus->lock);
	}
	pthread_mutex_unlock(&bus->lock);
	if (loop) {
		loop_enter(loop);
		r->dead = true;
		loop_leave(loop);
	}
	pthread_mutex_lock(&bus->lock);
	r->removed = true;
	bus->stale++;
	unref_locked(bus, r);
	pthread_mutex_unlock(&bus->lock);
	return 0;
}

void bus_settle(struct bus *bus)
{
	pthread_mutex_lock(&bus->lock);
	while (bus->stale)
		pthread_cond_wait(&bus->idle, &bus->lock);
	pthread_mutex_unlock(&bus->lock);
}

/* The range that holds all of [addr, addr+len), referred to; NULL: none. */
static struct range *get(struct bus *bus, uint64_t addr, uint32_t len)
{
	struct range *r = NULL;
	size_t at;

	if (len != 1 && len != 2 && len != 4 && len != 8)
		return NULL;
	pthread_mutex_lock(&bus->lock);
	at = search(bus, addr);
	if (at < bus->n && bus->ranges[at]->base <= addr) {
		r = bus->ranges[at];
		if (len > r->size || addr - r->base > r->size - len)
			r = NULL;
	}
	if (r) {
		r->refs++;
		r->active += !r->loop;
	}
	pthread_mutex_unlock(&bus->lock);
	if (r && r->loop)
		loop_enter(r->loop);
	return r;
}

static void put(struct bus *bus, struct range *r)
{
	if (r->loop)
		loop_leave(r->loop);
	pthread_mutex_lock(&bus->lock);
	if (!r->loop && !--r->active)
		pthread_cond_broadcast(&bus->idle);
	unref_locked(bus, r);
	pthread_mutex_unlock(&bus->lock);
}

bool bus_read(struct bus *bus, uint64_t addr, void *data, uint32_t len)
{
	struct range *r = get(bus, addr, len);
	bool there = r && (!r->loop || !r->dead);

	memset(data, 0xff, len);
	if (there)
		r->handler->read(r->device, addr - r->base, data, len);
	if (r)
		put(bus, r);
	return there;
}

bool bus_write(struct bus *bus, uint64_t addr, const void *data, uint32_t len)
{
	struct range *r = get(bus, addr, len);
	bool there = r && (!r->loop || !r->dead);

	if (there)
		r->handler->write(r->device, addr - r->base, data, len);
	if (r)
		put(bus, r);
	return there;
}
