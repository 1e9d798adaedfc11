/* SPDX-License-Identifier: Apache-2.0 */
#include "pci/window.h"

#include <errno.h>
#include <string.h>

void pci_window_init(struct pci_window *w, uint64_t base, uint64_t size)
{
	*w = (struct pci_window){ .base = base, .size = size };
}

bool pci_window_holds(const struct pci_window *w, uint64_t base, uint64_t size)
{
	return size && size <= w->size && base >= w->base && base - w->base <= w->size - size;
}

static void insert(struct pci_window *w, unsigned i, uint64_t base, uint64_t size)
{
	memmove(&w->places[i + 1], &w->places[i], (w->n - i) * sizeof *w->places);
	w->places[i] = (struct pci_place){ base, size };
	w->n++;
}

int pci_window_take(struct pci_window *w, uint64_t size, uint64_t *ret)
{
	uint64_t at = w->base;
	unsigned i;

	if (w->n == PCI_WINDOW_PLACES)
		return -ENOSPC;
	for (i = 0;; i++) {
		if (__builtin_add_overflow(at, size - 1, &at))
			return -ENOSPC;
		at &= ~(size - 1);
		if (!pci_window_holds(w, at, size))
			return -ENOSPC;
		if (i == w->n || at + (size - 1) < w->places[i].base)
			break;
		/* 0 after a place that ends at 2^64, which is in no window by now. */
		at = w->places[i].base + w->places[i].size;
	}
	insert(w, i, at, size);
	*ret = at;
	return 0;
}

int pci_window_take_at(struct pci_window *w, uint64_t base, uint64_t size)
{
	unsigned i = 0;

	if (w->n == PCI_WINDOW_PLACES || !pci_window_holds(w, base, size))
		return -ENOSPC;
	while (i < w->n && w->places[i].base + (w->places[i].size - 1) < base)
		i++;
	if (i < w->n && w->places[i].base <= base + (size - 1))
		return -EEXIST;
	insert(w, i, base, size);
	return 0;
}

void pci_window_give(struct pci_window *w, uint64_t base)
{
	for (unsigned i = 0; i < w->n; i++) {
		if (w->places[i].base == base) {
			w->n--;
			memmove(&w->places[i], &w->places[i + 1], (w->n - i) * sizeof *w->places);
			return;
		}
	}
}
