/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device trees of the smallest and the largest machine. dtc, the reference compiler, takes them apart without a
 * warning, to the text that stands in tests/fdt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <libfdt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "boot/fdt.h"
#include "boot/fdt_writer.h"
#include "boot/layout_arm64.h"

#define AREA_SIZE 0x4000

struct fixture {
	struct guestmem *mem;
	_Alignas(8) uint8_t area[AREA_SIZE];
	struct boot_ram ram[2];
	uint64_t mpidr[3];
	uint8_t seed[FDT_RNG_SEED_SIZE];
	struct fdt_device virtio[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, ARM64_FDT, AREA_SIZE, f->area), 0);
	f->ram[0] = (struct boot_ram){ ARM64_RAM, 512U << 20 };
	f->ram[1] = (struct boot_ram){ 1ULL << 36, 5ULL << 32 };
	f->mpidr[1] = 1;
	f->mpidr[2] = 0x100000001;
	for (unsigned i = 0; i < FDT_RNG_SEED_SIZE; i++)
		f->seed[i] = (uint8_t)i;
	for (unsigned i = 0; i < 2; i++)
		f->virtio[i] = (struct fdt_device){ ARM64_VIRTIO_MMIO + i * 0x1000, 0x1000, ARM64_SPI_VIRTIO + i };
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guestmem_free(f->mem);
	free(f);
	return 0;
}

static struct fdt_config micro(const struct fixture *f)
{
	return (struct fdt_config){
		.ram = f->ram,
		.n_ram = 1,
		.cmdline = "console=ttyS0",
		.mpidr = f->mpidr,
		.vcpus = 1,
		.gic_dist = ARM64_GIC_DIST,
		.gic_dist_size = ARM64_GIC_DIST_SIZE,
		.gic_redist = ARM64_GIC_REDIST,
		.gic_redist_size = ARM64_GIC_REDIST_SIZE,
		.serial = { ARM64_SERIAL, ARM64_DEVICE_SIZE, ARM64_SPI_SERIAL },
		.virtio = f->virtio,
		.n_virtio = 1,
	};
}

static struct fdt_config cloud(const struct fixture *f)
{
	struct fdt_config c = micro(f);

	c.n_ram = 2;
	c.initrd = ARM64_RAM + 0x1000000;
	c.initrd_size = 5000;
	c.rng_seed = f->seed;
	c.vcpus = 3;
	c.gic_redist_size *= 3;
	c.gic_its = ARM64_GIC_ITS;
	c.gic_its_size = ARM64_GIC_ITS_SIZE;
	c.rtc = (struct fdt_device){ ARM64_RTC, ARM64_DEVICE_SIZE, ARM64_SPI_RTC };
	c.gpio = (struct fdt_device){ ARM64_GPIO, ARM64_DEVICE_SIZE, ARM64_SPI_GPIO };
	c.power_button = 3;
	c.pvpanic = (struct fdt_device){ .base = ARM64_PVPANIC, .size = 2 };
	c.n_virtio = 2;
	c.vmgenid = ARM64_VMGENID;
	c.vmgenid_size = ARM64_VMGENID_SIZE;
	c.vmgenid_intid = ARM64_SPI_VMGENID;
	c.pci = true;
	c.ecam = ARM64_ECAM;
	c.ecam_size = ARM64_ECAM_SIZE;
	c.bus_end = 8;
	c.mmio32 = ARM64_PCI_MMIO32;
	c.mmio32_end = ARM64_PCI_MMIO32_END;
	c.mmio64 = 1ULL << 40;
	c.mmio64_end = 2ULL << 40;
	return c;
}

static uint64_t build(struct fixture *f, const struct fdt_config *c)
{
	uint64_t size = 0;

	assert_int_equal(fdt_build(f->mem, c, ARM64_FDT, AREA_SIZE, &size, NULL), 0);
	return size;
}

