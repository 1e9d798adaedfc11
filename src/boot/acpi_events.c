/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The AML side of hw/acpi_events.h: the generic event device (ACPI 6.4 §5.6.9), whose interrupt makes the guest run
 * _EVT, and CPUs that come and go (§8.4, §6.3).
 *
 * Registers that are cleared by reading are read exactly once, into a local. Pending bits of a CPU are cleared before
 * the guest is notified, so that what happens in between is not lost.
 */
#include <stdio.h>

#include "boot/acpi_dsdt.h"
#include "boot/aml_resource.h"
#include "hw/acpi_events.h"

/* Values of Notify (§5.6.6). */
enum { NOTIFY_DEVICE_CHECK = 1, NOTIFY_EJECT = 3, NOTIFY_CHANGED = 0x80 };
#define STATUS_PRESENT 0xf /* _STA: present, enabled, shown, working */
#define FOREVER        0xffff

static void registers(struct aml *a, const struct acpi_config *c)
{
	aml_region(a, "EREG", AML_SYSTEM_MEMORY, c->events, ACPI_EVENTS_SIZE);
	aml_field(a, "EREG", AML_BYTE_ACC);
	aml_field_skip(a, ACPI_EVENTS_PENDING * 8);
	aml_field_bits(a, "EVTS", 8);
	aml_field_skip(a, (ACPI_EVENTS_CPU_FLAGS - ACPI_EVENTS_PENDING - 1) * 8);
	aml_field_bits(a, "CFLG", 8);
	aml_end(a);
	aml_field(a, "EREG", AML_DWORD_ACC);
	aml_field_skip(a, ACPI_EVENTS_CPU_SEL * 8);
	aml_field_bits(a, "CSEL", 32);
	aml_field_skip(a, (ACPI_EVENTS_PCI_UP - ACPI_EVENTS_CPU_SEL - 4) * 8);
	aml_field_bits(a, "PCUP", 32);
	aml_field_bits(a, "PCDN", 32);
	aml_field_bits(a, "PCEJ", 32);
	aml_end(a);
}

/* If (Local<n> & bit). */
static void if_bit(struct aml *a, unsigned n, uint32_t bit)
{
	aml_if(a);
	aml_op(a, AML_AND);
	aml_local(a, n);
	aml_int(a, bit);
	aml_none(a);
}

static void notify(struct aml *a, const char *path, uint8_t value)
{
	aml_op(a, AML_NOTIFY);
	aml_path(a, path);
	aml_int(a, value);
}

static void event_method(struct aml *a, const struct acpi_config *c)
{
	aml_method(a, "_EVT", 1, true);
	aml_op(a, AML_STORE);
	aml_path(a, "EVTS");
	aml_local(a, 0);
	if (acpi_has_cpu_hotplug(c)) {
		if_bit(a, 0, ACPI_EVENT_CPU);
		aml_path(a, "\\_SB.CPUS.CSCN");
		aml_end(a);
	}
	if (acpi_has_pci_hotplug(c)) {
		if_bit(a, 0, ACPI_EVENT_PCI);
		aml_path(a, "\\_SB.PCI0.PSCN");
		aml_end(a);
	}
	if_bit(a, 0, ACPI_EVENT_POWER_BUTTON);
	notify(a, "\\_SB.PWRB", NOTIFY_CHANGED);
	aml_end(a);
	if (c->vmgenid) {
		if_bit(a, 0, ACPI_EVENT_VMGENID);
		notify(a, "\\_SB.VGEN", NOTIFY_CHANGED);
		aml_end(a);
	}
	aml_end(a);
}

/* Acquire (CLCK), Store (cpu, CSEL): from here to the release CFLG is about this CPU. */
static void lock_cpus(struct aml *a)
{
	aml_op(a, AML_ACQUIRE);
	aml_path(a, "CLCK");
	aml_timeout(a, FOREVER);
}

static void unlock_cpus(struct aml *a)
{
	aml_op(a, AML_RELEASE);
	aml_path(a, "CLCK");
}

static void select_cpu_in_arg(struct aml *a)
{
	aml_op(a, AML_STORE);
	aml_arg(a, 0);
	aml_path(a, "\\_SB.GED.CSEL");
}

static void write_flags(struct aml *a, uint8_t flags)
{
	aml_op(a, AML_STORE);
	aml_int(a, flags);
	aml_path(a, "\\_SB.GED.CFLG");
}

