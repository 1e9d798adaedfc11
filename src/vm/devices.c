/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The devices that the host program adds. A kind of device is one vmm_add_ function, which makes the model and hands
 * it to attach(); where it goes is the affair of the machine's shape.
 */
#include <errno.h>
#include <string.h>

#include "boot/acpi.h"
#include "hw/virtio_mmio.h"
#include "virtio/device.h"
#include "vm/machine.h"
#include "vm/vm_device.h"
#include "vsock/vsock.h"

static struct vm_device *find(const struct vmm *vm, const char *id)
{
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node)
		if (!strcmp(d->id, id))
			return d;
	return NULL;
}

static int check_id(const struct vmm *vm, const char *id, struct err *e)
{
	size_t len = strlen(id);

	if (!len || len > VMM_ID_MAX ||
	    strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != len)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "\"%s\" is no id of a device: 1 to %d letters, digits, '_' and '-'", id, VMM_ID_MAX);
	if (find(vm, id))
		return err_set(e, ERR_CONFIG, EEXIST, "there is a device \"%s\" already", id);
	return 0;
}

/* May a device be added now? */
static int check_addition(const struct vmm *vm, const char *id, struct err *e)
{
	if (vmm_state(vm) != VMM_NEW)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "device \"%s\" cannot be added to a virtual machine that was started", id);
	if (vm->config.shape != VMM_SHAPE_MICRO)
		return err_set(e, ERR_CONFIG, ENOTSUP, "device \"%s\": machines with PCI are not supported yet", id);
	return check_id(vm, id, e);
}

/* The first window that no device has. */
static unsigned free_place(const struct vmm *vm)
{
	unsigned place = 0;
	struct vm_device *d;
	bool taken;

	do {
		taken = false;
		list_foreach (d, &vm->devices, struct vm_device, node)
			taken |= d->place == place;
		place += taken;
	} while (taken);
	return place;
}

static int attach_mmio(struct vmm *vm, struct vm_device *d, struct err *e)
{
	uint64_t base;
	uint32_t gsi;

	d->place = vm->next_place >= 0 ? (unsigned)vm->next_place : free_place(vm);
	if (!board_mmio_place(d->place, &base, &gsi))
		return err_set(e, ERR_LIMIT, ENOSPC, "%u devices are as many as a machine without PCI can have",
			       d->place);
	return virtio_mmio_new(&vm->platform, vm->mmio, vm->loop, base, gsi, d->dev, &d->mmio, e);
}

/* Takes dev over, also on failure; config: what it was made of. Inside the loop. */
static int attach(struct vmm *vm, const char *id, enum vm_device_kind kind, const void *config, struct virtio_device *dev,
		  struct err *e)
{
	struct vm_device *d = calloc(1, sizeof *d);
	int r;

	if (!d || device_config_copy(&d->config, kind, config) < 0) {
		free(d);
		virtio_device_free(dev);
		return err_sys(e, ENOMEM, "cannot add device \"%s\"", id);
	}
	strcpy(d->id, id);
	d->dev = dev;
	dev->mem = vm->mem;
	r = attach_mmio(vm, d, e);
	if (r < 0) {
		err_wrap(e, "device \"%s\"", id);
		virtio_device_free(dev);
		device_config_fini(&d->config);
		free(d);
		return r;
	}
	list_append(&vm->devices, &d->node);
	vm->n_devices++;
	return 0;
}

static void detach(struct vmm *vm, struct vm_device *d)
{
	list_remove(&d->node);
	vm->n_devices--;
	virtio_mmio_free(d->mmio);
	device_config_fini(&d->config);
	free(d);
}

void devices_free(struct vmm *vm)
{
	struct vm_device *d;

	if (!vm->loop)
		return;
	loop_enter(vm->loop);
	list_foreach (d, &vm->devices, struct vm_device, node)
		detach(vm, d);
	loop_leave(vm->loop);
}

size_t devices_mmio(const struct vmm *vm, struct acpi_mmio_device *ret, size_t max)
{
	struct vm_device *d;
	size_t n = 0;

	list_foreach (d, &vm->devices, struct vm_device, node) {
		struct acpi_mmio_device *m = &ret[n];

		if (n == max)
			break;
		if (!board_mmio_place(d->place, &m->base, &m->gsi))
			continue;
		m->size = VIRTIO_MMIO_SIZE;
		n++;
	}
	return n;
}

int vmm_remove(struct vmm *vm, const char *id, int timeout_ms, struct err *e)
{
	struct vm_device *d = find(vm, id);

	if (!d)
		return err_set(e, ERR_CONFIG, ENOENT, "there is no device \"%s\"", id);
	if (vmm_state(vm) != VMM_NEW)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "device \"%s\" cannot be taken from a virtual machine that was started", id);
	loop_enter(vm->loop);
	detach(vm, d);
	loop_leave(vm->loop);
	return 0;
}

int vmm_add_vsock(struct vmm *vm, const char *id, const struct vmm_vsock *c, struct err *e)
{
	struct virtio_device *dev;
	int r = check_addition(vm, id, e);

	if (r < 0)
		return r;
	loop_enter(vm->loop);
	r = vsock_device_new(vm->loop, c->uds_path, c->cid, &dev, e);
	if (r == 0)
		r = attach(vm, id, DEVICE_VSOCK, c, dev, e);
	loop_leave(vm->loop);
	return r;
}
