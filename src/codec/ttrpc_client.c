/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The client side of ttrpc.
 *
 * A call is in one of three places: in `calls` while it waits, in `kept` when its answer came while a synchronous call
 * was being served (callbacks run from the loop only), or in no list once it is over. The client breaks once, for
 * good: the peer closes, a send fails, abort_fd speaks. Then every waiting call ends with that error, from the loop.
 *
 * The peer may be a hostile guest. It can answer wrongly, late, twice or never; an answer that belongs to no call is
 * dropped, memory is bounded by 4 MiB for each waiting call plus one unpacked answer, and its words lose their control
 * characters before a person sees them.
 *
 * Everything here runs on the loop's thread.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <fcntl.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "codec/ttrpc_frame.h"
#include "proto/ttrpc.pb-c.h"

/* Requests that may wait for a peer that does not read. */
#define QUEUE_MAX ((size_t)16 << 20)
/* Receives in a row before other sources of the loop get their turn. */
#define BURST 16

struct ttrpc_call {
	struct list node;
	struct ttrpc_client *client;
	uint32_t id;
	int timeout_ms;
	const ProtobufCMessageDescriptor *response;
	/* Asynchronous: */
	ttrpc_done_fn fn;
	void *userdata;
	struct loop_source *timer;
	struct ttrpc_frame kept; /* data owned */
	/* Synchronous (fn is NULL): */
	bool done;
	int result;
	ProtobufCMessage *message;
	struct err *e;
};

struct ttrpc_client {
	struct loop *loop;
	int fd, abort_fd;
	struct loop_source *io, *abort, *deliver;
	struct ttrpc_reader reader;
	struct ttrpc_writer writer;
	struct list calls, kept;
	uint32_t next_id;
	bool wrapped;    /* numbers are given out again */
	uint32_t events; /* what `io` waits for */
	bool in_call;    /* ttrpc_call() is at work: no callbacks */
	bool hung_up;    /* the peer takes nothing more; what it sent before is still read */
	unsigned busy;   /* callbacks on the stack: the structure must stay */
	bool freed;
	int broken; /* negative errno */
	struct err broken_err;
};

static void client_leave(struct ttrpc_client *c)
{
	if (--c->busy == 0 && c->freed)
		free(c);
}

static void client_events(struct ttrpc_client *c)
{
	uint32_t want = EPOLLIN | (ttrpc_writer_pending(&c->writer) ? EPOLLOUT : 0);

	if (c->io && want != c->events && loop_io_set_events(c->io, want) == 0)
		c->events = want;
}

static bool aborted(const struct ttrpc_client *c)
{
	struct pollfd p = { .fd = c->abort_fd, .events = POLLIN };

	return c->abort_fd >= 0 && poll(&p, 1, 0) > 0;
}

static void client_break(struct ttrpc_client *c, int r)
{
	if (c->broken)
		return;
	/* When the peer's machine has gone, its socket says so too: name the cause. */
	if (r == -ECANCELED || aborted(c))
		c->broken = err_set(&c->broken_err, ERR_GUEST, ECANCELED, "the peer has ended");
	else if (r == -ECONNRESET || r == -EPIPE)
		c->broken = err_set(&c->broken_err, ERR_GUEST, ECONNRESET, "the peer has closed the connection");
	else
		c->broken = err_sys(&c->broken_err, -r, "the connection to the peer failed");
	loop_source_free(take_ptr(c->io));
	loop_source_free(take_ptr(c->abort));
	loop_timer_set(c->deliver, 0);
}

/* ---- answers ---- */

static int errno_of_code(int code)
{
	switch (code) {
	case TTRPC_INVALID_ARGUMENT:
		return EINVAL;
	case TTRPC_DEADLINE_EXCEEDED:
		return ETIMEDOUT;
	case TTRPC_NOT_FOUND:
		return ENOENT;
	case TTRPC_PERMISSION_DENIED:
		return EPERM;
	case TTRPC_UNIMPLEMENTED:
		return ENOSYS;
	default:
		return EREMOTEIO;
	}
}

