/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ACPI tables (6.4, hardware-reduced) of the built-in VMM: RSDP, XSDT, FADT, MADT, DSDT, and MCFG in the PCI shape.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "guestmem/guestmem.h"

struct acpi_mmio_device { /* a virtio-mmio window, hardware id LNRO0005 */
	uint64_t base;
	uint32_t size, gsi;
};

struct acpi_config {
	uint32_t vcpus, max_vcpus; /* CPUs vcpus … max_vcpus-1 are listed as not enabled, online capable */
	const uint32_t *apic_ids;  /* max_vcpus of them; x2APIC entries above 254 */
	const struct acpi_mmio_device *virtio;
	size_t n_virtio;
	bool serial;     /* COM1: 0x3f8, GSI 4 */
	bool keyboard;   /* i8042: 0x60, 0x64, GSI 1 */
	bool rtc;        /* CMOS: 0x70, 0x71, GSI 8 */
	uint64_t events; /* the register block of hw/acpi_events.h; 0: none, and then no hot-plug and power button */
	uint32_t events_gsi;
	bool cpu_hotplug;
	gpa_t vmgenid; /* 16 bytes; 0: none */
	bool pvpanic;  /* port 0x505 */
	bool pci;      /* host bridge with the windows below */
	uint64_t ecam;
	uint8_t bus_end;                                 /* last bus number */
	uint64_t mmio32, mmio32_end, mmio64, mmio64_end; /* ends are exclusive */
	bool pci_hotplug;                                /* slots 1 to 31 of bus 0 */
};

/* Write the tables into [area, area+size). *ret_rsdp: where the root pointer is (area itself). */
int acpi_build(struct guestmem *mem, const struct acpi_config *c, gpa_t area, uint64_t size, gpa_t *ret_rsdp,
	       struct err *e);
