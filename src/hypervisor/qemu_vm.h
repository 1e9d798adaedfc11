/* SPDX-License-Identifier: Apache-2.0 */
/* One QEMU virtual machine: the state that qemu_driver.c (life) and qemu_hotplug.c (changes while it runs) share. */
#pragma once

#include "base/list.h"
#include "codec/qmp.h"
#include "hypervisor/driver.h"
#include "hypervisor/process.h"
#include "hypervisor/qemu_argv.h"

/* How long QEMU may take. */
#define QEMU_START_MS    20000 /* exec to QMP greeting; memory preallocation has QEMU_PREALLOC_MS on top */
#define QEMU_PREALLOC_MS 120000
#define QEMU_COMMAND_MS  5000
/* Unplugging needs the guest's cooperation; PCIe's attention button alone waits 5 s. */
#define QEMU_UNPLUG_MS 15000

/* A device that was plugged in while the VM runs. */
struct qemu_hotplugged {
	struct list link;
	enum vm_device_kind kind;
	char id[33];
	char node[24];    /* block node, or "" */
	bool gone;        /* DEVICE_DELETED came */
	int bridge, slot; /* -1: not on a bridge */
	int scsi_id;      /* -1: not SCSI */
};

struct qemu_vm {
	struct vm vm;
	struct loop *loop;
	struct qemu_facts facts;
	struct qemu_plan plan;
	struct vsock_service *vsock;
	int vsock_fd; /* vhost-vsock; -1 */
	uint32_t guest_cid;
	int *fds; /* tap queues to inherit */
	size_t n_fds;
	struct process *process;
	struct qmp *qmp;
	struct loop_source *qmp_source;
	struct list hotplugged;
	unsigned next_dimm, next_fd;
	uint64_t plugged_mib; /* beyond the boot memory, pc-dimm */
	bool running, paused;
	bool panicked;
	char shutdown_reason[32]; /* of the SHUTDOWN event: "guest-reset", "host-qmp-quit" … */
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
int qemu_check_kernel(const char *path, const char *arch, struct err *e);
int qemu_check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e);
void qemu_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret);

/* qemu_hotplug.c: add_device and remove_device of a running VM, resize_* */
int qemu_hotplug_add(struct qemu_vm *q, struct vm_device *device, struct err *e);
int qemu_hotplug_remove(struct qemu_vm *q, const char *id, struct err *e);
int qemu_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e);
int qemu_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e);
void qemu_hotplug_event(struct qemu_vm *q, const char *device_id);
void qemu_hotplug_fini(struct qemu_vm *q);
