/* SPDX-License-Identifier: Apache-2.0 */
/* From configuration to VM: the calls of the library (caisson/vmm.h). */
#pragma once

#include "caisson/vmm.h"
#include "vmm/config.h"

/*
 * Ids of devices in the library. A drive, an interface and a pmem device may have the same id in the API, so the kind
 * goes in front; the '-' cannot be in an id of the API.
 */
#define BUILD_BALLOON_ID "balloon"
#define BUILD_VSOCK_ID   "vsock"
#define BUILD_RNG_ID     "rng"
#define BUILD_MEMORY_ID  "memory"
struct device_id {
	char text[VMM_ID_MAX + 1];
};
struct device_id drive_device_id(const char *id);
struct device_id net_device_id(const char *id);
struct device_id pmem_device_id(const char *id);

struct build_options {
	const char *name;
	bool pci, seccomp, boot_timer, kernel_constant, split_irqchip;
	int serial_in, serial_out;
};

/* A VM with all its devices, not started. The vsock path of the configuration goes over to it. */
int build_vm(struct config *c, const struct build_options *o, struct vmm **ret, struct err *e);

/* One device more; also while the VM runs. */
int build_drive(struct vmm *vm, const struct drive *d, struct err *e);
int build_network_interface(struct vmm *vm, const struct network_interface *n, struct err *e);
int build_pmem(struct vmm *vm, const struct pmem *p, struct err *e);

struct vmm_rate build_rate(const struct limiter *l);
