/* SPDX-License-Identifier: Apache-2.0 */
/* The device tree of the built-in VMM on arm64: how its kernel learns what the machine has (Devicetree 0.4). */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "boot/boot.h"
#include "guestmem/guestmem.h"

#define FDT_RNG_SEED_SIZE 64

struct fdt_device { /* a register window with one interrupt */
	uint64_t base;
	uint64_t size;
	uint32_t intid; /* as the GIC numbers it; edge-triggered, as eventfds are */
};

struct fdt_config {
	const struct boot_ram *ram;
	size_t n_ram;
	const char *cmdline;
	gpa_t initrd; /* initrd_size 0: none */
	uint64_t initrd_size;
	const uint8_t *rng_seed; /* FDT_RNG_SEED_SIZE random bytes; NULL: none */
	const uint64_t *mpidr;   /* of each CPU: what PSCI's CPU_ON takes */
	uint32_t vcpus;

	uint64_t gic_dist, gic_dist_size, gic_redist, gic_redist_size; /* GICv3; all redistributors together */
	uint64_t gic_its, gic_its_size;                                /* size 0: no ITS, and then no MSIs */

	struct fdt_device serial;  /* 16550A; size 0: none */
	struct fdt_device rtc;     /* PL031; size 0: none */
	struct fdt_device gpio;    /* PL061; size 0: none */
	unsigned power_button;     /* its line */
	struct fdt_device pvpanic; /* no interrupt; size 0: none */
	const struct fdt_device *virtio;
	size_t n_virtio;
	gpa_t vmgenid; /* RAM, whose first 16 bytes are the id; whole pages that the kernel shall leave alone; 0: none
			*/
	uint64_t vmgenid_size;
	uint32_t vmgenid_intid;

	bool pci; /* pci-host-ecam-generic */
	uint64_t ecam, ecam_size;
	uint8_t bus_end;
	uint64_t mmio32, mmio32_end, mmio64, mmio64_end; /* ends are exclusive; equal: no such window */
};

/* Write the tree to [area, area+size), area a multiple of 8. *ret_size: how long it is. */
int fdt_build(struct guestmem *mem, const struct fdt_config *c, gpa_t area, uint64_t size, uint64_t *ret_size,
	      struct err *e);
