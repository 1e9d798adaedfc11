// SPDX-License-Identifier: Apache-2.0
/*
 *   REQUEST ──▶ CONNECT ──▶ the pump
 *
 * Who listens here is a container's, and may do anything, also nothing: each step has its time, and each connection
 * has the pump's two buffers.
 */
#include "agent/forward.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/forward.h"
#include "loop/acceptor.h"
#include "loop/pump.h"

/* For the request. To connect takes longer where the one who listens has few places in its queue: after a second the
 * kernel asks again, after three, seven, fifteen … The host gives up behind us. */
#define REQUEST_MS 10000
#define CONNECT_MS 25000

struct connection {
	struct list node;
	struct forward *forward;
	int host, local; /* -1: none, or the pump's */
	struct loop_source *host_source, *local_source, *timer;
	uint8_t request[FORWARD_REQUEST_SIZE];
	size_t len;
	uint16_t port;
	bool ipv6;
	int refused; /* by the first address, when there is another */
	struct pump *pump;
};

struct forward {
	struct loop *loop;
	int listen_fd;
	struct acceptor *acceptor;
	struct list connections;
	size_t n;
};

static void connection_free(struct connection *c)
{
	list_remove(&c->node);
	c->forward->n--;
	loop_source_free(c->host_source);
	loop_source_free(c->local_source);
	loop_source_free(c->timer);
	pump_free(c->pump);
	fd_close(&c->host);
	fd_close(&c->local);
	free(c);
}

static void on_done(void *userdata)
{
	connection_free(userdata);
}

static void refuse(struct connection *c, int code)
{
	uint8_t status = code > 0 && code < 256 ? (uint8_t)code : EIO;

	log_debug("forward: port %u: %s", c->port, strerror(code));
	send(c->host, &status, 1, MSG_DONTWAIT | MSG_NOSIGNAL);
	connection_free(c);
}

static void connected(struct connection *c)
{
	static const int one = 1;
	static const uint8_t status = 0;
	struct loop *loop = c->forward->loop;

	setsockopt(c->local, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	loop_source_free(take_ptr(c->host_source));
	loop_source_free(take_ptr(c->local_source));
	loop_source_free(take_ptr(c->timer));
	if (send(c->host, &status, 1, MSG_DONTWAIT | MSG_NOSIGNAL) != 1 ||
	    pump_new(loop, take_fd(&c->host), take_fd(&c->local), on_done, c, &c->pump) < 0)
		connection_free(c);
}

static int start_connect(struct connection *c);

/* code: 0 or the errno of connect(2). */
static void on_result(struct connection *c, int code)
{
	if (code == 0) {
		connected(c);
		return;
	}
	/*
	 * The host's client got its connection before anybody was asked here: it cannot try ::1 by itself any more, as
	 * clients of "localhost" do when 127.0.0.1 is refused.
	 */
	if (code == ECONNREFUSED && !c->ipv6) {
		c->refused = code;
		c->ipv6 = true;
		loop_source_free(take_ptr(c->local_source));
		fd_close(&c->local);
		code = -start_connect(c);
	}
	if (code)
		refuse(c, c->refused ? c->refused : code);
}

static void on_local(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	(void)s;
	(void)revents;
	on_result(userdata, -fd_connect_result(fd));
}

static int start_connect(struct connection *c)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };

	if (c->ipv6)
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					      .sin6_addr = IN6ADDR_LOOPBACK_INIT,
					      .sin6_port = htons(c->port) };
	else
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET,
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					     .sin_port = htons(c->port) };
	c->local = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (c->local < 0 || (connect(c->local, &a.any, sizeof a) < 0 && errno != EINPROGRESS))
		return -errno;
	return loop_add_io(c->forward->loop, c->local, EPOLLOUT, on_local, c, &c->local_source);
}

static void on_host(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	ssize_t n;
	int r;

	(void)revents;
	/* Only its end can come while it waits for an answer. */
	if (c->len == sizeof c->request) {
		connection_free(c);
		return;
	}
	n = recv(fd, c->request + c->len, sizeof c->request - c->len, MSG_DONTWAIT);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		connection_free(c);
		return;
	}
	c->len += (size_t)n;
	if (c->len < sizeof c->request)
		return;
	if (forward_request_read(c->request, &c->ipv6, &c->port) < 0) {
		refuse(c, EPROTO);
		return;
	}
	loop_io_set_events(s, 0);
	loop_timer_set(c->timer, CONNECT_MS);
	r = start_connect(c);
	if (r < 0)
		on_result(c, -r);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	(void)s;
	refuse(userdata, ETIMEDOUT);
}

static void on_connection(struct acceptor *a, int fd, void *userdata)
{
	struct forward *f = userdata;
	_cleanup_close_ int host = fd;
	struct connection *c;

	(void)a;
	if (f->n >= FORWARD_CONNECTIONS_MAX)
		return;
	c = calloc(1, sizeof *c);
	if (!c)
		return;
	c->forward = f;
	c->local = -1;
	c->host = take_fd(&host);
	list_append(&f->connections, &c->node);
	f->n++;
	if (loop_add_io(f->loop, c->host, EPOLLIN, on_host, c, &c->host_source) < 0 ||
	    loop_add_timer(f->loop, REQUEST_MS, on_timer, c, &c->timer) < 0)
		connection_free(c);
}

int forward_new(struct loop *loop, int listen_fd, struct forward **ret, struct err *e)
{
	struct forward *f = calloc(1, sizeof *f);
	int r = -ENOMEM;

	if (f) {
		f->loop = loop;
		f->listen_fd = listen_fd;
		list_init(&f->connections);
		r = acceptor_new(loop, listen_fd, on_connection, f, &f->acceptor);
	}
	if (r < 0) {
		free(f);
		close(listen_fd);
		return err_sys(e, -r, "cannot forward connections");
	}
	*ret = f;
	return 0;
}

void forward_free(struct forward *f)
{
	struct connection *c;

	if (!f)
		return;
	while ((c = list_first(&f->connections, struct connection, node)))
		connection_free(c);
	acceptor_free(f->acceptor);
	fd_close(&f->listen_fd);
	free(f);
}
