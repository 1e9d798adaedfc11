/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A PCI function: a configuration space, BARs that come and go on the machine's memory bus as the guest says, and a
 * table of what else it does. Every slot holds one function (number 0): of the root bus, or behind a root port.
 *
 * A concrete function is a structure that begins with `struct pci_function`. Everything happens inside its loop, which
 * must outlive it; the bus's loop may be held outside of it, never the other way round.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "hw/bus.h"
#include "loop/loop.h"
#include "pci/config.h"
#include "pci/window.h"

#define PCI_SLOTS     32 /* of the root bus */
#define PCI_PORTS_MAX 8  /* root ports; the slot behind the n-th one has the number PCI_SLOTS + n */

struct pci_function;
struct state;

/* All but free may be NULL. */
struct pci_function_ops {
	/* data holds what the configuration space says, offset is below 4096: the function may say something else. */
	void (*config_read)(struct pci_function *f, uint32_t offset, void *data, uint32_t len);
	/* The configuration space has taken the write, as far as it is writable. */
	void (*config_written)(struct pci_function *f, uint32_t offset, const void *data, uint32_t len);
	/* An access of a BAR, len 1, 2, 4 or 8; data is 0 before a read. */
	void (*bar_read)(struct pci_function *f, unsigned bar, uint64_t offset, void *data, uint32_t len);
	void (*bar_write)(struct pci_function *f, unsigned bar, uint64_t offset, const void *data, uint32_t len);
	/* The BAR answers at this address from now on, or no longer. */
	void (*bar_mapped)(struct pci_function *f, unsigned bar, uint64_t address);
	void (*bar_unmapped)(struct pci_function *f, unsigned bar, uint64_t address);
	/* It was put into a slot: f->slot is set. */
	void (*placed)(struct pci_function *f);
	/* As after power on; the BARs are unmapped, the configuration space is the bus's business. */
	void (*reset)(struct pci_function *f);
	void (*pause)(struct pci_function *f);
	void (*resume)(struct pci_function *f);
	void (*save)(struct pci_function *f, struct state *s);
	int (*load)(struct pci_function *f, const struct state *s, struct err *e);
	void (*free)(struct pci_function *f);
};

struct pci_function {
	const struct pci_function_ops *ops;
	struct loop *loop;
	struct pci_config config;

	/* Of the bus and of function.c. */
	unsigned slot;
	uint8_t bus;                         /* number, as the guest said last; slots behind ports */
	struct bus *mmio;                    /* NULL: in no slot */
	const struct pci_window *windows[2]; /* where BARs may be */
	struct pci_bar_place {
		struct pci_function *function;
		uint64_t given; /* by the bus; 0: nothing */
		uint64_t address;
		bool mapped;
	} bars[PCI_BARS];
};

/* The requester id: bus, device, function 0. Behind a port there is device 0 only. */
static inline uint32_t pci_function_requester(const struct pci_function *f)
{
	return f->slot < PCI_SLOTS ? f->slot << 3 : (uint32_t)f->bus << 8;
}

/* For the bus, inside the function's loop. */
void pci_function_config_read(struct pci_function *f, uint32_t offset, void *data, uint32_t len);
void pci_function_config_write(struct pci_function *f, uint32_t offset, const void *data, uint32_t len);
void pci_function_reset(struct pci_function *f);
void pci_function_unmap(struct pci_function *f);
void pci_function_save(struct pci_function *f, struct state *s);
int pci_function_load(struct pci_function *f, const struct state *s, struct err *e);
/* NULL does nothing. Takes the BARs off the bus. */
void pci_function_free(struct pci_function *f);
DEFINE_CLEANUP(struct pci_function *, pci_function_free)
