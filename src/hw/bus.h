/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An address space of the guest (memory-mapped or port I/O) as a table of ranges with handlers: where a vCPU's exits
 * go.
 *
 * Dispatch may run on many threads at once while ranges come and go; a handler runs inside its device's loop
 * (loop_enter), so devices need no locks. bus_remove() returns when no handler of the range is running any more, and
 * may be called from inside that handler's own loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"

struct bus;

struct bus_handler {
	/* offset from the range's base; len 1, 2, 4 or 8 bytes, little-endian, not crossing the range's end. */
	void (*read)(void *device, uint64_t offset, void *data, uint32_t len);
	void (*write)(void *device, uint64_t offset, const void *data, uint32_t len);
};

int bus_new(struct bus **ret);
/* NULL does nothing. */
void bus_free(struct bus *bus);
DEFINE_CLEANUP(struct bus *, bus_free)

/* loop NULL: the handler takes care of itself. 0, -EINVAL (empty, wraps), -EEXIST (overlaps), -ENOMEM. */
int bus_add(struct bus *bus, uint64_t base, uint64_t size, const struct bus_handler *handler, void *device,
	    struct loop *loop);
/* 0 or -ENOENT. */
int bus_remove(struct bus *bus, uint64_t base);
/*
 * Wait until no access refers to a range that was removed: only then may the range's loop be freed. An access may be
 * waiting for its loop, so this is called outside of all loops.
 */
void bus_settle(struct bus *bus);

/* False: nobody is there; data then reads as all ones. */
bool bus_read(struct bus *bus, uint64_t addr, void *data, uint32_t len);
bool bus_write(struct bus *bus, uint64_t addr, const void *data, uint32_t len);
