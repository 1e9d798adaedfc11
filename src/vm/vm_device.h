/* SPDX-License-Identifier: Apache-2.0 */
/* A device that the host program added, shared by devices.c and device_state.c. Private to the layer. */
#pragma once

#include "base/list.h"
#include "vm/device_config.h"

struct virtio_device;
struct virtio_mmio;

struct vm_device {
	struct list node; /* vmm.devices */
	char id[VMM_ID_MAX + 1];
	struct device_config config; /* what it was added with, and changed to since */
	unsigned place;              /* shape micro: number of the window */
	struct virtio_device *dev;
	struct virtio_mmio *mmio;
};
