/* SPDX-License-Identifier: Apache-2.0 */
/* The status machine and the negotiation; driver_snapshot.c has pause, resume, save and load. */
#include "virtio/driver_state.h"

#include <string.h>

#include "base/log.h"

/* The bits that the driver sets, in their order (§3.1.1). */
static const uint8_t status_order[] = {
	VIRTIO_STATUS_ACKNOWLEDGE,
	VIRTIO_STATUS_DRIVER,
	VIRTIO_STATUS_FEATURES_OK,
	VIRTIO_STATUS_DRIVER_OK,
};

static void default_sizes(struct virtio_driver *d)
{
	for (unsigned i = 0; i < d->dev->n_queues; i++)
		d->dev->queues[i].size = d->dev->queue_max[i];
}

void virtio_driver_init(struct virtio_driver *d, struct virtio_device *dev)
{
	*d = (struct virtio_driver){ .dev = dev };
	default_sizes(d);
}

static void reset(struct virtio_driver *d)
{
	virtio_device_reset(d->dev);
	*d = (struct virtio_driver){ .dev = d->dev, .generation = d->generation, .paused = d->paused, .held = d->held };
	default_sizes(d);
}

/* §2.2.2: a subset of what is offered, and no legacy interface. */
static bool features_fit(const struct virtio_driver *d)
{
	return !(d->features & ~d->dev->features) && (d->features & VIRTIO_F_VERSION_1);
}

void virtio_driver_go_live(struct virtio_driver *d)
{
	struct virtio_device *dev = d->dev;

	for (unsigned i = 0; i < dev->n_queues; i++) {
		if (!(d->enabled & 1ULL << i))
			continue;
		if (virtio_device_start_queue(dev, i) < 0) {
			virtio_device_break(dev, "a queue of bad size, alignment or address");
			return;
		}
	}
	if (virtio_device_activate(dev) < 0)
		return;
	/* There may be buffers that nobody will kick for: from before a pause, or by a driver that was early. */
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (d->enabled & 1ULL << i)
			virtio_device_kick(dev, i);
}

/* Accept one bit. False: it stays clear, and so do those that build on it. */
static bool accept(struct virtio_driver *d, uint8_t bit)
{
	if (bit == VIRTIO_STATUS_FEATURES_OK) {
		if (!features_fit(d)) {
			log_debug("virtio device type %u: features %#llx are not what it can do", d->dev->type,
				  (unsigned long long)d->features);
			return false;
		}
		d->dev->acked = d->features;
	}
	d->status |= bit;
	return true;
}

enum virtio_driver_step virtio_driver_set_status(struct virtio_driver *d, uint8_t value)
{
	uint8_t known = VIRTIO_STATUS_FAILED, own = d->status & ~VIRTIO_STATUS_NEEDS_RESET, added;

	if (!value) {
		reset(d);
		return VIRTIO_DRIVER_RESET;
	}
	for (size_t i = 0; i < sizeof status_order; i++)
		known |= status_order[i];
	/* NEEDS_RESET is ours; drivers write back what they read. */
	value &= known;
	added = value & ~own;
	/* §2.1.1: a driver clears no bit, and after FAILED it does nothing but reset. */
	if ((own & ~value) || (own & VIRTIO_STATUS_FAILED))
		return VIRTIO_DRIVER_GOES_ON;
	d->status |= added & VIRTIO_STATUS_FAILED;
	for (size_t i = 0; i < sizeof status_order && !(d->status & VIRTIO_STATUS_FAILED); i++) {
		if (d->status & status_order[i])
			continue;
		if (!(added & status_order[i]) || !accept(d, status_order[i]))
			break;
	}
	if (!(d->status & ~own & VIRTIO_STATUS_DRIVER_OK))
		return VIRTIO_DRIVER_GOES_ON;
	if (!d->held) /* else when it is let go */
		virtio_driver_go_live(d);
	return VIRTIO_DRIVER_LIVE;
}

/* Which part of the initialisation is it (§3.1.1)? */
static bool negotiating(const struct virtio_driver *d)
{
	return (d->status & VIRTIO_STATUS_DRIVER) && !(d->status & (VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_FAILED));
}

static bool setting_up(const struct virtio_driver *d)
{
	return (d->status & VIRTIO_STATUS_FEATURES_OK) &&
	       !(d->status & (VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_FAILED));
}

