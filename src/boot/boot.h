/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Put a Linux kernel into guest memory so that a vCPU can start it. Pure: files in, guest memory out; no KVM.
 *
 * x86_64: bzImage by its 64-bit entry (Linux Documentation/arch/x86/boot.rst, protocol 2.12 and later), ELF with a PVH
 * note (Xen docs/misc/pvh.pandoc), ELF without one as a Linux vmlinux. arm64: Image
 * (Documentation/arch/arm64/booting.rst).
 *
 * The guest memory is new, that is, all zeroes: what a kernel wants cleared is not written again.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guestmem/guestmem.h"

enum boot_protocol { BOOT_LINUX64, BOOT_PVH, BOOT_ARM64 };

struct boot_ram {
	gpa_t base;
	uint64_t size;
};

struct boot_config {
	const char *kernel_path, *initrd_path; /* for messages */
	int kernel_fd, initrd_fd;              /* initrd_fd -1: none; not taken over, but their positions move */
	bool kernel_constant; /* nobody changes the file while the guest runs, and memory is private and of ordinary
				 pages: map instead of copying (guestmem_map) */
	const char *cmdline;
	const struct boot_ram *ram; /* ascending; all of it is guest memory */
	size_t n_ram;
	gpa_t rsdp; /* x86: ACPI's root pointer; 0: none */
	gpa_t fdt;  /* arm64: where the device tree will be; it is written later, see boot/fdt.h */
	uint64_t fdt_size;
};

struct boot_entry {
	enum boot_protocol protocol;
	uint64_t pc;  /* first instruction */
	uint64_t arg; /* LINUX64: rsi, the zero page; PVH: rbx, the start info; ARM64: x0, the device tree */
	gpa_t initrd; /* where the initrd is; for the device tree */
	uint64_t initrd_size;
	gpa_t kernel; /* between these are all pages of the kernel's file */
	uint64_t kernel_size;
};

/*
 * Fails with ERR_CONFIG and a sentence that names the file: not a kernel, for another machine, too large for the
 * memory, command line too long, initrd empty or too large.
 */
int boot_load_x86(struct guestmem *mem, const struct boot_config *c, struct boot_entry *ret, struct err *e);
int boot_load_arm64(struct guestmem *mem, const struct boot_config *c, struct boot_entry *ret, struct err *e);
