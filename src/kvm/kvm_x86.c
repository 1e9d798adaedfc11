/* SPDX-License-Identifier: Apache-2.0 */
/* What the monitor needs of KVM on x86_64, and the lists that KVM gives once per host. */
#include <errno.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#include "kvm/kvm.h"

#define NEED(cap)                                                                                                      \
	{                                                                                                              \
		KVM_CAP_##cap, #cap                                                                                    \
	}

static const struct kvm_need needs[] = {
	NEED(IRQCHIP),
	NEED(SET_TSS_ADDR),
	NEED(SET_IDENTITY_MAP_ADDR),
	NEED(EXT_CPUID),
	NEED(VCPU_EVENTS),
	NEED(DEBUGREGS),
	NEED(XSAVE),
	NEED(XCRS),
	NEED(ADJUST_CLOCK),
	NEED(READONLY_MEM),
	NEED(IOEVENTFD_ANY_LENGTH),
	NEED(GET_TSC_KHZ),
};

#define CPUID_ENTRIES 256
#define MSR_ENTRIES   1024

static int get_cpuid(struct kvm *kvm, struct err *e)
{
	kvm->cpuid = calloc(1, sizeof *kvm->cpuid + CPUID_ENTRIES * sizeof kvm->cpuid->entries[0]);
	if (!kvm->cpuid)
		return err_sys(e, ENOMEM, "cannot read KVM's CPUID");
	kvm->cpuid->nent = CPUID_ENTRIES;
	if (ioctl(kvm->fd, KVM_GET_SUPPORTED_CPUID, kvm->cpuid) < 0)
		return err_sys(e, errno, "cannot read KVM's CPUID");
	kvm->phys_bits = 36; /* what every processor has */
	for (uint32_t i = 0; i < kvm->cpuid->nent; i++)
		if (kvm->cpuid->entries[i].function == 0x80000008)
			kvm->phys_bits = kvm->cpuid->entries[i].eax & 0xff;
	return 0;
}

static int get_msrs(struct kvm *kvm, struct err *e)
{
	kvm->msrs = calloc(1, sizeof *kvm->msrs + MSR_ENTRIES * sizeof kvm->msrs->indices[0]);
	if (!kvm->msrs)
		return err_sys(e, ENOMEM, "cannot read KVM's list of MSRs");
	kvm->msrs->nmsrs = MSR_ENTRIES;
	if (ioctl(kvm->fd, KVM_GET_MSR_INDEX_LIST, kvm->msrs) < 0)
		return err_sys(e, errno, "cannot read KVM's list of MSRs");
	return 0;
}

int kvm_open_arch(struct kvm *kvm, struct err *e)
{
	int r = kvm_check_needs(kvm, needs, sizeof needs / sizeof *needs, e);

	kvm->tsc_deadline = kvm_capability(kvm, KVM_CAP_TSC_DEADLINE_TIMER);
	if (r == 0)
		r = get_cpuid(kvm, e);
	return r < 0 ? r : get_msrs(kvm, e);
}
