/* SPDX-License-Identifier: Apache-2.0 */
/*
 *   QUEUE ──▶ ANSWER (hybrid)      QUEUE: the VMM's backlog is full, and connect(2) would wait: tried again soon
 *   CONNECT          (AF_VSOCK)
 */
#include "hypervisor/dial.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <linux/vm_sockets.h> /* wants struct sockaddr */

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"

#define AGAIN_MS 10

struct vm_dial {
	struct loop *loop;
	int fd; /* -1: QUEUE */
	char *path;
	uint32_t port;
	char line[32]; /* of the answer */
	size_t len;
	uint64_t deadline_ms;
	struct loop_source *source, *timer;
	void (*fn)(int fd, void *userdata);
	void *userdata;
};

void vm_dial_free(struct vm_dial *d)
{
	if (!d)
		return;
	loop_source_free(d->source);
	loop_source_free(d->timer);
	fd_close(&d->fd);
	free(d->path);
	free(d);
}

static void finish(struct vm_dial *d, int r)
{
	void (*fn)(int fd, void *userdata) = d->fn;
	void *userdata = d->userdata;
	int fd = r < 0 ? r : take_fd(&d->fd);

	if (fd >= 0) {
		loop_source_free(d->source); /* while the descriptor is the source's */
		d->source = NULL;
	}
	vm_dial_free(d);
	fn(fd, userdata);
}

/* 1: the guest has accepted; 0: not yet; or -errno. What follows the line belongs to the connection. */
static int read_answer(struct vm_dial *d)
{
	for (;;) {
		ssize_t n = recv(d->fd, d->line + d->len, 1, MSG_DONTWAIT);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return 0;
		if (n < 0)
			return errno == ECONNRESET ? -ECONNREFUSED : -errno;
		if (n == 0)
			return d->len ? -EPROTO : -ECONNREFUSED;
		if (d->line[d->len] == '\n')
			return d->len >= 4 && !memcmp(d->line, "OK ", 3) ? 1 : -EPROTO;
		if (++d->len == sizeof d->line)
			return -EPROTO;
	}
}

static void on_answer(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct vm_dial *d = userdata;
	int r = read_answer(d);

	(void)s;
	(void)fd;
	(void)revents;
	if (r)
		finish(d, r);
}

static void on_connected(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	int r = fd_connect_result(fd);

	(void)s;
	(void)revents;
	/* What AF_VSOCK says of a port that nobody listens at. */
	finish(userdata, r == -ECONNRESET ? -ECONNREFUSED : r);
}

/* -EAGAIN: try again soon. */
static int dial_hybrid(struct vm_dial *d)
{
	char request[32];
	int r = unix_connect(d->path, &d->fd), n = snprintf(request, sizeof request, "CONNECT %u\n", d->port);

	if (r < 0)
		return r;
	/* A fresh socket's buffer always holds the few bytes. */
	if (send(d->fd, request, (size_t)n, MSG_NOSIGNAL) != n)
		return -ECONNREFUSED;
	return loop_add_io(d->loop, d->fd, EPOLLIN, on_answer, d, &d->source);
}

static int dial_vsock(struct vm_dial *d, uint32_t cid)
{
	struct sockaddr_vm a = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = d->port };

	d->fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0 || (connect(d->fd, (struct sockaddr *)&a, sizeof a) < 0 && errno != EINPROGRESS))
		return -errno;
	return loop_add_io(d->loop, d->fd, EPOLLOUT, on_connected, d, &d->source);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct vm_dial *d = userdata;
	uint64_t now = clock_ms();
	int r = d->fd >= 0 || now >= d->deadline_ms ? -ETIMEDOUT : dial_hybrid(d);

	if (r < 0 && r != -EAGAIN)
		finish(d, r);
	else
		loop_timer_set(s, r < 0 ? AGAIN_MS : d->deadline_ms - now);
}

int vm_dial(struct loop *loop, const char *address, uint32_t port, unsigned timeout_ms,
	    void (*fn)(int fd, void *userdata), void *userdata, struct vm_dial **ret)
{
	const char *path = str_after(address, "hvsock:"), *cid_text = str_after(address, "vsock:");
	struct vm_dial *d = calloc(1, sizeof *d);
	uint64_t cid = 0;
	int r = -ENOMEM;

	if (!d)
		return -ENOMEM;
	*d = (struct vm_dial){ .loop = loop,
			       .fd = -1,
			       .path = strdup(path ? path : ""),
			       .port = port,
			       .deadline_ms = clock_ms() + timeout_ms,
			       .fn = fn,
			       .userdata = userdata };
	if (d->path)
		r = loop_add_timer(loop, timeout_ms, on_timer, d, &d->timer);
	if (r == 0 && path)
		r = dial_hybrid(d);
	else if (r == 0)
		r = cid_text && str_to_u64(cid_text, 10, &cid) == 0 && cid >= 3 && cid <= UINT32_MAX
			    ? dial_vsock(d, (uint32_t)cid)
			    : -EINVAL;
	if (r == -EAGAIN && path) {
		loop_timer_set(d->timer, AGAIN_MS);
		r = 0;
	}
	if (r < 0) {
		vm_dial_free(d);
		return r;
	}
	*ret = d;
	return 0;
}
