/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of the rings: activate() hands memory and rings over; quiesce() takes the rings back, and the server says
 * where each stopped; the next kick hands them over again. Requests are synchronous, with a time limit for all that one
 * of these needs: they are few, and the guest's vCPU that caused one waits for it anyway.
 *
 * Addresses in messages are "user addresses" of the front end, which a server uses for looking rings up and nothing
 * else; ours are guest-physical addresses, so that no pointer leaves this process.
 */
#include "vhostuser/frontend.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "vhostuser/protocol.h"

#define ANSWER_S        10  /* for the answers to everything that a start, a stop or the first meeting asks */
#define LOOK_MS         100 /* how often that is looked at while nothing comes */
#define VIRTIO_ID_FS    26
#define FS_TAG_MAX      36
#define WANTED_PROTOCOL (VHOST_USER_PROTOCOL_F_MQ | VHOST_USER_PROTOCOL_F_REPLY_ACK)

struct ring {
	struct frontend *f;
	int kick_fd, call_fd;
	struct loop_source *call;
};

struct frontend {
	struct virtio_device base;
	struct loop *loop;
	char *name;
	int fd;
	uint64_t deadline_ms; /* of the answers */
	struct loop_source *io;
	uint64_t server_features, protocol_features;
	bool memory_told, running;
	unsigned failures; /* logged ones: the guest may start the device again and again */
	uint8_t config[VHOST_USER_FRONTEND_CONFIG_MAX];
	uint32_t config_len;
	struct vhost_user_frontend_region regions[VHOST_USER_FRONTEND_REGIONS_MAX];
	unsigned n_regions;
	struct virtq *queues;
	uint16_t *queue_max;
	struct ring *rings;
};

static struct frontend *frontend(struct virtio_device *base)
{
	return container_of(base, struct frontend, base);
}

/* --- messages --- */

static int send_message(struct frontend *f, struct vhost_user_msg *m, const int *fds, size_t n_fds)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(int) * VHOST_USER_FDS_MAX)] = { 0 };
	struct iovec iov = { m, VHOST_USER_HDR_LEN + m->size };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (n_fds) {
		struct cmsghdr *c;

		msg.msg_control = control;
		msg.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
		memcpy(CMSG_DATA(c), fds, sizeof(int) * n_fds);
	}
	do
		n = sendmsg(f->fd, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	/* A message is small, and the socket's buffer was empty: a short write means that the peer is not one. */
	return n < 0 ? -errno : (size_t)n == iov.iov_len ? 0 : -EPIPE;
}

/* What is asked from here on is to be answered in time. */
static void start_clock(struct frontend *f)
{
	f->deadline_ms = clock_ms() + ANSWER_S * 1000;
}

/* A recv(2) waits for LOOK_MS at the most: an answer that trickles is late, too. */
static int receive(struct frontend *f, void *data, size_t len)
{
	for (size_t done = 0; done < len;) {
		ssize_t n = recv(f->fd, (char *)data + done, len - done, 0);

		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return -errno;
		done += n > 0 ? (size_t)n : 0;
		if (done < len && clock_ms() >= f->deadline_ms)
			return -ETIMEDOUT;
	}
	return 0;
}

/* The answer to request in *m; its payload must have size bytes. */
static int receive_answer(struct frontend *f, struct vhost_user_msg *m, uint32_t request, uint32_t size)
{
	int r = receive(f, m, VHOST_USER_HDR_LEN);

	if (r < 0)
		return r;
	if (m->request != request || !(m->flags & VHOST_USER_REPLY) || m->size != size)
		return -EPROTO;
	return receive(f, &m->u, size);
}

static struct vhost_user_msg message(uint32_t request, uint32_t size)
{
	return (struct vhost_user_msg){ .request = request, .flags = VHOST_USER_VERSION, .size = size };
}

static int get_u64(struct frontend *f, uint32_t request, uint64_t *ret)
{
	struct vhost_user_msg m = message(request, 0);
	int r = send_message(f, &m, NULL, 0);

	if (r == 0)
		r = receive_answer(f, &m, request, sizeof m.u.u64);
	if (r == 0)
		*ret = m.u.u64;
	return r;
}

