/* SPDX-License-Identifier: Apache-2.0 */
/* The interrupt controller of a VM on arm64: a GICv3 in the kernel. */
#pragma once

#include "kvm/vm.h"

#define KVM_GIC_PRIVATE 32 /* interrupts that each CPU has for itself: the INTID of line 0 */

/*
 * Start the interrupt controller: after the last vCPU was made, before the first line is attached. mpidr: as
 * kvm_vcpu_mpidr() gives it, of each vCPU.
 */
int kvm_vm_start_gic(struct kvm_vm *vm, const uint64_t *mpidr, unsigned vcpus, struct err *e);