/* CSTA (cpu): the value of _STA. CEJT (cpu): the guest let go of it. */
static void cpu_methods(struct aml *a)
{
	aml_method(a, "CSTA", 1, true);
	lock_cpus(a);
	select_cpu_in_arg(a);
	aml_op(a, AML_STORE);
	aml_path(a, "\\_SB.GED.CFLG");
	aml_local(a, 0);
	unlock_cpus(a);
	if_bit(a, 0, ACPI_CPU_ENABLED);
	aml_op(a, AML_RETURN);
	aml_int(a, STATUS_PRESENT);
	aml_end(a);
	aml_op(a, AML_RETURN);
	aml_int(a, 0);
	aml_end(a);

	aml_method(a, "CEJT", 1, true);
	lock_cpus(a);
	select_cpu_in_arg(a);
	write_flags(a, ACPI_CPU_EJECT);
	unlock_cpus(a);
	aml_end(a);
}

/* If (Local1 & flag) { CFLG = flag, CTFY (Local0, value) } */
static void pass_on(struct aml *a, uint8_t flag, uint8_t value)
{
	if_bit(a, 1, flag);
	write_flags(a, flag);
	aml_path(a, "CTFY");
	aml_local(a, 0);
	aml_int(a, value);
	aml_end(a);
}

/* CSCN: tell the guest of every CPU with something pending. */
static void scan_method(struct aml *a, const struct acpi_config *c)
{
	aml_method(a, "CSCN", 0, true);
	lock_cpus(a);
	aml_op(a, AML_STORE);
	aml_int(a, 0);
	aml_local(a, 0);
	aml_while(a);
	aml_op(a, AML_LLESS);
	aml_local(a, 0);
	aml_int(a, c->max_vcpus);
	aml_op(a, AML_STORE);
	aml_local(a, 0);
	aml_path(a, "\\_SB.GED.CSEL");
	aml_op(a, AML_STORE);
	aml_path(a, "\\_SB.GED.CFLG");
	aml_local(a, 1);
	pass_on(a, ACPI_CPU_INSERTED, NOTIFY_DEVICE_CHECK);
	pass_on(a, ACPI_CPU_REMOVE, NOTIFY_EJECT);
	aml_op(a, AML_INCREMENT);
	aml_local(a, 0);
	aml_end(a);
	unlock_cpus(a);
	aml_end(a);
}

static void cpu_name(char out[5], uint32_t cpu)
{
	snprintf(out, 5, "C%03X", cpu & 0xfff);
}

/* CTFY (cpu, value): AML has no arrays of objects that Notify would take. */
static void notify_method(struct aml *a, const struct acpi_config *c)
{
	char name[5];

	aml_method(a, "CTFY", 2, true);
	for (uint32_t i = 0; i < c->max_vcpus; i++) {
		aml_if(a);
		aml_op(a, AML_LEQUAL);
		aml_arg(a, 0);
		aml_int(a, i);
		aml_op(a, AML_NOTIFY);
		cpu_name(name, i);
		aml_path(a, name);
		aml_arg(a, 1);
		aml_end(a);
	}
	aml_end(a);
}

static void cpu_device(struct aml *a, const struct acpi_config *c, uint32_t cpu)
{
	uint8_t madt[16];
	char name[5];

	cpu_name(name, cpu);
	aml_device(a, name);
	aml_name_str(a, "_HID", "ACPI0007");
	aml_name_int(a, "_UID", cpu);
	/* Asked for only when _STA says that the CPU is there. */
	aml_name(a, "_MAT");
	aml_buffer(a, madt, acpi_madt_cpu(madt, c, cpu, true));
	aml_method(a, "_STA", 0, true);
	aml_op(a, AML_RETURN);
	aml_path(a, "CSTA");
	aml_int(a, cpu);
	aml_end(a);
	/* The first CPU stays: Linux cannot do without it. */
	if (cpu) {
		aml_method(a, "_EJ0", 1, true);
		aml_path(a, "CEJT");
		aml_int(a, cpu);
		aml_end(a);
	}
	aml_end(a);
}

static void cpu_hotplug(struct aml *a, const struct acpi_config *c)
{
	aml_device(a, "CPUS");
	aml_name_str(a, "_HID", "ACPI0010"); /* processor container */
	aml_name_int(a, "_UID", 0);
	aml_mutex(a, "CLCK");
	cpu_methods(a);
	scan_method(a, c);
	notify_method(a, c);
	for (uint32_t i = 0; i < c->max_vcpus; i++)
		cpu_device(a, c, i);
	aml_end(a);
}

void acpi_dsdt_events(struct aml *a, const struct acpi_config *c)
{
	if (!c->events)
		return;
	aml_device(a, "PWRB");
	aml_name_eisa(a, "_HID", "PNP0C0C");
	aml_name_int(a, "_UID", 0);
	aml_end(a);
	if (acpi_has_cpu_hotplug(c))
		cpu_hotplug(a, c);
	aml_device(a, "GED");
	aml_name_str(a, "_HID", "ACPI0013");
	aml_name_int(a, "_UID", 0);
	aml_name(a, "_CRS");
	aml_resources(a);
	aml_interrupt(a, c->events_gsi);
	aml_end(a);
	registers(a, c);
	event_method(a, c);
	aml_end(a);
}
