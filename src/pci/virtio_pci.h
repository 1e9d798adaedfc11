/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A virtio device as a PCI function (VirtIO 1.2 §4.1, modern only): one 32-bit BAR with all register blocks, MSI-X with
 * a vector for each queue and one for configuration changes, no interrupt pin. A kick goes by eventfd, one address for
 * each queue; should the machine have none to give, the same write arrives at the BAR.
 */
#pragma once

#include "hw/platform.h"
#include "pci/function.h"
#include "virtio/device.h"

#define VIRTIO_PCI_VENDOR      0x1af4
#define VIRTIO_PCI_DEVICE_BASE 0x1040 /* plus the device's type */

/*
 * dev, whose mem is set, is taken over on success; loop is its own, and the function's. The function is freed with
 * pci_function_free(), or by the bus that it is put on.
 */
int virtio_pci_new(struct platform *platform, struct loop *loop, struct virtio_device *dev, struct pci_function **ret,
		   struct err *e);
