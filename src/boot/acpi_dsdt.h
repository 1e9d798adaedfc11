/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the DSDT. Each writes its objects; failures stay in the struct aml. */
#pragma once

#include "boot/acpi.h"
#include "boot/aml.h"

/* All of it, without the table's header. */
void acpi_dsdt(struct aml *a, const struct acpi_config *c);

/* The generic event device and what it speaks of: hot-plug of CPUs, the power button. Only when c->events. */
void acpi_dsdt_events(struct aml *a, const struct acpi_config *c);

/* The PCI host bridge with its slots. Only when c->pci. */
void acpi_dsdt_pci(struct aml *a, const struct acpi_config *c);

/* Does the guest get to know of devices that come and go? */
static inline bool acpi_has_pci_hotplug(const struct acpi_config *c)
{
	return c->pci && c->pci_hotplug && c->events;
}

static inline bool acpi_has_cpu_hotplug(const struct acpi_config *c)
{
	return c->cpu_hotplug && c->events;
}

/*
 * The entry of a CPU in the MADT, also the value of its _MAT (§5.2.12.2, §5.2.12.12). Returns its length; out has room
 * for 16 bytes.
 */
size_t acpi_madt_cpu(uint8_t *out, const struct acpi_config *c, uint32_t cpu, bool enabled);
