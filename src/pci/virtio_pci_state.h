/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Inside the virtio-pci transport: virtio_pci.c is the function with its BAR, kicks and interrupts, virtio_pci_regs.c
 * the common configuration structure. Not for other folders.
 */
#pragma once

#include "pci/msix.h"
#include "pci/virtio_pci.h"
#include "virtio/driver_state.h"
#include "virtio/kicks.h"

#define VIRTIO_PCI_NO_VECTOR   0xffff
#define VIRTIO_PCI_COMMON_SIZE 0x38 /* without queue_notify_data and queue_reset, whose features are not offered */

struct virtio_pci {
	struct pci_function function;
	struct virtio_transport transport;
	struct virtio_driver driver;
	struct virtio_kicks kicks;
	struct msix msix;
	struct platform *platform;
	uint8_t isr;
	uint16_t config_vector, queue_vector[VIRTIO_QUEUES_MAX];
	uint64_t bar;           /* where it answers; 0: nowhere */
	uint64_t kick_attached; /* bit n: of queue n */
	unsigned config_access; /* offset of the capability of §4.1.4.9 */
};

/* virtio_pci.c */
/* Attach the kicks of the queues that are in use where the BAR is, detach the others. */
void virtio_pci_update_kicks(struct virtio_pci *p);

/* virtio_pci_regs.c; offset in the structure. Accesses of another width than the field's give 0 and do nothing. */
uint64_t virtio_pci_common_read(struct virtio_pci *p, uint64_t offset, uint32_t len);
void virtio_pci_common_write(struct virtio_pci *p, uint64_t offset, uint64_t value, uint32_t len);
/* What a reset of the device means to the transport. */
void virtio_pci_forget_vectors(struct virtio_pci *p);
