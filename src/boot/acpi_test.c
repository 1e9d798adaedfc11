/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of machines from the smallest to the largest: found from the root pointer as a guest finds them, checked
 * field by field where a guest would fall over, and taken apart and put together again by iasl, ACPI's reference
 * compiler, which must give the same bytes.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"
#include "boot/acpi.h"
#include "boot/layout_x86.h"
#include "guestmem/le.h"

#define AREA_SIZE (X86_ACPI_END - X86_ACPI)
#define CPUS_MAX  300
#define HEADER    36

struct fixture {
	struct guestmem *mem;
	_Alignas(16) uint8_t area[AREA_SIZE];
	uint32_t apic_ids[CPUS_MAX];
	struct acpi_mmio_device virtio[17];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, X86_ACPI, AREA_SIZE, f->area), 0);
	for (uint32_t i = 0; i < CPUS_MAX; i++)
		f->apic_ids[i] = i;
	for (uint32_t i = 0; i < 17; i++)
		f->virtio[i] = (struct acpi_mmio_device){ X86_VIRTIO_MMIO + i * 0x1000, 0x1000, X86_GSI_VIRTIO + i };
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

/* The two shapes, with everything. */
static struct acpi_config micro(const struct fixture *f)
{
	return (struct acpi_config){
		.vcpus = 2,
		.max_vcpus = 2,
		.apic_ids = f->apic_ids,
		.virtio = f->virtio,
		.n_virtio = 17,
		.serial = true,
		.keyboard = true,
		.rtc = true,
		.events = X86_ACPI_EVENTS,
		.events_gsi = X86_GSI_ACPI_EVENTS,
		.vmgenid = X86_VMGENID,
		.pvpanic = true,
	};
}

static struct acpi_config cloud(const struct fixture *f)
{
	struct acpi_config c = micro(f);

	c.n_virtio = 0;
	c.max_vcpus = 64;
	c.cpu_hotplug = c.pci = c.pci_hotplug = true;
	c.ecam = X86_ECAM;
	c.mmio32 = X86_PCI_MMIO32;
	c.mmio32_end = X86_PCI_MMIO32_END;
	c.mmio64 = 1ULL << 40;
	c.mmio64_end = 2ULL << 40;
	return c;
}

static uint64_t get(const uint8_t *p, size_t n)
{
	uint64_t v = 0;

	while (n--)
		v = v << 8 | p[n];
	return v;
}

static uint8_t sum(const uint8_t *p, size_t len)
{
	uint8_t s = 0;

	while (len--)
		s += *p++;
	return s;
}

/* A table by its guest address: within the area, aligned, with a good checksum. */
static const uint8_t *table_at(struct fixture *f, uint64_t gpa)
{
	const uint8_t *t;

	assert_in_range(gpa, X86_ACPI, X86_ACPI_END - HEADER);
	assert_int_equal(gpa % 16, 0);
	t = f->area + (gpa - X86_ACPI);
	assert_in_range(get(t + 4, 4), HEADER, X86_ACPI_END - gpa);
	assert_int_equal(sum(t, get(t + 4, 4)), 0);
	assert_memory_equal(t + 10, "CAISSN", 6);
	return t;
}

/* NULL when the root table does not list it. */
static const uint8_t *table(struct fixture *f, const char *signature)
{
	const uint8_t *xsdt = table_at(f, get(f->area + 24, 8)), *fadt = NULL;
	size_t len = get(xsdt + 4, 4);

	assert_memory_equal(xsdt, "XSDT", 4);
	for (size_t i = HEADER; i < len; i += 8) {
		const uint8_t *t = table_at(f, get(xsdt + i, 8));

		if (!memcmp(t, signature, 4))
			return t;
		if (!memcmp(t, "FACP", 4))
			fadt = t;
	}
	return fadt && !strcmp(signature, "DSDT") ? table_at(f, get(fadt + 140, 8)) : NULL;
}

static void build(struct fixture *f, const struct acpi_config *c)
{
	gpa_t rsdp = 0;

	memset(f->area, 0, sizeof f->area);
	assert_int_equal(acpi_build(f->mem, c, X86_ACPI, AREA_SIZE, &rsdp, NULL), 0);
	assert_int_equal(rsdp, X86_ACPI);
}

static bool contains(const uint8_t *t, const char *what)
{
	return memmem(t, get(t + 4, 4), what, strlen(what)) != NULL;
}

static void test_root(void **state)
{
	struct fixture *f = *state;
	struct acpi_config c = micro(f);

	build(f, &c);
	assert_memory_equal(f->area, "RSD PTR ", 8);
	assert_int_equal(f->area[15], 2);
	assert_int_equal(get(f->area + 16, 4), 0); /* no RSDT */
	assert_int_equal(get(f->area + 20, 4), 36);
	assert_int_equal(sum(f->area, 20), 0);
	assert_int_equal(sum(f->area, 36), 0);
	assert_non_null(table(f, "FACP"));
	assert_non_null(table(f, "APIC"));
	assert_non_null(table(f, "DSDT"));
	assert_null(table(f, "MCFG"));
}

