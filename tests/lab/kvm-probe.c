// SPDX-License-Identifier: Apache-2.0
/* Does KVM run a guest here? Makes a VM of one vCPU in real mode that writes a byte to a port and halts, and says "ok: …"
 * for each thing that works; the exit status is 0 when all do.
 */
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

// mov $0x42, %al; out %al, $0x10; hlt
static const unsigned char program[] = {0xb0, 0x42, 0xe6, 0x10, 0xf4};

static int check(const char *what, bool good)
{
	printf("%s: %s\n", good ? "ok" : "FAILED", what);
	return !good;
}

static struct kvm_run *make_vcpu(int vm, int kvm, int *ret_vcpu)
{
	unsigned char *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED)
		return NULL;
	memcpy(memory, program, sizeof program);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = 0x1000, .memory_size = 4096, .userspace_addr = (unsigned long)memory};
	if (ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region) < 0)
		return NULL;
	int vcpu = ioctl(vm, KVM_CREATE_VCPU, 0);
	int size = ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	struct kvm_sregs sregs;
	if (vcpu < 0 || size < 0 || ioctl(vcpu, KVM_GET_SREGS, &sregs) < 0)
		return NULL;
	sregs.cs.base = sregs.cs.selector = 0;
	struct kvm_regs regs = {.rip = 0x1000, .rflags = 2};
	if (ioctl(vcpu, KVM_SET_SREGS, &sregs) < 0 || ioctl(vcpu, KVM_SET_REGS, &regs) < 0)
		return NULL;
	void *run = mmap(NULL, (size_t)size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	*ret_vcpu = vcpu;
	return run == MAP_FAILED ? NULL : run;
}

int main(void)
{
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC), vcpu = -1, bad = 0;
	int vm = ioctl(kvm, KVM_CREATE_VM, 0);
	bad += check("KVM_CREATE_VM", vm >= 0);
	struct kvm_run *run = vm >= 0 ? make_vcpu(vm, kvm, &vcpu) : NULL;
	bad += check("KVM_CREATE_VCPU", run != NULL);
	if (!run)
		return 1;
	bool ran = ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_IO && run->io.port == 0x10 &&
		   ((unsigned char *)run)[run->io.data_offset] == 0x42;
	bad += check("the vCPU writes to a port", ran);
	bad += check("the vCPU halts", ran && ioctl(vcpu, KVM_RUN, 0) == 0 && run->exit_reason == KVM_EXIT_HLT);
	return bad != 0;
}
