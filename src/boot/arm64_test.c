/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "boot/boot.h"
#include "boot/fake_kernel.h"
#include "boot/layout_arm64.h"

#define MIB 0x100000ULL
#define RAM (16 * MIB)

struct fixture {
	struct guestmem *mem;
	uint8_t *host;
	struct boot_ram ram;
	struct fake_kernel kernel;
	struct boot_config c;
	struct boot_entry entry;
	struct err e;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->host = mmap(NULL, RAM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(f->host != MAP_FAILED);
	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, ARM64_RAM, RAM, f->host), 0);
	f->ram = (struct boot_ram){ ARM64_RAM, RAM };
	f->c = (struct boot_config){ .kernel_path = "/k",
				     .initrd_path = "/i",
				     .initrd_fd = -1,
				     .cmdline = "",
				     .ram = &f->ram,
				     .n_ram = 1,
				     .fdt = ARM64_FDT,
				     .fdt_size = ARM64_FDT_MAX };
	fake_image(&f->kernel);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (f->c.initrd_fd >= 0)
		close(f->c.initrd_fd);
	guestmem_free(f->mem);
	munmap(f->host, RAM);
	free(f);
	return 0;
}

static int load(struct fixture *f)
{
	int r, fd = fake_file(f->kernel.data, f->kernel.len);

	assert_true(fd >= 0);
	f->c.kernel_fd = fd;
	f->e = (struct err){ 0 };
	r = boot_load_arm64(f->mem, &f->c, &f->entry, &f->e);
	close(fd);
	return r;
}

static void assert_loaded_at(struct fixture *f, gpa_t at)
{
	if (load(f) < 0)
		fail_msg("%s", f->e.text);
	assert_int_equal(f->entry.pc, at);
	assert_memory_equal(f->host + (at - ARM64_RAM), f->kernel.data, f->kernel.len);
}

static void assert_refused(struct fixture *f, const char *text)
{
	f->entry.pc = 1;
	assert_true(load(f) < 0);
	if (!strstr(f->e.text, text))
		fail_msg("'%s' does not say '%s'", f->e.text, text);
	assert_int_equal(f->e.domain, ERR_CONFIG);
	assert_int_equal(f->entry.pc, 1);
}

static void test_image(void **state)
{
	struct fixture *f = *state;

	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	assert_int_equal(f->entry.protocol, BOOT_ARM64);
	assert_int_equal(f->entry.arg, ARM64_FDT);
	assert_int_equal(f->entry.initrd_size, 0);
	fake_put(&f->kernel, 8, 0x80000, 8);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB + 0x80000);
}

/* As low as the device tree lets it. */
static void test_placement(void **state)
{
	struct fixture *f = *state;

	f->c.fdt_size = 1;
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	f->c.fdt = ARM64_RAM + FAKE_IMAGE_SIZE;
	assert_loaded_at(f, ARM64_RAM);
	f->c.fdt = ARM64_RAM + FAKE_IMAGE_SIZE - 1;
	assert_loaded_at(f, ARM64_RAM + FAKE_IMAGE_SIZE);
	f->ram = (struct boot_ram){ ARM64_RAM + 0x1000, RAM - 0x1000 };
	f->c.fdt = ARM64_RAM + 8 * MIB;
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
}

static void test_refused(void **state)
{
	static const struct {
		size_t at, len;
		uint64_t value;
		const char *text;
	} cases[] = {
		{ 56, 1, 'a', "not an arm64 Image" },
		{ 16, 8, 0, "older than Linux 3.17" },
		{ 24, 8, 0x0b, "big-endian" },
		{ 8, 8, 2 * MIB, "offset 0x200000 is beyond 2 MiB" },
		{ 8, 8, UINT64_MAX, "beyond 2 MiB" },
		{ 16, 8, RAM - 2 * MIB + 1, "needs 15 MiB of memory from 0x40200000" },
		{ 16, 8, UINT64_MAX, "give the guest more memory" },
		{ 16, 8, UINT64_MAX - ARM64_RAM, "give the guest more memory" },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		fake_image(&f->kernel);
		fake_put(&f->kernel, cases[i].at, cases[i].value, cases[i].len);
		assert_refused(f, cases[i].text);
	}
	fake_image(&f->kernel);
	fake_put(&f->kernel, 16, RAM - 2 * MIB, 8); /* to the last byte */
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	/* The file may be longer than it says. */
	fake_put(&f->kernel, 16, 1, 8);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	f->c.n_ram = 0;
	assert_refused(f, "give the guest more memory");
}

