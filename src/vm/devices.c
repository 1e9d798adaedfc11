/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of devices: how they get to the guest (virtio-mmio or virtio-pci, as the machine's shape says), and how
 * they go. What kinds there are is in device_kinds.c.
 */
#include "vm/devices.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "base/thread.h"
#include "boot/acpi.h"
#include "hw/virtio_mmio.h"
#include "pci/pci_bus.h"
#include "pci/virtio_pci.h"
#include "virtio/device.h"

#define REGION_ALIGN (1ULL << 30)

static struct vm_device *find(const struct vmm *vm, const char *id)
{
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node)
		if (!strcmp(d->id, id))
			return d;
	return NULL;
}

struct vm_device *device_find(struct vmm *vm, const char *id, enum vm_device_kind kind, struct err *e)
{
	static const char *const kinds[] = { "block device", "network card",  "vsock device", "shared folder", "rng",
					     "balloon",      "memory device", "pmem device",  "console" };
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node)
		if (d->kind == kind && (!id || !strcmp(d->id, id)))
			return d;
	err_set(e, ERR_CONFIG, ENOENT, "there is no %s%s%s%s", kinds[kind], id ? " \"" : "", id ? id : "",
		id ? "\"" : "");
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

/* May a device of this kind come now? */
static int check_time(const struct vmm *vm, const char *id, enum vm_device_kind kind, struct err *e)
{
	enum vmm_state state = vmm_state(vm);
	bool pluggable = kind == DEVICE_BLOCK || kind == DEVICE_NET || kind == DEVICE_FS || kind == DEVICE_PMEM;

	if (state == VMM_NEW || (state != VMM_ENDED && pluggable && vm->config.shape == VMM_SHAPE_CLOUD))
		return 0;
	return err_set(e, ERR_CONFIG, ENOTSUP, "device \"%s\" cannot be added to a virtual machine that was started",
		       id);
}

/* ---- a loop of its own ---- */

static void *run_loop(void *arg)
{
	struct vm_device *d = arg;
	char name[16];

	snprintf(name, sizeof name, "%.7s-%.7s", d->vm->config.name, d->id);
	pthread_setname_np(pthread_self(), name);
	machine_confine_thread(d->vm, MACHINE_EVENT_LOOP);
	if (loop_run(d->loop) < 0)
		machine_end(d->vm, VMM_END_ERROR, false, "the event loop of a device failed");
	return NULL;
}

static int start_loop(struct vm_device *d, struct err *e)
{
	int r = loop_new(&d->loop, e);

	if (r < 0)
		return r;
	r = thread_start(&d->thread, run_loop, d);
	if (r < 0) {
		loop_free(d->loop);
		return err_sys(e, -r, "cannot start a thread for device \"%s\"", d->id);
	}
	d->own_loop = true;
	return 0;
}

/* The device is not attached any more. */
static void release(struct vm_device *d)
{
	if (d->own_loop) {
		loop_quit(d->loop, 0);
		pthread_join(d->thread, NULL);
		/* A vCPU may have found one of its registers just before they went, and want to enter. */
		bus_settle(d->vm->mmio);
		bus_settle(d->vm->pio);
		loop_free(d->loop);
	}
	if (d->host) {
		d->vm->platform.ops->unmap(&d->vm->platform, d->gpa, d->size);
		munmap(d->host, d->size);
	}
	device_config_fini(&d->config);
	free(d);
}

/* ---- coming ---- */

int device_begin(struct vmm *vm, const char *id, enum vm_device_kind kind, const void *config, bool own_loop,
		 struct vm_device **ret, struct err *e)
{
	struct vm_device *d;
	int r = check_time(vm, id, kind, e);

