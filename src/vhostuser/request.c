/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What each message does. The front end (a VMM) is trusted with the guest's memory, not with ours: every index, size
 * and descriptor is checked, and a message that fails changes nothing.
 */
#include <errno.h>
#include <string.h>

#include "base/fd.h"
#include "vhostuser/state.h"

#define PROTOCOL_FEATURES                                                                                              \
	(VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK | VHOST_USER_PROTOCOL_F_CONFIG |                   \
	 VHOST_USER_PROTOCOL_F_RESET_DEVICE | VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS |                              \
	 VHOST_USER_PROTOCOL_F_STATUS)

static int reply_u64(struct vhost_user_session *s, uint64_t value)
{
	s->msg.u.u64 = value;
	s->msg.size = sizeof value;
	return 1;
}

static struct vhost_user_ring *ring(struct vhost_user_session *s, uint32_t index)
{
	return index < s->dev->n_queues ? &s->rings[index] : NULL;
}

static int get_features(struct vhost_user_session *s)
{
	return reply_u64(s, s->dev->features | VHOST_USER_F_PROTOCOL_FEATURES);
}

static int set_features(struct vhost_user_session *s)
{
	if (s->msg.u.u64 & ~(s->dev->features | VHOST_USER_F_PROTOCOL_FEATURES))
		return -EINVAL;
	s->features = s->msg.u.u64;
	vhost_user_rings_start(s);
	return 0;
}

static int get_protocol_features(struct vhost_user_session *s)
{
	return reply_u64(s, PROTOCOL_FEATURES);
}

static int set_protocol_features(struct vhost_user_session *s)
{
	if (s->msg.u.u64 & ~PROTOCOL_FEATURES)
		return -EINVAL;
	s->protocol_features = s->msg.u.u64;
	return 0;
}

static int set_owner(struct vhost_user_session *s)
{
	return 0;
}

static int reset_device(struct vhost_user_session *s)
{
	vhost_user_rings_stop(s);
	for (unsigned i = 0; i < s->dev->n_queues; i++) {
		struct vhost_user_ring *r = &s->rings[i];

		r->has_addr = r->enabled = false;
		r->base = r->stopped_at = 0;
	}
	virtio_device_reset(s->dev);
	s->status = 0;
	return 0;
}

/* --- memory --- */

static int region_add(struct guestmem *mem, struct vhost_user_region *regions, unsigned *n,
		      const struct vhost_user_region *new, int fd)
{
	uint64_t end;
	int r;

	if (*n == VHOST_USER_SLOTS_MAX)
		return -ENOSPC;
	if (__builtin_add_overflow(new->user, new->size, &end))
		return -EINVAL;
	r = guestmem_add_fd(mem, new->gpa, new->size, fd, new->offset);
	if (r == 0)
		regions[(*n)++] = *new;
	return r;
}

static int set_mem_table(struct vhost_user_session *s)
{
	struct vhost_user_region regions[VHOST_USER_SLOTS_MAX];
	uint32_t count = s->msg.u.table.n;
	struct guestmem *mem;
	unsigned n = 0;
	int r;

	if (count > VHOST_USER_FDS_MAX || count != s->n_fds ||
	    s->msg.size < 8 + count * sizeof(struct vhost_user_region))
		return -EINVAL;
	r = guestmem_new(&mem);
	for (unsigned i = 0; r == 0 && i < count; i++) {
		struct vhost_user_region region = s->msg.u.table.regions[i];

		r = region_add(mem, regions, &n, &region, s->fds[i]);
	}
	if (r < 0) {
		guestmem_free(mem);
		return r;
	}
	vhost_user_rings_stop(s);
	guestmem_free(s->mem);
	s->mem = s->dev->mem = mem;
	memcpy(s->regions, regions, n * sizeof *regions);
	s->n_regions = n;
	vhost_user_rings_start(s);
	return 0;
}

static int add_mem_reg(struct vhost_user_session *s)
{
	struct vhost_user_region region = s->msg.u.region.region;
	int r;

	if (s->n_fds != 1)
		return -EINVAL;
	/* Nothing that is in use moves: the rings go on. */
	r = region_add(s->mem, s->regions, &s->n_regions, &region, s->fds[0]);
	if (r == 0)
		vhost_user_rings_start(s);
	return r;
}

