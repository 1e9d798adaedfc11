/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The DSDT: what cannot be found by looking. Devices that are always in the same place have their usual names; the
 * identifiers are those that Linux's drivers look for.
 */
#include "boot/acpi_dsdt.h"

#include <stdio.h>

#include "boot/aml_resource.h"
#include "hw/acpi_events.h"

/* \_S5: what to write to the sleep control register for "off" (§7.4.2). */
static void sleep_states(struct aml *a)
{
	aml_name(a, "\\_S5");
	aml_package(a, 4);
	aml_int(a, ACPI_SLEEP_TYPE_S5);
	aml_int(a, ACPI_SLEEP_TYPE_S5);
	aml_int(a, 0);
	aml_int(a, 0);
	aml_end(a);
}

static void resources(struct aml *a)
{
	aml_name(a, "_CRS");
	aml_resources(a);
}

static void legacy_devices(struct aml *a, const struct acpi_config *c)
{
	if (c->serial) {
		aml_device(a, "COM1");
		aml_name_eisa(a, "_HID", "PNP0501");
		aml_name_int(a, "_UID", 1);
		resources(a);
		aml_io(a, 0x3f8, 8);
		aml_interrupt(a, 4);
		aml_end(a);
		aml_end(a);
	}
	if (c->keyboard) {
		aml_device(a, "PS2K");
		aml_name_eisa(a, "_HID", "PNP0303");
		resources(a);
		aml_io(a, 0x60, 1);
		aml_io(a, 0x64, 1);
		aml_interrupt(a, 1);
		aml_end(a);
		aml_end(a);
	}
	if (c->rtc) {
		aml_device(a, "RTC");
		aml_name_eisa(a, "_HID", "PNP0B00");
		resources(a);
		aml_io(a, 0x70, 2);
		aml_interrupt(a, 8);
		aml_end(a);
		aml_end(a);
	}
}

static void virtio_devices(struct aml *a, const struct acpi_config *c)
{
	for (size_t i = 0; i < c->n_virtio; i++) {
		char name[5];

		snprintf(name, sizeof name, "V%03X", (unsigned)i & 0xfff);
		aml_device(a, name);
		aml_name_str(a, "_HID", "LNRO0005");
		aml_name_int(a, "_UID", i);
		aml_name_int(a, "_CCA", 1);
		resources(a);
		aml_memory(a, c->virtio[i].base, c->virtio[i].size);
		aml_interrupt(a, c->virtio[i].gsi);
		aml_end(a);
		aml_end(a);
	}
}

/*
 * The page with the generation id ("Virtual Machine Generation ID", Microsoft 2012). The specification finds it by
 * "VM_Gen_Counter", Linux also by the shorter name.
 */
static void vmgenid(struct aml *a, const struct acpi_config *c)
{
	if (!c->vmgenid)
		return;
	aml_device(a, "VGEN");
	aml_name_str(a, "_HID", "CSSN0001");
	aml_name(a, "_CID");
	aml_package(a, 2);
	aml_str(a, "VM_Gen_Counter");
	aml_str(a, "VMGENCTR");
	aml_end(a);
	aml_name_str(a, "_DDN", "VM_Gen_Counter");
	aml_name(a, "ADDR");
	aml_package(a, 2);
	aml_int(a, c->vmgenid & UINT32_MAX);
	aml_int(a, c->vmgenid >> 32);
	aml_end(a);
	aml_end(a);
}

static void pvpanic(struct aml *a, const struct acpi_config *c)
{
	if (!c->pvpanic)
		return;
	aml_device(a, "PEVT");
	aml_name_str(a, "_HID", "QEMU0001");
	resources(a);
	aml_io(a, 0x505, 1);
	aml_end(a);
	aml_end(a);
}

void acpi_dsdt(struct aml *a, const struct acpi_config *c)
{
	sleep_states(a);
	aml_scope(a, "\\_SB");
	legacy_devices(a, c);
	virtio_devices(a, c);
	vmgenid(a, c);
	pvpanic(a, c);
	acpi_dsdt_pci(a, c);
	acpi_dsdt_events(a, c);
	aml_end(a);
}
