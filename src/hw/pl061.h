/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General purpose I/O (ARM PrimeCell PL061, DDI 0190), with a push button on one of its eight lines and nothing on the
 * others: the power button of a machine without ACPI. The device tree tells of the button as a "gpio-keys" one.
 *
 * Drivers wait for a while after an interrupt, until the contacts do not bounce any more, and look at the line then. So
 * the button is released a while after the guest has first seen that it is pressed, however long that takes.
 */
#pragma once

#include "hw/bus.h"

#define PL061_SIZE   0x1000
#define PL061_BUTTON 3 /* the line: high while the button is pressed */

struct pl061;
struct state;

extern const struct bus_handler pl061_bus;

/* irq: eventfd, not taken over; -1: no interrupts. 0 or -errno. */
int pl061_new(struct loop *loop, int irq, struct pl061 **ret);
/* NULL does nothing. */
void pl061_free(struct pl061 *p);
DEFINE_CLEANUP(struct pl061 *, pl061_free)

/* Nothing happens while it is pressed. */
void pl061_press(struct pl061 *p);

void pl061_save(const struct pl061 *p, struct state *s);
int pl061_load(struct pl061 *p, const struct state *s, struct err *e);
