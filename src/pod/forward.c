/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   DIAL ──▶ STATUS ──▶ the pump
 */
#include "pod/forward.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/forward.h"
#include "hypervisor/dial.h"
#include "loop/acceptor.h"
#include "loop/pump.h"
#include "sys/loopback_catch.h"

/* For the agent to accept, and then to connect: it gives up before. */
#define DIAL_MS   5000
#define STATUS_MS 30000

struct connection {
	struct list node;
	struct pod_forward *forward;
	int client, guest; /* -1: none yet, or the pump's */
	bool ipv6;
	uint16_t port;
	struct vm_dial *dial;
	struct loop_source *source, *timer;
	struct pump *pump;
};

struct pod_forward {
	struct loop *loop;
	char *address;
	struct loopback_catch caught;
	struct acceptor *acceptors[2]; /* IPv4, IPv6; NULL: none */
	struct list connections;
	size_t n;
};

/* ---- accepting ---- */

static void listen_to(struct pod_forward *f, bool on)
{
	for (int i = 0; i < 2; i++)
		acceptor_set(f->acceptors[i], on);
}

static void connection_free(struct connection *c)
{
	struct pod_forward *f = c->forward;

	list_remove(&c->node);
	if (f->n-- == FORWARD_CONNECTIONS_MAX)
		listen_to(f, true);
	vm_dial_free(c->dial);
	loop_source_free(c->source);
	loop_source_free(c->timer);
	pump_free(c->pump);
	if (c->client >= 0)
		pump_reset_on_close(c->client);
	fd_close(&c->client);
	fd_close(&c->guest);
	free(c);
}

/*
 * Of a client that has ended its direction nobody can say whether it still listens. When it does not, its kernel knows
 * that after a minute, and a probe is answered by a reset.
 */
static void set_options(int client)
{
	static const int one = 1, idle_s = 60, every_s = 15;

	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(client, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
	setsockopt(client, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
	setsockopt(client, IPPROTO_TCP, TCP_KEEPINTVL, &every_s, sizeof every_s);
}

/* ---- one connection ---- */

static void on_done(void *userdata)
{
	connection_free(userdata);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	(void)s;
	connection_free(userdata);
}

static void on_status(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	uint8_t status;
	ssize_t n = recv(fd, &status, 1, MSG_DONTWAIT);

	(void)s;
	(void)revents;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n == 1 && status)
		log_debug("port %u of the guest's loopback: %s", c->port, strerror(status));
	loop_source_free(take_ptr(c->source));
	loop_source_free(take_ptr(c->timer));
	if (n != 1 || status ||
	    pump_new(c->forward->loop, take_fd(&c->client), take_fd(&c->guest), on_done, c, &c->pump) < 0)
		connection_free(c);
}

static void on_dialed(int fd, void *userdata)
{
	struct connection *c = userdata;
	uint8_t request[FORWARD_REQUEST_SIZE];

	c->dial = NULL;
	c->guest = fd;
	forward_request_write(request, c->ipv6, c->port);
	/* A fresh socket's buffer always holds the few bytes. */
	if (fd < 0 || send(fd, request, sizeof request, MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof request ||
	    loop_add_io(c->forward->loop, fd, EPOLLIN, on_status, c, &c->source) < 0 ||
	    loop_add_timer(c->forward->loop, STATUS_MS, on_timer, c, &c->timer) < 0) {
		log_debug("port %u of the guest's loopback: %s", c->port,
			  fd < 0 ? strerror(-fd) : "the agent cannot be asked");
		connection_free(c);
	}
}

static uint16_t asked_port(int client)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };
	socklen_t len = sizeof a;

	if (getsockname(client, &a.any, &len) < 0)
		return 0;
	return ntohs(a.any.sa_family == AF_INET6 ? a.v6.sin6_port : a.v4.sin_port);
}

static void on_client(struct acceptor *a, int fd, void *userdata)
{
	_cleanup_close_ int client = fd;
	struct pod_forward *f = userdata;
	struct connection *c;

	c = calloc(1, sizeof *c);
	if (!c)
		return;
	*c = (struct connection){ .forward = f, .client = take_fd(&client), .guest = -1, .ipv6 = a == f->acceptors[1] };
	c->port = asked_port(c->client);
	set_options(c->client);
	list_append(&f->connections, &c->node);
	if (++f->n == FORWARD_CONNECTIONS_MAX)
		listen_to(f, false);
	if (vm_dial(f->loop, f->address, FORWARD_VSOCK_PORT, DIAL_MS, on_dialed, c, &c->dial) < 0)
		connection_free(c);
}

/* ---- all of them ---- */

int pod_forward_new(struct loop *loop, int ns_fd, const char *agent_address, struct pod_forward **ret, struct err *e)
{
	struct pod_forward *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return err_sys(e, ENOMEM, "cannot forward ports");
	f->loop = loop;
	f->caught = (struct loopback_catch)LOOPBACK_CATCH_NONE;
	list_init(&f->connections);
	f->address = strdup(agent_address);
	r = f->address ? loopback_catch_open(ns_fd, FORWARD_CONNECTIONS_MAX, &f->caught, e)
		       : err_sys(e, ENOMEM, "cannot forward ports");
	if (r == 0) {
		for (int i = 0; i < 2 && r == 0; i++)
			if (f->caught.listen_fds[i] >= 0)
				r = acceptor_new(loop, f->caught.listen_fds[i], on_client, f, &f->acceptors[i]);
		if (r < 0)
			err_sys(e, -r, "cannot forward ports");
	}
	if (r < 0) {
		pod_forward_free(f);
		return r;
	}
	*ret = f;
	return 0;
}

void pod_forward_free(struct pod_forward *f)
{
	struct connection *c;

	if (!f)
		return;
	while ((c = list_first(&f->connections, struct connection, node)))
		connection_free(c);
	acceptor_free(f->acceptors[0]);
	acceptor_free(f->acceptors[1]);
	loopback_catch_close(&f->caught);
	free(f->address);
	free(f);
}
