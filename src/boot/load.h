/* SPDX-License-Identifier: Apache-2.0 */
/* What the loaders share: files that are read straight into guest memory, and where in RAM things may be. */
#pragma once

#include <stdbool.h>

#include "boot/boot.h"

#define BOOT_PAGE 4096ULL

/* A kernel or an initrd. Whoever made the file may be hostile: sizes and offsets out of it are only numbers. */
struct boot_file {
	int fd;
	uint64_t size; /* at the time of boot_file_init(); it may shrink later, which reads notice */
	bool constant; /* it does not: boot_config.kernel_constant */
};

/* Fails when fd is not a regular file, or empty. */
int boot_file_init(struct boot_file *f, int fd, struct err *e);
/* Exactly len bytes. Fails with ERR_CONFIG when the file ends before. */
int boot_file_read(const struct boot_file *f, uint64_t offset, void *data, size_t len, struct err *e);
/* The same into guest memory, by the cheapest way there is. fresh: nothing was written there before. */
int boot_file_load(const struct boot_file *f, uint64_t offset, struct guestmem *mem, gpa_t gpa, uint64_t len,
		   bool fresh, struct err *e);

/* The range of RAM that has all of [gpa, gpa+len), or NULL. */
const struct boot_ram *boot_ram_find(const struct boot_config *c, gpa_t gpa, uint64_t len);

/*
 * Load the initrd, if there is one, as high as possible in [low, high), page-aligned. ret gets its place; the message
 * names the file.
 */
int boot_load_initrd(struct guestmem *mem, const struct boot_config *c, gpa_t low, gpa_t high, struct boot_entry *ret,
		     struct err *e);

/* -EINVAL and a message when the command line is longer than max bytes (without its NUL). */
int boot_check_cmdline(const struct boot_config *c, uint64_t max, struct err *e);

/* Write into guest memory what we made ourselves. */
int boot_write(struct guestmem *mem, gpa_t gpa, const void *data, size_t len, struct err *e);

/* round up to a power of two; may wrap to 0 at the end of the address space. */
static inline uint64_t boot_align_up(uint64_t v, uint64_t align)
{
	return (v + align - 1) & ~(align - 1);
}