/* The peer's words end up on terminals and in logs: no escape sequences, no forged lines. */
static int set_status(struct err *e, const Ttrpc__Status *status)
{
	int code = errno_of_code(status->code);

	if (str_empty(status->message))
		return err_set(e, ERR_GUEST, code, "the peer answered with status %d", status->code);
	err_set(e, ERR_GUEST, code, "%.*s", ERR_TEXT_MAX / 2, status->message);
	if (e)
		str_one_line(e->text);
	return -code;
}

static int unpack_answer(const ProtobufCMessageDescriptor *type, const void *data, size_t len, size_t *budget,
			 ProtobufCMessage **ret, struct err *e)
{
	int r = pb_unpack(type, data, len, budget, ret);

	if (r == -E2BIG)
		return err_set(e, ERR_PROTOCOL, EPROTO, "the peer's answer takes too much memory (%s)", type->name);
	if (r < 0)
		return err_set(e, ERR_PROTOCOL, EPROTO, "the peer's answer cannot be read (%s)", type->name);
	return 0;
}

static int read_answer(const struct ttrpc_call *call, const struct ttrpc_frame *frame, ProtobufCMessage **ret,
		       struct err *e)
{
	_cleanup_(pb_free_p) ProtobufCMessage *envelope = NULL;
	size_t budget = PB_BUDGET_DEFAULT;
	Ttrpc__Response *response;
	int r;

	if (frame->too_big)
		return err_set(e, ERR_PROTOCOL, EPROTO, "the peer's answer has %u bytes, more than ttrpc allows (%u)",
			       frame->header.len, TTRPC_MESSAGE_MAX);
	r = unpack_answer(&ttrpc__response__descriptor, frame->data, frame->header.len, &budget, &envelope, e);
	if (r < 0)
		return r;
	response = (Ttrpc__Response *)envelope;
	if (response->status && response->status->code != TTRPC_OK)
		return set_status(e, response->status);
	return unpack_answer(call->response, response->payload.data, response->payload.len, &budget, ret, e);
}

static void call_free(struct ttrpc_call *call)
{
	list_remove(&call->node);
	loop_source_free(call->timer);
	free((void *)call->kept.data);
	free(call);
}

/* End an asynchronous call. The client may be freed meanwhile. */
static void call_finish(struct ttrpc_call *call, int result, const ProtobufCMessage *message, const struct err *e)
{
	list_remove(&call->node);
	loop_source_free(take_ptr(call->timer));
	call->fn(result, message, e, call->userdata);
	call_free(call);
}

static void call_answer(struct ttrpc_call *call, const struct ttrpc_frame *frame)
{
	_cleanup_(pb_free_p) ProtobufCMessage *message = NULL;
	struct err e = { 0 };
	int r = read_answer(call, frame, &message, &e);

	call_finish(call, r, message, &e);
}

/* Put the answer aside until the loop runs. Without memory for it, the call fails then. */
static void call_keep(struct ttrpc_call *call, const struct ttrpc_frame *frame)
{
	struct ttrpc_client *c = call->client;

	call->kept = *frame;
	call->kept.data = NULL;
	if (!frame->too_big) {
		uint8_t *data = malloc(frame->header.len + 1);

		if (!data) {
			client_break(c, -ENOMEM);
			return;
		}
		memcpy(data, frame->data, frame->header.len);
		call->kept.data = data;
	}
	list_remove(&call->node);
	list_append(&c->kept, &call->node);
	loop_timer_set(call->timer, UINT64_MAX);
	loop_timer_set(c->deliver, 0);
}

