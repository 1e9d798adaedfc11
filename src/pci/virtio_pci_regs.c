/* SPDX-License-Identifier: Apache-2.0 */
/* The common configuration structure (VirtIO 1.2 §4.1.4.3). */
#include "pci/virtio_pci_state.h"

#define COMMON_DEVICE_FEATURE_SELECT 0x00
#define COMMON_DEVICE_FEATURE        0x04
#define COMMON_DRIVER_FEATURE_SELECT 0x08
#define COMMON_DRIVER_FEATURE        0x0c
#define COMMON_CONFIG_VECTOR         0x10
#define COMMON_NUM_QUEUES            0x12
#define COMMON_STATUS                0x14
#define COMMON_GENERATION            0x15
#define COMMON_QUEUE_SELECT          0x16
#define COMMON_QUEUE_SIZE            0x18
#define COMMON_QUEUE_VECTOR          0x1a
#define COMMON_QUEUE_ENABLE          0x1c
#define COMMON_QUEUE_NOTIFY_OFF      0x1e
#define COMMON_QUEUE_DESC            0x20
#define COMMON_QUEUE_DRIVER          0x28
#define COMMON_QUEUE_DEVICE          0x30

/* §4.1.3.1: fields are accessed in their own width, those of 64 bits as two halves. */
static bool natural(uint64_t offset, uint32_t len)
{
	if (offset < COMMON_CONFIG_VECTOR || offset >= COMMON_QUEUE_DESC)
		return len == 4 && !(offset & 3);
	if (offset == COMMON_STATUS || offset == COMMON_GENERATION)
		return len == 1;
	return len == 2 && !(offset & 1);
}

static uint16_t *queue_vector(struct virtio_pci *p)
{
	return p->driver.queue_sel < p->driver.dev->n_queues ? &p->queue_vector[p->driver.queue_sel] : NULL;
}

static uint32_t ring_address(const struct virtq *q, uint64_t offset)
{
	uint64_t address = 0;

	if (q)
		address = offset < COMMON_QUEUE_DRIVER ? q->desc : offset < COMMON_QUEUE_DEVICE ? q->avail : q->used;
	return (uint32_t)(offset & 4 ? address >> 32 : address);
}

uint64_t virtio_pci_common_read(struct virtio_pci *p, uint64_t offset, uint32_t len)
{
	struct virtio_driver *d = &p->driver;
	const struct virtq *q = virtio_driver_queue(d);

	if (offset >= VIRTIO_PCI_COMMON_SIZE || !natural(offset, len))
		return 0;
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		return d->device_features_sel;
	case COMMON_DEVICE_FEATURE:
		return virtio_driver_offered(d);
	case COMMON_DRIVER_FEATURE_SELECT:
		return d->driver_features_sel;
	case COMMON_DRIVER_FEATURE:
		return virtio_driver_features(d);
	case COMMON_CONFIG_VECTOR:
		return p->config_vector;
	case COMMON_NUM_QUEUES:
		return d->dev->n_queues;
	case COMMON_STATUS:
		return d->status;
	case COMMON_GENERATION:
		return d->generation & 0xff;
	case COMMON_QUEUE_SELECT:
		return d->queue_sel;
	case COMMON_QUEUE_SIZE:
		return q ? q->size : 0; /* 0: there is no such queue */
	case COMMON_QUEUE_VECTOR:
		return q ? *queue_vector(p) : VIRTIO_PCI_NO_VECTOR;
	case COMMON_QUEUE_ENABLE:
		return virtio_driver_queue_enabled(d);
	case COMMON_QUEUE_NOTIFY_OFF:
		return q ? d->queue_sel : 0;
	default:
		return ring_address(q, offset);
	}
}

/* §4.1.4.3.1: a vector that is not there becomes NO_VECTOR, which the driver sees when it reads back. */
static void set_vector(struct virtio_pci *p, uint16_t *vector, uint64_t value)
{
	if (vector)
		*vector = value < p->msix.n ? (uint16_t)value : VIRTIO_PCI_NO_VECTOR;
}

void virtio_pci_forget_vectors(struct virtio_pci *p)
{
	p->isr = 0;
	p->config_vector = VIRTIO_PCI_NO_VECTOR;
	for (unsigned i = 0; i < VIRTIO_QUEUES_MAX; i++)
		p->queue_vector[i] = VIRTIO_PCI_NO_VECTOR;
}

static void set_status(struct virtio_pci *p, uint8_t value)
{
	if (virtio_driver_set_status(&p->driver, value) == VIRTIO_DRIVER_RESET)
		virtio_pci_forget_vectors(p);
	virtio_pci_update_kicks(p);
}

static void set_ring_address(struct virtio_driver *d, uint64_t offset, uint32_t value)
{
	enum virtio_ring_area area = offset < COMMON_QUEUE_DRIVER   ? VIRTIO_RING_DESC
				     : offset < COMMON_QUEUE_DEVICE ? VIRTIO_RING_DRIVER
								    : VIRTIO_RING_DEVICE;

	virtio_driver_set_queue_addr(d, area, offset & 4, value);
}

void virtio_pci_common_write(struct virtio_pci *p, uint64_t offset, uint64_t value, uint32_t len)
{
	struct virtio_driver *d = &p->driver;

	if (offset >= VIRTIO_PCI_COMMON_SIZE || !natural(offset, len))
		return;
	switch (offset) {
	case COMMON_DEVICE_FEATURE_SELECT:
		d->device_features_sel = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE_SELECT:
		d->driver_features_sel = (uint32_t)value;
		break;
	case COMMON_DRIVER_FEATURE:
		virtio_driver_set_features(d, (uint32_t)value);
		break;
	case COMMON_CONFIG_VECTOR:
		set_vector(p, &p->config_vector, value);
		break;
	case COMMON_STATUS:
		set_status(p, (uint8_t)value);
		break;
	case COMMON_QUEUE_SELECT:
		d->queue_sel = (uint32_t)value;
		break;
	case COMMON_QUEUE_SIZE:
		virtio_driver_set_queue_size(d, (uint32_t)value);
		break;
	case COMMON_QUEUE_VECTOR:
		set_vector(p, queue_vector(p), value);
		break;
	case COMMON_QUEUE_ENABLE:
		if (value == 1) /* §4.1.4.3.2: 0 is not written */
			virtio_driver_enable_queue(d);
		break;
	case COMMON_DEVICE_FEATURE:
	case COMMON_NUM_QUEUES:
	case COMMON_GENERATION:
	case COMMON_QUEUE_NOTIFY_OFF:
		break;
	default:
		set_ring_address(d, offset, (uint32_t)value);
	}
}
