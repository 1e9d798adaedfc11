/* SPDX-License-Identifier: Apache-2.0 */
/* One QEMU virtual machine: what qemu_driver.c (its life) and qemu_*plug*.c, qemu_resize.c (its changes) share. */
#pragma once

#include "base/list.h"
#include "hypervisor/driver.h"
#include "hypervisor/inherit.h"
#include "hypervisor/qemu_argv.h"
#include "hypervisor/qmp_vmm.h"

/* How long QEMU may take. */
#define QEMU_START_MS    20000 /* exec to QMP greeting; memory preallocation has QEMU_PREALLOC_MS on top */
#define QEMU_PREALLOC_MS 120000
#define QEMU_COMMAND_MS  5000
/* Unplugging needs the guest's cooperation; PCIe's attention button alone waits 5 s. */
#define QEMU_UNPLUG_MS 15000

enum qemu_plugged_kind { QEMU_PLUGGED_DISK, QEMU_PLUGGED_NIC, QEMU_PLUGGED_VCPU, QEMU_PLUGGED_DIMM };

/* Something that was plugged in while the VM runs; QEMU knows it as "dev-ID". */
struct qemu_hotplugged {
	struct list link;
	enum qemu_plugged_kind kind;
	char id[33];
	char node[24];       /* disk: block node; DIMM: memory back end */
	uint64_t mib;        /* DIMM */
	bool gone;           /* DEVICE_DELETED came */
	bool doubtful;       /* QEMU was asked for it and did not answer in time: it may be there */
	const char *refusal; /* why the guest will not let go of it, as it said last; NULL: it did not say so */
	int bridge, slot;    /* -1: not on a bridge */
	int scsi_id;         /* -1: not SCSI */
};

struct qemu_vm {
	struct vm vm;
	struct loop *loop;
	struct qemu_facts facts;
	struct qemu_plan plan;
	struct vsock_service *vsock;
	int vsock_fd; /* vhost-vsock; -1 */
	uint32_t guest_cid;
	struct inherit inherit; /* tap queues */
	struct qmp_vmm vmm;
	struct list hotplugged;
	unsigned next_dimm, next_fd;
	unsigned unplug_ms;   /* how long a guest may take to release something */
	uint64_t plugged_mib; /* beyond the boot memory */
	bool running, paused;
};

struct qemu_vm *qemu_vm_of(struct vm *vm);

/* Run a QMP command; what fails because QEMU died says how it died. args as in qmp_execute(). */
int qemu_command(struct qemu_vm *q, const char *command, struct json_object *args, int fd, struct json_object **ret,
		 struct err *e);

/* qemu_probe.c */
/* ask_version: run the binary, some 50 ms; else major and minor stay 0 (the QMP greeting tells them later). */
int qemu_probe(const struct config_hypervisor *hv, bool ask_version, struct qemu_facts *ret, struct err *e);
/* Is the version in facts recent enough? */
int qemu_check_version(const struct qemu_facts *f, struct err *e);
int qemu_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
void qemu_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret);

/* qemu_plugged.c: the list of what was plugged in */
struct qemu_hotplugged *qemu_plugged_find(struct qemu_vm *q, const char *id);
/* NULL: no memory. */
struct qemu_hotplugged *qemu_plugged_add(struct qemu_vm *q, enum qemu_plugged_kind kind, const char *id);
/* Frees h and its address. */
void qemu_plugged_forget(struct qemu_vm *q, struct qemu_hotplugged *h);
void qemu_plugged_event(struct qemu_vm *q, const char *event, struct json_object *data);
void qemu_plugged_fini(struct qemu_vm *q);
/* Ask the guest for it and wait, unplug_ms at most. 0: it is gone; -EBUSY: it stays, and e says why. */
int qemu_unplug(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e);
/* The arguments of device_add that all devices have. */
struct json_object *qemu_device_args(const char *driver, const char *id);
/* blockdev-del, netdev_del, object-del: a failure is logged, for little could be done about it. 0 or -errno. */
int qemu_delete(struct qemu_vm *q, const char *command, const char *key, const char *name);

/* qemu_hotplug.c: add_device and remove_device of a running VM */
int qemu_hotplug_add(struct qemu_vm *q, struct vm_device *device, struct err *e);
int qemu_hotplug_remove(struct qemu_vm *q, const char *id, struct err *e);

/* qemu_resize.c */
int qemu_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e);
int qemu_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e);
int qemu_resize_block(struct vm *vm, const struct vm_device *disk, struct err *e);
