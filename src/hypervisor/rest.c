/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The connection is kept from call to call. A call never repeats a request, because the VMM may have acted on the first
 * one: a connection that the VMM closed meanwhile is found out before anything is sent on it. After a failure that
 * leaves the place in the stream uncertain the connection is closed, and the next call makes a new one.
 */
#include "hypervisor/rest.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/http.h"
#include "codec/json.h"

#define RETRY_MS_MAX 16 /* between attempts to connect */
#define INTERIM_MAX  8  /* 1xx answers before the real one */
#define FAULT_MAX    600

/* One call on its way. */
struct call {
	struct rest *rest;
	const char *method, *target;
	uint64_t deadline_ms;
};

void rest_init(struct rest *r, const char *name, const char *socket_path)
{
	*r = (struct rest){ .name = name, .socket_path = socket_path, .exit_fd = -1, .interrupt_fd = -1, .fd = -1 };
}

void rest_fini(struct rest *r)
{
	fd_close(&r->fd);
}

/*
 * Wait for events on fd (-1: only let the time pass). What the VMM has said is taken in before its end is noticed: some
 * answer and then exit.
 */
static int wait_for(const struct rest *r, int fd, short events, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[3] = { { .fd = fd, .events = events },
				       { .fd = r->exit_fd, .events = POLLIN },
				       { .fd = r->interrupt_fd, .events = POLLIN } };
		uint64_t now = clock_ms(), left = deadline_ms > now ? deadline_ms - now : 0;
		int n = poll(p, 3, left > 60000 ? 60000 : (int)left);

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n > 0 && p[0].revents)
			return 0;
		if (n > 0 && p[1].revents)
			return -EPIPE;
		if (n > 0 && p[2].revents)
			return -ECANCELED;
		if (clock_ms() >= deadline_ms)
			return -ETIMEDOUT;
	}
}

/* ---- connecting ---- */

/* Nobody listens there yet; or the queue of a VMM that is slow to accept is full. */
static bool is_early(int r, bool starting)
{
	return r == -EAGAIN || (starting && (r == -ENOENT || r == -ECONNREFUSED));
}

static int connect_until(struct rest *r, bool starting, uint64_t deadline_ms)
{
	for (uint64_t pause_ms = 1;; pause_ms = pause_ms < RETRY_MS_MAX ? pause_ms * 2 : pause_ms) {
		uint64_t until = clock_ms() + pause_ms;
		int k = unix_connect(r->socket_path, &r->fd);

		if (k == 0 || !is_early(k, starting))
			return k;
		k = wait_for(r, -1, 0, until < deadline_ms ? until : deadline_ms);
		if (k != -ETIMEDOUT || clock_ms() >= deadline_ms)
			return k;
	}
}

int rest_wait(struct rest *r, uint64_t deadline_ms, struct err *e)
{
	int k = r->fd >= 0 ? 0 : connect_until(r, true, deadline_ms);

	switch (k) {
	case 0:
		return 0;
	case -EPIPE:
		return err_set(e, ERR_HYPERVISOR, EPIPE, "%s ended before it listened at %s", r->name, r->socket_path);
	case -ECANCELED:
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while %s was starting", r->name);
	case -ETIMEDOUT:
		return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "%s does not listen at %s in time", r->name,
			       r->socket_path);
	default:
		return err_sys(e, -k, "cannot connect to %s at %s", r->name, r->socket_path);
	}
}

/* An idle connection has nothing to read: bytes that nobody asked for, or the end, make it useless. */
static void drop_stale(struct rest *r)
{
	struct pollfd p = { .fd = r->fd, .events = POLLIN };

	if (r->fd >= 0 && poll(&p, 1, 0) != 0)
		fd_close(&r->fd);
}

/* ---- one exchange ---- */

