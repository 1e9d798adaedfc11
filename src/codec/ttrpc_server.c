/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The server side of ttrpc.
 *
 * A request lives from its frame to its answer. It is in its connection's list while the peer is there; when the peer
 * goes, the request is cut loose (conn is NULL), its on_close callback runs, and it waits for the answer that nobody
 * will hear. So handlers never ask whether the peer is alive.
 *
 * What a peer can do to us is bounded: 64 connections; per connection 1024 unanswered requests and 64 MiB of unpacked
 * messages; no reading while it leaves 8 MiB of answers unread; frames over 4 MiB are answered and dropped. It can
 * close at any byte. Stream numbers must be odd and grow, as the Go implementation demands. Frames that are no requests
 * (answers, data of streams, types to come) are ignored.
 *
 * Connections are closed from the loop only, never inside ttrpc_reply(): a handler may answer while its connection is
 * being read.
 */
#include <errno.h>
#include <malloc.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "codec/ttrpc_frame.h"
#include "proto/ttrpc.pb-c.h"

#define CONNECTIONS_MAX 64
#define REQUESTS_MAX    1024
#define QUEUE_MAX       ((size_t)8 << 20)
/* Receives in a row before other sources of the loop get their turn. */
#define BURST 16
/* How long not to accept after the system ran out of descriptors or memory. */
#define ACCEPT_PAUSE_MS 100
/* Of a request that cost this much memory nothing stays in our heap. */
#define LARGE_REQUEST ((size_t)256 << 10)

struct conn {
	struct list node;
	struct ttrpc_server *server;
	int fd;
	struct loop_source *io;
	uint32_t events;
	struct ttrpc_reader reader;
	struct ttrpc_writer writer;
	uint32_t last_stream;
	struct list requests;
	unsigned n_requests;
	size_t budget; /* what further requests may allocate */
	bool behind;   /* frames that have come wait until the peer reads */
	bool broken;   /* to be closed by the loop */
};

struct ttrpc_request {
	struct list node;
	struct conn *conn; /* NULL: the peer has gone */
	const struct ttrpc_method *method;
	uint32_t stream;
	size_t cost; /* of message, to be given back to the connection's budget */
	ProtobufCMessage *message;
	int64_t timeout_ns;
	void (*on_close)(struct ttrpc_request *req, void *userdata);
	void *on_close_userdata, *data;
};

struct ttrpc_server {
	struct loop *loop;
	int listen_fd;
	struct loop_source *accept, *timer;
	const struct ttrpc_service *services;
	size_t n_services;
	void *userdata;
	struct list conns;
	unsigned n_conns;
};

/* ---- connections ---- */

static void conn_free(struct conn *c)
{
	struct ttrpc_server *server = c->server;
	struct ttrpc_request *req;

	c->broken = true;
	while ((req = list_first(&c->requests, struct ttrpc_request, node))) {
		list_remove(&req->node);
		req->conn = NULL;
		if (req->on_close)
			req->on_close(req, req->on_close_userdata);
	}
	loop_source_free(c->io);
	fd_close(&c->fd);
	ttrpc_reader_fini(&c->reader);
	ttrpc_writer_fini(&c->writer);
	list_remove(&c->node);
	free(c);
	if (server->n_conns-- == CONNECTIONS_MAX && server->accept)
		loop_io_set_events(server->accept, EPOLLIN);
}

static void conn_break(struct conn *c)
{
	c->broken = true;
	loop_timer_set(c->server->timer, 0);
}

static bool conn_full(const struct conn *c)
{
	return ttrpc_writer_pending(&c->writer) > QUEUE_MAX;
}

/* Send what goes out at once and wait for what is possible next. */
static void conn_flush(struct conn *c)
{
	uint32_t want;
	int r = ttrpc_writer_flush(&c->writer, c->fd);

	if (r < 0) {
		log_debug("ttrpc: cannot answer: %s", strerror(-r));
		conn_break(c);
		return;
	}
	want = (conn_full(c) ? 0 : EPOLLIN) | (ttrpc_writer_pending(&c->writer) || c->behind ? EPOLLOUT : 0);
	if (want != c->events && loop_io_set_events(c->io, want) == 0)
		c->events = want;
}

