/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Messages: a header of 12 bytes {request, flags, size} with descriptors attached to its first byte, then the payload.
 * The socket is never waited for: a message is collected over as many events as it takes.
 *
 * A request that fails is answered with 1 when an answer was asked for (REPLY_ACK); else the session ends, for the
 * front end would go on in the belief that all is well. A malformed header ends it always.
 */
#include "vhostuser/session.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/log.h"
#include "vhostuser/state.h"

static void close_fds(struct vhost_user_session *s)
{
	for (unsigned i = 0; i < s->n_fds; i++)
		fd_close(&s->fds[i]);
	s->n_fds = 0;
}

/* Keep the descriptors of a message. False: more than any message has. */
static bool collect_fds(struct vhost_user_session *s, struct msghdr *msg)
{
	bool ok = !(msg->msg_flags & MSG_CTRUNC);

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (s->n_fds < VHOST_USER_FDS_MAX) {
				s->fds[s->n_fds++] = fd;
			} else {
				close(fd);
				ok = false;
			}
		}
	}
	return ok;
}

/* Bytes received; 0: nothing now; negative: the end. */
static ssize_t receive(struct vhost_user_session *s, size_t want)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_FDS_MAX * sizeof(int))];
	struct iovec iov = { (char *)&s->msg + s->have, want - s->have };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	ssize_t n = recvmsg(s->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (!collect_fds(s, &msg)) {
		log_warn("vhost-user: the front end sent a message with too many descriptors");
		return -EPROTO;
	}
	if (n == 0)
		return -ECONNRESET;
	s->have += (size_t)n;
	return n;
}

/* Act on the complete message. 0, or negative: end the session. */
static int act(struct vhost_user_session *s)
{
	bool ack = (s->msg.flags & VHOST_USER_NEED_REPLY) && (s->protocol_features & VHOST_USER_PROTOCOL_F_REPLY_ACK);
	uint32_t request = s->msg.request;
	int r = vhost_user_request(s);
	size_t len;

	if (r < 0) {
		log_warn_few(&s->complaints, "vhost-user: request %u of the front end refused: %s", request,
			     strerror(-r));
		if (!ack)
			return r;
	}
	if (r <= 0) {
		if (!ack)
			return 0;
		s->msg.u.u64 = r < 0;
		s->msg.size = sizeof s->msg.u.u64;
	}
	s->msg.flags = VHOST_USER_VERSION | VHOST_USER_REPLY;
	len = VHOST_USER_HDR_LEN + s->msg.size;
	return send(s->fd, &s->msg, len, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)len ? 0 : -EPIPE;
}

static void on_message(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct vhost_user_session *s = userdata;
	ssize_t n;

	for (;;) {
		size_t want = VHOST_USER_HDR_LEN;

		if (s->have >= VHOST_USER_HDR_LEN) {
			if ((s->msg.flags & VHOST_USER_VERSION_MASK) != VHOST_USER_VERSION ||
			    s->msg.size > VHOST_USER_PAYLOAD_MAX) {
				log_warn("vhost-user: malformed message from the front end");
				n = -EPROTO;
				break;
			}
			want += s->msg.size;
		}
		if (s->have < want) {
			n = receive(s, want);
			if (n <= 0)
				break;
			continue;
		}
		n = act(s);
		close_fds(s);
		s->have = 0;
		/* One message per turn: the rings want their share. */
		break;
	}
	if (n < 0)
		s->ended(s, s->userdata);
}

int vhost_user_session_new(struct loop *loop, int fd, struct virtio_device *dev,
			   void (*ended)(struct vhost_user_session *s, void *userdata), void *userdata,
			   struct vhost_user_session **ret)
{
	struct vhost_user_session *s = calloc(1, sizeof *s);
	int r = -ENOMEM;

	if (!s) {
		close(fd);
		return r;
	}
	s->transport.ops = &vhost_user_transport_ops;
	s->loop = loop;
	s->fd = fd;
	s->dev = dev;
	s->ended = ended;
	s->userdata = userdata;
	dev->transport = &s->transport;
	s->rings = calloc(dev->n_queues, sizeof *s->rings);
	for (unsigned i = 0; s->rings && i < dev->n_queues; i++)
		s->rings[i] = (struct vhost_user_ring){ .session = s, .kick_fd = -1, .call_fd = -1, .err_fd = -1 };
	if (s->rings)
		r = guestmem_new(&s->mem);
	if (r == 0)
		r = loop_add_io(loop, fd, EPOLLIN, on_message, s, &s->io);
	if (r < 0) {
		vhost_user_session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void vhost_user_session_free(struct vhost_user_session *s)
{
	if (!s)
		return;
	if (s->rings) {
		vhost_user_rings_stop(s);
		for (unsigned i = 0; i < s->dev->n_queues; i++)
			vhost_user_ring_fini(&s->rings[i]);
	}
	virtio_device_reset(s->dev);
	s->dev->mem = NULL;
	s->dev->transport = NULL;
	loop_source_free(s->io);
	fd_close(&s->fd);
	close_fds(s);
	guestmem_free(s->mem);
	free(s->rings);
	free(s);
}