static void client_frame(struct ttrpc_client *c, const struct ttrpc_frame *frame)
{
	struct ttrpc_call *call;

	if (frame->header.type != TTRPC_RESPONSE) {
		log_debug("ttrpc: ignoring a frame of type %u", frame->header.type);
		return;
	}
	list_foreach (call, &c->calls, struct ttrpc_call, node) {
		if (call->id != frame->header.stream)
			continue;
		if (!call->fn) {
			list_remove(&call->node);
			call->result = read_answer(call, frame, &call->message, call->e);
			call->done = true;
		} else if (c->in_call) {
			call_keep(call, frame);
		} else {
			call_answer(call, frame);
		}
		return;
	}
	log_debug("ttrpc: ignoring an answer on stream %u, for which no call waits", frame->header.stream);
}

/*
 * Handle what has been received and receive more. All frames received are handled before returning: nothing but new
 * data would wake us again. stop: the call that the caller waits for, or NULL.
 */
static void client_receive(struct ttrpc_client *c, const struct ttrpc_call *stop)
{
	struct ttrpc_frame frame;

	for (int i = 0;; i++) {
		int r;

		while (!c->freed && ttrpc_reader_next(&c->reader, &frame))
			client_frame(c, &frame);
		if (c->freed || c->broken || i == BURST || (stop && stop->done))
			return;
		r = ttrpc_reader_fill(&c->reader, c->fd);
		if (r == -EAGAIN && !c->hung_up)
			return;
		if (r <= 0) {
			client_break(c, r == 0 || r == -EAGAIN ? -ECONNRESET : r);
			return;
		}
	}
}

static void client_send(struct ttrpc_client *c)
{
	int r = ttrpc_writer_flush(&c->writer, c->fd);

	if (r == 0)
		return;
	ttrpc_writer_fini(&c->writer);
	if (r == -EPIPE || r == -ECONNRESET) {
		c->hung_up = true;
		loop_timer_set(c->deliver, 0);
	} else {
		client_break(c, r);
	}
}

/* ---- from the loop ---- */

static void deliver_kept(struct ttrpc_client *c)
{
	struct ttrpc_call *call;

	while (!c->freed && (call = list_first(&c->kept, struct ttrpc_call, node)))
		call_answer(call, &call->kept);
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct ttrpc_client *c = userdata;

	c->busy++;
	if (revents & EPOLLOUT)
		client_send(c);
	/* Answers are told in the order in which they came. */
	deliver_kept(c);
	if (revents & (EPOLLIN | EPOLLHUP | EPOLLERR) || c->hung_up)
		client_receive(c, NULL);
	if (!c->freed)
		client_events(c);
	client_leave(c);
}

static void on_abort(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct ttrpc_client *c = userdata;

	client_break(c, -ECANCELED);
}

static void on_deliver(struct loop_source *s, void *userdata)
{
	struct ttrpc_client *c = userdata;
	struct ttrpc_call *call;

	c->busy++;
	deliver_kept(c);
	if (!c->freed && c->hung_up && !c->broken)
		client_receive(c, NULL);
	while (!c->freed && c->broken && (call = list_first(&c->calls, struct ttrpc_call, node)))
		call_finish(call, c->broken, NULL, &c->broken_err);
	client_leave(c);
}

static int set_timeout(struct err *e, int timeout_ms)
{
	return err_set(e, ERR_LIMIT, ETIMEDOUT, "no answer within %d ms", timeout_ms);
}

static void on_deadline(struct loop_source *s, void *userdata)
{
	struct ttrpc_call *call = userdata;
	struct ttrpc_client *c = call->client;
	struct err e = { 0 };

	c->busy++;
	call_finish(call, set_timeout(&e, call->timeout_ms), NULL, &e);
	client_leave(c);
}

/* ---- calls ---- */

static bool id_in_use(const struct ttrpc_client *c, uint32_t id)
{
	const struct ttrpc_call *call;

	list_foreach (call, &c->calls, const struct ttrpc_call, node)
		if (call->id == id)
			return true;
	return false;
}