static void conn_answer(struct conn *c, uint32_t stream, const Ttrpc__Response *response)
{
	int r;

	if (c->broken)
		return;
	r = ttrpc_writer_put(&c->writer, stream, TTRPC_RESPONSE, &response->base);
	if (r < 0) {
		log_warn("ttrpc: closing a connection: cannot queue an answer: %s", strerror(-r));
		conn_break(c);
		return;
	}
	conn_flush(c);
}

static void conn_refuse(struct conn *c, uint32_t stream, enum ttrpc_code code, const char *text)
{
	Ttrpc__Response response = TTRPC__RESPONSE__INIT;
	Ttrpc__Status status = TTRPC__STATUS__INIT;

	status.code = (int32_t)code;
	status.message = (char *)text;
	response.status = &status;
	conn_answer(c, stream, &response);
}

/* ---- requests ---- */

static const struct ttrpc_method *find_method(const struct ttrpc_server *server, const char *service,
					      const char *method)
{
	for (size_t i = 0; i < server->n_services; i++) {
		const struct ttrpc_service *s = &server->services[i];

		if (!str_eq(s->name, service))
			continue;
		for (size_t k = 0; k < s->n_methods; k++)
			if (str_eq(s->methods[k].name, method))
				return &s->methods[k];
	}
	return NULL;
}

static void refuse_unpack(struct conn *c, uint32_t stream, int r)
{
	if (r == -EBADMSG)
		conn_refuse(c, stream, TTRPC_INVALID_ARGUMENT, "the request cannot be read");
	else
		conn_refuse(c, stream, TTRPC_RESOURCE_EXHAUSTED, "the request takes too much memory");
}

static void conn_start_request(struct conn *c, const struct ttrpc_method *method, uint32_t stream,
			       const Ttrpc__Request *envelope)
{
	struct ttrpc_request *req = calloc(1, sizeof *req);
	size_t budget = c->budget;
	int r = -ENOMEM;

	if (req)
		r = pb_unpack(method->request, envelope->payload.data, envelope->payload.len, &budget, &req->message);
	if (r < 0) {
		free(req);
		refuse_unpack(c, stream, r);
		return;
	}
	req->conn = c;
	req->method = method;
	req->stream = stream;
	req->timeout_ns = envelope->timeout_nano > 0 ? envelope->timeout_nano : 0;
	req->cost = c->budget - budget;
	c->budget = budget;
	c->n_requests++;
	list_append(&c->requests, &req->node);
	method->fn(req, req->message, c->server->userdata);
}

static void conn_frame(struct conn *c, const struct ttrpc_frame *frame)
{
	_cleanup_(pb_free_p) ProtobufCMessage *message = NULL;
	uint32_t stream = frame->header.stream;
	size_t budget = PB_BUDGET_DEFAULT;
	const struct ttrpc_method *method;
	const Ttrpc__Request *envelope;
	int r;

	if (frame->header.type != TTRPC_REQUEST) {
		log_debug("ttrpc: ignoring a frame of type %u", frame->header.type);
		return;
	}
	/* Behind the largest number they begin again. */
	if (stream % 2 == 0 || (int32_t)(stream - c->last_stream) <= 0) {
		conn_refuse(c, stream, TTRPC_INVALID_ARGUMENT, "stream numbers must be odd and increase");
		return;
	}
	c->last_stream = stream;
	if (frame->too_big) {
		conn_refuse(c, stream, TTRPC_RESOURCE_EXHAUSTED, "the request is larger than 4 MiB");
		return;
	}
	if (c->n_requests >= REQUESTS_MAX) {
		conn_refuse(c, stream, TTRPC_RESOURCE_EXHAUSTED, "too many requests are unanswered");
		return;
	}
	r = pb_unpack(&ttrpc__request__descriptor, frame->data, frame->header.len, &budget, &message);
	if (r < 0) {
		refuse_unpack(c, stream, r);
		return;
	}
	envelope = (const Ttrpc__Request *)message;
	method = find_method(c->server, envelope->service, envelope->method);
	if (method)
		conn_start_request(c, method, stream, envelope);
	else
		conn_refuse(c, stream, TTRPC_UNIMPLEMENTED, "there is no such service or method");
}

