/* SPDX-License-Identifier: Apache-2.0 */
/* A vCPU at power-on and at the kernel's first instruction, x86_64. Numbers: Intel SDM volumes 3A and 4. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/cpuid_x86.h"
#include "kvm/vcpu_internal.h"
#include "kvm/vcpu_x86.h"

#define CR0_PE        (1u << 0)
#define CR0_ET        (1u << 4)
#define CR0_PG        (1u << 31)
#define CR4_PAE       (1u << 5)
#define EFER_LME      (1u << 8)
#define EFER_LMA      (1u << 10)
#define RFLAGS_ALWAYS 2

#define APIC_LVT_LINT0     0x350
#define APIC_LVT_LINT1     0x360
#define APIC_LVT_MODE      (7u << 8)
#define APIC_LVT_NMI       (4u << 8)
#define APIC_LVT_EXTINT    (7u << 8)
#define MSR_MISC_ENABLE    0x1a0
#define MSR_MTRR_DEF_TYPE  0x2ff
#define MISC_FAST_STRINGS  1
#define MTRR_ON_WRITE_BACK 0x806

/* What firmware would have left: fast string moves, all memory write-back. Not every host has every one. */
static const struct kvm_msr_entry reset_msrs[] = {
	{ .index = MSR_MISC_ENABLE, .data = MISC_FAST_STRINGS },
	{ .index = MSR_MTRR_DEF_TYPE, .data = MTRR_ON_WRITE_BACK },
};

static int set_cpuid(struct kvm_vcpu *v, const struct kvm_topology *t, struct err *e)
{
	struct kvm *kvm = kvm_vm_kvm(v->vm);
	_cleanup_free_ struct kvm_cpuid2 *cpuid = NULL;
	int khz = ioctl(v->fd, KVM_GET_TSC_KHZ, 0), r;

	r = cpuid_x86_build(kvm->cpuid, t, v->index, kvm->tsc_deadline, khz > 0 ? (uint32_t)khz : 0, &cpuid);
	if (r < 0)
		return err_sys(e, -r, "cannot choose the features of vCPU %u", v->index);
	if (ioctl(v->fd, KVM_SET_CPUID2, cpuid) < 0)
		return err_sys(e, errno, "KVM does not take the features of vCPU %u", v->index);
	return 0;
}

static void set_lvt(struct kvm_lapic_state *lapic, unsigned reg, uint32_t mode)
{
	uint32_t lvt;

	memcpy(&lvt, lapic->regs + reg, sizeof lvt);
	lvt = (lvt & ~APIC_LVT_MODE) | mode;
	memcpy(lapic->regs + reg, &lvt, sizeof lvt);
}

/* The wires as every PC has them: the legacy controller's on LINT0, NMI on LINT1. */
static int set_lapic(struct kvm_vcpu *v, struct err *e)
{
	struct kvm_lapic_state lapic;

	if (ioctl(v->fd, KVM_GET_LAPIC, &lapic) < 0)
		return err_sys(e, errno, "cannot read the local APIC of vCPU %u", v->index);
	set_lvt(&lapic, APIC_LVT_LINT0, APIC_LVT_EXTINT);
	set_lvt(&lapic, APIC_LVT_LINT1, APIC_LVT_NMI);
	if (ioctl(v->fd, KVM_SET_LAPIC, &lapic) < 0)
		return err_sys(e, errno, "cannot set the local APIC of vCPU %u", v->index);
	return 0;
}

int kvm_vcpu_reset(struct kvm_vcpu *v, const struct kvm_topology *t, struct err *e)
{
	int r = set_cpuid(v, t, e);

	if (r < 0)
		return r;
	for (size_t i = 0; i < sizeof reset_msrs / sizeof *reset_msrs; i++) {
		struct kvm_one_msr one = { .nmsrs = 1, .entry = reset_msrs[i] };

		if (ioctl(v->fd, KVM_SET_MSRS, &one) < 0)
			return err_sys(e, errno, "cannot set the MSRs of vCPU %u", v->index);
	}
	return set_lapic(v, e);
}

