/* SPDX-License-Identifier: Apache-2.0 */
/* For the tests of the x86_64 loaders: a guest's memory, a kernel file, and what they expect of each other. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "boot/boot.h"
#include "boot/fake_kernel.h"
#include "boot/layout_x86.h"

#define MIB      0x100000ULL
#define LOW_RAM  (24 * MIB)
#define HIGH_RAM (2 * MIB)
#define RSDP     0xa1230

struct fixture {
	struct guestmem *mem;
	uint8_t *low, *high;
	struct boot_ram ram[2];
	struct fake_kernel kernel;
	struct boot_config c;
	struct boot_entry entry;
	struct err e;
	uint64_t dirty; /* bytes that the dirty log was told of */
};

static inline void count_dirty(void *userdata, gpa_t gpa, uint64_t len)
{
	struct fixture *f = userdata;

	f->dirty += len;
}

static inline int x86_setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->low = mmap(NULL, LOW_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	f->high = mmap(NULL, HIGH_RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->low != MAP_FAILED && f->high != MAP_FAILED);
	assert_int_equal(guestmem_new(&f->mem), 0);
	/* Two regions, so that a load has to cross from one to the other. */
	assert_int_equal(guestmem_add_buffer(f->mem, 0, FAKE_BZIMAGE_BASE + 0x800, f->low), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, FAKE_BZIMAGE_BASE + 0x800, LOW_RAM - FAKE_BZIMAGE_BASE - 0x800,
					     f->low + FAKE_BZIMAGE_BASE + 0x800),
			 0);
	assert_int_equal(guestmem_add_buffer(f->mem, X86_RAM_HIGH, HIGH_RAM, f->high), 0);
	guestmem_set_dirty_log(f->mem, count_dirty, f);
	f->ram[0] = (struct boot_ram){ 0, LOW_RAM };
	f->ram[1] = (struct boot_ram){ X86_RAM_HIGH, HIGH_RAM };
	f->c = (struct boot_config){ .kernel_path = "/k",
				     .initrd_path = "/i",
				     .initrd_fd = -1,
				     .cmdline = "console=ttyS0 quiet",
				     .ram = f->ram,
				     .n_ram = 2,
				     .rsdp = RSDP };
	*state = f;
	return 0;
}

static inline int x86_teardown(void **state)
{
	struct fixture *f = *state;

	guestmem_free(f->mem);
	munmap(f->low, LOW_RAM);
	munmap(f->high, HIGH_RAM);
	free(f);
	return 0;
}

static inline int x86_load_file(struct fixture *f, int fd)
{
	int r;

	f->c.kernel_fd = fd;
	f->e = (struct err){ 0 };
	r = boot_load_x86(f->mem, &f->c, &f->entry, &f->e);
	close(fd);
	return r;
}

static inline int x86_load(struct fixture *f)
{
	int fd = fake_file(f->kernel.data, f->kernel.len);

	assert_true(fd >= 0);
	return x86_load_file(f, fd);
}

/* Refused as the user's mistake, with this in the message, and nothing handed out. */
#define assert_refused(f, text_)                                                                                       \
	do {                                                                                                           \
		(f)->entry.pc = 1;                                                                                     \
		assert_true(x86_load(f) < 0);                                                                          \
		if (!strstr((f)->e.text, text_))                                                                       \
			fail_msg("'%s' does not say '%s'", (f)->e.text, text_);                                        \
		assert_int_equal((f)->e.domain, ERR_CONFIG);                                                           \
		assert_non_null(strstr((f)->e.text, "/k"));                                                            \
		assert_int_equal((f)->entry.pc, 1);                                                                    \
	} while (0)

static inline uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	memcpy(&v, p, n);
	return v;
}

static inline void assert_loaded_ok(struct fixture *f)
{
	if (x86_load(f) < 0)
		fail_msg("%s", f->e.text);
}

struct range {
	uint64_t addr, size;
	uint32_t type;
};

static const struct range expected_map[] = {
	{ 0, 0x9fc00, 1 },
	{ 0x9fc00, 0x400, 2 },
	{ X86_ACPI, X86_ACPI_END - X86_ACPI, 3 },
	{ X86_VMGENID, 0x2000, 2 },
	{ X86_HIGH_RAM, LOW_RAM - X86_HIGH_RAM, 1 },
	{ X86_ECAM, X86_ECAM_SIZE, 2 },
	{ X86_RAM_HIGH, HIGH_RAM, 1 },
};
#define MAP_LEN (sizeof expected_map / sizeof *expected_map)
