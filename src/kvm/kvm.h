/* SPDX-License-Identifier: Apache-2.0 */
/*
 * /dev/kvm itself: is it there, and can it do what the monitor needs. Nothing but this layer issues KVM ioctls; it
 * knows neither devices nor the machine's layout.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct kvm_cpuid2;   /* linux/kvm.h */
struct kvm_msr_list; /* linux/kvm.h */

struct kvm {
	int fd;
	size_t run_size; /* of the mapping of a vCPU */
	unsigned max_vcpus;
	unsigned max_slots;
	bool tsc_deadline;         /* x86 */
	unsigned phys_bits;        /* of a guest's physical addresses */
	struct kvm_cpuid2 *cpuid;  /* x86: what KVM supports */
	struct kvm_msr_list *msrs; /* x86: what makes up a vCPU's state */
	unsigned vm_type;          /* arm64 */
};

/*
 * Open path (NULL: /dev/kvm) and check it. The message says whether KVM is missing, forbidden, too old, or of a kind
 * that lacks something, which is named.
 */
int kvm_open(const char *path, struct kvm **ret, struct err *e);
/* NULL does nothing. */
void kvm_close(struct kvm *kvm);
DEFINE_CLEANUP(struct kvm *, kvm_close)

/* KVM_CHECK_EXTENSION: 0: no; else 1 or a number that the capability defines. */
int kvm_capability(const struct kvm *kvm, int capability);

/* ---- for the files of this layer ---- */

struct kvm_need {
	int capability;
	const char *name;
};

/* The architecture's part of kvm_open(). */
int kvm_open_arch(struct kvm *kvm, struct err *e);
int kvm_check_needs(const struct kvm *kvm, const struct kvm_need *needs, size_t n, struct err *e);
