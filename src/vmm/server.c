/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/server.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/list.h"
#include "base/unix_socket.h"
#include "codec/http.h"
#include "vmm/probe.h"
#include "vmm/router.h"

#define UNSENT_MAX (256 * 1024) /* bytes of answers that wait for the client; more, and its requests wait */

struct connection {
	struct list node;
	struct server *server;
	int fd;
	struct loop_source *source;
	struct http_parser parser;
	struct buf out;
	bool closing; /* once out is empty */
};

struct server {
	struct loop *loop;
	struct instance *instance;
	char *path;
	size_t body_max;
	void (*on_fatal)(void *userdata);
	void *userdata;
	int fd;
	struct loop_source *source;
	struct list connections;
	size_t n_connections;
};

static void connection_free(struct connection *c)
{
	list_remove(&c->node);
	c->server->n_connections--;
	loop_source_free(c->source);
	http_parser_fini(&c->parser);
	buf_fini(&c->out);
	fd_close(&c->fd);
	free(c);
}

/* ---- sending ---- */

/* Send what can be sent. false: the peer is gone. */
static bool flush(struct connection *c)
{
	while (c->out.len) {
		ssize_t n = send(c->fd, c->out.data, c->out.len, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN;
		buf_consume(&c->out, (size_t)n);
	}
	return true;
}

static int write_error(struct buf *out, unsigned status, const char *reason)
{
	static const char rest[] = "\nAll previous unanswered requests will be dropped.\" }";
	_cleanup_buf_ struct buf text = { 0 };
	int r = body_print_string(&text, reason);

	/* The line feed stands in the string as it is: so clients know it. */
	if (r == 0)
		r = buf_printf(out,
			       "HTTP/1.1 %u \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n"
			       "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n{ \"error\": %.*s%s",
			       status, strlen("{ \"error\": ") + text.len - 1 + strlen(rest), (int)text.len - 1,
			       text.data, rest);
	return r;
}

/* ---- requests ---- */

static int protocol_error(struct connection *c, int r, const struct err *e)
{
	const char *length = http_field(&c->parser.message, "content-length");
	char reason[256];

	if (r == -ENOMEM)
		return r;
	if (r == -EFBIG)
		snprintf(reason, sizeof reason,
			 "Request payload with size %.20s is larger than the limit of %zu allowed by server.",
			 length ? length : "?", c->server->body_max);
	else
		snprintf(reason, sizeof reason, "%s", e->text);
	say(&c->server->instance->logger, LOGGER_ERROR, "API server: %s", reason);
	c->closing = true;
	return write_error(&c->out, 400, reason);
}

/* Methods that the API does not know are faults of HTTP. */
static bool method_is_known(const char *method)
{
	static const char *const known[] = { "GET", "PUT", "PATCH", "DELETE" };

	for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
		if (!strcmp(method, known[i]))
			return true;
	return false;
}

static int serve(struct connection *c, const struct http_message *m)
{
	const struct request rq = {
		.method = m->method, .target = m->target, .body = m->body, .body_len = m->body_len
	};
	struct answer a;
	int r;

	if (!method_is_known(m->method)) {
		c->closing = true;
		return write_error(&c->out, 400, "Invalid HTTP Method: Unsupported HTTP method.");
	}
	answer_init(&a);
	router_handle(c->server->instance, &rq, &a);
	r = answer_write(&a, &c->out);
	answer_fini(&a);
	return r;
}

/* Answer every request that has come whole. 1: stopped early, too many answers are unsent. */
static int serve_all(struct connection *c)
{
	struct server *s = c->server;

	while (!c->closing && !s->instance->fatal && c->out.len < UNSENT_MAX) {
		const struct http_message *m;
		struct err e = { 0 };
		int r = http_parser_next(&c->parser, &m, &e);

		if (r == 0) {
			if (http_parser_wants_continue(&c->parser))
				return buf_puts(&c->out, "HTTP/1.1 100 \r\nServer: Firecracker API\r\n"
							 "Connection: keep-alive\r\n\r\n");
			return 0;
		}
		r = r < 0 ? protocol_error(c, r, &e) : serve(c, m);
		if (r < 0)
			return r;
	}
	return c->out.len >= UNSENT_MAX;
}

/* Serve and send, as long as sending makes room for more answers. false: the connection is of no use any more. */
static bool work(struct connection *c)
{
	int r;

	do {
		r = serve_all(c);
		if (r < 0 || !flush(c))
			return false;
	} while (r > 0 && c->out.len < UNSENT_MAX);
	return !c->closing || c->out.len;
}

/* Bytes from the client into the parser. 1: some came; 0: not now; < 0: it is gone. */
static int receive(struct connection *c)
{
	char data[4096];
	ssize_t n = recv(c->fd, data, sizeof data, 0);

	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;
	return http_parser_feed(&c->parser, data, (size_t)n) < 0 ? -ENOMEM : 1;
}

static void on_connection(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	struct server *s = c->server;
	bool alive = true;

	(void)fd;
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR) && !c->closing && c->out.len < UNSENT_MAX)
		alive = receive(c) >= 0;
	/* Also after a send that made room: requests may wait in the parser. */
	if (!alive || !work(c))
		connection_free(c);
	else
		loop_io_set_events(source, (c->closing || c->out.len >= UNSENT_MAX ? 0u : (uint32_t)EPOLLIN) |
						   (c->out.len ? (uint32_t)EPOLLOUT : 0u));
	if (s->instance->fatal)
		s->on_fatal(s->userdata);
}

