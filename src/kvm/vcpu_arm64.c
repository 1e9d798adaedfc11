/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU at power-on and at the kernel's first instruction, arm64. */
#include "kvm/vcpu_arm64.h"

#include <errno.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "kvm/vcpu_internal.h"

/* Registers of struct kvm_regs are numbered by their place in it, in words of 32 bits. */
#define CORE(member) (KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(member))

#define MPIDR_EL1      ARM64_SYS_REG(3, 0, 0, 0, 5)
#define ESR_EL1        ARM64_SYS_REG(3, 0, 5, 2, 0)
#define FAR_EL1        ARM64_SYS_REG(3, 0, 6, 0, 0)
#define MPIDR_AFFINITY 0xff00ffffffULL

/* EL1 with its own stack, debug exceptions, SError, IRQ and FIQ masked (Arm ARM C5.2.19). */
#define PSTATE_START 0x3c5

static int get(const struct kvm_vcpu *v, uint64_t id, uint64_t *ret)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)ret };

	return ioctl(v->fd, KVM_GET_ONE_REG, &reg);
}

static int set(const struct kvm_vcpu *v, uint64_t id, uint64_t value)
{
	struct kvm_one_reg reg = { .id = id, .addr = (uintptr_t)&value };

	return ioctl(v->fd, KVM_SET_ONE_REG, &reg);
}

int kvm_vcpu_reset(struct kvm_vcpu *v, const struct kvm_topology *t, struct err *e)
{
	struct kvm_vcpu_init init = { 0 };

	if (ioctl(kvm_vm_fd(v->vm), KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return err_sys(e, errno, "KVM does not tell the kind of processor");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2 | (v->index ? 1u << KVM_ARM_VCPU_POWER_OFF : 0);
	if (ioctl(v->fd, KVM_ARM_VCPU_INIT, &init) < 0)
		return err_sys(e, errno, "KVM cannot initialise vCPU %u", v->index);
	return 0;
}

int kvm_vcpu_start_at(struct kvm_vcpu *v, uint64_t pc, uint64_t arg, struct err *e)
{
	if (set(v, CORE(regs.pstate), PSTATE_START) < 0 || set(v, CORE(regs.pc), pc) < 0 ||
	    set(v, CORE(regs.regs[0]), arg) < 0)
		return err_sys(e, errno, "cannot set the registers of vCPU %u", v->index);
	return 0;
}

int kvm_vcpu_mpidr(struct kvm_vcpu *v, uint64_t *ret, struct err *e)
{
	uint64_t value;

	if (get(v, MPIDR_EL1, &value) < 0)
		return err_sys(e, errno, "cannot read the affinity of vCPU %u", v->index);
	*ret = value & MPIDR_AFFINITY;
	return 0;
}

void kvm_vcpu_describe(struct kvm_vcpu *v, char *buf, size_t size)
{
	static const struct {
		const char *name;
		uint64_t id;
	} regs[] = {
		{ "pc", CORE(regs.pc) },       { "pstate", CORE(regs.pstate) }, { "sp_el1", CORE(sp_el1) },
		{ "lr", CORE(regs.regs[30]) }, { "elr_el1", CORE(elr_el1) },    { "esr_el1", ESR_EL1 },
		{ "far_el1", FAR_EL1 },        { "x0", CORE(regs.regs[0]) },    { "x1", CORE(regs.regs[1]) },
	};
	size_t used = 0;

	for (size_t i = 0; i < sizeof regs / sizeof *regs && used < size; i++) {
		uint64_t value;

		if (get(v, regs[i].id, &value) < 0) {
			snprintf(buf, size, "its registers cannot be read");
			return;
		}
		used += (size_t)snprintf(buf + used, size - used, "%s%s %llx", i ? " " : "", regs[i].name,
					 (unsigned long long)value);
	}
}
