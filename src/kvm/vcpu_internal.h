/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPU object, shared by vcpu.c and the architecture's files. Private to the layer. */
#pragma once

#include <linux/kvm.h>
#include <stddef.h>

#include "kvm/vcpu.h"

struct kvm_vcpu {
	struct kvm_vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run;           /* kvm->run_size bytes */
	struct kvm_vcpu_counts counts; /* written by the thread that runs it, read by others: relaxed atomics */
};

#ifdef __x86_64__
/* struct kvm_msrs with one entry. */
struct kvm_one_msr {
	uint32_t nmsrs, pad;
	struct kvm_msr_entry entry;
};
_Static_assert(offsetof(struct kvm_one_msr, entry) == sizeof(struct kvm_msrs), "laid out as KVM defines it");

/* Can a guest whose TSC counted with khz go on here, where that of a new vCPU counts with host? */
bool kvm_tsc_khz_possible(const struct kvm *kvm, int64_t host, int64_t khz);
#endif
