/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Input:  WAIT (for the caller's bytes) -> SEND (WriteStdin outstanding) -> WAIT … -> at the end CloseStdin -> over.
 * Output: READ (outstanding) -> WRITE (the caller takes the bytes) -> READ … -> empty answer -> over.
 *
 * The source that waits for input exists in WAIT only: epoll tells a hang-up even when nothing is asked for, and
 * input that ended would wake us all the time while the guest is slow.
 */
#include "pod/stdio.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/stdio_fd.h"

struct output {
	struct stdio *owner;
	enum agent_stream stream;
	struct stdio_fd out;
	struct agent_call *call;
	struct loop_source *source; /* while the caller's end is full */
	char *data;                 /* what it did not take yet: len bytes from pos on */
	size_t len, pos;
	bool drop; /* nobody takes it */
	bool over;
};

struct stdio {
	struct loop *loop;
	struct agent *agent;
	char *container_id, *exec_id;
	bool terminal;
	void (*tee)(int stream, const void *data, size_t n, void *userdata);
	void (*gone)(int stream, void *userdata);
	void (*done)(int result, const struct err *e, void *userdata);
	void *userdata;

	struct stdio_fd in;
	struct agent_call *in_call;
	struct loop_source *in_source, *in_timer; /* timer: for files, which epoll does not take */
	char *in_data;
	size_t in_len, in_pos;
	bool in_eof;
	bool in_closing; /* to be closed after what is on its way */

	struct output outputs[2];
	uint64_t full_ms;           /* when the caller's end of an output was full for the last time; 0: never */
	struct loop_source *finish; /* calls done() from the loop */
	int result;
	struct err err;
};

static void input_wait(struct stdio *s);

/* Remember the first failure. */
static void failed(struct stdio *s, int result, const struct err *e)
{
	if (s->result)
		return;
	s->result = result;
	s->err = *e;
}

/* ---- input ---- */

/* No more input: release what it took. The last call may still be outstanding. */
static void input_end(struct stdio *s)
{
	loop_source_free(take_ptr(s->in_source));
	loop_source_free(take_ptr(s->in_timer));
	stdio_fd_close(&s->in);
	free(take_ptr(s->in_data));
}

/* The process or its stdin has gone, as a process may: that ends the input, not the pump. */
static void input_refused(struct stdio *s, const struct err *e)
{
	log_debug("standard input: %s", e->text);
	input_end(s);
}

static void on_input_closed(int result, const struct err *e, void *userdata)
{
	struct stdio *s = userdata;

	s->in_call = NULL;
	if (result < 0)
		log_debug("standard input: %s", e->text);
}

static void input_close(struct stdio *s)
{
	struct err e = { 0 };

	input_end(s);
	if (agent_close_stdin_async(s->agent, s->container_id, s->exec_id, on_input_closed, s, &s->in_call, &e) < 0)
		log_debug("standard input: %s", e.text);
}

static void input_send(struct stdio *s);

static void on_input_written(int result, size_t written, const struct err *e, void *userdata)
{
	struct stdio *s = userdata;

	s->in_call = NULL;
	if (result < 0) {
		input_refused(s, e);
		return;
	}
	s->in_pos += written;
	if (s->in_pos < s->in_len)
		input_send(s);
	else if (s->in_eof)
		input_end(s);
	else if (s->in_closing)
		input_close(s);
	else
		input_wait(s);
}

static void input_send(struct stdio *s)
{
	struct err e = { 0 };

	if (agent_write_stdin_async(s->agent, s->container_id, s->exec_id, s->in_data + s->in_pos,
				    s->in_len - s->in_pos, on_input_written, s, &s->in_call, &e) < 0)
		input_refused(s, &e);
}

static void input_read(struct stdio *s)
{
	ssize_t n = stdio_fd_read(&s->in, s->in_data, STDIO_CHUNK);

	if (n == -EAGAIN) {
		input_wait(s);
		return;
	}
	if (n < 0)
		log_warn("cannot read standard input: %s", strerror((int)-n));
	if (n <= 0 && !s->terminal) {
		input_close(s);
		return;
	}
	s->in_pos = 0;
	s->in_len = (size_t)n;
	if (n <= 0) {
		s->in_eof = true;
		s->in_data[0] = 4; /* ^D */
		s->in_len = 1;
	}
	input_send(s);
}

static void on_input(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct stdio *s = userdata;

	loop_source_free(take_ptr(s->in_source));
	input_read(s);
}

static void on_input_timer(struct loop_source *source, void *userdata)
{
	input_read(userdata);
}

static void input_wait(struct stdio *s)
{
	int r = s->in_source ? 0 : loop_add_io(s->loop, s->in.fd, EPOLLIN, on_input, s, &s->in_source);

	/* EPERM: a regular file or the like, always ready. */
	if (r == -EPERM) {
		loop_timer_set(s->in_timer, 0);
	} else if (r < 0) {
		log_warn("cannot watch standard input: %s", strerror(-r));
		input_close(s);
	}
}

void stdio_close_input(struct stdio *s)
{
	if (s->in.fd < 0 || s->terminal)
		return; /* it has ended */
	if (s->in_call)
		s->in_closing = true;
	else
		input_close(s);
}

/* ---- output ---- */

static void on_finish(struct loop_source *source, void *userdata)
{
	struct stdio *s = userdata;

	s->done(s->result, &s->err, s->userdata);
}

static void output_end(struct output *o)
{
	struct stdio *s = o->owner;

	o->over = true;
	loop_source_free(take_ptr(o->source));
	stdio_fd_close(&o->out);
	if (s->outputs[0].over && s->outputs[1].over)
		loop_timer_set(s->finish, 0);
}

/* Write what the caller takes. True when all is written or dropped. */
static bool output_write(struct output *o, const char *data, size_t n, size_t *ret_written)
{
	size_t pos = 0;

	while (!o->drop && pos < n) {
		ssize_t w = stdio_fd_write(&o->out, data + pos, n - pos);

		if (w == -EAGAIN)
			break;
		if (w < 0) {
			struct err e = { 0 };

			o->drop = true;
			if (w == -EPIPE) {
				if (o->owner->gone)
					o->owner->gone((int)o->stream, o->owner->userdata);
				continue;
			}
			err_sys(&e, (int)-w, "cannot write standard %s",
				o->stream == AGENT_STDERR ? "error" : "output");
			failed(o->owner, (int)w, &e);
		} else {
			pos += (size_t)w;
		}
	}
	*ret_written = pos;
	return o->drop || pos == n;
}

static void output_read(struct output *o);

static void on_output_room(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct output *o = userdata;
	size_t n;

	if (!output_write(o, o->data + o->pos, o->len - o->pos, &n)) {
		o->pos += n;
		return;
	}
	o->owner->full_ms = clock_ms();
	loop_source_free(take_ptr(o->source));
	free(take_ptr(o->data));
	output_read(o);
}

/* Keep the rest and wait until the caller takes more. */
static int output_keep(struct output *o, const char *data, size_t n)
{
	o->data = malloc(n);
	if (!o->data)
		return -ENOMEM;
	memcpy(o->data, data, n);
	o->len = n;
	o->pos = 0;
	return loop_add_io(o->owner->loop, o->out.fd, EPOLLOUT, on_output_room, o, &o->source);
}

/* Does r say that the connection is lost, and not that the guest has nothing to read there? */
static bool is_fatal(int r)
{
	return r == -ECONNRESET || r == -ECANCELED || r == -EPROTO || r == -ENOSYS || r == -ENOMEM || r == -ENOBUFS;
}

static void on_output(int result, const void *data, size_t n, const struct err *e, void *userdata)
{
	struct output *o = userdata;
	struct stdio *s = o->owner;
	struct err failure = { 0 };
	size_t written;
	int r;

	o->call = NULL;
	if (result < 0) {
		/* Kata's agent says "no such process" or "eof" by an error when the process went meanwhile. */
		if (is_fatal(result))
			failed(s, result, e);
		else
			log_debug("standard %s: %s", o->stream == AGENT_STDERR ? "error" : "output", e->text);
	}
	if (result < 0 || n == 0) {
		output_end(o);
		return;
	}
	if (s->tee)
		s->tee((int)o->stream, data, n, s->userdata);
	if (output_write(o, data, n, &written)) {
		output_read(o);
		return;
	}
	r = output_keep(o, (const char *)data + written, n - written);
	if (r < 0) {
		failed(s, r, (err_sys(&failure, -r, "cannot write the output of the container"), &failure));
		free(take_ptr(o->data));
		o->drop = true;
		output_read(o);
	}
}

static void output_read(struct output *o)
{
	struct stdio *s = o->owner;
	struct err e = { 0 };
	int r = agent_read_async(s->agent, s->container_id, s->exec_id, o->stream, STDIO_CHUNK, on_output, o, &o->call,
				 &e);

	if (r < 0) {
		failed(s, r, &e);
		output_end(o);
	}
}

uint64_t stdio_since_full_ms(const struct stdio *s)
{
	if (s->outputs[0].source || s->outputs[1].source)
		return 0;
	return s->full_ms ? clock_ms() - s->full_ms : UINT64_MAX;
}

/* ---- life ---- */

static int start(struct stdio *s, const struct stdio_params *p)
{
	const int fds[2] = { p->out_fd, p->err_fd };
	int r = stdio_fd_open(&s->in, p->in_fd, false);

	for (int i = 0; r == 0 && i < 2; i++)
		r = stdio_fd_open(&s->outputs[i].out, fds[i], true);
	if (r == 0)
		r = loop_add_timer(s->loop, UINT64_MAX, on_finish, s, &s->finish);
	if (r == 0)
		r = loop_add_timer(s->loop, UINT64_MAX, on_input_timer, s, &s->in_timer);
	return r;
}

int stdio_start(const struct stdio_params *p, struct stdio **ret, struct err *e)
{
	struct stdio *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot set up standard input and output");
	*s = (struct stdio){ .loop = p->loop,
			     .agent = p->agent,
			     .terminal = p->terminal,
			     .tee = p->tee,
			     .gone = p->gone,
			     .done = p->done,
			     .userdata = p->userdata,
			     .in.fd = -1 };
	s->container_id = strdup(p->container_id);
	s->exec_id = strdup(p->exec_id ? p->exec_id : "");
	s->in_data = p->in_fd >= 0 ? malloc(STDIO_CHUNK) : NULL;
	for (int i = 0; i < 2; i++)
		s->outputs[i] = (struct output){ .owner = s,
						 .stream = i ? AGENT_STDERR : AGENT_STDOUT,
						 .out.fd = -1,
						 .drop = (i ? p->err_fd : p->out_fd) < 0 };
	r = s->container_id && s->exec_id && (s->in_data || p->in_fd < 0) ? start(s, p) : -ENOMEM;
	if (r < 0) {
		stdio_free(s);
		return err_sys(e, -r, "cannot set up standard input and output");
	}
	if (p->in_fd >= 0)
		input_wait(s);
	else if (!p->terminal)
		input_close(s);
	output_read(&s->outputs[0]);
	if (p->terminal)
		output_end(&s->outputs[1]);
	else
		output_read(&s->outputs[1]);
	*ret = s;
	return 0;
}

void stdio_free(struct stdio *s)
{
	if (!s)
		return;
	agent_call_cancel(s->in_call);
	input_end(s);
	for (int i = 0; i < 2; i++) {
		agent_call_cancel(s->outputs[i].call);
		loop_source_free(s->outputs[i].source);
		stdio_fd_close(&s->outputs[i].out);
		free(s->outputs[i].data);
	}
	loop_source_free(s->finish);
	free(s->container_id);
	free(s->exec_id);
	free(s);
}