/*
 * Odd, and each larger than the last; behind the largest they begin again: a connection that is read a thousand times a
 * second has used them up in 25 days. A call may be older than that (WaitProcess).
 */
static uint32_t take_id(struct ttrpc_client *c)
{
	uint32_t id;

	do {
		id = c->next_id;
		c->next_id += 2;
		c->wrapped |= c->next_id < id;
	} while (c->wrapped && id_in_use(c, id));
	return id;
}

/* Put the request in the queue and the call in the list. */
static int call_start(struct ttrpc_client *c, struct ttrpc_call *call, const char *service, const char *method,
		      const ProtobufCMessage *request, struct err *e)
{
	Ttrpc__Request envelope = TTRPC__REQUEST__INIT;
	_cleanup_buf_ struct buf payload = { 0 };
	int r;

	if (c->broken) {
		if (e)
			*e = c->broken_err;
		return c->broken;
	}
	if (ttrpc_writer_pending(&c->writer) > QUEUE_MAX)
		return err_set(e, ERR_LIMIT, ENOBUFS, "too many requests wait for the peer");
	r = pb_pack(request, TTRPC_MESSAGE_MAX, &payload);
	call->id = take_id(c);
	if (r == 0) {
		envelope.service = (char *)service;
		envelope.method = (char *)method;
		envelope.payload.data = (uint8_t *)payload.data;
		envelope.payload.len = payload.len;
		envelope.timeout_nano = call->timeout_ms < 0 ? 0 : (int64_t)call->timeout_ms * 1000000;
		r = ttrpc_writer_put(&c->writer, call->id, TTRPC_REQUEST, &envelope.base);
	}
	if (r == -EMSGSIZE)
		return err_set(e, ERR_LIMIT, EMSGSIZE, "the request is larger than ttrpc allows (%u bytes)",
			       TTRPC_MESSAGE_MAX);
	if (r < 0)
		return err_sys(e, -r, "cannot build the request");
	list_append(&c->calls, &call->node);
	client_send(c);
	return 0;
}

/* Wait until something happens that concerns the call. */
static void call_serve(struct ttrpc_client *c, struct ttrpc_call *call, int wait_ms)
{
	struct pollfd p[2] = { { .fd = c->fd, .events = POLLIN }, { .fd = c->abort_fd, .events = POLLIN } };

	if (ttrpc_writer_pending(&c->writer))
		p[0].events |= POLLOUT;
	if (poll(p, 2, wait_ms) < 0) {
		if (errno != EINTR)
			client_break(c, -errno);
		return;
	}
	if (p[0].revents & POLLOUT)
		client_send(c);
	if (p[0].revents & (POLLIN | POLLHUP | POLLERR) || c->hung_up)
		client_receive(c, call);
	if (!call->done && p[1].revents)
		client_break(c, -ECANCELED);
}

int ttrpc_call(struct ttrpc_client *client, const char *service, const char *method, const ProtobufCMessage *request,
	       const ProtobufCMessageDescriptor *response, int timeout_ms, ProtobufCMessage **ret_response,
	       struct err *e)
{
	struct ttrpc_call call = { .client = client, .response = response, .timeout_ms = timeout_ms, .e = e };
	uint64_t now = clock_ms(), end = now + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	int r;

	list_init(&call.node);
	r = call_start(client, &call, service, method, request, e);
	if (r < 0)
		return r;
	client->in_call = true;
	while (!call.done && !client->broken && (timeout_ms < 0 || now < end)) {
		call_serve(client, &call, timeout_ms < 0 ? -1 : (int)(end - now));
		now = clock_ms();
	}
	client->in_call = false;
	list_remove(&call.node);
	client_events(client);
	if (call.done && call.result == 0) {
		if (ret_response)
			*ret_response = call.message;
		else
			pb_free(call.message);
	}
	if (call.done)
		return call.result;
	if (client->broken && e)
		*e = client->broken_err;
	return client->broken ? client->broken : set_timeout(e, timeout_ms);
}

