/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PCI host bridge in the DSDT: its windows, what it lets the guest control, and slots whose devices come and go
 * (ACPI 6.4 §6.3, PCI Firmware Specification 3.3 §4.5).
 */
#include <stdio.h>

#include "boot/acpi_dsdt.h"
#include "boot/aml_resource.h"
#include "hw/acpi_events.h"

#define SLOTS            32 /* slot 0 is the host bridge */
#define HOST_BRIDGE_UUID "33DB4D5B-1FF7-401C-9657-7441C03DD766"

enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT = 3 };
enum { OSC_UNKNOWN_UUID = 0x04, OSC_MASKED = 0x10 };

static void windows(struct aml *a, const struct acpi_config *c)
{
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_bus_window(a, 0, c->bus_end);
	if (c->mmio32_end > c->mmio32)
		aml_memory_window32(a, (uint32_t)c->mmio32, (uint32_t)c->mmio32_end);
	if (c->mmio64_end > c->mmio64)
		aml_memory_window64(a, c->mmio64, c->mmio64_end);
	aml_end(a);
}

/* CDW1 = CDW1 | status */
static void set_status(struct aml *a, uint8_t status)
{
	aml_op(a, AML_OR);
	aml_path(a, "CDW1");
	aml_int(a, status);
	aml_path(a, "CDW1");
}

/*
 * _OSC (§6.2.11): the guest asks in the third word of Arg3 for control of PCI Express features. None of them (native
 * hot-plug, power management events, error reporting) is there to be controlled; the answer says so.
 */
static void osc(struct aml *a)
{
	aml_method(a, "_OSC", 4, true);
	aml_op(a, AML_DWORD_FIELD);
	aml_arg(a, 3);
	aml_int(a, 0);
	aml_path(a, "CDW1");
	aml_if(a);
	aml_op(a, AML_LEQUAL);
	aml_arg(a, 0);
	aml_uuid(a, HOST_BRIDGE_UUID);
	aml_op(a, AML_DWORD_FIELD);
	aml_arg(a, 3);
	aml_int(a, 8);
	aml_path(a, "CDW3");
	aml_if(a); /* (CDW3) */
	aml_path(a, "CDW3");
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_path(a, "CDW3");
	set_status(a, OSC_MASKED);
	aml_end(a);
	aml_end(a);
	aml_else(a);
	set_status(a, OSC_UNKNOWN_UUID);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_arg(a, 3);
	aml_end(a);
}

static void slot_name(char out[5], unsigned slot)
{
	snprintf(out, 5, "S%03X", slot & 0xfff);
}

static void slot(struct aml *a, unsigned n)
{
	char name[5];

	slot_name(name, n);
	aml_device(a, name);
	aml_name_int(a, "_SUN", n);
	aml_name_int(a, "_ADR", (uint64_t)n << 16);
	aml_method(a, "_EJ0", 1, true);
	aml_op(a, AML_STORE);
	aml_int(a, 1U << n);
	aml_path(a, "\\_SB.GED.PCEJ");
	aml_end(a);
	aml_end(a);
}

/* If (Local<n> & bit of the slot) { Notify (slot, value) } */
static void notify_slot(struct aml *a, unsigned local, unsigned n, uint8_t value)
{
	char name[5];

	slot_name(name, n);
	aml_if(a);
	aml_op(a, AML_AND);
	aml_local(a, local);
	aml_int(a, 1U << n);
	aml_none(a);
	aml_op(a, AML_NOTIFY);
	aml_path(a, name);
	aml_int(a, value);
	aml_end(a);
}

/* PSCN: both registers are cleared by the read, which hands all pending slots to this call. */
static void scan_method(struct aml *a)
{
	aml_method(a, "PSCN", 0, true);
	aml_op(a, AML_STORE);
	aml_path(a, "\\_SB.GED.PCUP");
	aml_local(a, 0);
	aml_op(a, AML_STORE);
	aml_path(a, "\\_SB.GED.PCDN");
	aml_local(a, 1);
	for (unsigned n = 1; n < SLOTS; n++) {
		notify_slot(a, 0, n, NOTIFY_DEVICE_CHECK);
		notify_slot(a, 1, n, NOTIFY_EJECT);
	}
	aml_end(a);
}

void acpi_dsdt_pci(struct aml *a, const struct acpi_config *c)
{
	if (!c->pci)
		return;
	/* Linux uses the configuration space of the MCFG only if a motherboard resource reserves it. */
	aml_device(a, "ECAM");
	aml_name_eisa(a, "_HID", "PNP0C02");
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_memory(a, c->ecam, ((uint64_t)c->bus_end + 1) << 20);
	aml_end(a);
	aml_end(a);

	aml_device(a, "PCI0");
	aml_name_eisa(a, "_HID", "PNP0A08");
	aml_name_eisa(a, "_CID", "PNP0A03");
	aml_name_int(a, "_SEG", 0);
	aml_name_int(a, "_BBN", 0);
	aml_name_int(a, "_UID", 0);
	windows(a, c);
	osc(a);
	if (acpi_has_pci_hotplug(c)) {
		for (unsigned n = 1; n < SLOTS; n++)
			slot(a, n);
		scan_method(a);
	}
	aml_end(a);
}