static int fail(const struct call *c, int k, struct err *e)
{
	switch (k) {
	case -EPIPE:
		return err_set(e, ERR_HYPERVISOR, EPIPE, "%s ended during %s %s", c->rest->name, c->method, c->target);
	case -ECANCELED:
		return err_set(e, ERR_SYSTEM, ECANCELED, "interrupted while %s worked on %s %s", c->rest->name,
			       c->method, c->target);
	case -ETIMEDOUT:
		return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "%s did not answer %s %s in time", c->rest->name,
			       c->method, c->target);
	default:
		return err_sys(e, -k, "%s %s %s: the connection failed", c->rest->name, c->method, c->target);
	}
}

static ssize_t send_some(int fd, const struct buf *out, size_t at, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(REST_FDS_MAX * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = out->data + at, .iov_len = out->len - at };
	struct msghdr m = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		struct cmsghdr *h = &control.head;

		m.msg_control = control.space;
		m.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		h->cmsg_level = SOL_SOCKET;
		h->cmsg_type = SCM_RIGHTS;
		h->cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(h), fds, n_fds * sizeof(int));
	}
	return sendmsg(fd, &m, MSG_NOSIGNAL);
}

/*
 * The descriptors travel with the first bytes. A VMM that stops reading may have said why: that is not an error here,
 * and the answer is read.
 */
static int send_request(const struct call *c, const struct buf *out, const int *fds, size_t n_fds, struct err *e)
{
	for (size_t at = 0; at < out->len;) {
		ssize_t n = send_some(c->rest->fd, out, at, fds, at ? 0 : n_fds);
		int k;

		if (n >= 0) {
			at += (size_t)n;
			continue;
		}
		if (errno == EPIPE || errno == ECONNRESET)
			return 0;
		if (errno == EINTR)
			continue;
		k = errno == EAGAIN ? wait_for(c->rest, c->rest->fd, POLLOUT, c->deadline_ms) : -errno;
		if (k < 0)
			return fail(c, k, e);
	}
	return 0;
}

/* Take in what is there, or wait for more. 0, or an error also at the end of the stream. */
static int receive_some(const struct call *c, struct http_parser *p, struct err *e)
{
	char data[16384];

	for (;;) {
		ssize_t n = recv(c->rest->fd, data, sizeof data, MSG_DONTWAIT);
		int k;

		if (n > 0) {
			k = http_parser_feed(p, data, (size_t)n);
			return k < 0 ? fail(c, k, e) : 0;
		}
		if (n == 0 || errno == ECONNRESET)
			return err_set(e, ERR_HYPERVISOR, EPIPE, "%s closed the connection %s %s %s", c->rest->name,
				       http_parser_idle(p) ? "instead of answering" : "in the middle of its answer to",
				       c->method, c->target);
		if (errno == EINTR)
			continue;
		k = errno == EAGAIN ? wait_for(c->rest, c->rest->fd, POLLIN, c->deadline_ms) : -errno;
		if (k < 0)
			return fail(c, k, e);
	}
}

/* The answer out of what has been received. 1; 0: it is not whole yet. */
static int next_answer(const struct call *c, struct http_parser *p, unsigned *interim, const struct http_message **ret,
		       struct err *e)
{
	int k;

	while ((k = http_parser_next(p, ret, e)) > 0 && (*ret)->status < 200)
		if (++*interim > INTERIM_MAX)
			return err_set(e, ERR_PROTOCOL, EPROTO, "%s answers %s %s with more than %d interim statuses",
				       c->rest->name, c->method, c->target, INTERIM_MAX);
	if (k >= 0)
		return k;
	err_wrap(e, "%s answers %s %s wrongly", c->rest->name, c->method, c->target);
	/* Which rule of HTTP is broken makes no difference to a caller. */
	return k == -EFBIG || k == -ENOMEM ? k : -EPROTO;
}

static int receive_answer(const struct call *c, struct http_parser *p, const struct http_message **ret, struct err *e)
{
	unsigned interim = 0;
	int k;

	do {
		k = receive_some(c, p, e);
		if (k == 0)
			k = next_answer(c, p, &interim, ret, e);
		/* Whatever there is: one that sends empty lines for ever may not hold us either. */
		if (k == 0 && clock_ms() >= c->deadline_ms)
			return fail(c, -ETIMEDOUT, e);
	} while (k == 0);
	if (k < 0)
		return k;
	/* Among others, a body without a length. */
	if (!http_parser_idle(p))
		return err_set(e, ERR_PROTOCOL, EPROTO, "%s sent more than one answer to %s %s", c->rest->name,
			       c->method, c->target);
	return 0;
}