	if (r == 0)
		r = check_id(vm, id, e);
	if (r < 0)
		return r;
	d = calloc(1, sizeof *d);
	if (!d || device_config_copy(&d->config, kind, config) < 0) {
		free(d);
		return err_sys(e, ENOMEM, "cannot add device \"%s\"", id);
	}
	list_init(&d->node);
	d->vm = vm;
	d->kind = kind;
	d->loop = vm->loop;
	strcpy(d->id, id);
	r = own_loop ? start_loop(d, e) : 0;
	if (r < 0) {
		device_config_fini(&d->config);
		free(d);
		return r;
	}
	*ret = d;
	return 0;
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

static int attach_mmio(struct vm_device *d, struct err *e)
{
	struct vmm *vm = d->vm;
	uint64_t base;
	uint32_t gsi;
	int r;

	d->place = vm->place_again ? vm->place_again->place : free_place(vm);
	if (!board_mmio_place(d->place, &base, &gsi))
		return err_set(e, ERR_LIMIT, ENOSPC, "%u devices are as many as a machine without PCI can have",
			       d->place);
	loop_enter(d->loop);
	r = virtio_mmio_new(&vm->platform, vm->mmio, d->loop, base, gsi, d->dev, &d->mmio, e);
	loop_leave(d->loop);
	return r;
}

static int attach_pci(struct vm_device *d, struct pci_bus *bus, struct err *e)
{
	struct pci_function *f;
	int r;

	loop_enter(d->loop);
	r = virtio_pci_new(&d->vm->platform, d->loop, d->dev, &f, e);
	loop_leave(d->loop);
	if (r < 0)
		return r;
	r = pci_bus_add(bus, f, d->vm->place_again ? (int)d->vm->place_again->place : -1, e);
	if (r < 0) {
		loop_enter(d->loop);
		pci_function_free(f);
		loop_leave(d->loop);
		d->dev = NULL;
		return r;
	}
	d->slot = (unsigned)r;
	d->pci = f;
	return 0;
}

int device_finish(struct vm_device *d, struct virtio_device *dev, int r, struct err *e)
{
	struct pci_bus *bus = board_pci(d->vm->board);

	if (r == 0) {
		d->dev = dev;
		dev->mem = d->vm->mem;
		r = bus ? attach_pci(d, bus, e) : attach_mmio(d, e);
		if (r < 0 && d->dev) {
			loop_enter(d->loop);
			virtio_device_free(d->dev);
			loop_leave(d->loop);
		}
	}
	if (r < 0) {
		err_wrap(e, "device \"%s\"", d->id);
		release(d);
		return r;
	}
	loop_enter(d->vm->loop);
	list_append(&d->vm->devices, &d->node);
	loop_leave(d->vm->loop);
	return 0;
}

int device_place_memory(struct vm_device *d, uint64_t size, struct err *e)
{
	const struct device_place *again = d->vm->place_again;
	struct vm_device *other;
	gpa_t base, end;
	bool moved;

	board_region(d->vm, &base, &end);
	if (again && (again->gpa < base || again->gpa % MEMORY_LARGE_PAGE))
		return err_set(e, ERR_CONFIG, EINVAL, "its memory cannot be where it was");
	base = again ? again->gpa : base;
	do {
		moved = false;
		list_foreach (other, &d->vm->devices, struct vm_device, node) {
			if (!other->size || base >= other->gpa + other->size || other->gpa >= base + size)
				continue;
			base = (other->gpa + other->size + REGION_ALIGN - 1) & ~(REGION_ALIGN - 1);
			moved = true;
		}
	} while (moved);
	if (again && base != again->gpa)
		return err_set(e, ERR_CONFIG, EINVAL, "its memory cannot be where it was");
	if (base >= end || size > end - base)
		return err_set(e, ERR_LIMIT, ENOSPC, "the guest's address space has no room for %llu MiB more",
			       (unsigned long long)size >> 20);
	d->gpa = base;
	d->size = size;
	return 0;
}

/* ---- going ---- */

static void detach(struct vm_device *d)
{
	struct pci_bus *bus = board_pci(d->vm->board);

	loop_enter(d->vm->loop);
	list_remove(&d->node);
	loop_leave(d->vm->loop);
	if (d->pci && !d->gone) {
		pci_bus_remove(bus, d->slot);
	} else if (d->mmio) {
		loop_enter(d->loop);
		virtio_mmio_free(d->mmio);
		loop_leave(d->loop);
	}
	release(d);
}

void devices_free(struct vmm *vm)
{
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node)
		detach(d);
}

