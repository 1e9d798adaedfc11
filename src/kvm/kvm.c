/* SPDX-License-Identifier: Apache-2.0 */
#include "kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <sys/ioctl.h>

#define NEED(cap)                                                                                                      \
	{                                                                                                              \
		KVM_CAP_##cap, #cap                                                                                    \
	}

static const struct kvm_need needs[] = {
	NEED(USER_MEMORY),    NEED(DESTROY_MEMORY_REGION_WORKS),
	NEED(IRQFD),          NEED(IOEVENTFD),
	NEED(IRQ_ROUTING),    NEED(MP_STATE),
	NEED(IMMEDIATE_EXIT), NEED(SIGNAL_MSI),
};

int kvm_capability(const struct kvm *kvm, int capability)
{
	int r = ioctl(kvm->fd, KVM_CHECK_EXTENSION, capability);

	return r < 0 ? 0 : r;
}

int kvm_check_needs(const struct kvm *kvm, const struct kvm_need *list, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++)
		if (!kvm_capability(kvm, list[i].capability))
			return err_set(e, ERR_HYPERVISOR, ENOTSUP,
				       "this host's KVM lacks KVM_CAP_%s, which the built-in monitor needs",
				       list[i].name);
	return 0;
}

static int open_device(const char *path, struct err *e)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return fd;
	if (errno == ENOENT || errno == ENODEV || errno == ENXIO)
		return err_set(
			e, ERR_HYPERVISOR, errno,
			"there is no %s: load the kernel's module kvm_intel or kvm_amd, or switch virtualization "
			"on in the firmware",
			path);
	if (errno == EACCES || errno == EPERM)
		return err_set(e, ERR_HYPERVISOR, errno,
			       "%s may not be opened by this user: run as root or join the group of the file", path);
	return err_sys(e, errno, "cannot open %s", path);
}

int kvm_open(const char *path, struct kvm **ret, struct err *e)
{
	_cleanup_(kvm_close_p) struct kvm *kvm = calloc(1, sizeof *kvm);
	int r;

	if (!kvm)
		return err_sys(e, ENOMEM, "cannot open KVM");
	kvm->fd = open_device(path ? path : "/dev/kvm", e);
	if (kvm->fd < 0)
		return kvm->fd;
	r = ioctl(kvm->fd, KVM_GET_API_VERSION, 0);
	if (r != KVM_API_VERSION)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP, "%s is not KVM of interface version %d",
			       path ? path : "/dev/kvm", KVM_API_VERSION);
	r = kvm_check_needs(kvm, needs, sizeof needs / sizeof *needs, e);
	if (r < 0)
		return r;
	r = ioctl(kvm->fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (r < (int)sizeof(struct kvm_run))
		return err_sys(e, r < 0 ? errno : EINVAL, "KVM does not tell the size of a vCPU");
	kvm->run_size = (size_t)r;
	r = kvm_capability(kvm, KVM_CAP_MAX_VCPUS);
	kvm->max_vcpus = r ? (unsigned)r : 4; /* Documentation/virt/kvm/api.rst, KVM_CREATE_VCPU */
	r = kvm_capability(kvm, KVM_CAP_NR_MEMSLOTS);
	kvm->max_slots = r ? (unsigned)r : 32;
	r = kvm_open_arch(kvm, e);
	if (r < 0)
		return r;
	*ret = take_ptr(kvm);
	return 0;
}

void kvm_close(struct kvm *kvm)
{
	if (!kvm)
		return;
	fd_close(&kvm->fd);
	free(kvm->cpuid);
	free(kvm->msrs);
	free(kvm);
}
