/* SPDX-License-Identifier: Apache-2.0 */
#include "loop/acceptor.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define AGAIN_MS 1000

struct acceptor {
	struct loop_source *source, *again;
	bool off;
	acceptor_fn fn;
	void *userdata;
};

static void on_again(struct loop_source *s, void *userdata)
{
	struct acceptor *a = userdata;

	(void)s;
	acceptor_set(a, !a->off);
}

static void on_connection(struct loop_source *s, int listen_fd, uint32_t revents, void *userdata)
{
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct acceptor *a = userdata;

	(void)revents;
	if (fd >= 0) {
		a->fn(a, fd, a->userdata);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		loop_io_set_events(s, 0);
		loop_timer_set(a->again, AGAIN_MS);
	}
}

int acceptor_new(struct loop *loop, int listen_fd, acceptor_fn fn, void *userdata, struct acceptor **ret)
{
	struct acceptor *a = calloc(1, sizeof *a);
	int r;

	if (!a)
		return -ENOMEM;
	a->fn = fn;
	a->userdata = userdata;
	r = loop_add_timer(loop, UINT64_MAX, on_again, a, &a->again);
	if (r == 0)
		r = loop_add_io(loop, listen_fd, EPOLLIN, on_connection, a, &a->source);
	if (r < 0) {
		acceptor_free(a);
		return r;
	}
	*ret = a;
	return 0;
}

void acceptor_set(struct acceptor *a, bool on)
{
	if (!a)
		return;
	a->off = !on;
	loop_io_set_events(a->source, on ? EPOLLIN : 0);
}

void acceptor_free(struct acceptor *a)
{
	if (!a)
		return;
	loop_source_free(a->source);
	loop_source_free(a->again);
	free(a);
}