/* All frames received are handled before returning, unless the peer must first read: EPOLLOUT then comes back here. */
static void conn_receive(struct conn *c)
{
	struct ttrpc_frame frame;

	for (int i = 0;; i++) {
		int r;

		while (!c->broken && !conn_full(c) && ttrpc_reader_next(&c->reader, &frame))
			conn_frame(c, &frame);
		c->behind = conn_full(c);
		if (c->broken || conn_full(c) || i == BURST)
			return;
		r = ttrpc_reader_fill(&c->reader, c->fd);
		if (r == -EAGAIN)
			return;
		if (r <= 0) {
			if (r < 0)
				log_debug("ttrpc: cannot receive: %s", strerror(-r));
			conn_break(c);
			return;
		}
	}
}

static void on_conn(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct conn *c = userdata;

	if (c->broken)
		return;
	/* A peer that hung up reads no more answers: what it still says does not matter when they pile up. */
	if (revents & (EPOLLHUP | EPOLLERR) && conn_full(c))
		conn_break(c);
	if (revents & EPOLLOUT)
		conn_flush(c);
	conn_receive(c);
	if (!c->broken)
		conn_flush(c);
	if (c->broken)
		conn_free(c);
}

/* Close what broke outside its own callback, and accept again after a pause. */
static void on_timer(struct loop_source *s, void *userdata)
{
	struct ttrpc_server *server = userdata;
	struct conn *c;

	list_foreach (c, &server->conns, struct conn, node)
		if (c->broken)
			conn_free(c);
	if (server->accept && server->n_conns < CONNECTIONS_MAX)
		loop_io_set_events(server->accept, EPOLLIN);
}

static int conn_new(struct ttrpc_server *server, int fd)
{
	struct conn *c = calloc(1, sizeof *c);
	int r = fd_set_nonblock(fd, true);

	if (!c || r < 0) {
		free(c);
		close(fd);
		return r < 0 ? r : -ENOMEM;
	}
	*c = (struct conn){ .server = server, .fd = fd, .events = EPOLLIN, .budget = PB_BUDGET_DEFAULT };
	list_init(&c->requests);
	r = loop_add_io(server->loop, fd, c->events, on_conn, c, &c->io);
	if (r < 0) {
		close(fd);
		free(c);
		return r;
	}
	list_append(&server->conns, &c->node);
	if (++server->n_conns >= CONNECTIONS_MAX && server->accept)
		loop_io_set_events(server->accept, 0);
	return 0;
}

static void on_accept(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct ttrpc_server *server = userdata;
	int r = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (r < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
		return;
	r = r < 0 ? -errno : conn_new(server, r);
	if (r < 0) {
		/* The connection stays in the backlog and would wake us at once again. */
		log_warn("ttrpc: cannot accept a connection: %s", strerror(-r));
		loop_io_set_events(s, 0);
		loop_timer_set(server->timer, ACCEPT_PAUSE_MS);
	}
}

/* ---- interface ---- */

int ttrpc_server_new(struct loop *loop, int listen_fd, const struct ttrpc_service *services, size_t n_services,
		     void *userdata, struct ttrpc_server **ret, struct err *e)
{
	struct ttrpc_server *server = calloc(1, sizeof *server);
	int r = 0;

	if (!server) {
		fd_close(&listen_fd);
		return err_sys(e, ENOMEM, "cannot set up a ttrpc server");
	}
	*server = (struct ttrpc_server){ .loop = loop,
					 .listen_fd = listen_fd,
					 .services = services,
					 .n_services = n_services,
					 .userdata = userdata };
	list_init(&server->conns);
	if (listen_fd >= 0)
		r = fd_set_nonblock(listen_fd, true);
	if (r == 0)
		r = loop_add_timer(loop, UINT64_MAX, on_timer, server, &server->timer);
	if (r == 0 && listen_fd >= 0)
		r = loop_add_io(loop, listen_fd, EPOLLIN, on_accept, server, &server->accept);
	if (r < 0) {
		ttrpc_server_free(server);
		return err_sys(e, -r, "cannot set up a ttrpc server");
	}
	*ret = server;
	return 0;
}

int ttrpc_server_add(struct ttrpc_server *server, int fd, struct err *e)
{
	int r;

	if (server->n_conns >= CONNECTIONS_MAX) {
		close(fd);
		return err_set(e, ERR_LIMIT, EMFILE, "the ttrpc server has %d connections already", CONNECTIONS_MAX);
	}
	r = conn_new(server, fd);
	return r < 0 ? err_sys(e, -r, "cannot serve a ttrpc connection") : 0;
}

void ttrpc_server_free(struct ttrpc_server *server)
{
	struct conn *c;

	if (!server)
		return;
	loop_source_free(take_ptr(server->accept));
	fd_close(&server->listen_fd);
	while ((c = list_first(&server->conns, struct conn, node)))
		conn_free(c);
	loop_source_free(server->timer);
	free(server);
}

static void request_end(struct ttrpc_request *req, const Ttrpc__Response *response)
{
	struct conn *c = req->conn;
	bool large;

	if (c) {
		list_remove(&req->node);
		c->n_requests--;
		c->budget += req->cost;
		conn_answer(c, req->stream, response);
	}
	pb_free(req->message);
	large = req->cost >= LARGE_REQUEST;
	free(req);
	/* Many small pieces are a heap that is free and ours for ever, as soon as anything outlives them at its end. */
	if (large)
		malloc_trim(0);
}

void ttrpc_reply(struct ttrpc_request *req, const ProtobufCMessage *response)
{
	Ttrpc__Response envelope = TTRPC__RESPONSE__INIT;
	_cleanup_buf_ struct buf payload = { 0 };
	/* Room for the tag and the length around it. No status means OK, as in containerd. */
	int r = pb_pack(response, TTRPC_MESSAGE_MAX - 16, &payload);

	if (r < 0) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "the answer cannot be sent: %s", strerror(-r));
		return;
	}
	envelope.payload.data = (uint8_t *)payload.data;
	envelope.payload.len = payload.len;
	request_end(req, &envelope);
}