/* Send what has no answer of its own; with REPLY_ACK the server says whether it worked. */
static int tell(struct frontend *f, struct vhost_user_msg *m, const int *fds, size_t n_fds)
{
	uint32_t request = m->request;
	int r;

	if (f->protocol_features & VHOST_USER_PROTOCOL_F_REPLY_ACK)
		m->flags |= VHOST_USER_NEED_REPLY;
	r = send_message(f, m, fds, n_fds);
	if (r == 0 && (m->flags & VHOST_USER_NEED_REPLY)) {
		r = receive_answer(f, m, request, sizeof m->u.u64);
		if (r == 0 && m->u.u64)
			r = -EREMOTEIO;
	}
	return r;
}

static int tell_u64(struct frontend *f, uint32_t request, uint64_t value)
{
	struct vhost_user_msg m = message(request, sizeof m.u.u64);

	m.u.u64 = value;
	return tell(f, &m, NULL, 0);
}

static int tell_state(struct frontend *f, uint32_t request, unsigned index, uint32_t num)
{
	struct vhost_user_msg m = message(request, sizeof m.u.state);

	m.u.state.index = index;
	m.u.state.num = num;
	return tell(f, &m, NULL, 0);
}

static int tell_fd(struct frontend *f, uint32_t request, unsigned index, int fd)
{
	struct vhost_user_msg m = message(request, sizeof m.u.u64);

	m.u.u64 = index;
	return tell(f, &m, &fd, 1);
}

static int tell_memory(struct frontend *f)
{
	struct vhost_user_msg m =
		message(VHOST_USER_SET_MEM_TABLE, 8 + f->n_regions * (uint32_t)sizeof(struct vhost_user_region));
	int fds[VHOST_USER_FRONTEND_REGIONS_MAX];

	m.u.table.n = f->n_regions;
	for (unsigned i = 0; i < f->n_regions; i++) {
		const struct vhost_user_frontend_region *r = &f->regions[i];
		struct vhost_user_region told = { .gpa = r->gpa, .size = r->size, .user = r->gpa, .offset = r->offset };

		memcpy(&m.u.bytes[8 + i * sizeof told], &told, sizeof told);
		fds[i] = r->fd;
	}
	return tell(f, &m, fds, f->n_regions);
}

/* --- rings --- */

static void failed(struct frontend *f, const char *what, int r)
{
	log_warn_few(&f->failures, "%s: the server %s: %s", f->name, what,
		     r == -EREMOTEIO   ? "refused"
		     : r == -ETIMEDOUT ? "does not answer"
				       : strerror(-r));
	f->running = false;
	loop_source_free(take_ptr(f->io));
	/*
	 * It may hold rings that the driver will use for something else after a reset, and whatever it says from here
	 * on answers nothing. One that refuses is in step, and a driver may try it again.
	 */
	if (r != -EREMOTEIO)
		shutdown(f->fd, SHUT_RDWR);
	virtio_device_break(&f->base, "its vhost-user server failed");
}

static int start_ring(struct frontend *f, unsigned i)
{
	const struct virtq *q = &f->queues[i];
	struct vhost_user_msg m = message(VHOST_USER_SET_VRING_ADDR, sizeof m.u.addr);
	int r;

	if (!q->ready)
		return 0; /* the driver leaves it out */
	m.u.addr.index = i;
	m.u.addr.desc = q->desc;
	m.u.addr.used = q->used;
	m.u.addr.avail = q->avail;
	if ((r = tell_state(f, VHOST_USER_SET_VRING_NUM, i, q->size)) < 0 ||
	    (r = tell_state(f, VHOST_USER_SET_VRING_BASE, i, q->next_avail)) < 0 || (r = tell(f, &m, NULL, 0)) < 0 ||
	    (r = tell_fd(f, VHOST_USER_SET_VRING_CALL, i, f->rings[i].call_fd)) < 0 ||
	    (r = tell_fd(f, VHOST_USER_SET_VRING_KICK, i, f->rings[i].kick_fd)) < 0)
		return r;
	return f->server_features & VHOST_USER_F_PROTOCOL_FEATURES ? tell_state(f, VHOST_USER_SET_VRING_ENABLE, i, 1)
								   : 0;
}

