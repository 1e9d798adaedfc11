/* SPDX-License-Identifier: Apache-2.0 */
/* The vCPU object, shared by vcpu.c and the architecture's files. Private to the layer. */
#pragma once

#include <linux/kvm.h>

#include "kvm/vcpu.h"

struct kvm_vcpu {
	struct kvm_vm *vm;
	unsigned index;
	int fd;
	struct kvm_run *run; /* kvm->run_size bytes */
};
