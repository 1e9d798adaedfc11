// SPDX-License-Identifier: Apache-2.0
/*
 * One UDP socket, one that listens for TCP, and the queries that wait for an answer, in the order in which they came.
 * Containers may send what they like: so many datagrams wait here, the next ones in the socket, and behind that the
 * kernel drops them; a connection has one query at a time, and as long for each step as a query for its answer.
 */
#include "agent/resolver.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent/resolver_redirect.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/dns_stream.h"

#define PORT          53
#define DATAGRAMS_MAX 48
#define CONNS_MAX     16
#define HEADER_SIZE   12 /* RFC 1035 §4.1.1 */
#define TICK_MS       500
#define PORT_TRIES    16

struct conn {
	struct resolver *r;
	int fd; /* -1: free */
	struct loop_source *source;
	uint64_t deadline_ms;
	struct dns_incoming in;
	struct dns_outgoing out;
	struct query *query; /* waits for its answer */
};

struct query {
	struct list node;
	uint64_t id, deadline_ms;
	bool taken;
	struct sockaddr_in from;
	struct conn *conn; /* NULL: it came by UDP */
	size_t len;
	uint8_t data[];
};

struct resolver {
	struct resolver_params params;
	struct resolver_redirect *redirect; /* NULL: we are on port 53 */
	int udp, tcp;
	struct loop_source *udp_source, *tcp_source, *tick;
	bool ticking;
	struct list queries;
	size_t n_datagrams;
	uint64_t last_id;
	struct conn conns[CONNS_MAX];
	uint8_t packet[DNS_MESSAGE_MAX + 1];
};

/* Once a tick is due it stays so: whoever keeps us busy must not put it off. */
static void need_tick(struct resolver *r)
{
	if (!r->ticking)
		loop_timer_set(r->tick, TICK_MS);
	r->ticking = true;
}

/* ---- queries ---- */

static void query_free(struct resolver *r, struct query *q)
{
	list_remove(&q->node);
	if (q->conn)
		q->conn->query = NULL;
	else if (r->n_datagrams-- == DATAGRAMS_MAX)
		loop_io_set_events(r->udp_source, EPOLLIN);
	free(q);
}

/* from, conn: one of them. NULL: it is dropped. */
static struct query *query_add(struct resolver *r, const uint8_t *data, size_t len, const struct sockaddr_in *from,
			       struct conn *conn)
{
	struct query *q = len < HEADER_SIZE ? NULL : malloc(sizeof *q + len);

	if (!q)
		return NULL;
	*q = (struct query){
		.id = ++r->last_id, .deadline_ms = clock_ms() + r->params.timeout_ms, .conn = conn, .len = len
	};
	if (from)
		q->from = *from;
	memcpy(q->data, data, len);
	list_append(&r->queries, &q->node);
	need_tick(r);
	return q;
}

bool resolver_take(struct resolver *r, struct resolver_query *ret)
{
	struct query *q;

	list_foreach (q, &r->queries, struct query, node) {
		if (q->taken)
			continue;
		q->taken = true;
		*ret = (struct resolver_query){ .id = q->id, .stream = q->conn, .data = q->data, .len = q->len };
		return true;
	}
	return false;
}

/* ---- UDP ---- */

static void on_datagram(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct resolver *r = userdata;
	bool fresh = false;

	(void)s;
	(void)revents;
	/* What is no query counts, too: others of the loop want their turn. */
	for (unsigned i = 0; i < DATAGRAMS_MAX && r->n_datagrams < DATAGRAMS_MAX; i++) {
		struct sockaddr_in from = { 0 };
		socklen_t from_len = sizeof from;
		ssize_t n =
			recvfrom(fd, r->packet, sizeof r->packet, MSG_DONTWAIT, (struct sockaddr *)&from, &from_len);

		if (n < 0)
			break;
		if (!query_add(r, r->packet, (size_t)n, &from, NULL))
			continue;
		r->n_datagrams++;
		fresh = true;
	}
	if (r->n_datagrams == DATAGRAMS_MAX)
		loop_io_set_events(r->udp_source, 0);
	if (fresh)
		r->params.ready(r->params.userdata);
}

