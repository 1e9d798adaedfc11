// SPDX-License-Identifier: Apache-2.0
/*
 * Standard input, output and end of processes. Requests that cannot be answered yet are "ops" of their process:
 *
 *   read   waits for data or the end of the stream (an answer without data); after the process has ended a stream
 *          that somebody else still holds open ends after DRAIN_MS of silence
 *   write  answered when all of it is written; writes of one process go in order, and a close goes behind them
 *   wait   answered when the process ends
 *
 * An op waits on a duplicate of the process's descriptor, because epoll takes each once and a terminal has one for
 * everything. Ops end with their process, with their caller's connection, or when done.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/rpc.h"
#include "base/fd.h"

#define DRAIN_MS 500
/* An answer's data: under the frame's limit with room for its envelope, and no more than a pipe holds by default. */
#define READ_MAX (1u << 20)
#define OPS_MAX  64 /* unanswered requests of one process */

enum op_kind { OP_READ, OP_WRITE, OP_CLOSE, OP_WAIT };

struct stream_op {
	struct list node;
	struct agent_process *p;
	struct ttrpc_request *req; /* NULL: OP_CLOSE, already answered */
	enum op_kind kind;
	bool is_stderr;
	int fd; /* duplicate */
	struct loop_source *source, *drain;
	struct process_watch *watch;
	const uint8_t *data; /* inside the request */
	size_t left, total;
	uint32_t len;
};

static void op_free(struct stream_op *op)
{
	list_remove(&op->node);
	loop_source_free(op->source);
	loop_source_free(op->drain);
	if (op->watch)
		process_unwatch(op->watch);
	fd_close(&op->fd);
	free(op);
}

/* Take the request out: from here on the caller answers it. */
static struct ttrpc_request *op_finish(struct stream_op *op)
{
	struct ttrpc_request *req = op->req;

	op_free(op);
	return req;
}

static void on_caller_gone(struct ttrpc_request *req, void *userdata)
{
	op_free(userdata);
	ttrpc_reply_error(req, TTRPC_CANCELLED, "the caller has gone");
}

/* On failure the request is answered and NULL returned. */
static struct stream_op *op_new(struct agent_process *p, struct ttrpc_request *req, enum op_kind kind)
{
	struct stream_op *op = calloc(1, sizeof *op);
	size_t n = 0;

	for (struct list *at = p->ops.next; at != &p->ops; at = at->next)
		n++;
	if (!op || n >= OPS_MAX) {
		free(op);
		if (req)
			ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "too many requests wait for this process");
		return NULL;
	}
	op->p = p;
	op->req = req;
	op->kind = kind;
	op->fd = -1;
	list_append(&p->ops, &op->node);
	if (req)
		ttrpc_request_on_close(req, on_caller_gone, op);
	return op;
}

static int op_watch_fd(struct stream_op *op, int fd, uint32_t events, loop_io_fn fn)
{
	op->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (op->fd < 0)
		return -errno;
	return loop_add_io(op->p->container->agent->loop, op->fd, events, fn, op, &op->source);
}

static void reply_data(struct ttrpc_request *req, uint8_t *data, size_t n)
{
	Grpc__ReadStreamResponse resp = GRPC__READ_STREAM_RESPONSE__INIT;

	resp.data.data = data;
	resp.data.len = n;
	ttrpc_reply(req, &resp.base);
}

/* ---- read ---- */

static void mark_ended(struct agent_process *p, bool is_stderr)
{
	if (is_stderr)
		p->err_ended = true;
	else
		p->out_ended = true;
	if (process_has_terminal(p->process))
		p->err_ended = true;
}

static int stream_fd(struct agent_process *p, bool is_stderr)
{
	return is_stderr ? process_stderr_fd(p->process) : process_stdout_fd(p->process);
}

/* Read what is there. *ret_n 0: the end. -EAGAIN: nothing yet. The caller frees *ret. */
static int read_some(int fd, uint32_t len, uint8_t **ret, size_t *ret_n)
{
	_cleanup_free_ uint8_t *data = NULL;
	int there = 0;
	size_t size = len < READ_MAX ? len : READ_MAX;
	ssize_t n;

	if (fd < 0) {
		*ret = NULL;
		*ret_n = 0;
		return 0;
	}
	/* Callers ask for the most they can take; what there is decides what is worth allocating. */
	if (ioctl(fd, FIONREAD, &there) < 0 || there <= 0)
		there = 4096;
	if ((size_t)there < size)
		size = (size_t)there;
	data = malloc(size);
	if (!data)
		return -ENOMEM;
	do
		n = read(fd, data, size);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	*ret = take_ptr(data);
	*ret_n = (size_t)n;
	return 0;
}

/* Answer a read if possible. False: nothing to answer with yet. */
static bool try_read(struct agent_process *p, struct ttrpc_request *req, bool is_stderr, uint32_t len,
		     struct stream_op *op)
{
	_cleanup_free_ uint8_t *data = NULL;
	size_t n = 0;
	int r = read_some(stream_fd(p, is_stderr), len, &data, &n);

