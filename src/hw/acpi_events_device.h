/* SPDX-License-Identifier: Apache-2.0 */
/* The device behind acpi_events.h, which is its contract with the ACPI tables. */
#pragma once

#include "hw/acpi_events.h"
#include "hw/bus.h"

#define ACPI_EVENTS_CPUS_MAX 64

struct acpi_events;
struct state;

/* What the machine does; called inside the device's loop. Each may be NULL. */
struct acpi_events_ops {
	void (*eject_cpu)(void *userdata, uint32_t cpu);
	void (*eject_pci)(void *userdata, uint32_t slots);
	void (*power_off)(void *userdata);
	void (*reset)(void *userdata);
};

extern const struct bus_handler acpi_events_bus; /* the page; device: the struct acpi_events */
extern const struct bus_handler acpi_power_bus;  /* ACPI_POWER_PORTS ports; the same device */

/* irq: eventfd, not taken over. CPUs 0 to cpus-1 of max_cpus are there at first. 0 or -ENOMEM. */
int acpi_events_new(int irq, uint32_t cpus, uint32_t max_cpus, const struct acpi_events_ops *ops, void *userdata,
		    struct acpi_events **ret);
/* NULL does nothing. */
void acpi_events_free(struct acpi_events *d);
DEFINE_CLEANUP(struct acpi_events *, acpi_events_free)

/* Tell the guest; inside the loop. */
void acpi_events_raise(struct acpi_events *d, uint8_t events); /* ACPI_EVENT_POWER_BUTTON, ACPI_EVENT_VMGENID */
void acpi_events_insert_cpu(struct acpi_events *d, uint32_t cpu);
void acpi_events_remove_cpu(struct acpi_events *d, uint32_t cpu);
void acpi_events_insert_pci(struct acpi_events *d, uint32_t slots);
void acpi_events_remove_pci(struct acpi_events *d, uint32_t slots);

void acpi_events_save(const struct acpi_events *d, struct state *s);
int acpi_events_load(struct acpi_events *d, const struct state *s, struct err *e);