static void test_other_files(void **state)
{
	struct fixture *f = *state;

	/* The kernel that firmware may start too begins with "MZ", and is an Image all the same. */
	memcpy(f->kernel.data, "MZ\x40\xfa", 4);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	memcpy(f->kernel.data, "MZ\0\0zimg", 8);
	memset(f->kernel.data + 56, 0, 4);
	assert_refused(f, "compressed EFI image");
	memcpy(f->kernel.data, "\x1f\x8b", 2);
	assert_refused(f, "compressed by gzip");
	fake_elf(&f->kernel, true);
	assert_refused(f, "an ELF file");
	fake_bzimage(&f->kernel);
	assert_refused(f, "not an arm64 Image");
	for (size_t len = 1; len < 60; len++) {
		fake_image(&f->kernel);
		f->kernel.len = len;
		assert_refused(f, "not an arm64 Image");
	}
	f->kernel.len = 0;
	assert_refused(f, "the file is empty");
}

static void test_cmdline(void **state)
{
	struct fixture *f = *state;
	char line[2049] = { 0 };

	f->c.cmdline = line;
	memset(line, 'x', 2047);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	line[2047] = 'x';
	assert_refused(f, "takes at most 2047");
}

static void test_initrd(void **state)
{
	struct fixture *f = *state;

	f->c.initrd_fd = fake_file("initrd!", 7);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	assert_int_equal(f->entry.initrd, ARM64_RAM + RAM - 4096);
	assert_int_equal(f->entry.initrd_size, 7);
	assert_memory_equal(f->host + RAM - 4096, "initrd!", 7);
	/* Below a device tree that is above the kernel. */
	f->c.fdt = ARM64_RAM + 8 * MIB;
	assert_loaded_at(f, ARM64_RAM);
	assert_int_equal(f->entry.initrd, ARM64_RAM + 8 * MIB - 4096);
	f->c.fdt = ARM64_FDT;
	fake_put(&f->kernel, 16, RAM - 2 * MIB, 8);
	assert_refused(f, "initrd /i: its 0 KiB do not fit into the 0 KiB");
}

/* The window in which the kernel finds the initrd ends 32 GiB above the gigabyte that the kernel is in. */
static void test_initrd_window(void **state)
{
	const gpa_t end = ARM64_RAM + (32ULL << 30);
	struct fixture *f = *state;
	uint8_t *high = mmap(NULL, 0x2000, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_int_equal(guestmem_add_buffer(f->mem, end - 0x1000, 0x2000, high), 0);
	f->ram.size = (33ULL << 30);
	f->c.initrd_fd = fake_file("initrd!", 7);
	assert_loaded_at(f, ARM64_RAM + 2 * MIB);
	assert_int_equal(f->entry.initrd, end - 4096);
	munmap(high, 0x2000);
}

/* Nothing is where something else is, and every line has its number. */
static void test_layout(void **state)
{
	static const struct {
		uint64_t base, size;
	} places[] = {
		{ ARM64_GIC_DIST, ARM64_GIC_DIST_SIZE },
		{ ARM64_GIC_ITS, ARM64_GIC_ITS_SIZE },
		{ ARM64_GIC_REDIST, 64 * ARM64_GIC_REDIST_SIZE },
		{ ARM64_SERIAL, ARM64_DEVICE_SIZE },
		{ ARM64_RTC, ARM64_DEVICE_SIZE },
		{ ARM64_VIRTIO_MMIO, (ARM64_SPI_MAX + 1 - ARM64_SPI_VIRTIO) * 0x1000ULL },
		{ ARM64_PCI_MMIO32, ARM64_PCI_MMIO32_END - ARM64_PCI_MMIO32 },
		{ ARM64_ECAM, ARM64_ECAM_SIZE },
		{ ARM64_FDT, ARM64_FDT_MAX },
		{ ARM64_VMGENID, ARM64_VMGENID_SIZE },
	};

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		/* KVM's registers begin at multiples of 64 KiB, as the host's pages may. */
		assert_int_equal(places[i].base % 0x10000, 0);
		assert_true(i == 0 || places[i].base >= places[i - 1].base + places[i - 1].size);
	}
	assert_true(ARM64_PPI_TIMER_SECURE < ARM64_SPI_FIRST && ARM64_SPI_FIRST < ARM64_SPI_SERIAL);
	assert_true(ARM64_SPI_SERIAL < ARM64_SPI_RTC && ARM64_SPI_RTC < ARM64_SPI_VMGENID);
	assert_true(ARM64_SPI_VMGENID < ARM64_SPI_VIRTIO && ARM64_SPI_VIRTIO < ARM64_SPI_MAX);
	/* The GIC counts its interrupts in groups of 32. */
	assert_int_equal((ARM64_SPI_MAX + 1) % 32, 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_image),   T(test_placement), T(test_refused),       T(test_other_files),
		T(test_cmdline), T(test_initrd),    T(test_initrd_window), cmocka_unit_test(test_layout),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
