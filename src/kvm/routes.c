/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Interrupts: the table from global system interrupt to pin or message, and the ways to raise one. KVM takes the table
 * as a whole, and the wait for its old readers makes that slow, hence hold and release.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "kvm/vm_internal.h"

void kvm_routes_init(struct kvm_vm *vm)
{
	vm->n_routes = KVM_PINS;
	if (vm->split)
		return;
	for (unsigned i = 0; i < KVM_PINS; i++)
		vm->routes[i].used = true;
}

static void fill(const struct route *r, uint32_t gsi, struct kvm_irq_routing_entry *entry)
{
	entry->gsi = gsi;
	if (!r->msi) {
		entry->type = KVM_IRQ_ROUTING_IRQCHIP;
#ifdef KVM_IRQCHIP_IOAPIC
		entry->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
#endif
		entry->u.irqchip.pin = gsi;
		return;
	}
	entry->type = KVM_IRQ_ROUTING_MSI;
	entry->u.msi.address_lo = (uint32_t)r->address;
	entry->u.msi.address_hi = (uint32_t)(r->address >> 32);
	entry->u.msi.data = r->data;
#ifdef __aarch64__
	/* The ITS tells devices apart by it. */
	entry->flags = KVM_MSI_VALID_DEVID;
	entry->u.msi.devid = r->requester;
#endif
}

int kvm_routes_commit(struct kvm_vm *vm)
{
	_cleanup_free_ struct kvm_irq_routing *table =
		calloc(1, sizeof *table + vm->n_routes * sizeof(struct kvm_irq_routing_entry));

	if (!table)
		return -ENOMEM;
	for (uint32_t i = 0; i < vm->n_routes; i++)
		if (vm->routes[i].used)
			fill(&vm->routes[i], i, &table->entries[table->nr++]);
	return ioctl(vm->fd, KVM_SET_GSI_ROUTING, table) < 0 ? -errno : 0;
}

/* The table changed; the lock is held. */
static int changed(struct kvm_vm *vm)
{
	if (!vm->hold)
		return kvm_routes_commit(vm);
	vm->stale = true;
	return 0;
}

int kvm_vm_route_add(struct kvm_vm *vm, uint64_t address, uint32_t data, uint32_t requester, uint32_t *ret_gsi)
{
	uint32_t gsi = KVM_PINS;
	int r = -ENOSPC;

	pthread_mutex_lock(&vm->lock);
	while (gsi < KVM_GSI_MAX && vm->routes[gsi].used)
		gsi++;
	if (gsi < KVM_GSI_MAX) {
		vm->routes[gsi] = (struct route){ true, true, address, data, requester };
		if (gsi >= vm->n_routes)
			vm->n_routes = gsi + 1;
		r = changed(vm);
		if (r < 0)
			vm->routes[gsi].used = false;
	}
	pthread_mutex_unlock(&vm->lock);
	if (r == 0)
		*ret_gsi = gsi;
	return r;
}

static int set_route(struct kvm_vm *vm, uint32_t gsi, bool used, uint64_t address, uint32_t data)
{
	struct route *r = &vm->routes[gsi], old = *r;
	int result;

	*r = (struct route){ used, true, used ? address : 0, used ? data : 0, old.requester };
	if (old.used == r->used && old.address == r->address && old.data == r->data)
		return 0;
	result = changed(vm);
	if (result < 0)
		*r = old;
	return result;
}

int kvm_vm_route_update(struct kvm_vm *vm, uint32_t gsi, uint64_t address, uint32_t data)
{
	int r = -ENOENT;

	pthread_mutex_lock(&vm->lock);
	if (gsi >= KVM_PINS && gsi < KVM_GSI_MAX && vm->routes[gsi].used)
		r = set_route(vm, gsi, true, address, data);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void kvm_vm_route_remove(struct kvm_vm *vm, uint32_t gsi)
{
	pthread_mutex_lock(&vm->lock);
	if (gsi >= KVM_PINS && gsi < KVM_GSI_MAX) {
		vm->routes[gsi].used = false;
		/* An unused route does no harm: it goes with the next change. */
		if (vm->hold)
			vm->stale = true;
	}
	pthread_mutex_unlock(&vm->lock);
}

int kvm_vm_route_pin(struct kvm_vm *vm, uint32_t pin, bool on, uint64_t address, uint32_t data)
{
	int r = -EINVAL;

	pthread_mutex_lock(&vm->lock);
	if (vm->split && pin < KVM_PINS)
		r = set_route(vm, pin, on, address, data);
	pthread_mutex_unlock(&vm->lock);
	return r;
}

void kvm_vm_route_hold(struct kvm_vm *vm)
{
	pthread_mutex_lock(&vm->lock);
	vm->hold++;
	pthread_mutex_unlock(&vm->lock);
}

int kvm_vm_route_release(struct kvm_vm *vm)
{
	int r = 0;

	pthread_mutex_lock(&vm->lock);
	if (!--vm->hold && vm->stale) {
		vm->stale = false;
		r = kvm_routes_commit(vm);
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_vm_irqfd(struct kvm_vm *vm, uint32_t gsi, int fd, bool on)
{
	struct kvm_irqfd irqfd = { .fd = (uint32_t)fd, .gsi = gsi, .flags = on ? 0 : KVM_IRQFD_FLAG_DEASSIGN };

	return ioctl(vm->fd, KVM_IRQFD, &irqfd) < 0 ? -errno : 0;
}

int kvm_vm_irq_line(struct kvm_vm *vm, uint32_t gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

#ifdef __aarch64__
	/* Here the ioctl counts in INTIDs, of which the shared ones come after each CPU's own 32. */
	line.irq = (KVM_ARM_IRQ_TYPE_SPI << KVM_ARM_IRQ_TYPE_SHIFT) | (gsi + 32);
#endif
	return ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0 ? -errno : 0;
}

int kvm_vm_signal_msi(struct kvm_vm *vm, uint64_t address, uint32_t data, uint32_t requester)
{
	struct kvm_msi msi = { .address_lo = (uint32_t)address, .address_hi = (uint32_t)(address >> 32), .data = data };

#ifdef __aarch64__
	msi.flags = KVM_MSI_VALID_DEVID;
	msi.devid = requester;
#endif
	/* 0: the guest blocked it, which is its business. */
	return ioctl(vm->fd, KVM_SIGNAL_MSI, &msi) < 0 ? -errno : 0;
}