static int start_rings(struct frontend *f)
{
	int r;

	start_clock(f);
	r = tell_u64(f, VHOST_USER_SET_FEATURES, f->base.acked | (f->server_features & VHOST_USER_F_PROTOCOL_FEATURES));
	if (r == 0 && !f->memory_told) {
		r = tell_memory(f);
		f->memory_told = r == 0;
	}
	for (unsigned i = 0; i < f->base.n_queues && r == 0; i++)
		r = start_ring(f, i);
	if (r < 0)
		failed(f, "does not take the queues", r);
	f->running = r == 0;
	return r;
}

/* The server lets go of the rings and says where they stopped. */
static void stop_rings(struct frontend *f)
{
	int r = 0;

	if (!f->running)
		return;
	f->running = false;
	start_clock(f);
	for (unsigned i = 0; i < f->base.n_queues && r == 0; i++) {
		struct vhost_user_msg m = message(VHOST_USER_GET_VRING_BASE, sizeof m.u.state);

		if (!f->queues[i].ready)
			continue;
		m.u.state.index = i;
		m.u.state.num = 0;
		r = send_message(f, &m, NULL, 0);
		if (r == 0)
			r = receive_answer(f, &m, VHOST_USER_GET_VRING_BASE, sizeof m.u.state);
		if (r == 0)
			f->queues[i].next_avail = (uint16_t)m.u.state.num;
	}
	if (r < 0)
		failed(f, "does not give the queues back", r);
}

static void poke(int fd)
{
	uint64_t one = 1;

	/* A full counter has woken the other side already. */
	if (write(fd, &one, sizeof one) < 0 && errno != EAGAIN)
		log_debug("vhost-user: cannot signal the server: errno %d", errno);
}

static void on_call(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct ring *ring = userdata;
	struct virtio_device *dev = &ring->f->base;
	uint64_t n;

	if (read(fd, &n, sizeof n) == sizeof n && dev->active)
		dev->transport->ops->signal_queue(dev->transport, (unsigned)(ring - ring->f->rings));
}

/* Between our requests the server has nothing to say: it is gone, or it is none. */
static void on_server(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct frontend *f = userdata;
	char c;
	ssize_t n = recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT);

	/* The event may be of an answer that another thread, inside the loop, has taken meanwhile. */
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	failed(f, "is gone", n > 0 ? -EPROTO : n < 0 ? -errno : -EPIPE);
}

/* --- the device --- */

static int activate(struct virtio_device *base)
{
	return start_rings(frontend(base));
}

static void queue_kick(struct virtio_device *base, unsigned queue)
{
	struct frontend *f = frontend(base);

	/* A kick during a pause: the queue comes back at the end of it, with a kick of its own. */
	if (!f->queues[queue].ready)
		return;
	if (!f->running && start_rings(f) < 0)
		return;
	poke(f->rings[queue].kick_fd);
}

static void config_read(struct virtio_device *base, uint32_t offset, void *data, uint32_t len)
{
	struct frontend *f = frontend(base);

	virtio_config_copy(f->config, f->config_len, offset, data, len);
}

static void quiesce(struct virtio_device *base)
{
	stop_rings(frontend(base));
}

static void reset(struct virtio_device *base)
{
	stop_rings(frontend(base));
}

static void frontend_free(struct virtio_device *base)
{
	struct frontend *f = frontend(base);

	loop_source_free(f->io);
	for (unsigned i = 0; f->rings && i < base->n_queues; i++) {
		loop_source_free(f->rings[i].call);
		fd_close(&f->rings[i].kick_fd);
		fd_close(&f->rings[i].call_fd);
	}
	fd_close(&f->fd);
	free(f->rings);
	free(f->queues);
	free(f->queue_max);
	free(f->name);
	free(f);
}