void ttrpc_reply_error(struct ttrpc_request *req, enum ttrpc_code code, const char *fmt, ...)
{
	Ttrpc__Response envelope = TTRPC__RESPONSE__INIT;
	Ttrpc__Status status = TTRPC__STATUS__INIT;
	char text[ERR_TEXT_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	/*
	 * A string of a message must be UTF-8: the Go implementation cannot read another one, and would know neither
	 * the text nor the code. It may name a file that is called otherwise, quote a guest, or be cut inside a
	 * character.
	 */
	utf8_repair(text);
	status.code = (int32_t)code;
	status.message = text;
	envelope.status = &status;
	request_end(req, &envelope);
}

enum ttrpc_code ttrpc_code_from_errno(int r)
{
	switch (r < 0 ? -r : r) {
	case 0:
		return TTRPC_OK;
	case ENOENT:
	case ESRCH:
		return TTRPC_NOT_FOUND;
	case EINVAL:
		return TTRPC_INVALID_ARGUMENT;
	case EEXIST:
		return TTRPC_ALREADY_EXISTS;
	case EPERM:
	case EACCES:
		return TTRPC_PERMISSION_DENIED;
	case ENOSYS:
	case EOPNOTSUPP:
		return TTRPC_UNIMPLEMENTED;
	case ETIMEDOUT:
		return TTRPC_DEADLINE_EXCEEDED;
	case ECANCELED:
		return TTRPC_CANCELLED;
	case EBUSY:
		return TTRPC_FAILED_PRECONDITION;
	case ENOMEM:
	case ENOSPC:
	case EMFILE:
	case ENFILE:
	case E2BIG:
		return TTRPC_RESOURCE_EXHAUSTED;
	default:
		return TTRPC_INTERNAL;
	}
}

void ttrpc_request_on_close(struct ttrpc_request *req, void (*fn)(struct ttrpc_request *req, void *userdata),
			    void *userdata)
{
	req->on_close = fn;
	req->on_close_userdata = userdata;
}

void ttrpc_request_repeat(struct ttrpc_request *req, void *userdata)
{
	req->method->fn(req, req->message, userdata);
}

int64_t ttrpc_request_timeout_ns(const struct ttrpc_request *req)
{
	return req->timeout_ns;
}

void ttrpc_request_set_data(struct ttrpc_request *req, void *data)
{
	req->data = data;
}

void *ttrpc_request_data(const struct ttrpc_request *req)
{
	return req->data;
}

const ProtobufCMessage *ttrpc_request_message(const struct ttrpc_request *req)
{
	return req->message;
}
