/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual machine of KVM: memory slots, interrupt lines and messages, kicks, clock. All functions may be called from
 * any thread; they return 0 or a negative errno.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "guestmem/guestmem.h"
#include "hw/platform.h"
#include "kvm/kvm.h"

struct state; /* state/state.h */
struct kvm_vm;

/* Interrupt lines: global system interrupts from 0. On arm64 they are the shared interrupts, INTID 32 and up. */
#ifdef __aarch64__
#define KVM_PINS 128
#else
#define KVM_PINS 24
#endif
#define KVM_GSI_MAX   1024
#define KVM_SLOTS_MAX 16384 /* of which the host's KVM may have fewer: see kvm.h */

struct kvm_vm_config {
	bool split_irqchip; /* x86: the I/O APIC is the monitor's */
	/* x86: places for what Intel's real mode needs, outside of RAM. */
	uint64_t identity_map, tss;
	/* arm64: distributor, redistributors of all CPUs, and MSI translation (0: none) of the GICv3. */
	uint64_t gic_dist, gic_redist, gic_its;
};

/* kvm must outlive it. track_dirty: the dirty log is read by get and emptied by clear, instead of both by get. */
int kvm_vm_new(struct kvm *kvm, bool track_dirty, struct kvm_vm **ret, struct err *e);
/*
 * The interrupt controller, before there are vCPUs. After RAM: the kernel (6.18) lets a grace period pass between the
 * two, which the one that comes second waits for when that is RAM.
 */
int kvm_vm_set_up(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e);
/* All vCPUs must have been freed. NULL does nothing. */
void kvm_vm_free(struct kvm_vm *vm);
DEFINE_CLEANUP(struct kvm_vm *, kvm_vm_free)

/* ---- memory ---- */

#define KVM_MAP_READONLY 1u
#define KVM_MAP_LOG      2u /* keep a dirty log */

/* Page-aligned, not overlapping. host stays mapped until kvm_vm_unmap(), which takes exactly the same range. */
int kvm_vm_map(struct kvm_vm *vm, gpa_t gpa, uint64_t size, void *host, unsigned flags);
int kvm_vm_unmap(struct kvm_vm *vm, gpa_t gpa, uint64_t size);
/* How many ranges can be mapped at once. */
unsigned kvm_vm_slots_max(const struct kvm_vm *vm);

/*
 * The dirty log of the slot at gpa: one bit per page, in words of 64; n_words: size/page/64, rounded up. A page found
 * dirty stays so until it is cleared; without track_dirty get clears.
 */
int kvm_vm_dirty_get(struct kvm_vm *vm, gpa_t gpa, uint64_t *bitmap, size_t n_words);
int kvm_vm_dirty_clear(struct kvm_vm *vm, gpa_t gpa, const uint64_t *bitmap, size_t n_words);

/* ---- interrupts ---- */

/* A write to eventfd fd is an edge on gsi. */
int kvm_vm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, bool on);
int kvm_vm_irq_line(struct kvm_vm *vm, uint32_t gsi, bool level);
/* requester: who sends it, as of a route; the arm64 machine's ITS looks at it. */
int kvm_vm_signal_msi(struct kvm_vm *vm, uint64_t address, uint32_t data, uint32_t requester);

/*
 * Routes: which interrupt a gsi is. The pins lead to KVM's interrupt controller, or, with a split one, to the message
 * that the monitor's I/O APIC says. Every change makes KVM wait for all that look at the old table: between hold and
 * release (which nest) changes are gathered.
 */
int kvm_vm_route_add(struct kvm_vm *vm, uint64_t address, uint32_t data, uint32_t requester, uint32_t *ret_gsi);
int kvm_vm_route_update(struct kvm_vm *vm, uint32_t gsi, uint64_t address, uint32_t data);
void kvm_vm_route_remove(struct kvm_vm *vm, uint32_t gsi);
/* Split interrupt controller: pin's message; on false: the pin leads nowhere. */
int kvm_vm_route_pin(struct kvm_vm *vm, uint32_t pin, bool on, uint64_t address, uint32_t data);
void kvm_vm_route_hold(struct kvm_vm *vm);
int kvm_vm_route_release(struct kvm_vm *vm);

/* See platform.h. len 0: any. */
int kvm_vm_ioeventfd(struct kvm_vm *vm, enum bus_space space, uint64_t addr, uint32_t len, const uint64_t *match,
		     int fd, bool on);

/* ---- state ---- */

/* Interrupt controller and clock; no vCPU runs. elapsed_ns: what the guest's clock shall be ahead of the saved one. */
int kvm_vm_save(struct kvm_vm *vm, struct state *s, struct err *e);
int kvm_vm_load(struct kvm_vm *vm, const struct state *s, uint64_t elapsed_ns, struct err *e);

/* ---- for the files of this layer ---- */

struct kvm *kvm_vm_kvm(struct kvm_vm *vm);
int kvm_vm_fd(const struct kvm_vm *vm);
bool kvm_vm_split(const struct kvm_vm *vm);
/* The architecture's part of kvm_vm_set_up(). */
int kvm_vm_set_up_arch(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e);
