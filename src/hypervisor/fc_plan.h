/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What Firecracker is told before its guest starts, as data: the drives in the order of /dev/vda, vdb …, the network
 * cards, and from these the requests of its API (firecracker.yaml of its sources) with their bodies.
 *
 * Files have names relative to the folder in which Firecracker runs (fc_folder.h), the same with and without a jail: a
 * snapshot, which keeps them, can be loaded in another folder.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/strv.h"
#include "codec/json.h"
#include "hypervisor/driver.h"

/* virtio-mmio devices have the interrupts 5 to 23. */
#define FC_DRIVES_MAX 16
#define FC_NETS_MAX   8
#define FC_VCPUS_MAX  32
/* Placeholder drives of each kind, for disks that are added while the VM runs. */
#define FC_SLOTS     4
#define FC_GUEST_CID 3
/* Bytes of a CPU template; those that Firecracker has had built in are below 32 KiB. */
#define FC_CPU_TEMPLATE_MAX (256 << 10)

/* Names in the folder. */
#define FC_API      "api"
#define FC_VSOCK    "vsock"
#define FC_KERNEL   "kernel"
#define FC_INITRD   "initrd"
#define FC_EMPTY    "empty" /* behind a placeholder drive */
#define FC_SNAPSHOT "snapshot"

struct fc_drive {
	char id[40];   /* alphanumeric and "_", as Firecracker wants it */
	char name[40]; /* in the folder */
	char *path;    /* on the host; NULL: a placeholder */
	bool readonly;
};

struct fc_net {
	char id[40];
	char *tap;
	char mac[18];
	uint32_t mtu; /* 0: not told */
};

struct fc_plan {
	const struct vm_config *config;
	struct fc_drive drives[FC_DRIVES_MAX];
	size_t n_drives;
	struct fc_net nets[FC_NETS_MAX];
	size_t n_nets;
	struct json_object *cpu_template; /* NULL: none */
	bool no_mtu;                      /* this Firecracker is too old to be told of it */
};

struct fc_request {
	const char *method;
	char *target, *body;
};

struct fc_requests {
	struct fc_request *v;
	size_t n;
};

/* The guest's image is its first drive. Reads the CPU template. */
int fc_plan_init(struct fc_plan *p, const struct vm_config *c, struct err *e);
void fc_plan_fini(struct fc_plan *p);
/* Fills the device's address. */
int fc_plan_device(struct fc_plan *p, struct vm_device *d, struct err *e);
/* Behind the last device: placeholder drives, if disks may be added later. */
int fc_plan_placeholders(struct fc_plan *p, struct err *e);

/* Everything up to and with InstanceStart, in order. */
int fc_plan_requests(const struct fc_plan *p, struct fc_requests *ret, struct err *e);
void fc_requests_fini(struct fc_requests *r);

/* Body of PATCH /drives/ID. NULL: no memory. */
char *fc_patch_drive(const struct fc_plan *p, const char *id, const char *name);

/* An identifier of ours as Firecracker wants one. */
void fc_id(const char *id, char *ret, size_t size);
/* /dev/vdX of the n-th drive. */
void fc_drive_address(size_t n, struct vm_device *d);
