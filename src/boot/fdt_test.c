/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The device trees of the smallest and the largest machine. dtc, the reference compiler, takes them apart without a
 * warning, to the text that stands in tests/fdt.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <endian.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

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
		.serial_kind = FDT_SERIAL_NS16550A,
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
	c.serial_kind = FDT_SERIAL_PL011;
	c.rtc = (struct fdt_device){ ARM64_RTC, ARM64_DEVICE_SIZE, ARM64_SPI_RTC };
	c.n_virtio = 2;
	c.vmgenid = ARM64_VMGENID;
	c.vmgenid_intid = ARM64_SPI_VMGENID;
	c.pci = true;
	c.ecam = ARM64_ECAM;
	c.ecam_size = ARM64_ECAM_SIZE;
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

/* Cell for cell: one node with three properties, two of them of the same name. */
static void test_writer(void **state)
{
	static const uint32_t header[] = { 0xd00dfeed, 0x7e, 0x38, 0x74, 0x28, 17, 16, 0, 10, 0x3c };
	static const uint32_t nodes[] = {
		0, 0, 0, 0,          /* no reservations */
		1, 0,                /* the root */
		3, 4, 0, 0x12345678, /* first */
		3, 2, 6, 0x78000000, /* two = "x" */
		3, 0, 0,             /* first */
		2, 9,
	};
	static const char names[] = "first\0two"; /* and the NUL */
	_cleanup_fdt_writer_ struct fdt_writer w = { 0 };
	_cleanup_buf_ struct buf out = { 0 };
	const size_t cells = sizeof header + sizeof nodes;
	uint32_t cell;

	fdt_node(&w, "");
	fdt_prop_u32(&w, "first", 0x12345678);
	fdt_prop_str(&w, "two", "x");
	fdt_prop_empty(&w, "first");
	assert_int_equal(fdt_writer_finish(&w, &out), -EINVAL);
	fdt_node_end(&w);
	assert_int_equal(fdt_writer_finish(&w, &out), 0);
	assert_int_equal(out.len, cells + sizeof names);
	for (size_t i = 0; i < cells; i += sizeof cell) {
		memcpy(&cell, out.data + i, sizeof cell);
		assert_int_equal(be32toh(cell), i < sizeof header ? header[i / 4] : nodes[(i - sizeof header) / 4]);
	}
	assert_memory_equal(out.data + cells, names, sizeof names);
	fdt_node_end(&w);
	assert_int_not_equal(fdt_writer_finish(&w, &out), 0);
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
		cmocka_unit_test_setup_teardown(test_room, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dtc, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