	/* EIO: nobody has the terminal open. */
	if (r == -EIO)
		r = process_keep_terminal(p->process) ? -EAGAIN : 0;
	if (r == -EAGAIN)
		return false;
	if (op)
		op_free(op);
	if (r < 0) {
		ttrpc_reply_error(req, TTRPC_INTERNAL, "cannot read the output: %s", strerror(-r));
		return true;
	}
	if (n == 0)
		mark_ended(p, is_stderr);
	reply_data(req, data, n);
	return true;
}

static void on_output(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct stream_op *op = userdata;

	(void)s;
	(void)fd;
	(void)revents;
	try_read(op->p, op->req, op->is_stderr, op->len, op);
}

static void on_drained(struct loop_source *s, void *userdata)
{
	struct stream_op *op = userdata;

	(void)s;
	if (try_read(op->p, op->req, op->is_stderr, op->len, op))
		return;
	mark_ended(op->p, op->is_stderr);
	reply_data(op_finish(op), NULL, 0);
}

static void on_exit_while_reading(struct process *process, int status, void *userdata)
{
	struct stream_op *op = userdata;

	(void)process;
	(void)status;
	op->watch = NULL;
	if (!op->drain)
		loop_add_timer(op->p->container->agent->loop, DRAIN_MS, on_drained, op, &op->drain);
}

static void read_stream(struct agent *a, struct ttrpc_request *req, const ProtobufCMessage *message, bool is_stderr)
{
	const Grpc__ReadStreamRequest *m = (const Grpc__ReadStreamRequest *)message;
	struct agent_process *p;
	struct stream_op *op;
	struct err e = { 0 };
	int r = agent_find_process(a, m->container_id, m->exec_id, &p, &e);

	if (r == 0 && m->len == 0)
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "a read of no bytes");
	if (r < 0) {
		rpc_fail(req, &e);
		return;
	}
	if (try_read(p, req, is_stderr, m->len, NULL))
		return;
	op = op_new(p, req, OP_READ);
	if (!op)
		return;
	op->is_stderr = is_stderr;
	op->len = m->len;
	r = op_watch_fd(op, stream_fd(p, is_stderr), EPOLLIN, on_output);
	if (r == 0)
		r = process_watch_exit(p->process, on_exit_while_reading, op, &op->watch);
	if (r < 0)
		ttrpc_reply_error(op_finish(op), TTRPC_INTERNAL, "cannot wait for output: %s", strerror(-r));
}

RPC(rpc_read_stdout)
{
	read_stream(userdata, req, message, false);
}

RPC(rpc_read_stderr)
{
	read_stream(userdata, req, message, true);
}

/* ---- write ---- */

static void next_write(struct agent_process *p);

static void finish_write(struct stream_op *op, int r)
{
	Grpc__WriteStreamResponse resp = GRPC__WRITE_STREAM_RESPONSE__INIT;
	struct agent_process *p = op->p;
	struct ttrpc_request *req;

	resp.len = (uint32_t)op->total;
	req = op_finish(op);
	if (r < 0)
		ttrpc_reply_error(req, r == -EPIPE ? TTRPC_FAILED_PRECONDITION : TTRPC_INTERNAL,
				  "cannot write to standard input: %s", r == -EPIPE ? "nobody reads it" : strerror(-r));
	else
		ttrpc_reply(req, &resp.base);
	next_write(p);
}

/* -EAGAIN: more later. */
static int write_some(struct stream_op *op)
{
	int fd = process_stdin_fd(op->p->process);

	if (fd < 0)
		return -EPIPE;
	while (op->left > 0) {
		ssize_t n = write(fd, op->data, op->left);

		if (n < 0) {
			if (errno == EINTR || (errno == EIO && process_keep_terminal(op->p->process)))
				continue;
			return errno == EIO ? -EPIPE : -errno;
		}
		op->data += n;
		op->left -= (size_t)n;
	}
	return 0;
}

static void on_input_space(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct stream_op *op = userdata;
	int r = write_some(op);

	(void)s;
	(void)fd;
	(void)revents;
	if (r != -EAGAIN)
		finish_write(op, r);
}

static void close_stdin(struct agent_process *p)
{
	/* A terminal's input cannot be closed without its output. */
	if (!process_has_terminal(p->process))
		process_close_stdin(p->process);
}

static struct stream_op *first_write(struct agent_process *p)
{
	struct stream_op *op;

	list_foreach (op, &p->ops, struct stream_op, node)
		if (op->kind == OP_WRITE || op->kind == OP_CLOSE)
			return op;
	return NULL;
}