/* Base 0, limit 4 GiB, present, of ring 0. */
static struct kvm_segment segment(unsigned index, unsigned type, bool system, bool is_64bit)
{
	bool code = !system && type & 8;

	return (struct kvm_segment){
		.selector = (uint16_t)(index * 8),
		.limit = system ? 0xffff : 0xffffffff,
		.type = (uint8_t)type,
		.present = 1,
		.s = !system,
		.l = code && is_64bit,
		.db = !system && !(code && is_64bit),
		.g = !system,
	};
}

static struct kvm_segment code_segment(bool is_64bit)
{
	return segment(2, 11, false, is_64bit); /* execute, read, accessed */
}

static struct kvm_segment data_segment(bool is_64bit)
{
	return segment(3, 3, false, is_64bit); /* read, write, accessed */
}

static struct kvm_segment task_segment(bool is_64bit)
{
	return segment(4, 11, true, is_64bit); /* busy task state */
}

/* SDM 3A §3.4.5 */
static uint64_t descriptor(struct kvm_segment s)
{
	uint64_t limit = s.g ? s.limit >> 12 : s.limit;

	return (limit & 0xffff) | (s.base & 0xffffff) << 16 | (uint64_t)s.type << 40 | (uint64_t)s.s << 44 |
	       (uint64_t)s.dpl << 45 | (uint64_t)s.present << 47 | (limit >> 16 & 15) << 48 | (uint64_t)s.l << 53 |
	       (uint64_t)s.db << 54 | (uint64_t)s.g << 55 | (s.base >> 24 & 0xff) << 56;
}

void kvm_gdt_x86(bool long_mode, uint64_t ret[KVM_GDT_ENTRIES])
{
	ret[0] = ret[1] = 0;
	ret[2] = descriptor(code_segment(long_mode));
	ret[3] = descriptor(data_segment(long_mode));
	ret[4] = descriptor(task_segment(long_mode));
}

int kvm_vcpu_start_at(struct kvm_vcpu *v, const struct kvm_start_x86 *start, struct err *e)
{
	struct kvm_regs regs = { .rip = start->pc, .rflags = RFLAGS_ALWAYS, .rsp = start->stack, .rbp = start->stack };
	bool lm = start->long_mode;
	struct kvm_sregs s;

	*(lm ? &regs.rsi : &regs.rbx) = start->arg;
	if (ioctl(v->fd, KVM_GET_SREGS, &s) < 0)
		return err_sys(e, errno, "cannot read the registers of vCPU %u", v->index);
	s.cs = code_segment(lm);
	s.ds = s.es = s.fs = s.gs = s.ss = data_segment(lm);
	s.tr = task_segment(lm);
	s.gdt.base = start->gdt;
	s.gdt.limit = KVM_GDT_ENTRIES * 8 - 1;
	s.idt.base = start->idt;
	s.idt.limit = 7;
	s.cr0 = CR0_PE | CR0_ET | (lm ? CR0_PG : 0);
	s.cr3 = lm ? start->pml4 : 0;
	s.cr4 = lm ? CR4_PAE : 0;
	s.efer = lm ? EFER_LME | EFER_LMA : 0;
	if (ioctl(v->fd, KVM_SET_SREGS, &s) < 0 || ioctl(v->fd, KVM_SET_REGS, &regs) < 0)
		return err_sys(e, errno, "cannot set the registers of vCPU %u", v->index);
	return 0;
}

void kvm_vcpu_describe(struct kvm_vcpu *v, char *buf, size_t size)
{
	struct kvm_regs r;
	struct kvm_sregs s;

	if (ioctl(v->fd, KVM_GET_REGS, &r) < 0 || ioctl(v->fd, KVM_GET_SREGS, &s) < 0) {
		snprintf(buf, size, "its registers cannot be read");
		return;
	}
	snprintf(buf, size,
		 "rip %04x:%llx rsp %llx rflags %llx cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx rax %llx rbx %llx "
		 "rcx %llx rdx %llx rsi %llx rdi %llx",
		 s.cs.selector, r.rip, r.rsp, r.rflags, s.cr0, s.cr2, s.cr3, s.cr4, s.efer, r.rax, r.rbx, r.rcx, r.rdx,
		 r.rsi, r.rdi);
}
