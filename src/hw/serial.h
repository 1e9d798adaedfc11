/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A 16550A serial port: the guest's console. The last output is kept for reports.
 *
 * Output is gathered and written at the end of a line, when enough came together, or a moment after the first byte;
 * what the descriptor does not take then is dropped, so that a slow reader never stops the guest. Input waits in its
 * descriptor while the guest does not read.
 */
#pragma once

#include <stddef.h>

#include "hw/bus.h"

#define SERIAL_PORTS 8
#define SERIAL_TAIL  4096 /* bytes of output that are kept */

struct serial;
struct state;

extern const struct bus_handler serial_bus;

/*
 * irq: eventfd that raises the interrupt; in, out: -1: none. None is taken over; all outlive the port.
 * 0 or -errno.
 */
int serial_new(struct loop *loop, int irq, int in, int out, struct serial **ret);
/* Writes what was gathered. NULL does nothing. */
void serial_free(struct serial *s);
DEFINE_CLEANUP(struct serial *, serial_free)

/* Write what was gathered now. */
void serial_flush(struct serial *s);
/* The end of the output, NUL-terminated, at most size-1 bytes. Returns its length. */
size_t serial_tail(const struct serial *s, char *buf, size_t size);

void serial_save(const struct serial *s, struct state *state);
int serial_load(struct serial *s, const struct state *state, struct err *e);