static void test_fadt(void **state)
{
	/* Generic address structures: system I/O, 8 bits wide, byte access. */
	static const uint8_t reset[] = { 1, 8, 0, 1, 0x00, 0x06, 0, 0, 0, 0, 0, 0, 1 };
	static const uint8_t sleep[] = { 1, 8, 0, 1, 0x01, 0x06, 0, 0, 0, 0, 0, 0,
					 1, 8, 0, 1, 0x02, 0x06, 0, 0, 0, 0, 0, 0 };
	struct fixture *f = *state;
	struct acpi_config c = micro(f);
	const uint8_t *t;

	build(f, &c);
	t = table(f, "FACP");
	assert_int_equal(get(t + 4, 4), 276);
	assert_int_equal(t[8], 6);
	assert_int_equal(t[131], 4);
	assert_int_equal(get(t + 109, 2), 0x0007); /* legacy devices, 8042, no VGA */
	assert_int_equal(get(t + 112, 4), 0x00100431);
	assert_memory_equal(t + 116, reset, sizeof reset);
	assert_memory_equal(t + 244, sleep, sizeof sleep);
	assert_memory_equal(t + 268, "CAISSON", 8);

	c.serial = c.keyboard = c.rtc = false;
	build(f, &c);
	assert_int_equal(get(table(f, "FACP") + 109, 2), 0x0024); /* no VGA, no clock */
}

static void test_madt(void **state)
{
	static const uint8_t expected[] = {
		0, 0,  0xe0, 0xfe, 0, 0, 0,    0,                            /* local APICs' address, no 8259 */
		0, 8,  0,    0,    1, 0, 0,    0,    0, 8, 1, 1, 1, 0, 0, 0, /* enabled */
		0, 8,  2,    2,    2, 0, 0,    0,                            /* may come later */
		1, 12, 0,    0,    0, 0, 0xc0, 0xfe, 0, 0, 0, 0,             /* I/O APIC 0, from GSI 0 */
		4, 6,  0xff, 0,    0, 1,                                     /* NMI on LINT1 of all */
	};
	struct fixture *f = *state;
	struct acpi_config c = cloud(f);
	const uint8_t *t;

	c.max_vcpus = 3;
	build(f, &c);
	t = table(f, "APIC");
	assert_int_equal(get(t + 4, 4), HEADER + sizeof expected);
	assert_memory_equal(t + HEADER, expected, sizeof expected);

	/* Nobody could bring it: it is not listed. */
	c.cpu_hotplug = false;
	build(f, &c);
	assert_int_equal(get(table(f, "APIC") + 4, 4), HEADER + sizeof expected - 8);
}

static void test_x2apic(void **state)
{
	static const uint8_t x2apic[] = { 9, 16, 0, 0, 255, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0 };
	struct fixture *f = *state;
	struct acpi_config c = micro(f);
	const uint8_t *t;

	c.vcpus = c.max_vcpus = CPUS_MAX;
	build(f, &c);
	t = table(f, "APIC");
	assert_int_equal(get(t + 4, 4), HEADER + 8 + 255 * 8 + 45 * 16 + 12 + 6);
	assert_memory_equal(t + HEADER + 8 + 255 * 8, x2apic, sizeof x2apic);
	/* An id that only x2APIC can say, of a CPU with a small number. */
	f->apic_ids[1] = 1000;
	c.vcpus = c.max_vcpus = 2;
	build(f, &c);
	assert_int_equal(get(table(f, "APIC") + HEADER + 8 + 8 + 4, 4), 1000);
}

static void test_mcfg(void **state)
{
	static const uint8_t expected[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xe8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0 };
	struct fixture *f = *state;
	struct acpi_config c = cloud(f);
	const uint8_t *t;

	c.bus_end = 3;
	build(f, &c);
	t = table(f, "MCFG");
	assert_non_null(t);
	assert_int_equal(get(t + 4, 4), HEADER + sizeof expected);
	assert_memory_equal(t + HEADER, expected, sizeof expected);
}