/* ---- connections ---- */

static int connection_add(struct server *s, int fd)
{
	struct connection *c = calloc(1, sizeof *c);

	if (!c)
		return -ENOMEM;
	if (loop_add_io(s->loop, fd, EPOLLIN, on_connection, c, &c->source) < 0) {
		free(c);
		return -ENOMEM;
	}
	c->server = s;
	c->fd = fd;
	http_parser_init(&c->parser, HTTP_REQUEST, SERVER_LINE_MAX, s->body_max);
	list_append(&s->connections, &c->node);
	s->n_connections++;
	return 0;
}

static void refuse(int fd)
{
	static const char text[] = "HTTP/1.1 503 \r\nServer: Firecracker API\r\nConnection: close\r\n"
				   "Content-Length: 40\r\n\r\n{ \"error\": \"Too many open connections\" }";

	if (send(fd, text, sizeof text - 1, MSG_NOSIGNAL) < 0)
		return;
}

static void on_listener(struct loop_source *source, int listener, uint32_t revents, void *userdata)
{
	struct server *s = userdata;
	_cleanup_close_ int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)source;
	(void)revents;
	if (fd < 0)
		return;
	if (s->n_connections == SERVER_CONNECTIONS_MAX)
		refuse(fd);
	else if (connection_add(s, fd) == 0)
		take_fd(&fd);
}

int server_new(struct loop *loop, struct instance *i, const char *path, size_t body_max,
	       void (*on_fatal)(void *userdata), void *userdata, struct server **ret, struct err *e)
{
	struct server *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot serve the API");
	*s = (struct server){
		.loop = loop, .instance = i, .body_max = body_max, .on_fatal = on_fatal, .userdata = userdata, .fd = -1
	};
	list_init(&s->connections);
	r = unix_listen(path, 0755, &s->fd, e);
	if (r == 0) {
		s->path = strdup(path);
		r = s->path ? loop_add_io(loop, s->fd, EPOLLIN, on_listener, s, &s->source) : -ENOMEM;
		if (r < 0)
			err_sys(e, -r, "cannot serve the API at %s", path);
		if (r < 0 && !s->path)
			unlink(path);
	}
	if (r < 0) {
		server_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

void server_free(struct server *s)
{
	struct connection *c;

	if (!s)
		return;
	list_foreach (c, &s->connections, struct connection, node)
		connection_free(c);
	loop_source_free(s->source);
	fd_close(&s->fd);
	if (s->path)
		unlink(s->path);
	free(s->path);
	free(s);
}
