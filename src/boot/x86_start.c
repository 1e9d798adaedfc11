/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a kernel finds in memory at its start: command line, GDT, and either page tables and the zero page (Linux
 * Documentation/arch/x86/zero-page.rst, 64-bit boot protocol) or PVH's start information (Xen
 * public/arch-x86/hvm/start_info.h). The registers that go with it are the vCPU's affair: see layout_x86.h.
 */
#include <errno.h>
#include <string.h>

#include "boot/layout_x86.h"
#include "boot/x86.h"
#include "guestmem/le.h"

#define MEMMAP_MAX 128 /* entries in the zero page */

/* ACPI §15: address range types, which e820 and PVH share. */
enum { RANGE_RAM = 1, RANGE_RESERVED = 2, RANGE_ACPI = 3 };

struct range {
	uint64_t addr, size;
	uint32_t type;
};

struct memmap {
	struct range v[MEMMAP_MAX];
	size_t n;
};

/* Keeps them in ascending order. */
static void add(struct memmap *m, uint64_t start, uint64_t end, uint32_t type)
{
	size_t i;

	if (start >= end)
		return;
	for (i = m->n; i > 0 && m->v[i - 1].addr > start; i--)
		m->v[i] = m->v[i - 1];
	m->v[i] = (struct range){ start, end - start, type };
	m->n++;
}

static int make_memmap(const struct boot_config *c, struct memmap *m, struct err *e)
{
	if (c->n_ram > MEMMAP_MAX / 4)
		return err_set(e, ERR_LIMIT, E2BIG, "%zu pieces of RAM are too many", c->n_ram);
	for (size_t i = 0; i < c->n_ram; i++) {
		uint64_t start = c->ram[i].base, end = start + c->ram[i].size;

		add(m, start, end < X86_EBDA ? end : X86_EBDA, RANGE_RAM);
		add(m, start > X86_HIGH_RAM ? start : X86_HIGH_RAM, end, RANGE_RAM);
	}
	add(m, X86_EBDA, X86_ACPI, RANGE_RESERVED);
	add(m, X86_ACPI, X86_ACPI_END, RANGE_ACPI);
	add(m, X86_ACPI_END, X86_HIGH_RAM, RANGE_RESERVED);
	/* Linux uses the ECAM window only if it is reserved here or by ACPI. */
	add(m, X86_ECAM, X86_ECAM + X86_ECAM_SIZE, RANGE_RESERVED);
	return 0;
}

/* Fields of boot_params. */
enum {
	ZP_RSDP = 0x070,
	ZP_EXT_RAMDISK_IMAGE = 0x0c0,
	ZP_EXT_RAMDISK_SIZE = 0x0c4,
	ZP_E820_ENTRIES = 0x1e8,
	ZP_TYPE_OF_LOADER = 0x210,
	ZP_LOADFLAGS = 0x211,
	ZP_RAMDISK_IMAGE = 0x218,
	ZP_RAMDISK_SIZE = 0x21c,
	ZP_CMD_LINE_PTR = 0x228,
	ZP_E820 = 0x2d0, /* 20 bytes each */
};
#define LOADER_UNREGISTERED 0xff
#define LOADED_HIGH         0x01

static void put32(uint8_t *page, unsigned at, uint64_t v)
{
	le32 raw = le32_of((uint32_t)v);

	memcpy(page + at, &raw, sizeof raw);
}

static void put64(uint8_t *page, unsigned at, uint64_t v)
{
	le64 raw = le64_of(v);

	memcpy(page + at, &raw, sizeof raw);
}

static int write_zero_page(struct guestmem *mem, const struct boot_config *c, const struct x86_kernel *k,
			   const struct memmap *map, const struct boot_entry *entry, struct err *e)
{
	uint8_t zp[BOOT_PAGE] = { 0 };

	memcpy(zp + X86_SETUP_HEADER, k->setup, sizeof k->setup);
	put64(zp, ZP_RSDP, c->rsdp);
	zp[ZP_TYPE_OF_LOADER] = LOADER_UNREGISTERED;
	zp[ZP_LOADFLAGS] |= LOADED_HIGH;
	put32(zp, ZP_RAMDISK_IMAGE, entry->initrd);
	put32(zp, ZP_EXT_RAMDISK_IMAGE, entry->initrd >> 32);
	put32(zp, ZP_RAMDISK_SIZE, entry->initrd_size);
	put32(zp, ZP_EXT_RAMDISK_SIZE, entry->initrd_size >> 32);
	put32(zp, ZP_CMD_LINE_PTR, X86_CMDLINE);
	zp[ZP_E820_ENTRIES] = (uint8_t)map->n;
	for (size_t i = 0; i < map->n; i++) {
		unsigned at = ZP_E820 + 20 * (unsigned)i;

		put64(zp, at, map->v[i].addr);
		put64(zp, at + 8, map->v[i].size);
		put32(zp, at + 16, map->v[i].type);
	}
	return boot_write(mem, X86_ZERO_PAGE, zp, sizeof zp, e);
}

