/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Pause, resume, save and load of what the driver has told a device. A paused device is quiesced and its queues are
 * stopped, so whatever wakes it from the host's side finds no request and no way to tell the guest.
 */
#include "virtio/driver_state.h"

#include <errno.h>

#include "state/state.h"

static void stop(struct virtio_driver *d)
{
	struct virtio_device *dev = d->dev;

	if (!dev->active)
		return;
	virtio_device_quiesce(dev);
	for (unsigned i = 0; i < dev->n_queues; i++)
		virtq_stop(&dev->queues[i]);
}

static void go_on(struct virtio_driver *d)
{
	struct virtio_device *dev = d->dev;
	bool restored = d->restored, config = d->config_pending || restored;

	d->restored = d->config_pending = false;
	if (!(d->status & VIRTIO_STATUS_DRIVER_OK))
		return;
	if (!dev->broken)
		virtio_driver_go_live(d);
	for (unsigned i = 0; restored && i < dev->n_queues; i++)
		if (d->enabled & 1ULL << i)
			dev->transport->ops->signal_queue(dev->transport, i);
	if (config)
		dev->transport->ops->signal_config(dev->transport);
}

/* One of the two reasons to be stopped has come or gone. */
static void change(struct virtio_driver *d, bool *reason, bool value)
{
	bool was_stopped = d->paused || d->held, is_stopped;

	*reason = value;
	is_stopped = d->paused || d->held;
	if (is_stopped && !was_stopped)
		stop(d);
	else if (!is_stopped && was_stopped)
		go_on(d);
}

void virtio_driver_pause(struct virtio_driver *d)
{
	change(d, &d->paused, true);
}

void virtio_driver_resume(struct virtio_driver *d)
{
	change(d, &d->paused, false);
}

void virtio_driver_hold(struct virtio_driver *d, bool held)
{
	change(d, &d->held, held);
}

static void save_queue(const struct virtq *q, bool enabled, struct state *s)
{
	state_put_u64(s, "enabled", enabled);
	state_put_u64(s, "size", q->size);
	state_put_u64(s, "desc", q->desc);
	state_put_u64(s, "avail", q->avail);
	state_put_u64(s, "used", q->used);
	state_put_u64(s, "next-avail", q->next_avail);
}

void virtio_driver_save(const struct virtio_driver *d, struct state *s)
{
	struct virtio_device *dev = d->dev;

	state_put_u64(s, "type", dev->type);
	state_put_u64(s, "status", d->status);
	state_put_u64(s, "features", d->features);
	state_put_u64(s, "device-features-sel", d->device_features_sel);
	state_put_u64(s, "driver-features-sel", d->driver_features_sel);
	state_put_u64(s, "queue-sel", d->queue_sel);
	state_put_u64(s, "generation", d->generation);
	state_put_u64(s, "queues", dev->n_queues);
	for (unsigned i = 0; i < dev->n_queues; i++)
		save_queue(&dev->queues[i], d->enabled & 1ULL << i, state_child_n(s, "queue", i));
	if (dev->ops->save)
		dev->ops->save(dev, state_child(s, "device"));
}

static int load_queue(struct virtq *q, uint64_t *enabled, const struct state *s, struct err *e)
{
	uint64_t size, next;
	int r = state_get_max(s, "enabled", 1, enabled, e);

	if (r == 0)
		r = state_get_max(s, "size", UINT16_MAX, &size, e);
	if (r == 0)
		r = state_get_u64(s, "desc", &q->desc, e);
	if (r == 0)
		r = state_get_u64(s, "avail", &q->avail, e);
	if (r == 0)
		r = state_get_u64(s, "used", &q->used, e);
	if (r == 0)
		r = state_get_max(s, "next-avail", UINT16_MAX, &next, e);
	if (r < 0)
		return r;
	q->size = (uint16_t)size;
	q->next_avail = (uint16_t)next;
	return 0;
}

static int load_queues(struct virtio_driver *d, const struct state *s, struct err *e)
{
	uint64_t n;
	int r = state_get_u64(s, "queues", &n, e);

	if (r == 0 && n != d->dev->n_queues)
		return err_set(e, ERR_CONFIG, EINVAL, "it had %llu queues when it was saved, and has %u now",
			       (unsigned long long)n, d->dev->n_queues);
	for (unsigned i = 0; r == 0 && i < d->dev->n_queues; i++) {
		const struct state *child = state_get_child_n(s, "queue", i, e);
		uint64_t enabled = 0;

		r = child ? load_queue(&d->dev->queues[i], &enabled, child, e) : -ENOENT;
		d->enabled |= enabled << i;
	}
	return r;
}

static int load_registers(struct virtio_driver *d, const struct state *s, struct err *e)
{
	uint64_t status, device_sel, driver_sel, queue_sel, generation;
	int r = state_get_max(s, "status", UINT8_MAX, &status, e);

	if (r == 0)
		r = state_get_u64(s, "features", &d->features, e);
	if (r == 0)
		r = state_get_max(s, "device-features-sel", UINT32_MAX, &device_sel, e);
	if (r == 0)
		r = state_get_max(s, "driver-features-sel", UINT32_MAX, &driver_sel, e);
	if (r == 0)
		r = state_get_max(s, "queue-sel", UINT32_MAX, &queue_sel, e);
	if (r == 0)
		r = state_get_max(s, "generation", UINT32_MAX, &generation, e);
	if (r < 0)
		return r;
	d->status = (uint8_t)status;
	d->device_features_sel = (uint32_t)device_sel;
	d->driver_features_sel = (uint32_t)driver_sel;
	d->queue_sel = (uint32_t)queue_sel;
	d->generation = (uint32_t)generation;
	return 0;
}

int virtio_driver_load(struct virtio_driver *d, const struct state *s, struct err *e)
{
	struct virtio_device *dev = d->dev;
	uint64_t type;
	int r = state_get_u64(s, "type", &type, e);

	if (r == 0 && type != dev->type)
		return err_set(e, ERR_CONFIG, EINVAL, "a virtio device of type %llu was saved, this one is of type %u",
			       (unsigned long long)type, dev->type);
	if (r == 0)
		r = load_registers(d, s, e);
	if (r == 0)
		r = load_queues(d, s, e);
	if (r < 0)
		return r;
	if (d->status & VIRTIO_STATUS_FEATURES_OK) {
		if (d->features & ~dev->features)
			return err_set(e, ERR_CONFIG, ENOTSUP,
				       "the guest uses features %#llx, which this device does not have",
				       (unsigned long long)(d->features & ~dev->features));
		dev->acked = d->features;
	}
	d->paused = d->restored = true;
	dev->broken = d->status & VIRTIO_STATUS_NEEDS_RESET;
	if (dev->ops->load) {
		const struct state *child = state_get_child(s, "device", e);

		return child ? dev->ops->load(dev, child, e) : -ENOENT;
	}
	return 0;
}
