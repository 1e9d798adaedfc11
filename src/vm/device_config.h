/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a device was added with, kept so that a snapshot can tell how to make the same device again. Pure.
 *
 * Everything but descriptors: those mean nothing in another process, so what a device had by a descriptor has to be
 * named when it is restored.
 */
#pragma once

#include "caisson/vmm.h"

struct err;
struct state;

enum vm_device_kind {
	DEVICE_BLOCK,
	DEVICE_NET,
	DEVICE_VSOCK,
	DEVICE_FS,
	DEVICE_RNG,
	DEVICE_BALLOON,
	DEVICE_MEMORY,
	DEVICE_PMEM,
	DEVICE_CONSOLE,
	DEVICE_KINDS,
};

struct device_config {
	enum vm_device_kind kind;
	union {
		struct vmm_block block;
		struct vmm_net net;
		struct vmm_vsock vsock;
		struct vmm_fs fs;
		struct vmm_rate rng;
		struct vmm_balloon balloon;
		struct vmm_memory memory;
		struct vmm_pmem pmem;
		struct vmm_console console;
	};
};

/* config: the kind's structure. With strings of its own. 0 or -ENOMEM, then empty. */
int device_config_copy(struct device_config *ret, enum vm_device_kind kind, const void *config);
/* An empty one may be ended too. */
void device_config_fini(struct device_config *c);
/* Another medium, tap or socket. 0 or -ENOMEM. */
int device_config_set_path(struct device_config *c, const char *path);

/* As in struct vmm_count. */
const char *device_kind_name(enum vm_device_kind kind);

void device_config_save(const struct device_config *c, struct state *s);
/* path: instead of the saved one; NULL: as it was. The same checks as for any new device are the caller's. */
int device_config_load(struct device_config *ret, const struct state *s, const char *path, struct err *e);
