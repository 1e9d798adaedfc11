/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The I/O APIC (Intel 82093AA, with the end-of-interrupt register that its successors have: version 0x20): 24 lines,
 * each of which the guest makes a message to its local APICs. Used where KVM has the local APICs only.
 *
 * A line is raised by a pulse, as every device of this machine does it. What comes of that:
 *
 *   masked, or a mode that has no meaning here   nothing, if the line is edge-triggered (82093AA §3.2.4)
 *   edge-triggered                               the message, at once
 *   level-triggered                              the message, and no other one before the guest has ended this
 * interrupt; a pulse that comes meanwhile, or while the line is masked, is kept
 *
 * The first two do not concern the chip once it was told how the line is set up, so who owns the lines may send these
 * messages by himself (`edge`); pulses of level-triggered lines go to ioapic_raise().
 */
#pragma once

#include "hw/bus.h"

#define IOAPIC_SIZE 0x1000
#define IOAPIC_PINS 24

struct ioapic;
struct state;

struct ioapic_message {
	uint64_t address;
	uint32_t data;
};

/* All are called inside the loop of who calls the chip. */
struct ioapic_ops {
	/*
	 * The guest set the line up in another way. edge: a pulse is this message, NULL: nothing, from now on. level:
	 * the message will come by send().
	 */
	void (*edge)(void *userdata, unsigned pin, const struct ioapic_message *m);
	void (*level)(void *userdata, unsigned pin, const struct ioapic_message *m);
	void (*send)(void *userdata, const struct ioapic_message *m);
};

extern const struct bus_handler ioapic_bus;

/* All lines are masked and edge-triggered, of which the owner is not told. ops: borrowed. 0 or -ENOMEM. */
int ioapic_new(const struct ioapic_ops *ops, void *userdata, struct ioapic **ret);
/* NULL does nothing. */
void ioapic_free(struct ioapic *a);
DEFINE_CLEANUP(struct ioapic *, ioapic_free)

/* A pulse on a line. */
void ioapic_raise(struct ioapic *a, unsigned pin);
/* A local APIC tells all that the interrupt of this vector has ended. */
void ioapic_end_of_interrupt(struct ioapic *a, uint8_t vector);

void ioapic_save(const struct ioapic *a, struct state *s);
/* Of a new chip: the owner is told of all lines that are not as they were at first. */
int ioapic_load(struct ioapic *a, const struct state *s, struct err *e);