static int rem_mem_reg(struct vhost_user_session *s)
{
	struct vhost_user_region want = s->msg.u.region.region;

	for (unsigned i = 0; i < s->n_regions; i++) {
		const struct vhost_user_region *r = &s->regions[i];

		if (r->gpa != want.gpa || r->size != want.size || r->user != want.user)
			continue;
		vhost_user_rings_stop(s);
		guestmem_remove(s->mem, r->gpa, r->size);
		s->regions[i] = s->regions[--s->n_regions];
		vhost_user_rings_start(s);
		return 0;
	}
	return -ENOENT;
}

static int get_max_mem_slots(struct vhost_user_session *s)
{
	return reply_u64(s, VHOST_USER_SLOTS_MAX);
}

/* --- rings --- */

static int get_queue_num(struct vhost_user_session *s)
{
	return reply_u64(s, s->dev->n_queues);
}

static int set_vring_num(struct vhost_user_session *s)
{
	struct vhost_user_ring *r = ring(s, s->msg.u.state.index);
	uint32_t num = s->msg.u.state.num;

	if (!r || r->running || !num || (num & (num - 1)) || num > s->dev->queue_max[s->msg.u.state.index])
		return -EINVAL;
	r->num = (uint16_t)num;
	return 0;
}

static int set_vring_addr(struct vhost_user_session *s)
{
	struct vhost_user_ring *r = ring(s, s->msg.u.addr.index);

	/* Flags ask for a dirty log, which is not offered. */
	if (!r || r->running || (s->msg.u.addr.flags & 1))
		return -EINVAL;
	r->desc = s->msg.u.addr.desc;
	r->avail = s->msg.u.addr.avail;
	r->used = s->msg.u.addr.used;
	r->has_addr = true;
	vhost_user_rings_start(s);
	return 0;
}

static int set_vring_base(struct vhost_user_session *s)
{
	struct vhost_user_ring *r = ring(s, s->msg.u.state.index);

	if (!r || r->running || s->msg.u.state.num > UINT16_MAX)
		return -EINVAL;
	r->base = (uint16_t)s->msg.u.state.num;
	return 0;
}

static int get_vring_base(struct vhost_user_session *s)
{
	struct vhost_user_ring *r = ring(s, s->msg.u.state.index);

	if (!r)
		return -EINVAL;
	vhost_user_ring_stop(r);
	r->stopped_at = r->base;
	loop_source_free(take_ptr(r->kick));
	fd_close(&r->kick_fd);
	r->has_kick = r->has_addr = false;
	s->msg.u.state.num = r->base;
	s->msg.size = sizeof s->msg.u.state;
	return 1;
}

static int set_vring_enable(struct vhost_user_session *s)
{
	struct vhost_user_ring *r = ring(s, s->msg.u.state.index);

	if (!r || s->msg.u.state.num > 1)
		return -EINVAL;
	r->enabled = s->msg.u.state.num;
	if (!r->enabled)
		vhost_user_ring_stop(r);
	else
		vhost_user_rings_start(s);
	return 0;
}

/* The ring and the descriptor of SET_VRING_KICK, CALL and ERR. */
static int ring_fd(struct vhost_user_session *s, struct vhost_user_ring **ret_ring, int *ret_fd)
{
	bool none = s->msg.u.u64 & VHOST_USER_VRING_NOFD;

	*ret_ring = ring(s, s->msg.u.u64 & VHOST_USER_VRING_MASK);
	if (!*ret_ring || s->n_fds != (none ? 0 : 1))
		return -EINVAL;
	*ret_fd = none ? -1 : take_fd(&s->fds[0]);
	return 0;
}

static int set_vring_kick(struct vhost_user_session *s)
{
	struct vhost_user_ring *r;
	int fd, error = ring_fd(s, &r, &fd);

	if (error == 0)
		error = vhost_user_ring_set_kick(r, fd);
	if (error == 0)
		vhost_user_rings_start(s);
	return error;
}

static int replace_fd(struct vhost_user_session *s, size_t offset)
{
	struct vhost_user_ring *r;
	int fd, error = ring_fd(s, &r, &fd), *at;

	if (error < 0)
		return error;
	at = (int *)(void *)((char *)r + offset);
	fd_close(at);
	/* A full pipe instead of an eventfd may not hold up the device thread. */
	if (fd >= 0)
		fd_set_nonblock(fd, true);
	*at = fd;
	return 0;
}

