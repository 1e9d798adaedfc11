/* SPDX-License-Identifier: Apache-2.0 */
/* hw/platform.h on KVM: what devices ask of their machine. */
#include <errno.h>

#include "vm/ioapic_lines.h"
#include "vm/machine.h"

static struct vmm *vmm_of(struct platform *p)
{
	return container_of(p, struct vmm, platform);
}

static struct kvm_vm *kvm_of(struct platform *p)
{
	return vmm_of(p)->kvm_vm;
}

static int irq_attach(struct platform *p, uint32_t gsi, int fd)
{
	struct ioapic_lines *ioapic = vmm_of(p)->ioapic;

	if (ioapic)
		return ioapic_lines_attach(ioapic, gsi, fd);
	return gsi < KVM_PINS ? kvm_vm_irqfd(kvm_of(p), gsi, fd, true) : -EINVAL;
}

static void irq_detach(struct platform *p, uint32_t gsi, int fd)
{
	struct ioapic_lines *ioapic = vmm_of(p)->ioapic;

	if (ioapic)
		ioapic_lines_detach(ioapic, gsi, fd);
	else
		kvm_vm_irqfd(kvm_of(p), gsi, fd, false);
}

static int msi_attach(struct platform *p, int fd, uint64_t address, uint32_t data, uint32_t requester, uint32_t *ret)
{
	struct kvm_vm *vm = kvm_of(p);
	uint32_t gsi;
	int r = kvm_vm_route_add(vm, address, data, requester, &gsi);

	if (r < 0)
		return r;
	r = kvm_vm_irqfd(vm, gsi, fd, true);
	if (r < 0)
		kvm_vm_route_remove(vm, gsi);
	else
		*ret = gsi;
	return r;
}

static int msi_update(struct platform *p, uint32_t handle, uint64_t address, uint32_t data)
{
	return kvm_vm_route_update(kvm_of(p), handle, address, data);
}

static void msi_detach(struct platform *p, uint32_t handle, int fd)
{
	kvm_vm_irqfd(kvm_of(p), handle, fd, false);
	kvm_vm_route_remove(kvm_of(p), handle);
}

static int kick_attach(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len, const uint64_t *match,
		       int fd)
{
	return kvm_vm_ioeventfd(kvm_of(p), space, addr, len, match, fd, true);
}

static void kick_detach(struct platform *p, enum bus_space space, uint64_t addr, uint32_t len, const uint64_t *match,
			int fd)
{
	kvm_vm_ioeventfd(kvm_of(p), space, addr, len, match, fd, false);
}

static int map(struct platform *p, gpa_t gpa, uint64_t size, void *host, bool readonly)
{
	return kvm_vm_map(kvm_of(p), gpa, size, host, readonly ? KVM_MAP_READONLY : 0);
}

static int unmap(struct platform *p, gpa_t gpa, uint64_t size)
{
	return kvm_vm_unmap(kvm_of(p), gpa, size);
}

const struct platform_ops machine_platform_ops = {
	.irq_attach = irq_attach,
	.irq_detach = irq_detach,
	.msi_attach = msi_attach,
	.msi_update = msi_update,
	.msi_detach = msi_detach,
	.kick_attach = kick_attach,
	.kick_detach = kick_detach,
	.map = map,
	.unmap = unmap,
};
