// SPDX-License-Identifier: Apache-2.0
/* Does KVM run a guest here? Makes a VM of one vCPU that writes to a device address and stops, and says "ok: …" for
 * each thing that works; the exit status is 0 when all do.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CODE = 0x1000, DEVICE = 0x8000 }; // guest addresses; only the page of CODE is memory

#if defined(__x86_64__)
// real mode: mov $0x42, %al; mov %al, DEVICE; hlt
static const uint8_t program[] = { 0xb0, 0x42, 0xa2, 0x00, 0x80, 0xf4 };
enum { STOPS_WITH = KVM_EXIT_HLT };

static bool set_up(int vm, int vcpu)
{
	(void)vm;
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	if (ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return false;
	sregs.cs.base = sregs.cs.selector = 0;
	return ioctl(vcpu, KVM_SET_SREGS, &sregs) == 0 && ioctl(vcpu, KVM_SET_REGS, &regs) == 0;
}
#elif defined(__aarch64__)
static const uint32_t program[] = {
	0x52800840,             // mov w0, #0x42
	0xd2900001,             // mov x1, #DEVICE
	0xb9000020,             // str w0, [x1]
	0x52800100, 0x72b08000, // mov w0, #0x84000008: PSCI SYSTEM_OFF
	0xd4000002,             // hvc #0
};
enum { STOPS_WITH = KVM_EXIT_SYSTEM_EVENT };

static bool set_up(int vm, int vcpu)
{
	struct kvm_vcpu_init init;
	uint64_t pc = CODE;
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE | KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};
	if (ioctl(vm, KVM_ARM_PREFERRED_TARGET, &init) < 0)
		return false;
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	return ioctl(vcpu, KVM_ARM_VCPU_INIT, &init) == 0 && ioctl(vcpu, KVM_SET_ONE_REG, &reg) == 0;
}
#endif

static int check(const char *what, bool good)
{
	printf("%s: %s\n", good ? "ok" : "FAILED", what);
	return !good;
}

static bool load(int vm)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = { .guest_phys_addr = CODE,
						      .memory_size = 4096,
						      .userspace_addr = (uintptr_t)memory };
	if (memory == MAP_FAILED)
		return false;
	memcpy(memory, program, sizeof program);
	return ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) == 0;
}

static struct kvm_run *run_of(int kvm, int vcpu)
{
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	void *run = size < 0 ? MAP_FAILED : mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	return run == MAP_FAILED ? NULL : run;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), bad = 0;
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	bad += check("KVM_CREATE_VM", vm >= 0);
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	bad += check("KVM_CREATE_VCPU", vcpu >= 0);
	struct kvm_run *run = run_of(kvm, vcpu);
	if (bad || !run || !load(vm) || !set_up(vm, vcpu))
		return check("the vCPU can be set up", false);
	bad += check("the vCPU writes to a device", ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_MMIO &&
							    run->mmio.phys_addr == DEVICE && run->mmio.data[0] == 0x42);
	bad += check("the vCPU stops", ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == STOPS_WITH);
	return bad != 0;
}