static int set_vring_call(struct vhost_user_session *s)
{
	return replace_fd(s, offsetof(struct vhost_user_ring, call_fd));
}

static int set_vring_err(struct vhost_user_session *s)
{
	return replace_fd(s, offsetof(struct vhost_user_ring, err_fd));
}

/* --- configuration and status --- */

static bool config_range(const struct vhost_user_session *s)
{
	uint32_t size = s->msg.u.config.size;

	return s->msg.size >= 12 && size <= VHOST_USER_CONFIG_MAX && s->msg.size == 12 + size &&
	       s->msg.u.config.offset <= UINT32_MAX - size;
}

static int get_config(struct vhost_user_session *s)
{
	if (!config_range(s))
		return -EINVAL;
	s->dev->ops->config_read(s->dev, s->msg.u.config.offset, s->msg.u.config.data, s->msg.u.config.size);
	return 1;
}

static int set_config(struct vhost_user_session *s)
{
	if (!config_range(s))
		return -EINVAL;
	if (s->dev->ops->config_write)
		s->dev->ops->config_write(s->dev, s->msg.u.config.offset, s->msg.u.config.data, s->msg.u.config.size);
	return 0;
}

static int set_status(struct vhost_user_session *s)
{
	if (s->msg.u.u64 > UINT8_MAX)
		return -EINVAL;
	if (!s->msg.u.u64)
		return reset_device(s);
	s->status = (uint8_t)s->msg.u.u64 | (s->status & VIRTIO_STATUS_NEEDS_RESET);
	return 0;
}

static int get_status(struct vhost_user_session *s)
{
	return reply_u64(s, s->status);
}

/* size: of the payload; ANY: the handler checks. */
#define ANY 0xffff

static const struct {
	int (*handle)(struct vhost_user_session *s);
	uint16_t size;
} requests[VHOST_USER_REQUESTS] = {
	[VHOST_USER_GET_FEATURES] = { get_features, 0 },
	[VHOST_USER_SET_FEATURES] = { set_features, 8 },
	[VHOST_USER_SET_OWNER] = { set_owner, 0 },
	[VHOST_USER_RESET_OWNER] = { reset_device, 0 },
	[VHOST_USER_SET_MEM_TABLE] = { set_mem_table, ANY },
	[VHOST_USER_SET_VRING_NUM] = { set_vring_num, 8 },
	[VHOST_USER_SET_VRING_ADDR] = { set_vring_addr, 40 },
	[VHOST_USER_SET_VRING_BASE] = { set_vring_base, 8 },
	[VHOST_USER_GET_VRING_BASE] = { get_vring_base, 8 },
	[VHOST_USER_SET_VRING_KICK] = { set_vring_kick, 8 },
	[VHOST_USER_SET_VRING_CALL] = { set_vring_call, 8 },
	[VHOST_USER_SET_VRING_ERR] = { set_vring_err, 8 },
	[VHOST_USER_GET_PROTOCOL_FEATURES] = { get_protocol_features, 0 },
	[VHOST_USER_SET_PROTOCOL_FEATURES] = { set_protocol_features, 8 },
	[VHOST_USER_GET_QUEUE_NUM] = { get_queue_num, 0 },
	[VHOST_USER_SET_VRING_ENABLE] = { set_vring_enable, 8 },
	[VHOST_USER_GET_CONFIG] = { get_config, ANY },
	[VHOST_USER_SET_CONFIG] = { set_config, ANY },
	[VHOST_USER_RESET_DEVICE] = { reset_device, 0 },
	[VHOST_USER_GET_MAX_MEM_SLOTS] = { get_max_mem_slots, 0 },
	[VHOST_USER_ADD_MEM_REG] = { add_mem_reg, 40 },
	[VHOST_USER_REM_MEM_REG] = { rem_mem_reg, 40 },
	[VHOST_USER_SET_STATUS] = { set_status, 8 },
	[VHOST_USER_GET_STATUS] = { get_status, 0 },
};

int vhost_user_request(struct vhost_user_session *s)
{
	uint32_t request = s->msg.request;

	if (request >= VHOST_USER_REQUESTS || !requests[request].handle)
		return -ENOSYS;
	if (requests[request].size != ANY && requests[request].size != s->msg.size)
		return -EBADMSG;
	return requests[request].handle(s);
}
