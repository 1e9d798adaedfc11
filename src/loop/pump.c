/* SPDX-License-Identifier: Apache-2.0 */
/*
 * flow[i] carries what end[i] says to the other end. An end hangs up when neither it nor its peer will say any more, or
 * when it broke: it can then still be read, but epoll would tell of it again and again, so its source is freed, and
 * what is left there is moved when the other end can take it.
 */
#include "loop/pump.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

/* Chunks moved at once, so that others have their turn. */
#define ROUNDS 8
/* How often is looked whether who says no more still listens. */
#define LOOK_MS 10000

struct flow {
	char data[PUMP_CHUNK];
	size_t at, len;
	bool source_ended; /* what is left is in data */
	bool source_broke; /* so that there is no end to pass on */
	bool ended;        /* the other end knows, or does not care */
};

struct end {
	struct pump *pump;
	int fd;
	struct loop_source *source; /* NULL: it hung up */
};

struct pump {
	struct loop *loop;
	struct end end[2];
	struct flow flow[2];
	struct loop_source *look; /* NULL: both directions are open */
	bool broken;              /* a direction did not come to its end */
	void (*done)(void *userdata);
	void *userdata;
};

void pump_reset_on_close(int fd)
{
	struct linger now = { .l_onoff = 1 };
	int domain = 0;
	socklen_t len = sizeof domain;

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &len) == 0 && (domain == AF_INET || domain == AF_INET6))
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

static bool is_for_later(void)
{
	return errno == EAGAIN || errno == EINTR;
}

/* Take a chunk from the flow's source, when the last one is gone. */
static void fill(struct pump *p, int i)
{
	struct flow *f = &p->flow[i];
	ssize_t n;

	if (f->len || f->source_ended)
		return;
	n = recv(p->end[i].fd, f->data, sizeof f->data, MSG_DONTWAIT);
	if (n > 0) {
		f->at = 0;
		f->len = (size_t)n;
	} else if (n < 0 && !is_for_later()) {
		f->source_ended = f->source_broke = p->broken = true;
	} else if (n == 0 || !p->end[i].source) {
		f->source_ended = true;
	}
}

/* False: the other end takes no more for now. */
static bool drain(struct pump *p, int i)
{
	struct flow *f = &p->flow[i];

	while (f->len > 0) {
		ssize_t n = send(p->end[1 - i].fd, f->data + f->at, f->len, MSG_DONTWAIT | MSG_NOSIGNAL);

		if (n < 0 && is_for_later())
			return false;
		if (n < 0) {
			/* What comes from there may still be wanted here. */
			f->len = 0;
			f->ended = p->broken = true;
			return true;
		}
		f->at += (size_t)n;
		f->len -= (size_t)n;
	}
	return true;
}

static void move(struct pump *p, int i)
{
	struct flow *f = &p->flow[i];

	for (int round = 0; round < ROUNDS && !f->ended; round++) {
		fill(p, i);
		if (!drain(p, i) || (!f->len && !f->source_ended))
			return;
		if (f->source_ended && !f->len && !f->ended) {
			if (!f->source_broke)
				shutdown(p->end[1 - i].fd, SHUT_WR);
			f->ended = true;
		}
	}
}

static void hang_up(struct pump *p, int i)
{
	struct flow *to = &p->flow[1 - i];

	loop_source_free(p->end[i].source);
	p->end[i].source = NULL;
	if (to->ended)
		return;
	to->len = 0;
	to->ended = p->broken = true;
}

static void wait_for_more(struct pump *p, int i)
{
	const struct flow *from = &p->flow[i], *to = &p->flow[1 - i];
	bool in = !from->len && !from->source_ended && !from->ended;
	bool out = !to->ended && (to->len || !p->end[1 - i].source);

	if (p->end[i].source)
		loop_io_set_events(p->end[i].source, (in ? EPOLLIN : 0) | (out ? EPOLLOUT : 0u));
}

static void advance(struct pump *p);

/*
 * Of an end that has ended its own direction not every kind of socket tells that it has gone altogether: AF_VSOCK does
 * not, and when nothing is to be sent to it, nobody would ever know. It refuses to be sent nothing then.
 */
static void on_look(struct loop_source *source, void *userdata)
{
	struct pump *p = userdata;

	loop_timer_set(source, LOOK_MS);
	for (int i = 0; i < 2; i++)
		if (p->flow[i].source_ended && p->end[i].source &&
		    send(p->end[i].fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && !is_for_later())
			hang_up(p, i);
	advance(p);
}

/* Without a timer it lives for as long as before. */
static void look_at_times(struct pump *p)
{
	if (!p->look && (p->flow[0].source_ended || p->flow[1].source_ended))
		(void)loop_add_timer(p->loop, LOOK_MS, on_look, p, &p->look);
}

/* May be the end of p. */
static void advance(struct pump *p)
{
	move(p, 0);
	move(p, 1);
	if (!p->flow[0].ended || !p->flow[1].ended) {
		wait_for_more(p, 0);
		wait_for_more(p, 1);
		look_at_times(p);
		return;
	}
	loop_source_free(take_ptr(p->look));
	for (int i = 0; i < 2; i++)
		loop_source_free(take_ptr(p->end[i].source));
	p->done(p->userdata);
}

static void on_end(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct end *end = userdata;
	struct pump *p = end->pump;

	(void)source;
	(void)fd;
	if (revents & (EPOLLHUP | EPOLLERR))
		hang_up(p, end == &p->end[1]);
	advance(p);
}

int pump_new(struct loop *loop, int a, int b, void (*done)(void *userdata), void *userdata, struct pump **ret)
{
	struct pump *p = calloc(1, sizeof *p);
	int r = 0;

	if (!p) {
		close(a);
		close(b);
		return -ENOMEM;
	}
	p->loop = loop;
	p->done = done;
	p->userdata = userdata;
	p->end[0] = (struct end){ .pump = p, .fd = a };
	p->end[1] = (struct end){ .pump = p, .fd = b };
	for (int i = 0; i < 2 && r == 0; i++)
		r = loop_add_io(loop, p->end[i].fd, EPOLLIN, on_end, &p->end[i], &p->end[i].source);
	if (r < 0) {
		pump_free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void pump_free(struct pump *p)
{
	if (!p)
		return;
	loop_source_free(p->look);
	for (int i = 0; i < 2; i++) {
		loop_source_free(p->end[i].source);
		if (p->broken || !p->flow[0].ended || !p->flow[1].ended)
			pump_reset_on_close(p->end[i].fd);
		close(p->end[i].fd);
	}
	free(p);
}