/* Begin the write that is first in the queue, unless it has begun. */
static void next_write(struct agent_process *p)
{
	struct stream_op *op = first_write(p);
	int r;

	if (!op || op->source)
		return;
	if (op->kind == OP_CLOSE) {
		op_free(op);
		close_stdin(p);
		next_write(p); /* those behind a close fail, one by one */
		return;
	}
	r = write_some(op);
	if (r == -EAGAIN)
		r = op_watch_fd(op, process_stdin_fd(p->process), EPOLLOUT, on_input_space);
	else if (r == 0) {
		finish_write(op, 0);
		return;
	}
	if (r < 0)
		finish_write(op, r);
}

RPC(rpc_write_stdin)
{
	const Grpc__WriteStreamRequest *m = (const Grpc__WriteStreamRequest *)message;
	struct agent_process *p;
	struct stream_op *op;
	struct err e = { 0 };

	if (agent_find_process(userdata, m->container_id, m->exec_id, &p, &e) < 0) {
		rpc_fail(req, &e);
		return;
	}
	/* An empty write is a close; as a write of nothing it is answered in turn. */
	op = op_new(p, req, OP_WRITE);
	if (!op)
		return;
	op->data = m->data.data;
	op->left = op->total = m->data.len;
	if (m->data.len == 0) {
		struct stream_op *end = op_new(p, NULL, OP_CLOSE);

		if (!end) {
			ttrpc_reply_error(op_finish(op), TTRPC_RESOURCE_EXHAUSTED, "out of memory");
			return;
		}
	}
	next_write(p);
}

RPC(rpc_close_stdin)
{
	const Grpc__CloseStdinRequest *m = (const Grpc__CloseStdinRequest *)message;
	struct agent_process *p;
	struct err e = { 0 };

	if (agent_find_process(userdata, m->container_id, m->exec_id, &p, &e) < 0) {
		rpc_fail(req, &e);
		return;
	}
	if (!op_new(p, NULL, OP_CLOSE)) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "too many requests wait for this process");
		return;
	}
	/* Answered before the writes in front of it are done: the process may never read them. */
	rpc_done(req);
	next_write(p);
}

/* ---- the rest ---- */

static void reply_status(struct ttrpc_request *req, int status)
{
	Grpc__WaitProcessResponse resp = GRPC__WAIT_PROCESS_RESPONSE__INIT;

	resp.status = status;
	ttrpc_reply(req, &resp.base);
}

static void on_exit_while_waiting(struct process *process, int status, void *userdata)
{
	struct stream_op *op = userdata;
	struct agent_process *p = op->p;

	(void)process;
	op->watch = NULL;
	reply_status(op_finish(op), status);
	p->waited = true;
	agent_process_settle(p);
}

RPC(rpc_wait_process)
{
	const Grpc__WaitProcessRequest *m = (const Grpc__WaitProcessRequest *)message;
	struct agent_process *p;
	struct stream_op *op;
	struct err e = { 0 };
	int r;

	if (agent_find_process(userdata, m->container_id, m->exec_id, &p, &e) < 0) {
		rpc_fail(req, &e);
		return;
	}
	if (process_exited(p->process)) {
		reply_status(req, process_exit_status(p->process));
		p->waited = true;
		agent_process_settle(p);
		return;
	}
	op = op_new(p, req, OP_WAIT);
	if (!op)
		return;
	r = process_watch_exit(p->process, on_exit_while_waiting, op, &op->watch);
	if (r < 0)
		ttrpc_reply_error(op_finish(op), TTRPC_INTERNAL, "cannot wait for the process: %s", strerror(-r));
}

RPC(rpc_tty_win_resize)
{
	const Grpc__TtyWinResizeRequest *m = (const Grpc__TtyWinResizeRequest *)message;
	struct agent_process *p;
	struct err e = { 0 };
	int r = agent_find_process(userdata, m->container_id, m->exec_id, &p, &e);

	if (r == 0 && !process_has_terminal(p->process))
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "the process has no terminal");
	if (r == 0 && (m->row > UINT16_MAX || m->column > UINT16_MAX))
		r = err_set(&e, ERR_PROTOCOL, EINVAL, "a terminal of %u by %u is too large", m->row, m->column);
	if (r == 0)
		r = process_resize(p->process, (uint16_t)m->row, (uint16_t)m->column, &e);
	rpc_result(req, r, &e);
}

void stream_ops_end(struct agent_process *p)
{
	struct stream_op *op;

	while ((op = list_first(&p->ops, struct stream_op, node))) {
		enum op_kind kind = op->kind;
		struct ttrpc_request *req = op_finish(op);

		if (kind == OP_READ)
			reply_data(req, NULL, 0);
		else if (kind == OP_WAIT && process_exited(p->process))
			reply_status(req, process_exit_status(p->process));
		else if (kind == OP_WAIT)
			reply_status(req, 128 + 9); /* its container is removed, which kills it */
		else if (req)
			ttrpc_reply_error(req, TTRPC_NOT_FOUND, "the process has gone");
	}
}
