/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a vCPU says of itself: the features that KVM supports on this host, without those that the monitor does not
 * offer (performance counters, nested virtualization, tiles, encrypted memory), and with the VM's own topology. Pure.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kvm/vcpu.h"

/*
 * supported: KVM_GET_SUPPORTED_CPUID. tsc_khz: the guest is told, so that it need not measure; 0: unknown.
 * *ret: freed by the caller. 0 or -ENOMEM.
 */
int cpuid_x86_build(const struct kvm_cpuid2 *supported, const struct kvm_topology *t, uint32_t index, bool tsc_deadline,
		    uint32_t tsc_khz, struct kvm_cpuid2 **ret);

/*
 * May a vCPU that was told `saved` go on where a new one is told `own`? The vendor is the same and no feature is
 * missing here. 0; -ENOTSUP with what is missing; -EINVAL.
 */
int cpuid_x86_check(const struct kvm_cpuid2 *own, const struct kvm_cpuid2 *saved, struct err *e);
