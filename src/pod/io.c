/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OPEN -> (start) -> PUMPING -> all output is written -> [a logging program comes to its end] -> DONE
 *
 * The pump has descriptors of its own (pod/stdio_fd.h). What is kept here beside it: the held ends of FIFOs, so that
 * clients may come and go; the console's slave, so that the client's master does not see it hang up before the end.
 *
 * A FIFO for input is opened with the start only. containerd's own client (ctr) needs that: it writes into the FIFO
 * from the beginning, which waits for us, and learns only after Exec has been answered how to tell of the end
 * (CloseIO).
 */
#include "pod/io.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/io_console.h"
#include "pod/io_end.h"
#include "pod/io_logger.h"
#include "pod/stdio.h"

struct pod_streams {
	struct loop *loop;
	char *container_id, *exec_id;
	bool terminal;
	void (*done)(int result, const struct err *e, void *userdata);
	void *userdata;
	char *in_fifo; /* to be opened; NULL: none */
	struct io_end in, out, err;
	int slave;  /* of the console; -1: none */
	int window; /* a terminal that the client named, kept to be asked for its size; -1: none */
	bool in_closed;
	struct io_logger *logger;
	struct stdio *pump;
	int result; /* of the pump */
	struct err failure;
};

static void on_logger_gone(void *userdata)
{
	struct pod_streams *s = userdata;

	s->done(s->result, &s->failure, s->userdata);
}

static int open_logger(struct pod_streams *s, const struct pod_streams_params *p, struct err *e)
{
	struct io_logger_params q = { .loop = p->loop,
				      .uri = p->io->out,
				      .container_id = p->container_id,
				      .namespace = p->namespace,
				      .gone = on_logger_gone,
				      .userdata = s };

	return io_logger_start(&q, &s->logger, &s->out.fd, &s->err.fd, e);
}

static int open_output(struct pod_streams *s, const struct pod_streams_params *p, struct err *e)
{
	const struct pod_io *io = p->io;
	/* containerd's URIs mean both streams. */
	const char *err = io->out && str_after(io->out, "file://") ? io->out : io->err;
	int r;

	if (io->out && str_after(io->out, "binary://"))
		return open_logger(s, p, e);
	r = io_end_open(io->out, true, &s->out, e);
	return r < 0 || io->terminal ? r : io_end_open(err, true, &s->err, e);
}

static int open_all(struct pod_streams *s, const struct pod_streams_params *p, struct err *e)
{
	int r;

	if (p->io->terminal && !str_empty(p->io->console_socket))
		return io_console_open(p->io->console_socket, &s->slave, e);
	if (io_end_is_fifo(p->io->in)) {
		s->in_fifo = strdup(p->io->in);
		r = s->in_fifo ? 0 : err_sys(e, ENOMEM, "cannot open the streams");
	} else {
		r = io_end_open(p->io->in, false, &s->in, e);
	}
	if (r == 0)
		r = open_output(s, p, e);
	if (r == 0 && s->terminal && s->out.fd >= 0 && isatty(s->out.fd))
		s->window = fcntl(s->out.fd, F_DUPFD_CLOEXEC, 0);
	return r;
}

int pod_streams_open(const struct pod_streams_params *p, struct pod_streams **ret, struct err *e)
{
	struct pod_streams *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot open the streams");
	*s = (struct pod_streams){ .loop = p->loop,
				   .terminal = p->io->terminal,
				   .done = p->done,
				   .userdata = p->userdata,
				   .in = IO_END_NONE,
				   .out = IO_END_NONE,
				   .err = IO_END_NONE,
				   .slave = -1,
				   .window = -1 };
	s->container_id = strdup(p->container_id);
	s->exec_id = strdup(p->exec_id ? p->exec_id : "");
	r = s->container_id && s->exec_id ? open_all(s, p, e) : err_sys(e, ENOMEM, "cannot open the streams");
	if (r < 0)
		pod_streams_free(s);
	else
		*ret = s;
	return r;
}

/* What a client has not read yet stays readable in a FIFO for as long as our reading end is held. */
static void on_pumped(int result, const struct err *e, void *userdata)
{
	struct pod_streams *s = userdata;

	s->result = result;
	s->failure = *e; /* the pump's own */
	stdio_free(take_ptr(s->pump));
	io_end_close(&s->in);
	fd_close(&s->slave);
	fd_close(&s->window);
	if (s->logger)
		io_logger_finish(s->logger);
	else
		s->done(result, &s->failure, s->userdata);
}

static void on_gone(int stream, void *userdata)
{
	struct pod_streams *s = userdata;

	log_debug("container %s: nobody reads stream %d any more", s->container_id, stream);
}

/* A FIFO ends behind its last byte when its last writer has closed it: that is us, or will be the client. */
static void end_input(struct pod_streams *s)
{
	if (s->in.fifo)
		fd_close(&s->in.hold);
	else
		stdio_close_input(s->pump);
}

static int start_pump(struct pod_streams *s, struct agent *agent, struct err *e)
{
	bool console = s->slave >= 0;
	struct stdio_params p = { .loop = s->loop,
				  .agent = agent,
				  .container_id = s->container_id,
				  .exec_id = s->exec_id,
				  .in_fd = console ? s->slave : s->in.fd,
				  .out_fd = console ? s->slave : s->out.fd,
				  .err_fd = s->err.fd,
				  .terminal = s->terminal,
				  .gone = on_gone,
				  .done = on_pumped,
				  .userdata = s };

	return stdio_start(&p, &s->pump, e);
}

int pod_streams_start(struct pod_streams *s, struct agent *agent, struct err *e)
{
	int r = 0;

	if (s->pump)
		return err_set(e, ERR_CONFIG, EBUSY, "the streams have been started before");
	if (s->in_fifo)
		r = io_end_open(s->in_fifo, false, &s->in, e);
	if (r == 0)
		r = start_pump(s, agent, e);
	if (r < 0)
		return r;
	if (s->in_closed)
		end_input(s);
	/* The pump has its own. */
	fd_close(&s->in.fd);
	fd_close(&s->out.fd);
	fd_close(&s->err.fd);
	return 0;
}

void pod_streams_hang_up(struct pod_streams *s)
{
	if (s->pump)
		return;
	io_end_close(&s->in);
	io_end_close(&s->out);
	io_end_close(&s->err);
	fd_close(&s->slave);
}

int pod_streams_close_stdin(struct pod_streams *s, struct err *e)
{
	if (s->slave >= 0 || s->in_closed)
		return 0;
	s->in_closed = true;
	/* Not before the pump has opened the FIFO: one opened when no writer is left never tells poll(2) of its end. */
	if (s->pump)
		end_input(s);
	return 0;
}

uint64_t pod_streams_since_full_ms(const struct pod_streams *s)
{
	return s->pump ? stdio_since_full_ms(s->pump) : UINT64_MAX;
}

int pod_streams_terminal(const struct pod_streams *s)
{
	return s->slave;
}

int pod_streams_window(const struct pod_streams *s)
{
	return s->slave >= 0 ? s->slave : s->window;
}

void pod_streams_free(struct pod_streams *s)
{
	if (!s)
		return;
	stdio_free(s->pump);
	io_logger_free(s->logger);
	io_end_close(&s->in);
	io_end_close(&s->out);
	io_end_close(&s->err);
	fd_close(&s->slave);
	fd_close(&s->window);
	free(s->in_fifo);
	free(s->container_id);
	free(s->exec_id);
	free(s);
}
