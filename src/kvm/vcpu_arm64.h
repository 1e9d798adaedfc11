/* SPDX-License-Identifier: Apache-2.0 */
/* The first instruction of a vCPU on arm64, and its name. */
#pragma once

#include "kvm/vcpu.h"

/*
 * In EL1, caches and interrupts off, x0 = arg (Linux Documentation/arch/arm64/booting.rst). vCPU 0 only: the others
 * are off until the guest starts them by PSCI.
 */
int kvm_vcpu_start_at(struct kvm_vcpu *v, uint64_t pc, uint64_t arg, struct err *e);

/* Its place in the affinity hierarchy, which PSCI and the interrupt controller know it by. */
int kvm_vcpu_mpidr(struct kvm_vcpu *v, uint64_t *ret, struct err *e);