/* ---- what a VMM says when it refuses ---- */

/* Cloud Hypervisor answers with the chain of errors, outermost first. */
static char *join_chain(const struct json_object *chain)
{
	_cleanup_buf_ struct buf text = { 0 };

	for (size_t i = 0; i < json_array_len(chain); i++) {
		const char *s = json_str(json_array_at(chain, i));

		if (s && buf_printf(&text, "%s%s", text.len ? ": " : "", s) < 0)
			return NULL;
	}
	return text.len ? buf_take(&text) : NULL;
}

/* Its words in one line, or NULL: it has none, or they are not in a form that is known. */
static char *fault_text(const struct http_message *m)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *text;

	if (json_parse(m->body, m->body_len, REST_BODY_MAX, &o, NULL) < 0)
		return m->body_len ? strdup(m->body) : NULL; /* as it stands: a sentence, or broken JSON */
	if (json_is_array(o))
		return join_chain(o);
	text = json_str(o);
	if (!text)
		text = json_get_str(o, "fault_message");
	if (!text)
		text = json_get_str(o, "error"); /* Firecracker's HTTP layer */
	return strdup(text ? text : m->body);
}

static int refuse(const struct call *c, const struct http_message *m, struct err *e)
{
	_cleanup_free_ char *text = fault_text(m);

	if (text)
		str_one_line(text);
	return err_set(e, ERR_HYPERVISOR, EREMOTEIO, "%s %s %s: %.*s (status %u)", c->rest->name, c->method, c->target,
		       FAULT_MAX, str_empty(text) ? "refused without a word" : text, m->status);
}

/* ---- the call ---- */

static void trace(const struct call *c, const char *body, size_t n_fds, unsigned status, const char *answer)
{
	if (c->rest->trace)
		c->rest->trace(c->rest->trace_ctx, c->method, c->target, body, n_fds, status, answer);
}

static int exchange(const struct call *c, const struct buf *out, const int *fds, size_t n_fds, struct http_parser *p,
		    const struct http_message **ret, struct err *e)
{
	int k;

	drop_stale(c->rest);
	k = c->rest->fd >= 0 ? 0 : connect_until(c->rest, false, c->deadline_ms);
	if (k < 0)
		return fail(c, k, e);
	k = send_request(c, out, fds, n_fds, e);
	if (k == 0)
		k = receive_answer(c, p, ret, e);
	if (k < 0 || !(*ret)->keep_alive)
		fd_close(&c->rest->fd);
	return k;
}

int rest_call(struct rest *r, const char *method, const char *target, const char *body, const int *fds, size_t n_fds,
	      uint64_t deadline_ms, char **ret, struct err *e)
{
	struct call c = { .rest = r, .method = method, .target = target, .deadline_ms = deadline_ms };
	_cleanup_(http_parser_fini) struct http_parser parser;
	const struct http_message *m = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	int k;

	http_parser_init(&parser, HTTP_RESPONSE, HTTP_LINE_MAX, REST_BODY_MAX);
	if (n_fds > REST_FDS_MAX)
		return err_set(e, ERR_LIMIT, E2BIG, "%s %s %s: %zu descriptors are too many: the limit is %d", r->name,
			       method, target, n_fds, REST_FDS_MAX);
	if (http_write_request(&out, method, target, body) < 0)
		return fail(&c, -ENOMEM, e);
	trace(&c, body, n_fds, 0, NULL);
	k = exchange(&c, &out, fds, n_fds, &parser, &m, e);
	if (k < 0)
		return k;
	trace(&c, body, n_fds, m->status, m->body);
	if (m->status > 299)
		return refuse(&c, m, e);
	if (ret) {
		char *copy = strdup(m->body);

		if (!copy)
			return fail(&c, -ENOMEM, e);
		*ret = copy;
	}
	return 0;
}