static const struct virtio_device_ops ops = {
	.activate = activate,
	.queue_kick = queue_kick,
	.config_read = config_read,
	.quiesce = quiesce,
	.reset = reset,
	.free = frontend_free,
};

int vhost_user_frontend_set_memory(struct virtio_device *base, const struct vhost_user_frontend_region *regions,
				   size_t n)
{
	struct frontend *f = frontend(base);
	bool running = f->running;

	if (!n || n > VHOST_USER_FRONTEND_REGIONS_MAX)
		return -EINVAL;
	stop_rings(f);
	memcpy(f->regions, regions, n * sizeof *regions);
	f->n_regions = (unsigned)n;
	f->memory_told = false;
	if (running && !base->broken)
		start_rings(f);
	return 0;
}

/* --- making one --- */

static int make_rings(struct frontend *f, const struct vhost_user_frontend_config *c)
{
	int r = 0;

	f->rings = calloc(c->n_queues, sizeof *f->rings);
	f->queues = calloc(c->n_queues, sizeof *f->queues);
	f->queue_max = calloc(c->n_queues, sizeof *f->queue_max);
	if (!f->rings || !f->queues || !f->queue_max)
		return -ENOMEM;
	for (unsigned i = 0; i < c->n_queues; i++)
		f->rings[i] = (struct ring){ f, -1, -1, NULL };
	f->base.n_queues = c->n_queues;
	f->base.queues = f->queues;
	f->base.queue_max = f->queue_max;
	for (unsigned i = 0; i < c->n_queues && r == 0; i++) {
		struct ring *ring = &f->rings[i];

		f->queue_max[i] = c->queue_size;
		ring->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		ring->call_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (ring->kick_fd < 0 || ring->call_fd < 0)
			return -errno;
		r = loop_add_io(f->loop, ring->call_fd, EPOLLIN, on_call, ring, &ring->call);
	}
	return r;
}