/* ---- TCP (RFC 7766) ---- */

static void conn_end(struct conn *c)
{
	struct resolver *r = c->r;

	if (c->query)
		query_free(r, c->query);
	loop_source_free(c->source);
	fd_close(&c->fd);
	dns_incoming_reset(&c->in);
	dns_outgoing_reset(&c->out);
	*c = (struct conn){ .r = r, .fd = -1 };
}

static void conn_went_on(struct conn *c)
{
	c->deadline_ms = clock_ms() + c->r->params.timeout_ms;
	need_tick(c->r);
}

static int conn_serve(struct conn *c)
{
	int r;

	if (c->query)
		return 0;
	if (c->out.data) {
		r = dns_send(&c->out, c->fd);
		if (r > 0) {
			dns_outgoing_reset(&c->out);
			loop_io_set_events(c->source, EPOLLIN);
		}
		return r;
	}
	r = dns_receive(&c->in, c->fd);
	if (r <= 0)
		return r;
	c->query = query_add(c->r, c->in.data, c->in.len, NULL, c);
	dns_incoming_reset(&c->in);
	if (!c->query)
		return -EPROTO;
	loop_io_set_events(c->source, 0);
	return 1;
}

static void on_conn(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct conn *c = userdata;
	struct resolver *r = c->r;

	(void)s;
	(void)fd;
	if ((c->query && (revents & (EPOLLHUP | EPOLLERR))) || conn_serve(c) < 0) {
		conn_end(c);
		return;
	}
	conn_went_on(c);
	if (c->query)
		r->params.ready(r->params.userdata);
}

static void conn_answer(struct conn *c, const uint8_t *data, size_t len)
{
	if (dns_outgoing_set(&c->out, data, len) < 0) {
		conn_end(c);
		return;
	}
	conn_went_on(c);
	loop_io_set_events(c->source, EPOLLOUT);
}

static void on_connection(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct resolver *r = userdata;
	_cleanup_close_ int conn = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)revents;
	/* It waits where it is; asking again at once would spin. */
	if (conn < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		loop_io_set_events(s, 0);
		need_tick(r);
	}
	for (size_t i = 0; conn >= 0 && i < CONNS_MAX; i++) {
		struct conn *c = &r->conns[i];

		if (c->fd >= 0)
			continue;
		if (loop_add_io(r->params.loop, conn, EPOLLIN, on_conn, c, &c->source) < 0)
			return;
		c->fd = take_fd(&conn);
		conn_went_on(c);
		return;
	}
}

/* ---- answers, and none ---- */

void resolver_answer(struct resolver *r, uint64_t id, const uint8_t *data, size_t len)
{
	_cleanup_free_ uint8_t *failure = NULL;
	struct conn *c = NULL;
	struct query *q;

	if (len > DNS_MESSAGE_MAX)
		return;
	list_foreach (q, &r->queries, struct query, node)
		if (q->id == id && q->taken)
			goto found;
	return;
found:
	if (len < HEADER_SIZE) {
		/* The query itself is the answer then: with QR and RA, and the code for a server that has failed. */
		failure = malloc(q->len);
		if (!failure)
			return;
		memcpy(failure, q->data, q->len);
		failure[2] |= 0x80;
		failure[3] = 0x82;
		data = failure;
		len = q->len;
	}
	c = q->conn;
	if (!c &&
	    sendto(r->udp, data, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&q->from, sizeof q->from) < 0)
		log_debug("cannot answer a name server's client: %s", strerror(errno));
	query_free(r, q);
	if (c)
		conn_answer(c, data, len);
}

