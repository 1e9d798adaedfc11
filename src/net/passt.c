/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames on a stream socket: each behind its length, 32 bits in network order. This is what passt and QEMU's netdev
 * "stream" speak. There are no offloads: the virtio header stays on our side.
 *
 * A stream may take a part of a frame. The rest is kept, and nothing else is sent before it.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/unix_socket.h"
#include "net/backend.h"

#define FRAME_MAX (NET_FRAME_MAX - NET_HEADER_LEN)
#define PREFIX    sizeof(uint32_t)

struct passt {
	struct net_backend base;
	uint8_t in[PREFIX + FRAME_MAX], out[PREFIX + FRAME_MAX];
	size_t in_len, out_at, out_len;
};

static struct passt *passt(struct net_backend *b)
{
	return container_of(b, struct passt, base);
}

static int flush(struct passt *p)
{
	while (p->out_at < p->out_len) {
		ssize_t n = send(p->base.fd, p->out + p->out_at, p->out_len - p->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p->out_at += (size_t)n;
	}
	return 0;
}

static int passt_send(struct net_backend *b, const struct iovec *frame, size_t n, size_t len)
{
	struct passt *p = passt(b);
	size_t skip = NET_HEADER_LEN, at = PREFIX;
	uint32_t prefix;
	int r = flush(p);

	if (r < 0)
		return r;
	if (len <= NET_HEADER_LEN || len - NET_HEADER_LEN > FRAME_MAX)
		return 0;
	for (size_t i = 0; i < n; i++) {
		size_t part = frame[i].iov_len, off = part < skip ? part : skip;

		skip -= off;
		memcpy(p->out + at, (const uint8_t *)frame[i].iov_base + off, part - off);
		at += part - off;
	}
	prefix = htonl((uint32_t)(at - PREFIX));
	memcpy(p->out, &prefix, PREFIX);
	p->out_at = 0;
	p->out_len = at;
	r = flush(p);
	/* It is ours now, and passt_flush() goes on; the next one waits. */
	return r == -EAGAIN ? 0 : r;
}

static int passt_flush(struct net_backend *b)
{
	return flush(passt(b));
}

/* Read on until `want` bytes are there. */
static int fill(struct passt *p, size_t want)
{
	while (p->in_len < want) {
		ssize_t n = recv(p->base.fd, p->in + p->in_len, want - p->in_len, MSG_DONTWAIT);

		if (n == 0)
			return -EPIPE;
		if (n < 0 && errno != EINTR)
			return -errno;
		p->in_len += n > 0 ? (size_t)n : 0;
	}
	return 0;
}

static ssize_t passt_receive(struct net_backend *b, uint8_t *frame)
{
	struct passt *p = passt(b);
	uint32_t prefix;
	size_t len;
	int r = fill(p, PREFIX);

	if (r < 0)
		return r;
	memcpy(&prefix, p->in, PREFIX);
	len = ntohl(prefix);
	if (!len || len > FRAME_MAX)
		return -EPROTO;
	r = fill(p, PREFIX + len);
	if (r < 0)
		return r;
	memset(frame, 0, NET_HEADER_LEN);
	memcpy(frame + NET_HEADER_LEN, p->in + PREFIX, len);
	p->in_len = 0;
	return (ssize_t)(NET_HEADER_LEN + len);
}

static void passt_set_features(struct net_backend *b, uint64_t acked)
{
}

static void passt_free(struct net_backend *b)
{
	close(b->fd);
	free(passt(b));
}

static const struct net_backend_ops passt_ops = {
	.send = passt_send,
	.flush = passt_flush,
	.receive = passt_receive,
	.set_features = passt_set_features,
	.free = passt_free,
};

int net_passt_from_fd(int fd, struct net_backend **ret, struct err *e)
{
	struct passt *p = calloc(1, sizeof *p);

	if (!p)
		return err_sys(e, ENOMEM, "cannot use a network socket");
	p->base = (struct net_backend){ &passt_ops, fd, 0 };
	*ret = &p->base;
	return 0;
}

int net_passt_connect(const char *socket, struct net_backend **ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = unix_connect(socket, &fd);

	if (r < 0)
		return err_sys(e, -r, "cannot connect to passt at %s", socket);
	r = net_passt_from_fd(fd, ret, e);
	if (r == 0)
		take_fd(&fd);
	return r;
}
