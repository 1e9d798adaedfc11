/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM's interrupt controller on arm64 (Linux Documentation/virt/kvm/devices/arm-vgic-v3.rst, arm-vgic-its.rst): a
 * GICv3, and an ITS where there are MSIs. KVM fixes it when all vCPUs are there, and takes lines only afterwards.
 */
#include "kvm/vm_arm64.h"

#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/vm_internal.h"

static int set_attr(int device, uint32_t group, uint64_t attr, const void *value)
{
	struct kvm_device_attr a = { .group = group, .attr = attr, .addr = (uintptr_t)value };

	return ioctl(device, KVM_SET_DEVICE_ATTR, &a) < 0 ? -errno : 0;
}

static int make_device(struct kvm_vm *vm, uint32_t type, int *ret)
{
	struct kvm_create_device d = { .type = type };

	if (ioctl(vm->fd, KVM_CREATE_DEVICE, &d) < 0)
		return -errno;
	*ret = (int)d.fd;
	return 0;
}

static int make_its(struct kvm_vm *vm, uint64_t address, struct err *e)
{
	int r = make_device(vm, KVM_DEV_TYPE_ARM_VGIC_ITS, &vm->its);

	if (r == 0)
		r = set_attr(vm->its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &address);
	if (r == 0)
		r = set_attr(vm->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	return r < 0 ? err_sys(e, -r, "KVM cannot make an interrupt translation service") : 0;
}

int kvm_vm_set_up_arch(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e)
{
	uint64_t dist = c->gic_dist, redist = c->gic_redist;
	uint32_t irqs = KVM_GIC_PRIVATE + KVM_PINS;
	int r = make_device(vm, KVM_DEV_TYPE_ARM_VGIC_V3, &vm->gic);

	if (r == -ENODEV)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "this host's interrupt controller is no GICv3, which the built-in monitor needs");
	if (r == 0)
		r = set_attr(vm->gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &irqs);
	if (r == 0)
		r = set_attr(vm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST, &dist);
	if (r == 0)
		r = set_attr(vm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST, &redist);
	if (r < 0)
		return err_sys(e, -r, "KVM cannot make an interrupt controller");
	return c->gic_its ? make_its(vm, c->gic_its, e) : 0;
}

int kvm_vm_start_gic(struct kvm_vm *vm, const uint64_t *mpidr, unsigned vcpus, struct err *e)
{
	int r;

	vm->mpidr = malloc(vcpus * sizeof *mpidr);
	if (!vm->mpidr)
		return err_sys(e, ENOMEM, "cannot start the interrupt controller");
	memcpy(vm->mpidr, mpidr, vcpus * sizeof *mpidr);
	vm->n_mpidr = vcpus;
	r = set_attr(vm->gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
	if (r == 0)
		r = kvm_routes_commit(vm); /* which it replaced by its own */
	return r < 0 ? err_sys(e, -r, "KVM cannot start the interrupt controller") : 0;
}
