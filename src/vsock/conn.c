/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One stream between a host socket and a guest socket.
 *
 *   HANDSHAKE ──CONNECT line──▶ REQUESTED ──RESPONSE──▶ ESTABLISHED ──RST, SHUTDOWN of both──▶ LINGERING ──▶ freed
 *   (guest's REQUEST) ────────────────────────────────▶ ESTABLISHED
 *
 * Guest to host: written straight from the guest's memory to the socket; what the socket does not take waits in a
 * ring of VSOCK_BUF_SIZE, which is what we grant the guest as credit (buf_alloc). A guest that sends more is reset.
 * Host to guest: read straight into the guest's receive buffer, at most the guest's credit; without credit or buffers
 * the socket is not read, so the host's writer blocks.
 *
 * Ends. The host stops sending (EOF): SHUTDOWN(SEND). The host takes no more (EPIPE, hang-up): SHUTDOWN(RCV). The
 * guest stops sending: the socket is shut for writing once the ring is empty. The guest takes no more: it is shut for
 * reading. The guest ends both, or resets: it is answered by RST at once, and its data still reaches the host.
 */
#include <errno.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include "base/log.h"
#include "virtio/iov.h"
#include "vsock/state.h"

static struct list *bucket(struct vsock_device *dev, uint32_t local_port, uint32_t peer_port)
{
	return &dev->buckets[(local_port * 31 + peer_port) % VSOCK_BUCKETS];
}

struct vsock_conn *vsock_conn_find(struct vsock_device *dev, uint32_t local_port, uint32_t peer_port)
{
	struct vsock_conn *c;

	list_foreach (c, bucket(dev, local_port, peer_port), struct vsock_conn, node)
		if (c->local_port == local_port && c->peer_port == peer_port)
			return c;
	return NULL;
}

void vsock_conn_set_ports(struct vsock_conn *c, uint32_t local_port, uint32_t peer_port)
{
	c->dev->counters[VSOCK_COUNT_ADDED]++;
	c->local_port = local_port;
	c->peer_port = peer_port;
	list_remove(&c->node);
	list_append(bucket(c->dev, local_port, peer_port), &c->node);
}

/* --- credit --- */

static uint32_t credit(const struct vsock_conn *c)
{
	uint32_t in_flight = c->tx_cnt - c->peer_fwd_cnt;

	/* A guest may shrink its buffer, or lie: then there is none. */
	return in_flight >= c->peer_buf_alloc ? 0 : c->peer_buf_alloc - in_flight;
}

void vsock_conn_set_credit(struct vsock_conn *c, const struct vsock_hdr *hdr)
{
	c->peer_buf_alloc = le32_get(hdr->buf_alloc);
	c->peer_fwd_cnt = le32_get(hdr->fwd_cnt);
	if (credit(c))
		c->credit_asked = false;
}

static bool can_read(const struct vsock_conn *c)
{
	return c->state == CONN_ESTABLISHED && c->readable && !(c->guest_shut & VSOCK_SHUTDOWN_RCV);
}

void vsock_conn_schedule(struct vsock_conn *c)
{
	bool data = can_read(c) && !(c->pending & PEND_RESPONSE);

	if (data && !credit(c)) {
		data = false;
		/* Once per stall: the guest sends an update by itself when it makes room. */
		if (!c->credit_asked)
			c->pending |= PEND_CREDIT_REQUEST;
		c->credit_asked = true;
	}
	if ((data || c->pending) && list_empty(&c->ready))
		list_append(&c->dev->ready, &c->ready);
}

void vsock_conn_pend(struct vsock_conn *c, unsigned what)
{
	c->pending |= what;
	vsock_conn_schedule(c);
}

/* n bytes of the guest's left our hands. */
static void forwarded(struct vsock_conn *c, uint32_t n)
{
	c->fwd_cnt += n;
	/* Early enough that a guest with full credit never waits, rare enough not to cost a packet each. */
	if (c->state == CONN_ESTABLISHED && c->fwd_cnt - c->fwd_told >= VSOCK_BUF_SIZE / 4)
		vsock_conn_pend(c, PEND_CREDIT_UPDATE);
}

/* --- the host's socket --- */

void vsock_conn_update_events(struct vsock_conn *c)
{
	uint32_t want = 0;

	if (!c->io)
		return;
	if (c->state == CONN_HANDSHAKE)
		want = EPOLLIN;
	else if (c->state == CONN_ESTABLISHED && !c->readable && !c->eof && !(c->guest_shut & VSOCK_SHUTDOWN_RCV))
		want = EPOLLIN;
	if (c->buf_len)
		want |= EPOLLOUT;
	if (want != c->events && loop_io_set_events(c->io, want) == 0)
		c->events = want;
}

static void buf_drop(struct vsock_conn *c)
{
	if (c->buf) {
		munmap(c->buf, VSOCK_BUF_SIZE);
		c->dev->n_buffers--;
	}
	c->buf = NULL;
	c->buf_head = c->buf_len = 0;
}

static void host_close(struct vsock_conn *c)
{
	loop_source_free(c->io);
	c->io = NULL;
	fd_close(&c->fd);
}

/* Tell the guest what the host does not do any more, and let go of a socket that does nothing any more. */
static void host_ended(struct vsock_conn *c)
{
	uint32_t flags = (c->eof ? VSOCK_SHUTDOWN_SEND : 0) | (c->write_dead ? VSOCK_SHUTDOWN_RCV : 0);

	if (flags == VSOCK_SHUTDOWN_BOTH)
		host_close(c);
	if (flags != c->shut_told && c->state == CONN_ESTABLISHED)
		vsock_conn_pend(c, PEND_SHUTDOWN);
}

static void write_failed(struct vsock_conn *c)
{
	uint32_t dropped = c->buf_len;

	c->write_dead = true;
	buf_drop(c);
	forwarded(c, dropped);
	host_ended(c);
}

/* Write iov to the host. Bytes taken; less than offered: later. Negative: the host takes no more. */
static ssize_t host_write(struct vsock_conn *c, struct iovec *iov, size_t n)
{
	struct msghdr msg = { .msg_iov = iov, .msg_iovlen = n };
	ssize_t r = sendmsg(c->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (r < 0 && (errno == EAGAIN || errno == EINTR))
		return 0;
	return r;
}

static void flush(struct vsock_conn *c)
{
	while (c->buf_len) {
		uint32_t first = VSOCK_BUF_SIZE - c->buf_head;
		struct iovec iov[2] = { { c->buf + c->buf_head, first < c->buf_len ? first : c->buf_len } };
		ssize_t n;

		iov[1] = (struct iovec){ c->buf, c->buf_len - iov[0].iov_len };
		n = host_write(c, iov, 2);
		if (n < 0) {
			write_failed(c);
			return;
		}
		if (n == 0)
			return;
		c->buf_head = (c->buf_head + (uint32_t)n) % VSOCK_BUF_SIZE;
		c->buf_len -= (uint32_t)n;
		forwarded(c, (uint32_t)n);
	}
	buf_drop(c);
	if ((c->guest_shut & VSOCK_SHUTDOWN_SEND) && c->fd >= 0)
		shutdown(c->fd, SHUT_WR);
}

/* Keep what the host did not take. False: no buffer to be had. */
static bool keep(struct vsock_conn *c, const struct iovec *iov, size_t n, size_t off, uint32_t len)
{
	if (!c->buf) {
		void *p;

		if (c->dev->n_buffers >= VSOCK_BUFFERS_MAX)
			return false;
		p = mmap(NULL, VSOCK_BUF_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		if (p == MAP_FAILED)
			return false;
		c->buf = p;
		c->dev->n_buffers++;
	}
	while (len) {
		uint32_t at = (c->buf_head + c->buf_len) % VSOCK_BUF_SIZE, part = VSOCK_BUF_SIZE - at;

		if (part > len)
			part = len;
		iov_read(iov, n, off, c->buf + at, part);
		c->buf_len += part;
		off += part;
		len -= part;
	}
	return true;
}

/* Payload from the guest. False: the guest broke the rules, or we are out of buffers. */
static bool guest_data(struct vsock_conn *c, const struct iovec *iov, size_t n, uint32_t len)
{
	struct vsock_device *dev = c->dev;
	uint32_t done = 0;

	if ((c->guest_shut & VSOCK_SHUTDOWN_SEND) || len > VSOCK_BUF_SIZE - (c->rx_cnt - c->fwd_cnt))
		return false;
	c->rx_cnt += len;
	dev->counters[VSOCK_COUNT_TX_BYTES] += len;
	while (!c->buf_len && !c->write_dead && done < len) {
		size_t pieces = iov_slice(iov, n, VSOCK_HDR_LEN + done, len - done, dev->iov, 64), offered = 0;
		ssize_t r = host_write(c, dev->iov, pieces);

		if (r < 0) {
			write_failed(c);
			break;
		}
		for (size_t i = 0; i < pieces; i++)
			offered += dev->iov[i].iov_len;
		done += (uint32_t)r;
		forwarded(c, (uint32_t)r);
		if ((size_t)r < offered)
			break;
	}
	if (c->write_dead)
		forwarded(c, len - done);
	else if (done < len && !keep(c, iov, n, VSOCK_HDR_LEN + done, len - done))
		return false;
	return true;
}

/* --- what the guest says --- */

/* The guest knows the connection no more. Frees c, at once or when its data has gone to the host. */
static void guest_gone(struct vsock_conn *c)
{
	if (c->state != CONN_ESTABLISHED || c->fd < 0 || !c->buf_len) {
		vsock_conn_free(c);
		return;
	}
	c->state = CONN_LINGERING;
	c->pending = 0;
	shutdown(c->fd, SHUT_RD);
	list_remove(&c->ready);
	list_remove(&c->node);
	list_append(&c->dev->loose, &c->node);
	vsock_conn_update_events(c);
}

static void guest_shutdown(struct vsock_conn *c, uint32_t flags)
{
	uint32_t fresh = flags & ~c->guest_shut & VSOCK_SHUTDOWN_BOTH;

	c->guest_shut |= fresh;
	if (c->guest_shut == VSOCK_SHUTDOWN_BOTH) {
		vsock_send_rst(c->dev, c->local_port, c->peer_port, VSOCK_TYPE_STREAM);
		guest_gone(c);
		return;
	}
	if ((fresh & VSOCK_SHUTDOWN_SEND) && !c->buf_len && c->fd >= 0)
		shutdown(c->fd, SHUT_WR);
	if ((fresh & VSOCK_SHUTDOWN_RCV) && c->fd >= 0)
		shutdown(c->fd, SHUT_RD);
	vsock_conn_update_events(c);
	/* The packet may have brought credit, which the guest does not tell again. */
	vsock_conn_schedule(c);
}

/* The guest accepted: tell the client. False: the client is gone. */
static bool established(struct vsock_conn *c)
{
	char line[24];
	struct iovec iov = { line, (size_t)snprintf(line, sizeof line, "OK %u\n", c->local_port) };

	loop_source_free(take_ptr(c->timer));
	c->state = CONN_ESTABLISHED;
	return host_write(c, &iov, 1) == (ssize_t)iov.iov_len;
}

void vsock_conn_packet(struct vsock_conn *c, const struct vsock_hdr *hdr, const struct iovec *iov, size_t n)
{
	uint16_t op = le16_get(hdr->op);
	bool good = false;

	vsock_conn_set_credit(c, hdr);
	if (op == VSOCK_OP_RST) {
		guest_gone(c);
		return;
	}
	if (c->state == CONN_REQUESTED) {
		/* Only an answer to what was asked will do. */
		good = op == VSOCK_OP_RESPONSE && c->request_sent && established(c);
	} else if (op == VSOCK_OP_RW) {
		good = guest_data(c, iov, n, le32_get(hdr->len));
	} else if (op == VSOCK_OP_SHUTDOWN) {
		guest_shutdown(c, le32_get(hdr->flags));
		return;
	} else if (op == VSOCK_OP_CREDIT_UPDATE) {
		good = true;
	} else if (op == VSOCK_OP_CREDIT_REQUEST) {
		c->pending |= PEND_CREDIT_UPDATE;
		good = true;
	}
	if (!good) {
		vsock_conn_reset(c);
		return;
	}
	vsock_conn_update_events(c);
	vsock_conn_schedule(c);
}

/* --- what the guest is told --- */

/* Read from the host into the packet's payload. Bytes; 0: nothing now. */
static uint32_t host_read(struct vsock_conn *c, struct virtq_chain *chain)
{
	uint32_t max = credit(c), offered = 0;
	struct iovec *iov = c->dev->iov;
	size_t pieces;
	ssize_t n;

	if (max > VSOCK_PACKET_MAX)
		max = VSOCK_PACKET_MAX;
	pieces = iov_slice(virtq_chain_write(chain), chain->n_write, VSOCK_HDR_LEN, max, iov, 64);
	for (size_t i = 0; i < pieces; i++)
		offered += (uint32_t)iov[i].iov_len;
	n = readv(c->fd, iov, (int)pieces);
	if (n > 0) {
		c->tx_cnt += (uint32_t)n;
		/* A short read means empty, most often; a client that hung up is read until its end. */
		if ((uint32_t)n < offered && !c->hup)
			c->readable = false;
		vsock_conn_update_events(c);
		return (uint32_t)n;
	}
	c->readable = false;
	if (n == 0 || (errno != EAGAIN && errno != EINTR) || c->hup) {
		c->eof = true;
		if (c->hup || n < 0)
			write_failed(c);
		else
			host_ended(c);
	}
	vsock_conn_update_events(c);
	return 0;
}

/* Choose the operation of the next packet; 0: none. */
static uint16_t next_op(struct vsock_conn *c, struct virtq_chain *chain, struct vsock_hdr *hdr)
{
	if (c->pending & PEND_REQUEST) {
		c->pending &= ~PEND_REQUEST;
		c->request_sent = true;
		return VSOCK_OP_REQUEST;
	}
	if (c->pending & PEND_RESPONSE) {
		c->pending &= ~PEND_RESPONSE;
		return VSOCK_OP_RESPONSE;
	}
	if (can_read(c) && credit(c)) {
		uint32_t len = host_read(c, chain);

		hdr->len = le32_of(len);
		if (len)
			return VSOCK_OP_RW;
	}
	/* Behind the data: SHUTDOWN(SEND) is the end of the stream. */
	if (c->pending & PEND_SHUTDOWN) {
		c->pending &= ~PEND_SHUTDOWN;
		c->shut_told = (c->eof ? VSOCK_SHUTDOWN_SEND : 0) | (c->write_dead ? VSOCK_SHUTDOWN_RCV : 0);
		hdr->flags = le32_of(c->shut_told);
		return VSOCK_OP_SHUTDOWN;
	}
	if (c->pending & PEND_CREDIT_REQUEST) {
		c->pending &= ~PEND_CREDIT_REQUEST;
		/*
		 * Credit or the end may have come while there was no receive buffer. A question behind the end would be
		 * answered to a connection that is no more, and that answer with a second reset.
		 */
		if (can_read(c) && !credit(c))
			return VSOCK_OP_CREDIT_REQUEST;
		c->credit_asked = false;
	}
	return c->pending & PEND_CREDIT_UPDATE ? VSOCK_OP_CREDIT_UPDATE : 0;
}

bool vsock_conn_fill(struct vsock_conn *c, struct virtq_chain *chain, struct vsock_hdr *hdr)
{
	uint16_t op = next_op(c, chain, hdr);

	if (!op)
		return false;
	/* Every packet carries the credit. */
	c->pending &= ~PEND_CREDIT_UPDATE;
	c->fwd_told = c->fwd_cnt;
	hdr->op = le16_of(op);
	hdr->type = le16_of(VSOCK_TYPE_STREAM);
	hdr->src_port = le32_of(c->local_port);
	hdr->dst_port = le32_of(c->peer_port);
	hdr->buf_alloc = le32_of(VSOCK_BUF_SIZE);
	hdr->fwd_cnt = le32_of(c->fwd_cnt);
	return true;
}

/* --- what the host does --- */

/* Events of a connection that the guest takes part in. */
static void on_established(struct vsock_conn *c, uint32_t revents)
{
	bool gone = revents & (EPOLLHUP | EPOLLERR);

	if (gone) {
		/* This event would come for ever; there is nothing left to wait for. */
		loop_source_free(take_ptr(c->io));
		c->hup = true;
		if (c->guest_shut & VSOCK_SHUTDOWN_RCV)
			c->eof = true;
		c->readable = !c->eof;
		/* Both directions are over, only the rest is to be read. */
		if (c->eof)
			write_failed(c);
		else if (c->buf_len)
			flush(c);
	} else {
		if (revents & EPOLLIN)
			c->readable = true;
		if (revents & EPOLLOUT)
			flush(c);
	}
	vsock_conn_schedule(c);
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct vsock_conn *c = userdata;
	struct vsock_device *dev = c->dev;

	switch (c->state) {
	case CONN_HANDSHAKE:
		vsock_handshake(c);
		break;
	case CONN_REQUESTED:
		/* Only a hang-up is told in this state: the client does not want the answer. */
		if (c->request_sent)
			vsock_conn_reset(c);
		else
			vsock_conn_free(c);
		break;
	case CONN_LINGERING:
		flush(c);
		if (!c->buf_len)
			vsock_conn_free(c);
		break;
	case CONN_ESTABLISHED:
		on_established(c, revents);
		vsock_rx_pump(dev);
		/* What could not be read now is muted until there are buffers or credit. */
		vsock_conn_update_events(c);
		return;
	}
	vsock_rx_pump(dev);
}

struct vsock_conn *vsock_conn_new(struct vsock_device *dev, int fd, enum conn_state state)
{
	struct vsock_conn *c;

	if (dev->n_conns >= VSOCK_CONNECTIONS_MAX)
		return NULL;
	c = calloc(1, sizeof *c);
	if (!c)
		return NULL;
	c->dev = dev;
	c->fd = fd;
	c->state = state;
	c->events = EPOLLIN;
	if (loop_add_io(dev->loop, fd, c->events, on_io, c, &c->io) < 0) {
		free(c);
		return NULL;
	}
	list_init(&c->node);
	list_init(&c->ready);
	list_append(&dev->loose, &c->node);
	dev->n_conns++;
	return c;
}

void vsock_conn_free(struct vsock_conn *c)
{
	struct vsock_device *dev = c->dev;

	dev->counters[VSOCK_COUNT_REMOVED] += c->state != CONN_HANDSHAKE;
	list_remove(&c->node);
	list_remove(&c->ready);
	loop_source_free(c->timer);
	buf_drop(c);
	host_close(c);
	free(c);
	dev->n_conns--;
}

void vsock_conn_reset(struct vsock_conn *c)
{
	c->dev->counters[VSOCK_COUNT_RESET]++;
	vsock_send_rst(c->dev, c->local_port, c->peer_port, VSOCK_TYPE_STREAM);
	vsock_conn_free(c);
}
