/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor needs of KVM on arm64. Whether there is a GICv3 is seen when a VM is made. */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"

#define NEED(cap)                                                                                                      \
	{                                                                                                              \
		KVM_CAP_##cap, #cap                                                                                    \
	}

static const struct kvm_need needs[] = {
	NEED(ONE_REG), NEED(ARM_PSCI_0_2), NEED(DEVICE_CTRL), NEED(READONLY_MEM), NEED(IOEVENTFD_ANY_LENGTH),
};

#define IPA_BITS_DEFAULT 40 /* Documentation/virt/kvm/api.rst, KVM_CREATE_VM */

int kvm_open_arch(struct kvm *kvm, struct err *e)
{
	int r = kvm_check_needs(kvm, needs, sizeof needs / sizeof *needs, e), bits;

	if (r < 0)
		return r;
	bits = kvm_capability(kvm, KVM_CAP_ARM_VM_IPA_SIZE);
	kvm->phys_bits = bits ? (unsigned)bits : IPA_BITS_DEFAULT;
	kvm->vm_type = bits ? KVM_VM_TYPE_ARM_IPA_SIZE((unsigned)bits) : 0;
	return 0;
}