/* Each kind of property, read back by libfdt; what is no tree is said at the end. */
static void test_writer(void **state)
{
	_cleanup_fdt_writer_ struct fdt_writer w = { 0 };
	const void *tree = NULL, *p;
	size_t size = 0;
	int node, len;

	assert_int_equal(fdt_writer_init(&w, 4096), 0);
	fdt_node(&w, "");
	fdt_prop_u32(&w, "u32", 0x12345678);
	fdt_prop_u64(&w, "u64", 0x123456789abcdef0);
	fdt_prop_empty(&w, "empty");
	fdt_node_at(&w, "child", 0xa0001000);
	fdt_prop_strs(&w, "two", "a\0b", sizeof "a\0b");
	fdt_prop_reg(&w, (const uint64_t[]){ 1ULL << 40, 2 }, 1);
	fdt_node_end(&w);
	fdt_node_end(&w);
	assert_int_equal(fdt_writer_finish(&w, &tree, &size), 0);
	assert_int_equal(fdt_check_full(tree, size), 0);
	assert_memory_equal(fdt_getprop(tree, 0, "u32", &len), "\x12\x34\x56\x78", 4);
	assert_memory_equal(fdt_getprop(tree, 0, "u64", &len), "\x12\x34\x56\x78\x9a\xbc\xde\xf0", 8);
	assert_non_null(fdt_getprop(tree, 0, "empty", &len));
	assert_int_equal(len, 0);
	node = fdt_path_offset(tree, "/child@a0001000");
	assert_true(node > 0);
	p = fdt_getprop(tree, node, "two", &len);
	assert_int_equal(len, 4);
	assert_memory_equal(p, "a\0b", 4);
	p = fdt_getprop(tree, node, "reg", &len);
	assert_int_equal(len, 16);
	assert_memory_equal(p, "\0\0\1\0\0\0\0\0\0\0\0\0\0\0\0\2", 16);
}

static void test_writer_failures(void **state)
{
	_cleanup_fdt_writer_ struct fdt_writer open = { 0 }, closed = { 0 }, full = { 0 }, tiny = { 0 };
	const void *tree;
	size_t size;

	assert_int_equal(fdt_writer_init(&open, 4096), 0);
	fdt_node(&open, "");
	assert_int_equal(fdt_writer_finish(&open, &tree, &size), -EINVAL);
	assert_int_equal(fdt_writer_init(&closed, 4096), 0);
	fdt_node_end(&closed);
	assert_int_equal(fdt_writer_finish(&closed, &tree, &size), -EINVAL);
	/* The first failure counts, and nothing that comes behind it makes it good. */
	assert_int_equal(fdt_writer_init(&full, 128), 0);
	fdt_node(&full, "");
	fdt_prop(&full, "much", open.tree, 4096);
	fdt_prop_cells(&full, "cells", (const uint32_t[]){ 1 }, 1);
	fdt_prop_reg(&full, (const uint64_t[]){ 1, 2 }, 1);
	fdt_node_end(&full);
	assert_int_equal(fdt_writer_finish(&full, &tree, &size), -ENOSPC);
	assert_int_equal(fdt_writer_init(&tiny, 0), 0);
	fdt_node(&tiny, "");
	assert_int_equal(fdt_writer_finish(&tiny, &tree, &size), -ENOSPC);
}

static void test_room(void **state)
{
	struct fixture *f = *state;
	struct fdt_config c = micro(f);
	struct err e = { 0 };
	uint64_t size = build(f, &c), other = 7;

	assert_int_equal(fdt_build(f->mem, &c, ARM64_FDT, size, &other, &e), 0);
	assert_int_equal(other, size);
	assert_int_equal(fdt_build(f->mem, &c, ARM64_FDT, size - 1, &other, &e), -ENOSPC);
	assert_int_equal(e.domain, ERR_LIMIT);
	assert_int_equal(fdt_build(f->mem, &c, ARM64_FDT + AREA_SIZE - 8, AREA_SIZE, &other, &e), -EFAULT);
	assert_int_equal(other, size);
}

static void check_with_dtc(struct fixture *f, const struct fdt_config *c, const char *name)
{
	_cleanup_free_ char *text = NULL, *golden = NULL;
	char dir[] = "/tmp/fdt_test_XXXXXX", path[128], command[256];
	uint64_t size = build(f, c);

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/dtb", dir);
	assert_int_equal(file_replace(path, f->area, size, 0600), 0);
	snprintf(command, sizeof command, "cd %s && dtc -I dtb -O dts -o dts dtb 2>log && ! cat log | grep . >&2", dir);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%s/dts", dir);
	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	snprintf(path, sizeof path, "%s/tests/fdt/%s.dts", getenv("SOURCE_ROOT"), name);
	if (getenv("UPDATE_GOLDEN"))
		assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
	assert_int_equal(file_read(path, 1 << 20, &golden, NULL), 0);
	assert_string_equal(text, golden);
	dir_remove(dir);
}

static void test_dtc(void **state)
{
	struct fixture *f = *state;
	struct fdt_config small = micro(f), large = cloud(f);

	if (system("command -v dtc >/dev/null") != 0) {
		print_message("no dtc (Debian: device-tree-compiler)\n");
		skip();
	}
	check_with_dtc(f, &small, "micro");
	check_with_dtc(f, &large, "cloud");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_writer),
		cmocka_unit_test(test_writer_failures),
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dtc, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
