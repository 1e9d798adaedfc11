/* SPDX-License-Identifier: Apache-2.0 */
/*
 * QEMU's command line as a pure function of the configuration, the devices and what the host offers, so that tests
 * compare whole command lines and --dry-run prints the real one. Nothing here opens or starts anything, and it looks at
 * the host for one thing only: whether a disk's path is a block device.
 *
 * A qemu_layout carries what devices share: which PCI slots, SCSI targets and drive letters are taken. It is used for
 * cold-plugging here and goes on to serve hot-plugging (qemu_hotplug.c).
 *
 * PCI: every device has an explicit slot, so that its address is known to the agent: cold-plugged ones on pcie.0 from
 * slot 1 upwards in order of appearance (0 and 31 are the chipset's), hot-plugged ones on the bridges
 * ("pci-bridge-N" at slot 2+N, as Kata places them) in the slots 1 to 30.
 */
#pragma once

#include "config/config.h"
#include "hypervisor/dax_image.h"
#include "hypervisor/driver.h"
#include "hypervisor/options.h"

enum qemu_machine { QEMU_Q35, QEMU_MICROVM, QEMU_VIRT };

/* What the host and this QEMU offer. */
struct qemu_facts {
	char path[256];
	char arch[16]; /* of the guest: "x86_64", "aarch64" */
	unsigned major, minor;
	bool kvm;
	char kvm_why[160]; /* why not */
	uint32_t tsc_khz;  /* of the TSC that an emulated guest sees: the host's; 0: not known */
	bool vhost_net;
	uint64_t host_memory_mib;
	uint64_t image_bytes; /* size of the guest image, when there is one */
	enum dax_image image_dax;
};

/* Descriptors that QEMU inherits; the numbers appear in its command line. */
struct qemu_fds {
	int monitor;        /* connected socket: QMP */
	int console;        /* writing end of a pipe: guest console */
	int vsock;          /* open /dev/vhost-vsock with the CID set; -1: vhost-user */
	uint32_t guest_cid; /* with vsock >= 0 */
};

#define QEMU_BRIDGES_MAX 5

struct qemu_layout {
	enum qemu_machine machine;
	uint32_t root_slots;                     /* bit n: slot n of pcie.0 (or virtio-mmio-bus.n) is taken */
	uint32_t bridge_slots[QEMU_BRIDGES_MAX]; /* the same behind each bridge */
	unsigned n_bridges;
	unsigned n_disks;     /* block nodes made so far; a node's name is never used again */
	unsigned n_blk;       /* virtio-blk devices so far: vda, vdb … (virtio-mmio has no other name) */
	uint32_t scsi_ids[8]; /* 256 targets of the virtio-scsi controller, LUN 0 each */
	unsigned next_iothread;
};

struct qemu_plan {
	const struct vm_config *config;
	const struct qemu_facts *facts;
	struct qemu_layout layout;
	struct strv builtin; /* arguments of the devices that the configuration asks for */
	struct strv devices; /* arguments of cold-plugged devices */
	char *vsock_socket;  /* of our vhost-user-vsock back end */
	int vsock_slot;
};

/* Checks the configuration and places the built-in devices. plan: zeroed. */
int qemu_plan_init(struct qemu_plan *plan, const struct vm_config *c, const struct qemu_facts *f, struct err *e);
void qemu_plan_fini(struct qemu_plan *plan);

/* Append the arguments of a cold-plugged device to plan->devices and fill its address. */
int qemu_plan_device(struct qemu_plan *plan, struct vm_device *device, struct err *e);

/* The whole command line, argv[0] included. */
int qemu_argv(const struct qemu_plan *plan, const struct qemu_fds *fds, struct strv *ret, struct err *e);

/* --- pieces shared by qemu_argv.c, qemu_devices.c and qemu_hotplug.c --- */

int qemu_machine_parse(const struct config_hypervisor *hv, const char *arch, enum qemu_machine *ret, struct err *e);
/* Are disks SCSI, by the configuration? */
bool qemu_block_is_scsi(const struct config_hypervisor *hv, enum qemu_machine machine);
/* The options of a disk's back end and front end, without node-name, id, bus and address. */
struct qemu_block_options {
	const char *driver; /* "file" or "host_device" */
	const char *aio;
	bool direct, no_flush, set_cache;
};
void qemu_block_options(const struct config_hypervisor *hv, const char *path, struct qemu_block_options *ret);
/* Queue pairs of a network device: open queues, or network_queues for a tap by name, else 1. */
size_t qemu_net_queues(const struct config_hypervisor *hv, const struct vm_net *net);
/* The tail of a virtio device's options that enable_iommu_platform asks for, or "". */
const char *qemu_iommu_option(const struct qemu_plan *plan);
int qemu_scsi_take(struct qemu_layout *l);
/*
 * Where a device goes that is there from the start, as an option of its -device. size: QEMU_PLACE_MAX will do. *slot:
 * its slot. -ENOSPC: all are taken.
 */
#define QEMU_PLACE_MAX 40
int qemu_place(struct qemu_layout *l, char *ret, size_t size, int *slot, struct err *e);

/* The guest kernel's command line. */
int qemu_kernel_command_line(const struct qemu_plan *plan, struct buf *ret, struct err *e);
/* Look at the guest image, if there is one: image_bytes and image_dax of facts. */
int qemu_image_facts(const struct vm_config *c, struct qemu_facts *facts, struct err *e);
/* Can memory be added to the running VM? */
bool qemu_wants_memory_hotplug(const struct qemu_plan *plan);
/* Has the VM a virtconsole besides the serial port? */
bool qemu_has_virtconsole(const struct qemu_plan *plan);
/* Does the guest's time go by executed instructions (-icount)? */
bool qemu_counts_instructions(const struct qemu_plan *plan);
/* Is the guest image attached as nvdimm (as opposed to virtio-blk)? */
bool qemu_image_is_pmem(const struct vm_config *c, enum qemu_machine machine);

/* s with each comma doubled, as QEMU's option syntax wants; NULL when memory is short. */
char *qemu_escape(const char *s);