void devices_gone(struct vmm *vm, unsigned slot)
{
	struct vm_device *d;

	pthread_mutex_lock(&vm->lock);
	list_foreach (d, &vm->devices, struct vm_device, node)
		if (d->pci && d->slot == slot)
			d->gone = true;
	pthread_cond_broadcast(&vm->changed);
	pthread_mutex_unlock(&vm->lock);
}

/* True: the guest let go in time. */
static bool wait_gone(struct vm_device *d, int timeout_ms)
{
	struct vmm *vm = d->vm;
	struct timespec until;
	bool gone;
	int r = 0;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += timeout_ms / 1000;
	until.tv_nsec += timeout_ms % 1000 * 1000000L;
	if (until.tv_nsec >= 1000000000L) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000L;
	}
	pthread_mutex_lock(&vm->lock);
	while (!d->gone && vm->state != VMM_ENDED && r != ETIMEDOUT)
		r = pthread_cond_clockwait(&vm->changed, &vm->lock, CLOCK_MONOTONIC, &until);
	gone = d->gone || vm->state == VMM_ENDED;
	pthread_mutex_unlock(&vm->lock);
	return gone;
}

int vmm_remove(struct vmm *vm, const char *id, int timeout_ms, struct err *e)
{
	struct vm_device *d = find(vm, id);
	bool is_new = vmm_state(vm) == VMM_NEW, memory;
	gpa_t gpa;
	int r;

	if (!d)
		return err_set(e, ERR_CONFIG, ENOENT, "there is no device \"%s\"", id);
	memory = d->kind == DEVICE_MEMORY;
	gpa = d->gpa;
	if (memory && !is_new)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "the memory of device \"%s\" stays as long as the machine, once that was started", id);
	if (!is_new) {
		if (!d->pci)
			return err_set(e, ERR_CONFIG, ENOTSUP,
				       "device \"%s\" cannot be taken from this virtual machine while it runs", id);
		/* The guest may have let go after an earlier request, and another device may have the slot by now. */
		r = wait_gone(d, 0) ? 0 : pci_bus_request_removal(board_pci(vm->board), d->slot);
		if (r == -EPERM)
			return err_set(
				e, ERR_CONFIG, ENOTSUP,
				"device \"%s\" cannot be taken from this virtual machine while it runs: it is on "
				"the root bus, where it was put before the start",
				id);
		if (r < 0 && r != -ENOENT) /* -ENOENT: it lets go just now */
			return err_sys(e, -r, "cannot ask the guest to let go of device \"%s\"", id);
		if (!wait_gone(d, timeout_ms))
			return err_set(e, ERR_GUEST, ETIMEDOUT,
				       "the guest did not let go of device \"%s\" within %d ms", id, timeout_ms);
	}
	detach(d);
	if (memory) {
		memory_remove_room(vm, gpa);
		devices_tell_memory(vm);
	}
	return 0;
}

int vmm_pci_path(struct vmm *vm, const char *id, char ret[VMM_PCI_PATH_SIZE])
{
	struct vm_device *d = find(vm, id);
	int port;

	if (!d || !d->pci)
		return -ENOENT;
	port = pci_bus_port(board_pci(vm->board), d->slot);
	snprintf(ret, VMM_PCI_PATH_SIZE, port < 0 ? "%02x" : "%02x/00", port < 0 ? d->slot : (unsigned)port);
	return 0;
}

size_t devices_mmio(const struct vmm *vm, struct acpi_mmio_device *ret, size_t max)
{
	struct vm_device *d;
	size_t n = 0;

	list_foreach (d, &vm->devices, struct vm_device, node) {
		struct acpi_mmio_device *m = &ret[n];

		if (n == max || !d->mmio || !board_mmio_place(d->place, &m->base, &m->gsi))
			continue;
		m->size = VIRTIO_MMIO_SIZE;
		n++;
	}
	return n;
}
