/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The registers behind the generic event device and the two ports of a hardware-reduced machine. The interrupt is
 * an edge for each new event; the guest's method reads EVENTS, which clears it, and then asks what each event is about.
 */
#include "hw/acpi_events_device.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "state/state.h"

struct acpi_events {
	int irq;
	const struct acpi_events_ops *ops;
	void *userdata;
	uint8_t pending;
	uint32_t n_cpus, selected;
	uint8_t cpus[ACPI_EVENTS_CPUS_MAX]; /* ACPI_CPU_ENABLED, _INSERTED, _REMOVE */
	uint32_t pci_up, pci_down;
};

void acpi_events_raise(struct acpi_events *d, uint8_t events)
{
	uint64_t one = 1;

	d->pending |= events;
	if (d->irq >= 0 && write(d->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
}

void acpi_events_insert_cpu(struct acpi_events *d, uint32_t cpu)
{
	if (cpu >= d->n_cpus || (d->cpus[cpu] & ACPI_CPU_ENABLED))
		return;
	d->cpus[cpu] = ACPI_CPU_ENABLED | ACPI_CPU_INSERTED;
	acpi_events_raise(d, ACPI_EVENT_CPU);
}

void acpi_events_remove_cpu(struct acpi_events *d, uint32_t cpu)
{
	if (cpu >= d->n_cpus || !(d->cpus[cpu] & ACPI_CPU_ENABLED))
		return;
	d->cpus[cpu] |= ACPI_CPU_REMOVE;
	acpi_events_raise(d, ACPI_EVENT_CPU);
}

void acpi_events_insert_pci(struct acpi_events *d, uint32_t slots)
{
	d->pci_up |= slots;
	acpi_events_raise(d, ACPI_EVENT_PCI);
}

void acpi_events_remove_pci(struct acpi_events *d, uint32_t slots)
{
	d->pci_down |= slots;
	acpi_events_raise(d, ACPI_EVENT_PCI);
}

static void write_cpu_flags(struct acpi_events *d, uint8_t v)
{
	uint8_t *flags;

	if (d->selected >= d->n_cpus)
		return;
	flags = &d->cpus[d->selected];
	*flags &= (uint8_t) ~(v & (ACPI_CPU_INSERTED | ACPI_CPU_REMOVE));
	if (!(v & ACPI_CPU_EJECT) || !(*flags & ACPI_CPU_ENABLED))
		return;
	*flags = 0;
	if (d->ops->eject_cpu)
		d->ops->eject_cpu(d->userdata, d->selected);
}

static uint32_t take(uint32_t *v)
{
	uint32_t old = *v;

	*v = 0;
	return old;
}

/* Every register is read and written at its own offset and width; everything else is nothing. */
static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct acpi_events *d = device;
	uint32_t v = 0;

	if (offset == ACPI_EVENTS_PENDING && len == 1) {
		v = d->pending;
		d->pending = 0;
	} else if (offset == ACPI_EVENTS_CPU_FLAGS && len == 1) {
		v = d->selected < d->n_cpus ? d->cpus[d->selected] : 0;
	} else if (offset == ACPI_EVENTS_PCI_UP && len == 4) {
		v = take(&d->pci_up);
	} else if (offset == ACPI_EVENTS_PCI_DOWN && len == 4) {
		v = take(&d->pci_down);
	}
	memset(data, 0, len);
	memcpy(data, &v, len < sizeof v ? len : sizeof v);
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct acpi_events *d = device;
	uint32_t v = 0;

	memcpy(&v, data, len < sizeof v ? len : sizeof v);
	if (offset == ACPI_EVENTS_CPU_SEL && len == 4)
		d->selected = v;
	else if (offset == ACPI_EVENTS_CPU_FLAGS && len == 1)
		write_cpu_flags(d, (uint8_t)v);
	else if (offset == ACPI_EVENTS_PCI_EJECT && len == 4 && v && d->ops->eject_pci)
		d->ops->eject_pci(d->userdata, v);
}

const struct bus_handler acpi_events_bus = { bus_in, bus_out };

static void power_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
}

static void power_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct acpi_events *d = device;
	uint8_t v = *(const uint8_t *)data;

	if (offset == 0 && v == ACPI_RESET_VALUE && d->ops->reset)
		d->ops->reset(d->userdata);
	else if (offset == ACPI_SLEEP_PORT - ACPI_RESET_PORT && v == (ACPI_SLEEP_TYPE_S5 << 2 | ACPI_SLEEP_ENABLE) &&
		 d->ops->power_off)
		d->ops->power_off(d->userdata);
}

const struct bus_handler acpi_power_bus = { power_in, power_out };

int acpi_events_new(int irq, uint32_t cpus, uint32_t max_cpus, const struct acpi_events_ops *ops, void *userdata,
		    struct acpi_events **ret)
{
	struct acpi_events *d = calloc(1, sizeof *d);

	if (!d)
		return -ENOMEM;
	d->irq = irq;
	d->ops = ops;
	d->userdata = userdata;
	d->n_cpus = max_cpus < ACPI_EVENTS_CPUS_MAX ? max_cpus : ACPI_EVENTS_CPUS_MAX;
	for (uint32_t i = 0; i < cpus && i < d->n_cpus; i++)
		d->cpus[i] = ACPI_CPU_ENABLED;
	*ret = d;
	return 0;
}

void acpi_events_free(struct acpi_events *d)
{
	free(d);
}

void acpi_events_save(const struct acpi_events *d, struct state *s)
{
	state_put_u64(s, "pending", d->pending);
	state_put_u64(s, "selected", d->selected);
	state_put_bytes(s, "cpus", d->cpus, d->n_cpus);
	state_put_u64(s, "pci-up", d->pci_up);
	state_put_u64(s, "pci-down", d->pci_down);
}

int acpi_events_load(struct acpi_events *d, const struct state *s, struct err *e)
{
	uint64_t pending, selected, up, down;
	int r = state_get_max(s, "pending", UINT8_MAX, &pending, e);

	if (r == 0)
		r = state_get_max(s, "selected", UINT32_MAX, &selected, e);
	if (r == 0)
		r = state_get_max(s, "pci-up", UINT32_MAX, &up, e);
	if (r == 0)
		r = state_get_max(s, "pci-down", UINT32_MAX, &down, e);
	if (r == 0)
		r = state_get_bytes(s, "cpus", d->cpus, d->n_cpus, e);
	if (r < 0)
		return r;
	d->selected = (uint32_t)selected;
	d->pci_up = (uint32_t)up;
	d->pci_down = (uint32_t)down;
	if (pending)
		acpi_events_raise(d, (uint8_t)pending);
	return 0;
}
