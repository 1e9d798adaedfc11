/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rings of a session. One runs when it has addresses, a kick and, if protocol features were negotiated, was
 * enabled; the device is activated by the first that runs.
 *
 * A front end stops the rings for a pause and for a guest reset alike, and without SET_STATUS or RESET_DEVICE (QEMU 7.2
 * has neither for this device) nothing tells them apart but this: after a pause the rings go on where they stopped,
 * after a reset all begin at 0.
 */
#include <errno.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "vhostuser/state.h"

static void poke(int fd)
{
	uint64_t one = 1;

	/* A full counter has woken the front end already. */
	if (fd >= 0 && write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
		log_debug("vhost-user: cannot signal the front end: errno %d", errno);
}

static struct vhost_user_session *session(struct virtio_transport *t)
{
	return container_of(t, struct vhost_user_session, transport);
}

static void signal_queue(struct virtio_transport *t, unsigned queue)
{
	poke(session(t)->rings[queue].call_fd);
}

static void signal_config(struct virtio_transport *t)
{
	/* Would need the back end's own request channel; no device of ours changes its configuration yet. */
	log_debug("vhost-user: configuration change not told to the front end");
}

static void needs_reset(struct virtio_transport *t, const char *why)
{
	struct vhost_user_session *s = session(t);

	s->status |= VIRTIO_STATUS_NEEDS_RESET;
	for (unsigned i = 0; i < s->dev->n_queues; i++)
		poke(s->rings[i].err_fd);
}

const struct virtio_transport_ops vhost_user_transport_ops = {
	.signal_queue = signal_queue,
	.signal_config = signal_config,
	.needs_reset = needs_reset,
};

static unsigned ring_index(const struct vhost_user_ring *r)
{
	return (unsigned)(r - r->session->rings);
}

static struct virtq *ring_queue(const struct vhost_user_ring *r)
{
	return &r->session->dev->queues[ring_index(r)];
}

static void on_kick(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vhost_user_ring *r = userdata;
	uint64_t n;
	ssize_t got = read(fd, &n, sizeof n);

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
		/* Not an eventfd, or its end: it would be readable for ever. */
		loop_source_free(take_ptr(r->kick));
		return;
	}
	if (r->running)
		virtio_device_kick(r->session->dev, ring_index(r));
}

int vhost_user_ring_set_kick(struct vhost_user_ring *r, int fd)
{
	int error = 0;

	loop_source_free(take_ptr(r->kick));
	fd_close(&r->kick_fd);
	r->kick_fd = fd;
	r->has_kick = true;
	if (fd >= 0)
		error = fd_set_nonblock(fd, true);
	if (fd >= 0 && error == 0)
		error = loop_add_io(r->session->loop, fd, EPOLLIN, on_kick, r, &r->kick);
	if (error < 0) {
		fd_close(&r->kick_fd);
		r->has_kick = false;
	}
	return error;
}

static bool translate(const struct vhost_user_session *s, uint64_t user, gpa_t *ret)
{
	for (unsigned i = 0; i < s->n_regions; i++) {
		if (user - s->regions[i].user < s->regions[i].size) {
			*ret = s->regions[i].gpa + (user - s->regions[i].user);
			return true;
		}
	}
	return false;
}

static bool may_run(const struct vhost_user_ring *r)
{
	bool enabled = r->enabled || !(r->session->features & VHOST_USER_F_PROTOCOL_FEATURES);

	return !r->running && r->has_addr && r->has_kick && enabled;
}

static bool ring_start(struct vhost_user_ring *r)
{
	struct vhost_user_session *s = r->session;
	struct virtq *q = ring_queue(r);
	int error = -EFAULT;

	if (translate(s, r->desc, &q->desc) && translate(s, r->avail, &q->avail) && translate(s, r->used, &q->used)) {
		q->size = r->num;
		q->next_avail = r->base;
		error = virtio_device_start_queue(s->dev, ring_index(r));
	}
	if (error < 0) {
		log_warn_few(&s->complaints, "vhost-user: ring %u cannot be started: %s", ring_index(r),
			     error == -EFAULT ? "it is not in guest memory" : "bad size or alignment");
		r->has_addr = false;
		poke(r->err_fd);
		return false;
	}
	r->running = true;
	return true;
}

static bool was_reset(const struct vhost_user_session *s)
{
	bool went_on = false;

	for (unsigned i = 0; i < s->dev->n_queues; i++) {
		const struct vhost_user_ring *r = &s->rings[i];

		if (!r->running && !r->has_addr)
			continue; /* not set up again (yet) */
		if (r->running || r->base)
			return false;
		went_on |= r->stopped_at != 0;
	}
	return went_on;
}

void vhost_user_rings_start(struct vhost_user_session *s)
{
	struct virtio_device *dev = s->dev;
	bool some = false, started[VIRTIO_QUEUES_MAX] = { false };

	for (unsigned i = 0; i < dev->n_queues; i++)
		some |= may_run(&s->rings[i]);
	if (!some)
		return;
	if (dev->active && was_reset(s)) {
		virtio_device_reset(dev);
		for (unsigned i = 0; i < dev->n_queues; i++)
			s->rings[i].stopped_at = 0;
	}
	dev->mem = s->mem;
	dev->acked = s->features & dev->features;
	for (unsigned i = 0; i < dev->n_queues; i++)
		started[i] = may_run(&s->rings[i]) && ring_start(&s->rings[i]);
	for (unsigned i = 0; i < dev->n_queues; i++)
		if (started[i] && virtio_device_activate(dev) == 0)
			virtio_device_kick(dev, i); /* what was offered before */
}

void vhost_user_ring_stop(struct vhost_user_ring *r)
{
	if (!r->running)
		return;
	virtio_device_quiesce(r->session->dev);
	virtq_stop(ring_queue(r));
	r->base = ring_queue(r)->next_avail;
	r->running = false;
}

void vhost_user_rings_stop(struct vhost_user_session *s)
{
	for (unsigned i = 0; i < s->dev->n_queues; i++)
		vhost_user_ring_stop(&s->rings[i]);
}

void vhost_user_ring_fini(struct vhost_user_ring *r)
{
	loop_source_free(take_ptr(r->kick));
	fd_close(&r->kick_fd);
	fd_close(&r->call_fd);
	fd_close(&r->err_fd);
}
