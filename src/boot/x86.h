/* SPDX-License-Identifier: Apache-2.0 */
/* x86_64: from the kernel file formats (bzimage.c, elf.c) to what the kernel finds at its start (x86_start.c). */
#pragma once

#include "boot/load.h"

#define X86_4GIB 0x100000000ULL

/* struct setup_header within boot_params (Linux Documentation/arch/x86/boot.rst), and the most it may grow to. */
#define X86_SETUP_HEADER     0x1f1
#define X86_SETUP_HEADER_END 0x290

struct x86_kernel {
	enum boot_protocol protocol;
	uint64_t pc;
	gpa_t start, end;     /* what the kernel uses before it knows the memory map */
	uint32_t cmdline_max; /* without the NUL */
	uint32_t initrd_max;  /* highest address of the initrd's last byte */
	uint8_t setup[X86_SETUP_HEADER_END - X86_SETUP_HEADER]; /* setup header, for BOOT_LINUX64 */
};

/* Does the file, whose first bytes are given, look like one? */
bool bzimage_probe(const uint8_t *head, size_t len);
bool elf_probe(const uint8_t *head, size_t len);

/* Load it. The messages do not name the file: the caller does. */
int bzimage_load(struct guestmem *mem, const struct boot_config *c, const struct boot_file *f, struct x86_kernel *ret,
		 struct err *e);
int elf_load(struct guestmem *mem, const struct boot_config *c, const struct boot_file *f, struct x86_kernel *ret,
	     struct err *e);

/* Is [start, end) memory that a kernel may be loaded to? */
int x86_check_kernel_range(const struct boot_config *c, gpa_t start, gpa_t end, struct err *e);

/* GDT, page tables, zero page or PVH start information; sets ret->arg. The initrd is in ret already. */
int x86_write_start(struct guestmem *mem, const struct boot_config *c, const struct x86_kernel *k,
		    struct boot_entry *ret, struct err *e);