static int connect_server(struct frontend *f, const char *socket)
{
	const struct timeval look = { .tv_usec = LOOK_MS * 1000 }, limit = { .tv_sec = ANSWER_S };
	int r = unix_connect(socket, &f->fd);

	if (r == 0)
		r = fd_set_nonblock(f->fd, false);
	if (r == 0 && (setsockopt(f->fd, SOL_SOCKET, SO_RCVTIMEO, &look, sizeof look) < 0 ||
		       setsockopt(f->fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0))
		r = -errno;
	return r;
}

static int handshake(struct frontend *f, unsigned n_queues, struct err *e)
{
	struct vhost_user_msg owner = message(VHOST_USER_SET_OWNER, 0);
	uint64_t offered = 0, queues = 0;
	int r;

	start_clock(f);
	r = get_u64(f, VHOST_USER_GET_FEATURES, &f->server_features);
	if (r == 0 && (f->server_features & VHOST_USER_F_PROTOCOL_FEATURES)) {
		r = get_u64(f, VHOST_USER_GET_PROTOCOL_FEATURES, &offered);
		/* Whether it acknowledges is settled by this message, which is not acknowledged itself. */
		if (r == 0)
			r = tell_u64(f, VHOST_USER_SET_PROTOCOL_FEATURES, offered & WANTED_PROTOCOL);
		if (r == 0)
			f->protocol_features = offered & WANTED_PROTOCOL;
	}
	if (r == 0 && (f->protocol_features & VHOST_USER_PROTOCOL_F_MQ))
		r = get_u64(f, VHOST_USER_GET_QUEUE_NUM, &queues);
	if (r == 0 && queues && queues < n_queues)
		return err_set(e, ERR_CONFIG, ENOTSUP, "%s: the vhost-user server has %llu queues, %u were asked for",
			       f->name, (unsigned long long)queues, n_queues);
	if (r == 0)
		r = tell(f, &owner, NULL, 0);
	if (r == 0 && !(f->server_features & VIRTIO_F_VERSION_1))
		return err_set(e, ERR_PROTOCOL, ENOTSUP, "%s: the vhost-user server does not speak virtio 1", f->name);
	return r < 0 ? err_set(e, ERR_PROTOCOL, -r, "%s: the vhost-user server does not answer as one: %s", f->name,
			       strerror(-r))
		     : 0;
}

static int init(struct frontend *f, const struct vhost_user_frontend_config *c, struct err *e)
{
	const uint64_t ring_features = VIRTIO_F_VERSION_1 | VIRTIO_F_INDIRECT_DESC | VIRTIO_F_EVENT_IDX;
	int r;

	f->name = strdup(c->name);
	if (!f->name)
		return err_sys(e, ENOMEM, "%s", c->name);
	if (!c->n_regions || c->n_regions > VHOST_USER_FRONTEND_REGIONS_MAX)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s: guest memory must be shared, in at most %d pieces, for a vhost-user device",
			       c->name, VHOST_USER_FRONTEND_REGIONS_MAX);
	if (!c->n_queues || c->n_queues > VIRTIO_QUEUES_MAX || c->config_len > sizeof f->config)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: %u queues cannot be had", c->name, c->n_queues);
	memcpy(f->regions, c->regions, c->n_regions * sizeof *c->regions);
	f->n_regions = (unsigned)c->n_regions;
	memcpy(f->config, c->config, c->config_len);
	f->config_len = (uint32_t)c->config_len;
	r = make_rings(f, c);
	if (r < 0)
		return err_sys(e, -r, "%s", c->name);
	r = connect_server(f, c->socket);
	if (r < 0)
		return err_sys(e, -r, "%s: cannot connect to the vhost-user server at %s", c->name, c->socket);
	r = handshake(f, c->n_queues, e);
	if (r < 0)
		return r;
	f->base.type = c->type;
	f->base.features = f->server_features & (ring_features | c->features);
	r = loop_add_io(f->loop, f->fd, EPOLLIN | EPOLLRDHUP, on_server, f, &f->io);
	return r < 0 ? err_sys(e, -r, "%s", c->name) : 0;
}

int vhost_user_frontend_new(struct loop *loop, const struct vhost_user_frontend_config *c, struct virtio_device **ret,
			    struct err *e)
{
	struct frontend *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return err_sys(e, ENOMEM, "%s", c->name);
	f->base.ops = &ops;
	f->loop = loop;
	f->fd = -1;
	r = init(f, c, e);
	if (r < 0) {
		frontend_free(&f->base);
		return r;
	}
	*ret = &f->base;
	return 0;
}

int vhost_user_fs_new(struct loop *loop, const char *socket, const char *tag, unsigned request_queues,
		      uint16_t queue_size, const struct vhost_user_frontend_region *regions, size_t n_regions,
		      struct virtio_device **ret, struct err *e)
{
	struct {
		char tag[FS_TAG_MAX]; /* padded with NULs, not terminated */
		le32 num_request_queues;
	} config = { .num_request_queues = le32_of(request_queues) };
	char name[64];
	struct vhost_user_frontend_config c = {
		.name = name,
		.socket = socket,
		.type = VIRTIO_ID_FS,
		.n_queues = 1 + request_queues,
		.queue_size = queue_size,
		.config = &config,
		.config_len = sizeof config,
		.regions = regions,
		.n_regions = n_regions,
	};
	size_t len = strlen(tag);

	if (!len || len > sizeof config.tag)
		return err_set(e, ERR_CONFIG, EINVAL, "virtio-fs: the tag \"%.40s\" must have 1 to %d bytes", tag,
			       FS_TAG_MAX);
	if (!request_queues || request_queues >= VIRTIO_QUEUES_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "virtio-fs %s: %u request queues cannot be had", tag,
			       request_queues);
	memcpy(config.tag, tag, len);
	snprintf(name, sizeof name, "virtio-fs %s", tag);
	return vhost_user_frontend_new(loop, &c, ret, e);
}
