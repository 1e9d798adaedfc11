/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MSI-X (PCI 3.0 §6.8.2): the capability, the table of messages, the pending bits.
 *
 * Each vector has an eventfd; while it is enabled and not masked a write to it is the message, without a thread of ours
 * in between. msix_notify() is the way to write it: a masked vector becomes pending instead and is delivered when the
 * guest takes the mask away. Inside the function's loop.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "hw/platform.h"
#include "pci/function.h"

#define MSIX_VECTORS_MAX 128
#define MSIX_ENTRY_SIZE  16

struct msix {
	struct platform *platform;
	struct pci_function *function;
	unsigned n;
	unsigned capability;  /* offset */
	bool enabled, masked; /* masked: all, by the capability, or as the function may not write to memory (§6.2.2) */
	unsigned failures;    /* logged ones */
	struct msix_vector {
		uint32_t entry[4];          /* address, upper address, data, control */
		uint32_t routed[3], handle; /* what the machine was told */
		bool attached, pending;
		int fd;
	} * vectors;
};

/* Where table and pending bits are: offsets in one BAR, multiples of 8. n: at most MSIX_VECTORS_MAX. 0 or -errno. */
int msix_init(struct msix *m, struct platform *platform, struct pci_function *f, unsigned n, unsigned bar,
	      uint32_t table, uint32_t pba);
/* Accepts a zeroed structure. */
void msix_fini(struct msix *m);
void msix_reset(struct msix *m);

/* The guest wrote to the configuration space: see whether the capability or the command register changed. */
void msix_config_written(struct msix *m);
/* Accesses of the two areas; offsets in them. Others than aligned ones of 4 or 8 bytes give 0 and do nothing. */
void msix_table_read(const struct msix *m, uint64_t offset, void *data, uint32_t len);
void msix_table_write(struct msix *m, uint64_t offset, const void *data, uint32_t len);
void msix_pba_read(const struct msix *m, uint64_t offset, void *data, uint32_t len);

/* Nothing happens for a vector that is not there, or while MSI-X is off. */
void msix_notify(struct msix *m, unsigned vector);

void msix_save(const struct msix *m, struct state *s);
/* The configuration space was loaded before. */
int msix_load(struct msix *m, const struct state *s, struct err *e);