int ttrpc_call_async(struct ttrpc_client *client, const char *service, const char *method,
		     const ProtobufCMessage *request, const ProtobufCMessageDescriptor *response, int timeout_ms,
		     ttrpc_done_fn fn, void *userdata, struct ttrpc_call **ret_call, struct err *e)
{
	struct ttrpc_call *call = calloc(1, sizeof *call);
	int r;

	if (!call)
		return err_sys(e, ENOMEM, "cannot start the call");
	*call = (struct ttrpc_call){
		.client = client, .response = response, .timeout_ms = timeout_ms, .fn = fn, .userdata = userdata
	};
	list_init(&call->node);
	r = loop_add_timer(client->loop, timeout_ms < 0 ? UINT64_MAX : (uint64_t)timeout_ms, on_deadline, call,
			   &call->timer);
	if (r < 0)
		err_sys(e, -r, "cannot start the call");
	else
		r = call_start(client, call, service, method, request, e);
	if (r < 0) {
		call_free(call);
		return r;
	}
	client_events(client);
	if (ret_call)
		*ret_call = call;
	return 0;
}

void ttrpc_call_cancel(struct ttrpc_call *call)
{
	if (call)
		call_free(call);
}

/* ---- life ---- */

void ttrpc_client_number_from(struct ttrpc_client *client, uint32_t id)
{
	client->next_id = id;
}

static int client_watch(struct ttrpc_client *c, int abort_fd)
{
	int r = fd_set_nonblock(c->fd, true);

	if (r < 0)
		return r;
	/* A copy: the owner may watch the original in the same loop, and epoll takes a descriptor once. */
	if (abort_fd >= 0 && (c->abort_fd = fcntl(abort_fd, F_DUPFD_CLOEXEC, 3)) < 0)
		return -errno;
	r = loop_add_timer(c->loop, UINT64_MAX, on_deliver, c, &c->deliver);
	if (r == 0)
		r = loop_add_io(c->loop, c->fd, c->events, on_io, c, &c->io);
	if (r == 0 && abort_fd >= 0)
		r = loop_add_io(c->loop, c->abort_fd, EPOLLIN, on_abort, c, &c->abort);
	return r;
}

int ttrpc_client_new(struct loop *loop, int fd, int abort_fd, struct ttrpc_client **ret, struct err *e)
{
	struct ttrpc_client *c = calloc(1, sizeof *c);
	int r = -ENOMEM;

	if (c) {
		*c = (struct ttrpc_client){ .loop = loop, .fd = fd, .abort_fd = -1, .next_id = 1, .events = EPOLLIN };
		list_init(&c->calls);
		list_init(&c->kept);
		r = client_watch(c, abort_fd);
	} else {
		close(fd);
	}
	if (r < 0) {
		ttrpc_client_free(c);
		return err_sys(e, -r, "cannot set up a ttrpc connection");
	}
	*ret = c;
	return 0;
}

void ttrpc_client_free(struct ttrpc_client *client)
{
	struct ttrpc_call *call;
	struct err e = { 0 };

	if (!client || client->freed)
		return;
	client->busy++;
	client->freed = true;
	client->broken = err_set(&client->broken_err, ERR_GUEST, ECANCELED, "the connection is closed");
	e = client->broken_err;
	while ((call = list_first(&client->kept, struct ttrpc_call, node)) ||
	       (call = list_first(&client->calls, struct ttrpc_call, node)))
		call_finish(call, -ECANCELED, NULL, &e);
	loop_source_free(take_ptr(client->io));
	loop_source_free(take_ptr(client->abort));
	loop_source_free(take_ptr(client->deliver));
	fd_close(&client->fd);
	fd_close(&client->abort_fd);
	ttrpc_reader_fini(&client->reader);
	ttrpc_writer_fini(&client->writer);
	client_leave(client);
}
