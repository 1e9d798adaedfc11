/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From the names by which the host calls a device (PCI path, SCSI id, /dev name) to the guest's device node, by looking
 * at sysfs. Nothing here waits: -EAGAIN says "not there yet", and whoever asked asks again after the next device event.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "proto/agent.pb-c.h"

struct device_node {
	char path[128]; /* /dev/vda */
	bool block;
	uint32_t major, minor;
};

/*
 * Address of the PCI device at a path of slots from the root bus: "02/01", each "SS" or "SS.F" in hexadecimal, as
 * "0000:01:01.0" in out. sys: "/sys", another folder in tests. 0, -EAGAIN, -EINVAL.
 */
int device_pci_address(const char *sys, const char *pci_path, char out[16]);
/* Name of the block device ("vda") of a PCI function: virtio-blk directly, or NVMe. 0, -EAGAIN. */
int device_pci_block(const char *sys, const char *address, char *out, size_t size);
/* Name of the network interface of the device at a PCI path. */
int device_pci_net(const char *sys, const char *pci_path, char *out, size_t size);
/* Name of the block device of "id:lun" on any SCSI host; asks the hosts to look for it first. */
int device_scsi_block(const char *sys, const char *id_lun, char *out, size_t size);

/*
 * The node for a storage's or device's kind ("blk", "mmioblk", "scsi", "nvdimm", and "vfio-pci-gk" for "blk" without a
 * node) and source. root: "", another folder with sys and dev in tests. 0: the node is there, and a disk's can be
 * opened; -EAGAIN, -EINVAL for a malformed name, -ENOSYS for a kind that we do not know.
 */
int device_resolve(const char *root, const char *kind, const char *source, struct device_node *ret, struct err *e);

/*
 * Give the spec's devices the numbers that they have in this guest, also in the cgroup's rules. nodes[i] belongs to
 * devices[i]. A device without container_path serves a storage and leaves the spec alone.
 */
int device_rewrite_spec(Grpc__Spec *spec, Grpc__Device *const *devices, const struct device_node *nodes, size_t n,
			struct err *e);
