/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices of a VM as a whole: pause and resume, and their part of a snapshot, which is for each how it was made,
 * where it is, and what its transport and its model save.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hw/virtio_mmio.h"
#include "pci/pci_bus.h"
#include "state/state.h"
#include "vm/devices.h"
#include "vsock/vsock.h"

#define PLACES_MAX 1024

void devices_pause(struct vmm *vm)
{
	struct pci_bus *bus = board_pci(vm->board);
	struct vm_device *d;

	if (bus)
		pci_bus_pause(bus);
	list_foreach (d, &vm->devices, struct vm_device, node) {
		if (!d->mmio)
			continue;
		loop_enter(d->loop);
		virtio_mmio_pause(d->mmio);
		loop_leave(d->loop);
	}
}

void devices_resume(struct vmm *vm)
{
	struct pci_bus *bus = board_pci(vm->board);
	struct vm_device *d;

	if (bus)
		pci_bus_resume(bus);
	list_foreach (d, &vm->devices, struct vm_device, node) {
		loop_enter(d->loop);
		if (d->mmio)
			virtio_mmio_resume(d->mmio);
		/* Its peers stayed behind. A guest that has no buffer for the message has no driver to read it. */
		if (vm->restored && d->kind == DEVICE_VSOCK)
			vsock_device_transport_reset(d->dev);
		loop_leave(d->loop);
	}
	vm->restored = false;
}

static int save_device(const struct vm_device *d, struct state *s, struct err *e)
{
	if (d->kind == DEVICE_FS)
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"device \"%s\" cannot be saved: the state of a shared folder is in the process that serves it. "
			"Remove the device, or use a disk",
			d->id);
	state_put_str(s, "id", d->id);
	state_put_u64(s, "place", d->pci ? d->slot : d->place);
	state_put_u64(s, "gpa", d->gpa);
	device_config_save(&d->config, state_child(s, "config"));
	if (d->mmio) {
		loop_enter(d->loop);
		virtio_mmio_save(d->mmio, state_child(s, "virtio"));
		loop_leave(d->loop);
	}
	return 0;
}

int devices_save(struct vmm *vm, struct state *s, struct err *e)
{
	struct pci_bus *bus = board_pci(vm->board);
	struct vm_device *d;
	unsigned n = 0;
	int r = 0;

	list_foreach (d, &vm->devices, struct vm_device, node)
		if (r == 0 && !d->gone)
			r = save_device(d, state_child_n(s, "device", n++), e);
	state_put_u64(s, "devices", n);
	if (bus)
		pci_bus_save(bus, state_child(s, "pci"));
	return r;
}

static int add(struct vmm *vm, const char *id, const struct device_config *c, struct err *e)
{
	switch (c->kind) {
	case DEVICE_BLOCK:
		return vmm_add_block(vm, id, &c->block, e);
	case DEVICE_NET:
		return vmm_add_net(vm, id, &c->net, e);
	case DEVICE_VSOCK:
		return vmm_add_vsock(vm, id, &c->vsock, e);
	case DEVICE_FS:
		return vmm_add_fs(vm, id, &c->fs, e);
	case DEVICE_RNG:
		return vmm_add_rng(vm, id, &c->rng, e);
	case DEVICE_BALLOON:
		return vmm_add_balloon(vm, id, &c->balloon, e);
	case DEVICE_MEMORY:
		return vmm_add_memory(vm, id, &c->memory, e);
	case DEVICE_PMEM:
		return vmm_add_pmem(vm, id, &c->pmem, e);
	case DEVICE_CONSOLE:
		return vmm_add_console(vm, id, &c->console, e);
	case DEVICE_KINDS:
		break;
	}
	return err_set(e, ERR_CONFIG, EINVAL, "unknown kind of device %d", (int)c->kind);
}

static int restore_device(struct vmm *vm, const struct state *s, const char *id, const char *path, struct err *e)
{
	const struct state *config = state_get_child(s, "config", e);
	struct device_config c;
	struct device_place again;
	uint64_t place;
	int r = config ? state_get_max(s, "place", PLACES_MAX, &place, e) : -ENOENT;

	if (r == 0)
		r = state_get_u64(s, "gpa", &again.gpa, e);
	if (r == 0)
		r = device_config_load(&c, config, path, e);
	if (r < 0) {
		err_wrap(e, "device \"%s\"", id);
		return r;
	}
	again.place = (unsigned)place;
	vm->place_again = &again;
	r = add(vm, id, &c, e);
	vm->place_again = NULL;
	device_config_fini(&c);
	return r;
}

/* Find the override of this device. */
static const char *overridden(const struct vmm_override *overrides, size_t n, const char *id)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(overrides[i].id, id))
			return overrides[i].path;
	return NULL;
}

static int get_device(const struct state *s, unsigned i, const struct state **ret, const char **ret_id, struct err *e)
{
	const struct state *device = state_get_child_n(s, "device", i, e);
	int r = device ? state_get_str(device, "id", ret_id, e) : -ENOENT;

	if (r == 0)
		*ret = device;
	return r;
}

static int check_overrides(const struct state *s, uint64_t devices, const struct vmm_override *overrides, size_t n,
			   struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct state *device;
		bool found = false;
		const char *id;

		for (unsigned k = 0; k < devices && !found; k++) {
			int r = get_device(s, k, &device, &id, e);

			if (r < 0)
				return r;
			found = !strcmp(id, overrides[i].id);
		}
		if (!found)
			return err_set(e, ERR_CONFIG, ENOENT, "there is no device \"%s\" in the snapshot to give %s to",
				       overrides[i].id, overrides[i].path);
	}
	return 0;
}

int devices_restore(struct vmm *vm, const struct state *s, const struct vmm_override *overrides, size_t n,
		    struct err *e)
{
	const struct state *device;
	uint64_t devices;
	const char *id;
	int r = state_get_max(s, "devices", PLACES_MAX, &devices, e);

	if (r == 0)
		r = check_overrides(s, devices, overrides, n, e);
	for (unsigned i = 0; r == 0 && i < devices; i++) {
		r = get_device(s, i, &device, &id, e);
		if (r == 0)
			r = restore_device(vm, device, id, overridden(overrides, n, id), e);
	}
	return r;
}

static int load_mmio(struct vm_device *d, const struct state *s, struct err *e)
{
	const struct state *virtio = s ? state_get_child(s, "virtio", e) : NULL;
	int r;

	if (!virtio)
		return -ENOENT;
	loop_enter(d->loop);
	r = virtio_mmio_load(d->mmio, virtio, e);
	loop_leave(d->loop);
	if (r < 0)
		err_wrap(e, "device \"%s\"", d->id);
	return r;
}

int devices_load(struct vmm *vm, const struct state *s, struct err *e)
{
	struct pci_bus *bus = board_pci(vm->board);
	const struct state *pci = bus ? state_get_child(s, "pci", e) : NULL;
	struct vm_device *d;
	unsigned i = 0;
	int r = 0;

	if (bus)
		r = pci ? pci_bus_load(bus, pci, e) : -ENOENT;
	/* The order is that in which they were restored. */
	list_foreach (d, &vm->devices, struct vm_device, node) {
		if (r == 0 && d->mmio)
			r = load_mmio(d, state_get_child_n(s, "device", i, e), e);
		i++;
	}
	vm->restored = true;
	return r;
}
