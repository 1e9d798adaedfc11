/* SPDX-License-Identifier: Apache-2.0 */
/* A device that the host program added, whatever it is, and where it sits. Private to the layer. */
#pragma once

#include "vm/device_config.h"
#include "vm/machine.h"

struct pci_function;
struct virtio_device;
struct virtio_mmio;

/* Where a device was when it was saved. */
struct device_place {
	unsigned place; /* window or slot */
	gpa_t gpa;
};

struct vm_device {
	struct list node;
	struct vmm *vm;
	enum vm_device_kind kind;
	char id[VMM_ID_MAX + 1];
	struct device_config config; /* what it was added with, or changed to */
	struct virtio_device *dev;   /* owned by the transport */
	/* Shape micro: number of the window, and the transport. */
	unsigned place;
	struct virtio_mmio *mmio;
	/* Shape cloud. */
	unsigned slot;
	struct pci_function *pci;
	bool gone; /* the guest let go, dev is freed; guarded by the lock */

	struct loop *loop; /* in which dev lives: the VM's, or its own with a thread */
	pthread_t thread;
	bool own_loop;

	/* pmem: what the guest sees at gpa; memory: where it is. */
	gpa_t gpa;
	uint64_t size;
	void *host;
};

/*
 * The ways of a new device: begin (checks id and time), make dev inside d->loop, finish (attach it), or drop. begin:
 * 0 and *ret, or an error. config: the structure that it is added with, kept for snapshots. own_loop: a thread of its
 * own.
 */
int device_begin(struct vmm *vm, const char *id, enum vm_device_kind kind, const void *config, bool own_loop,
		 struct vm_device **ret, struct err *e);
/* dev NULL: it could not be made, r says why. Returns r, or the result of attaching; d is gone on failure. */
int device_finish(struct vm_device *d, struct virtio_device *dev, int r, struct err *e);
/* A place for the device's memory: d->gpa. size is rounded up by the caller. */
int device_place_memory(struct vm_device *d, uint64_t size, struct err *e);

/* The regions of memory are others than before: tell the servers of shared folders. Not inside the loop. */
void devices_tell_memory(struct vmm *vm);

/* By id (NULL: the first of the kind). NULL with a message when there is none. */
struct vm_device *device_find(struct vmm *vm, const char *id, enum vm_device_kind kind, struct err *e);
