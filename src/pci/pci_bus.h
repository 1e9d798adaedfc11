/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The root bus: 32 slots of one function each, reached by ECAM (a megabyte of memory for each bus) and, on a PC, by the
 * ports 0xcf8 and 0xcfc. Gives the functions' BARs their places, and lets functions come and go while the guest runs.
 *
 * There are two ways of that. By ACPI (hw/acpi_events.h), in the slots of the root bus: a new function is announced
 * (up); one that shall go is asked for (down), and goes when the guest has ejected it. Or by root ports (root_port.h),
 * for a machine without ACPI: they have the last slots of the root bus, and the slot behind the n-th of them has the
 * number PCI_SLOTS + n. What is on the root bus then stays. Either way a guest that lets go of what nobody asked for
 * finds the function reset, in its slot.
 *
 * May be called from any thread that holds no function's loop: the bus enters its own loop, and a function's inside it.
 */
#pragma once

#include "pci/function.h"

#define PCI_ECAM_SIZE 0x100000ULL /* of one bus; each port has one more */
#define PCI_PORTS     0xcf8
#define PCI_PORTS_LEN 8

struct pci_bus;

struct pci_bus_config {
	struct bus *mmio, *pio; /* borrowed; pio NULL: no ports */
	struct loop *loop;
	uint64_t ecam;
	unsigned ports;            /* root ports, at most PCI_PORTS_MAX */
	struct platform *platform; /* for their messages */
	/* For BARs; size 0: none. The second is for those of 64 bits, which fall back to the first. */
	uint64_t window32, window32_size, window64, window64_size;
};

/* Inside the bus's loop. */
struct pci_hotplug_ops {
	/* Of slots of the root bus; NULL: nothing goes from there. */
	void (*up)(void *userdata, unsigned slot);
	void (*down)(void *userdata, unsigned slot);
	/*
	 * The function in this slot is gone and freed, as the guest was asked to let it. Inside the function's loop,
	 * too, which must not be freed before the bus's has been left.
	 */
	void (*gone)(void *userdata, unsigned slot);
};

/* With a host bridge in slot 0. 0 or -errno with *e. */
int pci_bus_new(const struct pci_bus_config *config, struct pci_bus **ret, struct err *e);
/* With all functions. NULL does nothing. */
void pci_bus_free(struct pci_bus *bus);
DEFINE_CLEANUP(struct pci_bus *, pci_bus_free)

/* From now on functions come and go under the eyes of the guest, with root ports only behind them. ops NULL: no longer.
 */
void pci_bus_set_hotplug(struct pci_bus *bus, const struct pci_hotplug_ops *ops, void *userdata);

/*
 * Put f into a slot (-1: a free one), give its BARs places (behind a port the guest does), announce it. Returns the
 * slot; then f is the bus's.
 * -EBUSY: the slot is taken; -ENOSPC: no slot or no place is free.
 */
int pci_bus_add(struct pci_bus *bus, struct pci_function *f, int slot, struct err *e);
/* Ask the guest to let go of the function; may be repeated. -ENOENT: the slot is empty; -EPERM: it is a bridge's, or
 * there is no hot-plug for it. */
int pci_bus_request_removal(struct pci_bus *bus, unsigned slot);
/* The guest let go of what is in this slot of the root bus. */
void pci_bus_ejected(struct pci_bus *bus, unsigned slot);
/* Take the function out and free it without asking. -ENOENT */
int pci_bus_remove(struct pci_bus *bus, unsigned slot);
/* The slot of the root bus that has the port to this slot. -ENOENT: it is on the root bus itself. */
int pci_bus_port(const struct pci_bus *bus, unsigned slot);
/* NULL: the slot is empty. */
struct pci_function *pci_bus_function(struct pci_bus *bus, unsigned slot);

/* All functions. Save: while paused. Load: the same functions are in the same slots. */
void pci_bus_pause(struct pci_bus *bus);
void pci_bus_resume(struct pci_bus *bus);
void pci_bus_save(struct pci_bus *bus, struct state *s);
int pci_bus_load(struct pci_bus *bus, const struct state *s, struct err *e);