/* What is not there is not spoken of. */
static void test_dsdt_follows_config(void **state)
{
	static const char *const always[] = { "_S5_", "_SB_" };
	struct fixture *f = *state;
	struct acpi_config c = micro(f);
	const uint8_t *t;

	build(f, &c);
	t = table(f, "DSDT");
	assert_true(contains(t, "COM1") && contains(t, "PS2K") && contains(t, "RTC_") && contains(t, "VGEN") &&
		    contains(t, "QEMU0001") && contains(t, "V000") && contains(t, "V010") && contains(t, "ACPI0013") &&
		    contains(t, "PWRB"));
	assert_false(contains(t, "V011") || contains(t, "PCI0") || contains(t, "CPUS") || contains(t, "PSCN"));

	c = (struct acpi_config){ .vcpus = 1, .max_vcpus = 1, .apic_ids = f->apic_ids, .cpu_hotplug = true };
	build(f, &c);
	t = table(f, "DSDT");
	for (size_t i = 0; i < 2; i++)
		assert_true(contains(t, always[i]));
	assert_false(contains(t, "COM1") || contains(t, "PS2K") || contains(t, "RTC_") || contains(t, "VGEN") ||
		     contains(t, "QEMU0001") || contains(t, "V000") || contains(t, "ACPI0013") || contains(t, "CPUS"));

	c = cloud(f);
	build(f, &c);
	t = table(f, "DSDT");
	assert_true(contains(t, "PCI0") && contains(t, "S001") && contains(t, "S01F") && contains(t, "C03F") &&
		    contains(t, "ECAM"));
	assert_false(contains(t, "S000") || contains(t, "S020") || contains(t, "C040"));
	c.pci_hotplug = false;
	build(f, &c);
	assert_false(contains(table(f, "DSDT"), "S001"));
}

static void test_refusals(void **state)
{
	struct fixture *f = *state;
	struct acpi_config c = cloud(f);
	struct err e = { 0 };
	gpa_t rsdp = 1;

	assert_int_equal(acpi_build(f->mem, &c, X86_ACPI, 4096, &rsdp, &e), -ENOSPC);
	assert_int_equal(e.domain, ERR_LIMIT);
	assert_non_null(strstr(e.text, "room for 4096"));
	assert_int_equal(acpi_build(f->mem, &c, X86_ACPI_END - 64, AREA_SIZE, &rsdp, &e), -EFAULT);
	assert_int_equal(rsdp, 1);
}

/*
 * Disassemble and compile without optimisation (ours has none). All but the checksum and the compiler's name in the
 * header must come back.
 */
static void check_with_iasl(const uint8_t *t, const char *dir)
{
	char name[5] = { 0 }, path[64], command[512];
	_cleanup_free_ char *again = NULL;
	size_t len = get(t + 4, 4), again_len;

	memcpy(name, t, 4);
	snprintf(path, sizeof path, "%s/%s.dat", dir, name);
	assert_int_equal(file_replace(path, t, len, 0600), 0);
	snprintf(command, sizeof command,
		 "cd %s && t=%s && rm -f again.aml && iasl -d $t.dat >log 2>&1 && ! grep -iE 'error|warning' $t.dsl "
		 "log >&2 &&"
		 " iasl -oa -p again $t.dsl >log 2>&1 && ! grep -E 'Error +[0-9]|Warning +[0-9]' log >&2",
		 dir, name);
	assert_int_equal(system(command), 0);
	snprintf(path, sizeof path, "%s/again.aml", dir);
	assert_int_equal(file_read(path, 1 << 20, &again, &again_len), 0);
	assert_int_equal(again_len, len);
	assert_memory_equal(again, t, 9);
	assert_memory_equal(again + HEADER, t + HEADER, len - HEADER);
}

static void check_all_with_iasl(struct fixture *f, const struct acpi_config *c, const char *dir)
{
	static const char *const names[] = { "DSDT", "FACP", "APIC", "MCFG" };

	build(f, c);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (table(f, names[i]))
			check_with_iasl(table(f, names[i]), dir);
}

static void test_iasl(void **state)
{
	struct fixture *f = *state;
	struct acpi_config c[5] = { micro(f), cloud(f), cloud(f), { 0 }, micro(f) };
	char dir[] = "/tmp/acpi_test_XXXXXX";

	if (system("command -v iasl >/dev/null") != 0) {
		print_message("no iasl (Debian: acpica-tools)\n");
		skip();
	}
	c[2].cpu_hotplug = c[2].pci_hotplug = c[2].serial = false;
	c[2].mmio64_end = c[2].mmio64;
	c[2].bus_end = 255;
	c[3] = (struct acpi_config){ .vcpus = 1, .max_vcpus = 1, .apic_ids = f->apic_ids };
	c[4].vcpus = c[4].max_vcpus = CPUS_MAX;
	c[4].virtio = &(const struct acpi_mmio_device){ 1ULL << 40, 0x1000, 200 };
	c[4].n_virtio = 1;
	assert_non_null(mkdtemp(dir));
	for (size_t i = 0; i < sizeof c / sizeof *c; i++)
		check_all_with_iasl(f, &c[i], dir);
	dir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_root, setup, teardown),
		cmocka_unit_test_setup_teardown(test_fadt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_madt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_x2apic, setup, teardown),
		cmocka_unit_test_setup_teardown(test_mcfg, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dsdt_follows_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iasl, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
