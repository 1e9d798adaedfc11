/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bodies of Cloud Hypervisor's requests (VmConfig, DiskConfig, NetConfig … of its vmm/src/vm_config.rs) as a pure
 * function of the configuration and the devices, so that tests compare whole requests and --dry-run prints the real
 * ones. Nothing here opens or starts anything; of the host it looks at the size and the kind of the guest image only.
 *
 * PCI: one segment, one bus, no bridges; slot 0 is the host bridge. Cloud Hypervisor gives slots out in a fixed order,
 * disks first, as they come in vm.create. So a disk's slot is known beforehand; versions that can be told (v52) are
 * told, and what became of it is checked when the VM runs (clh_driver.c).
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"
#include "codec/json.h"
#include "hypervisor/dax_image.h"
#include "hypervisor/driver.h"

#define CLH_GUEST_CID 3
#define CLH_SLOTS     32
/* Memory is plugged in pieces of this size (ACPI), and the room for it begins and ends at multiples of it. */
#define CLH_MEMORY_STEP_MIB 128

/* A network card on open tap queues: they travel with vm.add-net, vm.create takes none. */
struct clh_fd_net {
	char *body;
	int *fds; /* owned */
	size_t n_fds;
};

struct clh_plan {
	const struct vm_config *config;
	char *api_socket, *vsock_socket;
	char *console_dir, *console; /* a FIFO in a folder of its own: see clh_driver.c */
	bool image_pmem, image_dax;
	uint64_t image_bytes;
	unsigned n_disks;
	/* Arrays of what vm.create names, as the devices come. */
	struct json_object *disks, *nets, *shares, *passed_through;
	struct clh_fd_net *fd_nets;
	size_t n_fd_nets;
};

/* Checks the configuration and names the files in run_dir. plan: zeroed; clh_plan_fini() also after a failure. */
int clh_plan_init(struct clh_plan *plan, const struct vm_config *c, struct err *e);
void clh_plan_fini(struct clh_plan *plan);

/* Take in a device that is there from the start, and fill its address. Descriptors are duplicated. */
int clh_plan_device(struct clh_plan *plan, struct vm_device *device, struct err *e);

/* Cloud Hypervisor's command line; api, events: descriptors that it inherits. */
int clh_argv(const struct clh_plan *plan, const char *path, int api, int events, struct strv *ret, struct err *e);
/* The body of vm.create; freed by the caller. */
int clh_create_body(const struct clh_plan *plan, char **ret, struct err *e);

/* MiB for which there is room beyond the boot memory; 0: memory cannot be plugged. */
uint64_t clh_hotplug_mib(const struct vm_config *c);
uint32_t clh_max_vcpus(const struct vm_config *c);
/* By virtio-mem, else as memory modules by ACPI. */
bool clh_uses_virtio_mem(const struct vm_config *c);

/* --- clh_devices.c --- */

/* The id that Cloud Hypervisor knows a device by: "dev-ID". */
void clh_device_id(const char *id, char *ret, size_t size);
int clh_check_device(const struct clh_plan *plan, const struct vm_device *d, struct err *e);
/* DiskConfig, NetConfig, FsConfig, DeviceConfig. slot: 0: Cloud Hypervisor's choice; iommu: behind the guest's IOMMU.
 */
struct json_object *clh_disk(const struct vm_config *c, const struct vm_device *d, unsigned slot, bool iommu);
struct json_object *clh_net(const struct vm_config *c, const struct vm_device *d, bool iommu);
struct json_object *clh_fs(const struct vm_config *c, const struct vm_device *d);
struct json_object *clh_vfio(const struct vm_config *c, const struct vm_device *d, bool iommu);
/* The guest image as a disk or as persistent memory. */
struct json_object *clh_image(const struct clh_plan *plan, unsigned slot);
/* How many of a network card's open queues are used. */
size_t clh_net_fds(const struct vm_config *c, const struct vm_net *net);
/* "0000:00:05.0" → address_kind and address of d; NONE when it is not on the root bus of segment 0. */
void clh_give_address(struct vm_device *d, const char *bdf);
