/* SPDX-License-Identifier: Apache-2.0 */
/*
 * acpi_build(): the tables one behind the other, root pointer first, in a buffer that is written to the guest at once.
 * The layout of the fixed tables is that of ACPI 6.4 §5.2, as structures.
 */
#include "boot/acpi.h"

#include <errno.h>
#include <string.h>

#include "boot/acpi_dsdt.h"
#include "boot/layout_x86.h"
#include "guestmem/le.h"
#include "hw/acpi_events.h"

#define OEM         "CAISSN"
#define OEM_TABLE   "CAISSON " /* 8 bytes */
#define CREATOR     "CSSN"
#define TABLE_ALIGN 16

struct header { /* of every table but the RSDP */
	char signature[4];
	le32 length;
	uint8_t revision, checksum;
	char oem[6], oem_table[8];
	le32 oem_revision;
	char creator[4];
	le32 creator_revision;
} __attribute__((packed));

struct rsdp {
	char signature[8];
	uint8_t checksum;
	char oem[6];
	uint8_t revision;
	le32 rsdt, length;
	le64 xsdt;
	uint8_t extended_checksum, reserved[3];
} __attribute__((packed));

struct gas { /* generic address structure, §5.2.3.2 */
	uint8_t space, bits, offset, access;
	le64 address;
} __attribute__((packed));

struct fadt {
	struct header header;
	le32 firmware_ctrl, dsdt;
	uint8_t reserved0, pm_profile;
	uint8_t pm_registers[61]; /* of machines that are not hardware-reduced */
	uint8_t reserved1[2];
	le16 boot_arch;
	uint8_t reserved2;
	le32 flags;
	struct gas reset;
	uint8_t reset_value;
	le16 arm_boot_arch;
	uint8_t minor_version;
	le64 x_firmware_ctrl, x_dsdt;
	struct gas x_pm_registers[8];
	struct gas sleep_control, sleep_status;
	char hypervisor[8];
} __attribute__((packed));

_Static_assert(sizeof(struct header) == 36 && sizeof(struct rsdp) == 36 && sizeof(struct fadt) == 276, "ACPI 6.4");
_Static_assert(offsetof(struct fadt, boot_arch) == 109 && offsetof(struct fadt, sleep_control) == 244, "FADT");

/* FADT flags and IA-PC boot architecture flags (§5.2.9, §5.2.9.3). */
enum {
	FADT_WBINVD = 1 << 0,
	FADT_PWR_BUTTON = 1 << 4, /* set: there is no fixed-hardware button */
	FADT_SLP_BUTTON = 1 << 5,
	FADT_RESET_REG_SUP = 1 << 10,
	FADT_HW_REDUCED = 1 << 20,
};
enum {
	BOOT_LEGACY_DEVICES = 1 << 0,
	BOOT_8042 = 1 << 1,
	BOOT_NO_VGA = 1 << 2,
	BOOT_NO_CMOS_RTC = 1 << 5,
};
enum { GAS_SYSTEM_IO = 1, GAS_BYTE = 1 };

struct writer {
	struct buf buf;
	gpa_t area; /* of the buffer's first byte */
	bool failed;
};

static void append(struct writer *w, const void *data, size_t len)
{
	if (buf_append(&w->buf, data, len) < 0)
		w->failed = true;
}

static uint8_t checksum(const void *data, size_t len)
{
	uint8_t sum = 0;

	for (size_t i = 0; i < len; i++)
		sum += ((const uint8_t *)data)[i];
	return (uint8_t)-sum;
}

/* Begin a table: returns where in the buffer. fixed: header and fixed part, whose header is filled in here. */
static size_t table_begin(struct writer *w, const char *signature, uint8_t revision, void *fixed, size_t len)
{
	static const uint8_t zero[TABLE_ALIGN];
	struct header *h = fixed;
	size_t at;

	append(w, zero, (TABLE_ALIGN - w->buf.len % TABLE_ALIGN) % TABLE_ALIGN);
	*h = (struct header){ .revision = revision, .oem_revision = le32_of(1), .creator_revision = le32_of(1) };
	memcpy(h->signature, signature, 4);
	memcpy(h->oem, OEM, 6);
	memcpy(h->oem_table, OEM_TABLE, 8);
	memcpy(h->creator, CREATOR, 4);
	at = w->buf.len;
	append(w, fixed, len);
	return at;
}