/* Whoever has asked asks again, or does not wait any more. */
static void on_tick(struct loop_source *s, void *userdata)
{
	struct resolver *r = userdata;
	uint64_t now = clock_ms();
	bool busy = false;
	struct query *q;

	(void)s;
	list_foreach (q, &r->queries, struct query, node)
		if (!q->conn && q->deadline_ms <= now)
			query_free(r, q);
	for (size_t i = 0; i < CONNS_MAX; i++) {
		struct conn *c = &r->conns[i];

		if (c->fd >= 0 && c->deadline_ms <= now)
			conn_end(c);
		busy |= c->fd >= 0;
	}
	loop_io_set_events(r->tcp_source, EPOLLIN);
	r->ticking = false;
	if (busy || !list_empty(&r->queries))
		need_tick(r);
}

/* ---- the sockets ---- */

/* port 0: one that is free, of both kinds. */
static int listen_on(struct resolver *r, uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr = r->params.address, .sin_port = htons(port) };
	socklen_t len = sizeof a;
	int one = 1;

	fd_close(&r->udp);
	fd_close(&r->tcp);
	r->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	r->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (r->udp < 0 || r->tcp < 0)
		return -errno;
	setsockopt(r->tcp, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(r->udp, (struct sockaddr *)&a, sizeof a) < 0 || getsockname(r->udp, (struct sockaddr *)&a, &len) < 0 ||
	    bind(r->tcp, (struct sockaddr *)&a, sizeof a) < 0 || listen(r->tcp, CONNS_MAX) < 0)
		return -errno;
	*ret_port = ntohs(a.sin_port);
	return 0;
}

static int listen_aside(struct resolver *r)
{
	struct err e = { 0 };
	uint16_t port = 0;
	int result = -EADDRINUSE;

	for (int i = 0; i < PORT_TRIES && result == -EADDRINUSE; i++)
		result = listen_on(r, 0, &port);
	if (result == 0)
		result = resolver_redirect_new(r->params.cgroup, r->params.address, PORT, port, &r->redirect, &e);
	if (result < 0)
		log_debug("the name server takes port %d: %s", PORT, e.text[0] ? e.text : strerror(-result));
	return result;
}

int resolver_new(const struct resolver_params *params, struct resolver **ret, struct err *e)
{
	struct resolver *r;
	uint16_t port;
	int result = -1;

	if (ntohl(params->address.s_addr) >> 24 != IN_LOOPBACKNET)
		return err_set(e, ERR_PROTOCOL, EINVAL, "the address of a name server is to be one of 127.0.0.0/8");
	r = calloc(1, sizeof *r);
	if (!r)
		return err_sys(e, ENOMEM, "cannot serve names");
	r->params = *params;
	r->udp = r->tcp = -1;
	list_init(&r->queries);
	for (size_t i = 0; i < CONNS_MAX; i++)
		r->conns[i] = (struct conn){ .r = r, .fd = -1 };
	if (params->cgroup)
		result = listen_aside(r);
	if (result < 0)
		result = listen_on(r, PORT, &port);
	if (result == 0)
		result = loop_add_timer(params->loop, UINT64_MAX, on_tick, r, &r->tick);
	if (result == 0)
		result = loop_add_io(params->loop, r->udp, EPOLLIN, on_datagram, r, &r->udp_source);
	if (result == 0)
		result = loop_add_io(params->loop, r->tcp, EPOLLIN, on_connection, r, &r->tcp_source);
	if (result < 0) {
		resolver_free(r);
		return err_sys(e, -result, "cannot serve names on port %d", PORT);
	}
	*ret = r;
	return 0;
}

struct in_addr resolver_address(const struct resolver *r)
{
	return r->params.address;
}

void resolver_free(struct resolver *r)
{
	struct query *q;

	if (!r)
		return;
	resolver_redirect_free(r->redirect);
	for (size_t i = 0; i < CONNS_MAX; i++)
		if (r->conns[i].fd >= 0)
			conn_end(&r->conns[i]);
	list_foreach (q, &r->queries, struct query, node)
		free(q);
	loop_source_free(r->udp_source);
	loop_source_free(r->tcp_source);
	loop_source_free(r->tick);
	fd_close(&r->udp);
	fd_close(&r->tcp);
	free(r);
}
