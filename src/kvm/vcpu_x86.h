/* SPDX-License-Identifier: Apache-2.0 */
/* The first instruction of a vCPU on x86_64. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kvm/vcpu.h"

struct kvm_start_x86 {
	/*
	 * True: 64-bit mode with paging on, interrupts off, rsi = arg (Linux Documentation/arch/x86/boot.rst, 64-bit
	 * boot protocol). False: flat 32-bit protected mode without paging, ebx = arg (Xen docs/misc/pvh.pandoc).
	 */
	bool long_mode;
	uint64_t pc, arg, stack;
	uint64_t gdt;  /* address of KVM_GDT_ENTRIES descriptors, as kvm_gdt_x86() gives them */
	uint64_t idt;  /* address of a null gate */
	uint64_t pml4; /* long mode: page table root */
};

#define KVM_GDT_ENTRIES 5

/* The descriptors that go with it: null, null, code (0x10), data (0x18), task (0x20). */
void kvm_gdt_x86(bool long_mode, uint64_t ret[KVM_GDT_ENTRIES]);

int kvm_vcpu_start_at(struct kvm_vcpu *v, const struct kvm_start_x86 *start, struct err *e);