struct hvm_start_info {
	le32 magic, version, flags, nr_modules;
	le64 modlist, cmdline, rsdp, memmap;
	le32 memmap_entries, reserved;
};
#define HVM_START_MAGIC 0x336ec578

struct hvm_modlist_entry {
	le64 paddr, size, cmdline, reserved;
};

struct hvm_memmap_entry {
	le64 addr, size;
	le32 type, reserved;
};

static int write_start_info(struct guestmem *mem, const struct boot_config *c, const struct memmap *map,
			    const struct boot_entry *entry, struct err *e)
{
	struct {
		struct hvm_start_info info;
		uint64_t pad;
		struct hvm_modlist_entry initrd;
	} start = { .info = {
			    .magic = le32_of(HVM_START_MAGIC),
			    .version = le32_of(1), /* with the memory map */
			    .cmdline = le64_of(X86_CMDLINE),
			    .rsdp = le64_of(c->rsdp),
			    .memmap = le64_of(X86_ZERO_PAGE),
			    .memmap_entries = le32_of((uint32_t)map->n),
		    } };
	struct hvm_memmap_entry v[MEMMAP_MAX] = { 0 };
	int r;

	if (entry->initrd_size) {
		start.info.nr_modules = le32_of(1);
		start.info.modlist = le64_of(X86_PVH_INFO + offsetof(__typeof__(start), initrd));
		start.initrd.paddr = le64_of(entry->initrd);
		start.initrd.size = le64_of(entry->initrd_size);
	}
	for (size_t i = 0; i < map->n; i++)
		v[i] = (struct hvm_memmap_entry){ .addr = le64_of(map->v[i].addr),
						  .size = le64_of(map->v[i].size),
						  .type = le32_of(map->v[i].type) };
	r = boot_write(mem, X86_PVH_INFO, &start, sizeof start, e);
	return r < 0 ? r : boot_write(mem, X86_ZERO_PAGE, v, map->n * sizeof *v, e);
}

/*
 * Flat segments, accessed already so that no CPU writes to them: 64-bit code for Linux, 32-bit code for PVH; and the
 * busy task state segment that a vCPU must have, of which nobody makes use (Intel SDM 3A §3.4.5, §7.2.2).
 */
static int write_gdt(struct guestmem *mem, enum boot_protocol protocol, struct err *e)
{
	const le64 gdt[X86_BOOT_GDT_SIZE / 8] = {
		[X86_BOOT_CS / 8] = le64_of(protocol == BOOT_PVH ? 0x00cf9b000000ffff : 0x00af9b000000ffff),
		[X86_BOOT_DS / 8] = le64_of(0x00cf93000000ffff),
		[X86_BOOT_TSS / 8] = le64_of(0x00008b000000ffff),
	};

	_Static_assert(X86_GDT + sizeof gdt <= X86_IDT, "the GDT's room");
	return boot_write(mem, X86_GDT, gdt, sizeof gdt, e);
}

/* Identity map of the first 4 GiB by 2 MiB pages (Intel SDM 3A §4.5). */
static int write_page_tables(struct guestmem *mem, struct err *e)
{
	enum { ENTRIES = 512, PRESENT_WRITABLE = 0x03, LARGE = 0x80 };
	le64 table[ENTRIES] = { le64_of(X86_PDPT | PRESENT_WRITABLE) };
	int r = boot_write(mem, X86_PML4, table, sizeof table, e);

	for (uint64_t i = 0; i < 4; i++)
		table[i] = le64_of((X86_PD + i * BOOT_PAGE) | PRESENT_WRITABLE);
	if (r == 0)
		r = boot_write(mem, X86_PDPT, table, sizeof table, e);
	for (uint64_t i = 0; r == 0 && i < 4; i++) {
		for (uint64_t k = 0; k < ENTRIES; k++)
			table[k] = le64_of(((i * ENTRIES + k) << 21) | LARGE | PRESENT_WRITABLE);
		r = boot_write(mem, X86_PD + i * BOOT_PAGE, table, sizeof table, e);
	}
	return r;
}

int x86_write_start(struct guestmem *mem, const struct boot_config *c, const struct x86_kernel *k,
		    struct boot_entry *ret, struct err *e)
{
	struct memmap map = { 0 };
	int r = make_memmap(c, &map, e);

	if (r == 0)
		r = boot_write(mem, X86_CMDLINE, c->cmdline, strlen(c->cmdline) + 1, e);
	if (r == 0)
		r = write_gdt(mem, k->protocol, e);
	if (r < 0)
		return r;
	if (k->protocol == BOOT_PVH) {
		ret->arg = X86_PVH_INFO;
		return write_start_info(mem, c, &map, ret, e);
	}
	ret->arg = X86_ZERO_PAGE;
	r = write_page_tables(mem, e);
	return r < 0 ? r : write_zero_page(mem, c, k, &map, ret, e);
}
