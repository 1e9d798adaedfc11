/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The machine's interrupt lines where the I/O APIC is ours (hw/ioapic.h) and KVM has the local APICs only.
 *
 * A line is an eventfd, and each write to it a pulse. Of an edge-triggered line KVM makes the guest's message itself,
 * in the context of who writes: no thread of ours wakes up, and none of the kernel's either, as it does for the lines
 * of KVM's own I/O APIC. The eventfd of a level-triggered line is read by the event loop, since the chip has to know
 * when it sends. All devices of this machine are described to the guest as edge-triggered.
 *
 * All functions but one: inside the VM's loop, or before it runs.
 */
#pragma once

#include "vm/machine.h"

struct ioapic_lines;

/* The chip's registers are at base. */
int ioapic_lines_new(struct vmm *vm, uint64_t base, struct ioapic_lines **ret, struct err *e);
/* NULL does nothing. No vCPU runs. */
void ioapic_lines_free(struct ioapic_lines *l);

/* fd, which stays the caller's, is line gsi. 0, -EINVAL (no such line), -EEXIST (it has one), -errno. */
int ioapic_lines_attach(struct ioapic_lines *l, uint32_t gsi, int fd);
void ioapic_lines_detach(struct ioapic_lines *l, uint32_t gsi, int fd);

/* A vCPU has ended a level-triggered interrupt: see kvm_vcpu_io. From any thread. */
void ioapic_lines_end_of_interrupt(void *lines, uint8_t vector);

/* Save: devices are paused. */
void ioapic_lines_save(struct ioapic_lines *l, struct state *s);
int ioapic_lines_load(struct ioapic_lines *l, const struct state *s, struct err *e);