/* Length and checksum; returns the table's guest address. */
static gpa_t table_end(struct writer *w, size_t at)
{
	struct header h;

	if (w->failed)
		return 0;
	memcpy(&h, w->buf.data + at, sizeof h);
	h.length = le32_of((uint32_t)(w->buf.len - at));
	memcpy(w->buf.data + at, &h, sizeof h);
	h.checksum = checksum(w->buf.data + at, w->buf.len - at);
	memcpy(w->buf.data + at, &h, sizeof h);
	return w->area + at;
}

static gpa_t write_dsdt(struct writer *w, const struct acpi_config *c)
{
	_cleanup_aml_ struct aml a = { 0 };
	struct header h;
	size_t at = table_begin(w, "DSDT", 2, &h, sizeof h); /* revision 2: integers have 64 bits */

	acpi_dsdt(&a, c);
	if (aml_finish(&a) < 0)
		w->failed = true;
	else
		append(w, a.buf.data, a.buf.len);
	return table_end(w, at);
}

static gpa_t write_fadt(struct writer *w, const struct acpi_config *c, gpa_t dsdt)
{
	const struct gas port = { .space = GAS_SYSTEM_IO, .bits = 8, .access = GAS_BYTE };
	struct fadt f = {
		.boot_arch = le16_of((uint16_t)((c->serial ? BOOT_LEGACY_DEVICES : 0) | (c->keyboard ? BOOT_8042 : 0) |
						(c->rtc ? 0 : BOOT_NO_CMOS_RTC) | BOOT_NO_VGA)),
		.flags =
			le32_of(FADT_WBINVD | FADT_PWR_BUTTON | FADT_SLP_BUTTON | FADT_RESET_REG_SUP | FADT_HW_REDUCED),
		.reset = port,
		.reset_value = ACPI_RESET_VALUE,
		.minor_version = 4,
		.x_dsdt = le64_of(dsdt),
		.sleep_control = port,
		.sleep_status = port,
		.hypervisor = "CAISSON",
	};

	f.reset.address = le64_of(ACPI_RESET_PORT);
	f.sleep_control.address = le64_of(ACPI_SLEEP_PORT);
	f.sleep_status.address = le64_of(ACPI_SLEEP_STATUS_PORT);
	return table_end(w, table_begin(w, "FACP", 6, &f, sizeof f));
}

size_t acpi_madt_cpu(uint8_t *out, const struct acpi_config *c, uint32_t cpu, bool enabled)
{
	enum { ENABLED = 1, ONLINE_CAPABLE = 2 };
	const uint32_t id = c->apic_ids[cpu];
	const le32 flags = le32_of(enabled ? ENABLED : ONLINE_CAPABLE);
	const struct {
		uint8_t type, len, uid, id;
		le32 flags;
	} __attribute__((packed)) xapic = { 0, 8, (uint8_t)cpu, (uint8_t)id, flags };
	const struct {
		uint8_t type, len, reserved[2];
		le32 id, flags, uid;
	} __attribute__((packed))
	x2apic = { .type = 9, .len = 16, .id = le32_of(id), .flags = flags, .uid = le32_of(cpu) };

	/* 255 is the broadcast address of both columns. */
	if (id < 255 && cpu < 255) {
		memcpy(out, &xapic, sizeof xapic);
		return sizeof xapic;
	}
	memcpy(out, &x2apic, sizeof x2apic);
	return sizeof x2apic;
}

/*
 * MADT (§5.2.12). No interrupt source overrides: on a hardware-reduced machine there are no 8259s and no PIT, and the
 * DSDT says of each interrupt what it is.
 */