/* Selector 0: bits 0 to 31; 1: bits 32 to 63; others: nothing is there. */
static uint32_t half(uint64_t value, uint32_t sel)
{
	return sel < 2 ? (uint32_t)(value >> 32 * sel) : 0;
}

static void set_half(uint64_t *field, bool high, uint32_t value)
{
	unsigned shift = high ? 32 : 0;

	*field = (*field & ~(0xffffffffULL << shift)) | (uint64_t)value << shift;
}

uint32_t virtio_driver_offered(const struct virtio_driver *d)
{
	return half(d->dev->features, d->device_features_sel);
}

uint32_t virtio_driver_features(const struct virtio_driver *d)
{
	return half(d->features, d->driver_features_sel);
}

void virtio_driver_set_features(struct virtio_driver *d, uint32_t value)
{
	if (negotiating(d) && d->driver_features_sel < 2)
		set_half(&d->features, d->driver_features_sel, value);
}

const struct virtq *virtio_driver_queue(const struct virtio_driver *d)
{
	return d->queue_sel < d->dev->n_queues ? &d->dev->queues[d->queue_sel] : NULL;
}

uint16_t virtio_driver_queue_max(const struct virtio_driver *d)
{
	return d->queue_sel < d->dev->n_queues ? d->dev->queue_max[d->queue_sel] : 0;
}

bool virtio_driver_queue_enabled(const struct virtio_driver *d)
{
	return d->queue_sel < d->dev->n_queues && (d->enabled & 1ULL << d->queue_sel);
}

/* The selected queue if its place may be set now. */
static struct virtq *open_queue(struct virtio_driver *d)
{
	if (!setting_up(d) || d->queue_sel >= d->dev->n_queues || virtio_driver_queue_enabled(d))
		return NULL;
	return &d->dev->queues[d->queue_sel];
}

void virtio_driver_set_queue_size(struct virtio_driver *d, uint32_t size)
{
	struct virtq *q = open_queue(d);

	/* Bad sizes are kept, for the driver to read back, and found when the queue is started. */
	if (q)
		q->size = size <= UINT16_MAX ? (uint16_t)size : 0;
}

void virtio_driver_set_queue_addr(struct virtio_driver *d, enum virtio_ring_area area, bool high, uint32_t value)
{
	struct virtq *q = open_queue(d);

	if (q)
		set_half(area == VIRTIO_RING_DESC     ? &q->desc
			 : area == VIRTIO_RING_DRIVER ? &q->avail
						      : &q->used,
			 high, value);
}

void virtio_driver_enable_queue(struct virtio_driver *d)
{
	if (open_queue(d))
		d->enabled |= 1ULL << d->queue_sel;
}

void virtio_driver_disable_queue(struct virtio_driver *d)
{
	if (!virtio_driver_queue_enabled(d))
		return;
	d->enabled &= ~(1ULL << d->queue_sel);
	if (d->dev->queues[d->queue_sel].ready) {
		virtio_device_quiesce(d->dev);
		virtq_stop(&d->dev->queues[d->queue_sel]);
	}
}

void virtio_driver_config_read(struct virtio_driver *d, uint32_t offset, void *data, uint32_t len)
{
	d->dev->ops->config_read(d->dev, offset, data, len);
}

void virtio_driver_config_write(struct virtio_driver *d, uint32_t offset, const void *data, uint32_t len)
{
	/* §3.1.1 step 4: not before the features are settled. */
	if ((d->status & VIRTIO_STATUS_FEATURES_OK) && !d->dev->broken && d->dev->ops->config_write)
		d->dev->ops->config_write(d->dev, offset, data, len);
}

/* May the driver be told now? */
static bool tell(struct virtio_driver *d)
{
	bool stopped = d->paused || d->held;

	if (stopped)
		d->config_pending = true;
	return (d->status & VIRTIO_STATUS_DRIVER_OK) && !stopped;
}

bool virtio_driver_config_changed(struct virtio_driver *d)
{
	d->generation++;
	return tell(d);
}

bool virtio_driver_needs_reset(struct virtio_driver *d)
{
	d->status |= VIRTIO_STATUS_NEEDS_RESET;
	return tell(d);
}
