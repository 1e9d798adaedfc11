/* SPDX-License-Identifier: Apache-2.0 */
/* What can be changed on a device that is there, and asked of it. */
#include <errno.h>
#include <string.h>

#include "block/block.h"
#include "net/net.h"
#include "virtio/balloon.h"
#include "virtio/mem.h"
#include "virtio/pmem.h"
#include "vm/devices.h"
#include "vm/rates.h"

/* The device, with its loop entered; the caller leaves it. NULL: there is none (any more). */
static struct vm_device *enter(struct vmm *vm, const char *id, enum vm_device_kind kind, struct err *e)
{
	struct vm_device *d = device_find(vm, id, kind, e);
	bool gone;

	if (!d)
		return NULL;
	loop_enter(d->loop);
	pthread_mutex_lock(&vm->lock);
	gone = d->gone;
	pthread_mutex_unlock(&vm->lock);
	if (!gone)
		return d;
	loop_leave(d->loop);
	err_set(e, ERR_GUEST, ENOENT, "the guest let go of device \"%s\"", d->id);
	return NULL;
}

int vmm_update_block(struct vmm *vm, const char *id, const char *path, const struct vmm_rate *rate, struct err *e)
{
	struct vm_device *d = enter(vm, id, DEVICE_BLOCK, e);
	struct rate_config limits = rate_of(rate);
	int r = 0;

	if (!d)
		return -ENOENT;
	if (path)
		r = block_set_path(d->dev, path, e);
	if (r == 0 && path && device_config_set_path(&d->config, path) < 0)
		r = err_sys(e, ENOMEM, "cannot change device \"%s\"", d->id);
	if (r == 0 && rate)
		block_set_rate(d->dev, &limits);
	loop_leave(d->loop);
	return r;
}

int vmm_update_net(struct vmm *vm, const char *id, const struct vmm_rate *rx, const struct vmm_rate *tx, struct err *e)
{
	struct vm_device *d = enter(vm, id, DEVICE_NET, e);
	struct rate_config in = rate_of(rx), out = rate_of(tx);

	if (!d)
		return -ENOENT;
	net_set_rates(d->dev, rx ? &in : NULL, tx ? &out : NULL);
	loop_leave(d->loop);
	return 0;
}

int vmm_update_pmem(struct vmm *vm, const char *id, const struct vmm_rate *rate, struct err *e)
{
	struct vm_device *d = enter(vm, id, DEVICE_PMEM, e);
	struct rate_config limits = rate_of(rate);

	if (!d)
		return -ENOENT;
	if (rate)
		virtio_pmem_set_rate(d->dev, &limits);
	loop_leave(d->loop);
	return 0;
}

int vmm_set_balloon(struct vmm *vm, uint64_t bytes, struct err *e)
{
	struct vm_device *d = enter(vm, NULL, DEVICE_BALLOON, e);
	int r;

	if (!d)
		return -ENOENT;
	r = virtio_balloon_set_target(d->dev, bytes);
	loop_leave(d->loop);
	return r < 0 ? err_set(e, ERR_CONFIG, -r, "a balloon of %llu bytes is not possible", (unsigned long long)bytes)
		     : 0;
}

int vmm_set_balloon_interval(struct vmm *vm, uint32_t seconds, struct err *e)
{
	struct vm_device *d = enter(vm, NULL, DEVICE_BALLOON, e);

	if (!d)
		return -ENOENT;
	virtio_balloon_set_interval(d->dev, seconds);
	loop_leave(d->loop);
	return 0;
}

int vmm_balloon_stats(struct vmm *vm, struct vmm_balloon_stats *ret, struct err *e)
{
	struct vm_device *d = enter(vm, NULL, DEVICE_BALLOON, e);
	struct virtio_balloon_stats stats;

	if (!d)
		return -ENOENT;
	virtio_balloon_get_stats(d->dev, &stats);
	loop_leave(d->loop);
	_Static_assert(sizeof stats.value <= sizeof ret->value, "room for the statistics");
	*ret = (struct vmm_balloon_stats){ .target = stats.target, .actual = stats.actual, .valid = stats.valid };
	memcpy(ret->value, stats.value, sizeof stats.value);
	return 0;
}

int vmm_set_memory(struct vmm *vm, uint64_t requested, struct err *e)
{
	struct vm_device *d = enter(vm, NULL, DEVICE_MEMORY, e);
	int r;

	if (!d)
		return -ENOENT;
	r = virtio_mem_set_requested(d->dev, requested, e);
	loop_leave(d->loop);
	return r;
}

int vmm_memory_status(struct vmm *vm, struct vmm_memory_status *ret, struct err *e)
{
	struct vm_device *d = enter(vm, NULL, DEVICE_MEMORY, e);
	struct virtio_mem_status s;

	if (!d)
		return -ENOENT;
	virtio_mem_get_status(d->dev, &s);
	loop_leave(d->loop);
	*ret = (struct vmm_memory_status){ s.size, s.block, s.requested, s.plugged };
	return 0;
}
