/* SPDX-License-Identifier: Apache-2.0 */
/* What all devices share: start, kick, break, reset. */
#include "virtio/device.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"

int virtio_device_start_queue(struct virtio_device *dev, unsigned i)
{
	struct virtq *q = &dev->queues[i];

	q->mem = dev->mem;
	q->event_idx = dev->acked & VIRTIO_F_EVENT_IDX;
	q->indirect = dev->acked & VIRTIO_F_INDIRECT_DESC;
	return virtq_start(q, dev->queue_max[i]);
}

int virtio_device_activate(struct virtio_device *dev)
{
	int r;

	if (dev->active)
		return 0;
	dev->broken = false;
	dev->active = true;
	r = dev->ops->activate ? dev->ops->activate(dev) : 0;
	if (r < 0)
		virtio_device_break(dev, "the device could not be activated");
	return r;
}

void virtio_device_kick(struct virtio_device *dev, unsigned queue)
{
	if (dev->active && !dev->broken && queue < dev->n_queues)
		dev->ops->queue_kick(dev, queue);
}

void virtio_device_quiesce(struct virtio_device *dev)
{
	if (dev->ops->quiesce)
		dev->ops->quiesce(dev);
}

void virtio_device_reset(struct virtio_device *dev)
{
	if (dev->ops->reset)
		dev->ops->reset(dev);
	dev->active = dev->broken = false;
	dev->acked = 0;
	memset(dev->queues, 0, dev->n_queues * sizeof *dev->queues);
}

void virtio_device_free(struct virtio_device *dev)
{
	if (dev)
		dev->ops->free(dev);
}

void virtio_device_signal(struct virtio_device *dev, unsigned queue)
{
	if (virtq_publish(&dev->queues[queue]))
		dev->transport->ops->signal_queue(dev->transport, queue);
	if (dev->queues[queue].broken)
		virtio_device_break(dev, dev->queues[queue].why);
}

void virtio_device_break(struct virtio_device *dev, const char *why)
{
	if (dev->broken)
		return;
	dev->broken = true;
	log_warn_few(&dev->breaks, "virtio device type %u stops until it is reset: %s", dev->type, why);
	/* What serves it may go before the device is attached; its activation finds that out. */
	if (dev->transport)
		dev->transport->ops->needs_reset(dev->transport, why);
}

void virtio_config_copy(const void *config, uint32_t size, uint32_t offset, void *data, uint32_t len)
{
	uint32_t n = 0;

	if (offset < size)
		n = len < size - offset ? len : size - offset;
	memcpy(data, (const char *)config + (n ? offset : 0), n);
	memset((char *)data + n, 0, len - n);
}
