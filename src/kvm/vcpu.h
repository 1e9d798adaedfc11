/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtual CPU. Its functions are called by the thread that runs it, or while that thread is known to be elsewhere;
 * kvm_vcpu_kick(), kvm_vcpu_unkick() and kvm_vcpu_count() from any thread.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "hw/bus.h"
#include "kvm/vm.h"

struct state; /* state/state.h */
struct kvm_vcpu;

/* How the guest sees its CPUs. The APIC id of CPU n is n. */
struct kvm_topology {
	uint32_t vcpus;            /* also those that may be plugged later */
	uint32_t threads_per_core; /* 1 or 2 */
};

/* Where the guest's accesses go. */
struct kvm_vcpu_io {
	struct bus *pio, *mmio;
	/* Split interrupt controller: the guest ended the level-triggered interrupt of this vector. May be NULL. */
	void (*eoi)(void *userdata, uint8_t vector);
	void *userdata;
};

enum kvm_why {
	KVM_WHY_KICKED,   /* kvm_vcpu_kick(), or a signal */
	KVM_WHY_SHUTDOWN, /* x86: triple fault */
	KVM_WHY_POWEROFF, /* arm64: PSCI */
	KVM_WHY_RESET,
	KVM_WHY_CRASH,
	KVM_WHY_FAILED, /* KVM cannot go on: text says why */
};

struct kvm_exit {
	enum kvm_why why;
	char text[512]; /* for SHUTDOWN and FAILED: what happened, and the registers */
};

/* Why the guest was left for the monitor, how often. */
struct kvm_vcpu_counts {
	uint64_t io_in, io_out, mmio_read, mmio_write, failures;
};

int kvm_vcpu_new(struct kvm_vm *vm, unsigned index, struct kvm_vcpu **ret, struct err *e);
/* NULL does nothing. */
void kvm_vcpu_free(struct kvm_vcpu *v);
DEFINE_CLEANUP(struct kvm_vcpu *, kvm_vcpu_free)

/* Features, topology and model-specific registers as after power-on. Before the first run. */
int kvm_vcpu_reset(struct kvm_vcpu *v, const struct kvm_topology *t, struct err *e);

/* Run the guest until something else than an access happens. */
void kvm_vcpu_run(struct kvm_vcpu *v, const struct kvm_vcpu_io *io, struct kvm_exit *ret);

/*
 * Make kvm_vcpu_run() return, now or when it is called next, after an access that was begun is complete. A running
 * guest notices only when its thread also gets a signal that interrupts system calls: kick first, then send it.
 */
void kvm_vcpu_kick(struct kvm_vcpu *v);
/* Take the kick back; then look at why it was made. */
void kvm_vcpu_unkick(struct kvm_vcpu *v);

void kvm_vcpu_count(const struct kvm_vcpu *v, struct kvm_vcpu_counts *ret);

/* The guest's paravirtual clock is told that it was stopped, so that its watchdogs do not bark. */
void kvm_vcpu_was_paused(struct kvm_vcpu *v);

/*
 * The whole state. load: of a new vCPU after its reset, on a like host, else it is refused with the reason; the VM's
 * own state is loaded before. elapsed_ns: as for kvm_vm_load(), so that all clocks of the guest tell the same time.
 */
int kvm_vcpu_save(struct kvm_vcpu *v, struct state *s, struct err *e);
int kvm_vcpu_load(struct kvm_vcpu *v, const struct state *s, uint64_t elapsed_ns, struct err *e);

/* The registers that a person wants to see first, in one line. */
void kvm_vcpu_describe(struct kvm_vcpu *v, char *buf, size_t size);