static gpa_t write_madt(struct writer *w, const struct acpi_config *c)
{
	struct {
		struct header header;
		le32 lapic, flags; /* PCAT_COMPAT off: no 8259s */
	} __attribute__((packed)) m = { .lapic = le32_of((uint32_t)X86_LAPIC) };
	const struct {
		uint8_t type, len, id, reserved;
		le32 address, gsi_base;
	} __attribute__((packed)) ioapic = { .type = 1, .len = 12, .address = le32_of((uint32_t)X86_IOAPIC) };
	const struct {
		uint8_t type, len, uid;
		le16 flags;
		uint8_t lint;
	} __attribute__((packed)) nmi = { .type = 4, .len = 6, .uid = 0xff, .lint = 1 }; /* of all CPUs */
	const uint32_t cpus = acpi_has_cpu_hotplug(c) ? c->max_vcpus : c->vcpus;
	size_t at = table_begin(w, "APIC", 5, &m, sizeof m);
	uint8_t entry[16];

	for (uint32_t i = 0; i < cpus; i++)
		append(w, entry, acpi_madt_cpu(entry, c, i, i < c->vcpus));
	append(w, &ioapic, sizeof ioapic);
	append(w, &nmi, sizeof nmi);
	return table_end(w, at);
}

/* PCI Firmware Specification 3.3 §4.1.2. */
static gpa_t write_mcfg(struct writer *w, const struct acpi_config *c)
{
	struct {
		struct header header;
		uint8_t reserved[8];
		le64 base;
		le16 segment;
		uint8_t first_bus, last_bus, reserved2[4];
	} __attribute__((packed)) m = { .base = le64_of(c->ecam), .last_bus = c->bus_end };

	return table_end(w, table_begin(w, "MCFG", 1, &m, sizeof m));
}

/* The root pointer's place at the front was kept free. */
static void write_root(struct writer *w, gpa_t xsdt)
{
	struct rsdp p = { .signature = "RSD PTR ", .revision = 2, .length = le32_of(sizeof p), .xsdt = le64_of(xsdt) };

	memcpy(p.oem, OEM, sizeof p.oem);
	p.checksum = checksum(&p, 20); /* as far as ACPI 1.0 knew it */
	p.extended_checksum = checksum(&p, sizeof p);
	if (!w->failed)
		memcpy(w->buf.data, &p, sizeof p);
}

static void write_tables(struct writer *w, const struct acpi_config *c)
{
	const struct rsdp room = { 0 };
	le64 tables[3];
	size_t n = 0, at;
	struct header h;

	append(w, &room, sizeof room);
	tables[n++] = le64_of(write_fadt(w, c, write_dsdt(w, c)));
	tables[n++] = le64_of(write_madt(w, c));
	if (c->pci)
		tables[n++] = le64_of(write_mcfg(w, c));
	at = table_begin(w, "XSDT", 1, &h, sizeof h);
	append(w, tables, n * sizeof *tables);
	write_root(w, table_end(w, at));
}

int acpi_build(struct guestmem *mem, const struct acpi_config *c, gpa_t area, uint64_t size, gpa_t *ret_rsdp,
	       struct err *e)
{
	struct writer w = { .area = area };
	int r = 0;

	write_tables(&w, c);
	if (w.failed)
		r = err_sys(e, ENOMEM, "make ACPI tables");
	else if (w.buf.len > size)
		r = err_set(e, ERR_LIMIT, ENOSPC, "the ACPI tables take %zu bytes, and there is room for %llu",
			    w.buf.len, (unsigned long long)size);
	else
		r = guestmem_write(mem, area, w.buf.data, w.buf.len);
	if (r == -EFAULT)
		err_sys(e, EFAULT, "write ACPI tables to guest memory at 0x%llx", (unsigned long long)area);
	buf_fini(&w.buf);
	if (r == 0)
		*ret_rsdp = area;
	return r;
}
