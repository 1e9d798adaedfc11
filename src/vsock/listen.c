/* SPDX-License-Identifier: Apache-2.0 */
/* The Unix-socket side: accepting clients, their CONNECT line, and connecting to listeners for the guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/unix_socket.h"
#include "vsock/state.h"

#define ADDRESS_SIZE (sizeof((struct sockaddr_un){ 0 }.sun_path))

int vsock_parse_connect(const char *line, size_t len, uint32_t *ret_port)
{
	uint64_t port = 0;
	size_t i = 7, digits = 0;

	if (len < i)
		return -EINVAL;
	for (size_t k = 0; k < i; k++)
		if ((line[k] | 0x20) != "connect"[k]) /* in either case */
			return -EINVAL;
	if (i == len || line[i] != ' ')
		return -EINVAL;
	while (i < len && line[i] == ' ')
		i++;
	for (; i < len && line[i] >= '0' && line[i] <= '9' && digits < 10; i++, digits++)
		port = port * 10 + (uint64_t)(line[i] - '0');
	if (!digits || port >= VSOCK_PORT_ANY)
		return -EINVAL;
	while (i < len && (line[i] == ' ' || line[i] == '\r'))
		i++;
	if (i + 1 != len || line[i] != '\n')
		return -EINVAL;
	*ret_port = (uint32_t)port;
	return 0;
}

/* The client named a port: ask the guest. */
static void request(struct vsock_conn *c, uint32_t port)
{
	struct vsock_device *dev = c->dev;
	uint32_t local;

	/* Ends: fewer connections than ports. */
	do {
		local = dev->next_port;
		dev->next_port = local == VSOCK_LOCAL_PORT_MAX ? VSOCK_LOCAL_PORT_MIN : local + 1;
	} while (vsock_conn_find(dev, local, port));
	c->state = CONN_REQUESTED;
	vsock_conn_set_ports(c, local, port);
	loop_timer_set(c->timer, VSOCK_CONNECT_TIMEOUT_MS);
	vsock_conn_update_events(c);
	vsock_conn_pend(c, PEND_REQUEST);
}

void vsock_handshake(struct vsock_conn *c)
{
	char *at = c->line + c->line_len, *newline;
	ssize_t n = recv(c->fd, at, sizeof c->line - c->line_len, MSG_PEEK | MSG_DONTWAIT);
	uint32_t port;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* What follows the line belongs to the stream: take no more than the line. */
	newline = n > 0 ? memchr(at, '\n', (size_t)n) : NULL;
	if (newline)
		n = newline - at + 1;
	if (n <= 0 || recv(c->fd, at, (size_t)n, MSG_DONTWAIT) != n) {
		vsock_conn_free(c);
		return;
	}
	c->line_len += n;
	if (!newline && c->line_len < sizeof c->line)
		return;
	if (!newline || vsock_parse_connect(c->line, c->line_len, &port) < 0)
		vsock_conn_free(c);
	else
		request(c, port);
}

static void on_handshake_timer(struct loop_source *s, void *userdata)
{
	struct vsock_conn *c = userdata;
	struct vsock_device *dev = c->dev;

	if (c->request_sent)
		vsock_conn_reset(c);
	else
		vsock_conn_free(c);
	vsock_rx_pump(dev);
}

static void on_accept(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct vsock_device *dev = userdata;

	for (int i = 0; i < 16; i++) {
		int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		struct vsock_conn *c;

		if (client < 0) {
			if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
				/* The client waits in the backlog; asking again at once would spin. */
				loop_io_set_events(s, 0);
				loop_timer_set(dev->listen_timer, VSOCK_ACCEPT_RETRY_MS);
			}
			break;
		}
		c = vsock_conn_new(dev, client, CONN_HANDSHAKE);
		if (!c) {
			close(client);
			continue;
		}
		if (loop_add_timer(dev->loop, VSOCK_HANDSHAKE_MS, on_handshake_timer, c, &c->timer) < 0) {
			vsock_conn_free(c);
			continue;
		}
		/* Most clients have sent their line already. */
		vsock_handshake(c);
	}
	vsock_rx_pump(dev);
}

void vsock_listen_resume(struct vsock_device *dev)
{
	if (dev->listener)
		loop_io_set_events(dev->listener, EPOLLIN);
}

static void on_listen_timer(struct loop_source *s, void *userdata)
{
	vsock_listen_resume(userdata);
}

/* Connections of the guest are made where no file may be opened: what long names need is opened now. */
static int open_folder(struct vsock_device *dev)
{
	const char *name = strrchr(dev->path, '/');
	_cleanup_free_ char *dir = NULL;

	if (!name || strlen(dev->path) + sizeof "_4294967295" <= ADDRESS_SIZE)
		return 0;
	dir = strndup(dev->path, (size_t)(name - dev->path) + 1);
	if (!dir)
		return -ENOMEM;
	dev->dir_fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dev->dir_fd < 0 ? -errno : 0;
}

int vsock_listen_start(struct vsock_device *dev, struct err *e)
{
	int r = unix_listen(dev->path, 0600, &dev->listen_fd, e);

	if (r < 0)
		return r;
	r = loop_add_io(dev->loop, dev->listen_fd, EPOLLIN, on_accept, dev, &dev->listener);
	if (r == 0)
		r = loop_add_timer(dev->loop, UINT64_MAX, on_listen_timer, dev, &dev->listen_timer);
	if (r == 0)
		r = open_folder(dev);
	return r < 0 ? err_sys(e, -r, "cannot serve %s", dev->path) : 0;
}

void vsock_listen_stop(struct vsock_device *dev)
{
	loop_source_free(dev->listener);
	loop_source_free(dev->listen_timer);
	dev->listener = dev->listen_timer = NULL;
	if (dev->listen_fd >= 0)
		unlink(dev->path);
	fd_close(&dev->listen_fd);
	fd_close(&dev->dir_fd);
}

/* Where the host listens for connections of the guest to port. False: the name is too long. */
static bool listener_path(const struct vsock_device *dev, uint32_t port, char path[static ADDRESS_SIZE])
{
	int n = dev->dir_fd < 0 ? snprintf(path, ADDRESS_SIZE, "%s_%u", dev->path, port)
				: snprintf(path, ADDRESS_SIZE, "/proc/self/fd/%d%s_%u", dev->dir_fd,
					   strrchr(dev->path, '/'), port);

	return n > 0 && (size_t)n < ADDRESS_SIZE;
}

void vsock_host_connect(struct vsock_device *dev, const struct vsock_hdr *hdr)
{
	uint32_t local = le32_get(hdr->dst_port), peer = le32_get(hdr->src_port);
	_cleanup_close_ int fd = -1;
	struct vsock_conn *c = NULL;
	char path[ADDRESS_SIZE];

	/* The guest chooses the number, never the path. A full backlog counts as absent: the guest may try again. */
	if (listener_path(dev, local, path) && unix_connect(path, &fd) == 0)
		c = vsock_conn_new(dev, fd, CONN_ESTABLISHED);
	if (!c) {
		vsock_send_rst(dev, local, peer, VSOCK_TYPE_STREAM);
		return;
	}
	take_fd(&fd);
	vsock_conn_set_ports(c, local, peer);
	vsock_conn_set_credit(c, hdr);
	vsock_conn_pend(c, PEND_RESPONSE);
}
