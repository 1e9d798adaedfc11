/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hostile kernel files: the input's first byte chooses the machine and whether there is an initrd, the rest is the
 * file. What is loaded must lie within the guest's memory, where the loaders promise it.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

#include "boot/boot.h"
#include "boot/fake_kernel.h"
#include "boot/layout_arm64.h"
#include "boot/layout_x86.h"

#define RAM_SIZE    (32U << 20)
#define INITRD_SIZE 5000

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct guestmem *mem;
static uint8_t *ram;
static int initrd = -1;

static void start(void)
{
	static const uint8_t content[INITRD_SIZE];

	ram = mmap(NULL, RAM_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	initrd = fake_file(content, sizeof content);
	if (ram == MAP_FAILED || initrd < 0 || guestmem_new(&mem) < 0)
		abort();
}

static void check(bool x86, gpa_t base, const struct boot_entry *entry)
{
	if (!guestmem_valid(mem, entry->pc, 1) || !guestmem_valid(mem, entry->initrd, entry->initrd_size))
		abort();
	if (x86 && entry->pc < X86_HIGH_RAM)
		abort();
	if (entry->initrd_size && (entry->initrd < base + 4096 || entry->initrd % 4096))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct boot_config c = { .kernel_path = "kernel", .initrd_path = "initrd", .cmdline = "quiet", .n_ram = 1 };
	struct boot_entry entry = { 0 };
	struct boot_ram range;
	struct err e = { 0 };
	bool x86;
	int r;

	if (!mem)
		start();
	if (size < 2)
		return 0;
	x86 = !(data[0] & 1);
	range = (struct boot_ram){ x86 ? 0 : ARM64_RAM, RAM_SIZE };
	guestmem_clear(mem);
	if (guestmem_add_buffer(mem, range.base, range.size, ram) < 0)
		abort();
	c.ram = &range;
	c.fdt = ARM64_FDT;
	c.fdt_size = ARM64_FDT_MAX;
	c.initrd_fd = data[0] & 2 ? initrd : -1;
	c.kernel_fd = fake_file(data + 1, size - 1);
	r = x86 ? boot_load_x86(mem, &c, &entry, &e) : boot_load_arm64(mem, &c, &entry, &e);
	close(c.kernel_fd);
	if (r == 0)
		check(x86, range.base, &entry);
	else if (!err_is_set(&e))
		abort();
	return 0;
}
