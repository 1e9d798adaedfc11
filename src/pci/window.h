/* SPDX-License-Identifier: Apache-2.0 */
/* A range of guest addresses that BARs are given places in: first fit, naturally aligned. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#define PCI_WINDOW_PLACES 240 /* 40 slots, 6 BARs each */

struct pci_window {
	uint64_t base, size; /* size 0: there is none */
	unsigned n;
	struct pci_place {
		uint64_t base, size;
	} places[PCI_WINDOW_PLACES]; /* sorted */
};

void pci_window_init(struct pci_window *w, uint64_t base, uint64_t size);
/* size: a power of two. 0 or -ENOSPC. */
int pci_window_take(struct pci_window *w, uint64_t size, uint64_t *ret);
/* This very place. 0, -ENOSPC (outside), -EEXIST. */
int pci_window_take_at(struct pci_window *w, uint64_t base, uint64_t size);
/* What take() gave; anything else does nothing. */
void pci_window_give(struct pci_window *w, uint64_t base);
/* Does all of it lie inside the window, taken or not? */
bool pci_window_holds(const struct pci_window *w, uint64_t base, uint64_t size);
