/* SPDX-License-Identifier: Apache-2.0 */
/* The pump against a fake agent, in one thread and one loop; the caller's ends are served by threads. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <pty.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "codec/ttrpc.h"
#include "pod/stdio.h"
#include "pod/stdio_fd.h"
#include "proto/empty.pb-c.h"

#define TOTAL (20u << 20)

/* A byte sequence with a long period, and a running check of one. */
static uint8_t pattern(uint64_t i)
{
	return (uint8_t)(i * 31 + (i >> 8) * 17 + (i >> 16));
}

static void fill(uint8_t *data, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		data[i] = pattern(from + i);
}

static size_t mismatch(const uint8_t *data, uint64_t from, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (data[i] != pattern(from + i))
			return i + 1;
	return 0;
}

struct fake {
	struct loop *loop;
	struct ttrpc_server *server;
	struct agent *agent;
	uint64_t out_total[3], out_sent[3]; /* by stream */
	uint64_t in_got;
	int in_bad, in_closed, writes;
	bool hold_output;  /* reads wait until stdin is closed */
	bool refuse_input; /* WriteStdin fails */
	bool eof_by_error;
	char last_input[16];
	struct ttrpc_request *held;
	/* The pump's report. */
	int done, result;
	struct err e;
	uint64_t teed[3], max_chunk;
};

static void send_output(struct fake *f, struct ttrpc_request *req, int stream, uint32_t want)
{
	Grpc__ReadStreamResponse answer = GRPC__READ_STREAM_RESPONSE__INIT;
	uint64_t left = f->out_total[stream] - f->out_sent[stream];
	/* Uneven pieces. */
	size_t n = 1 + (f->out_sent[stream] * 7 + 12345) % want;

	if (n > left)
		n = (size_t)left;
	if (!n && f->eof_by_error) {
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "read meets eof");
		return;
	}
	answer.data.len = n;
	answer.data.data = malloc(n + 1);
	fill(answer.data.data, f->out_sent[stream], n);
	f->out_sent[stream] += n;
	ttrpc_reply(req, &answer.base);
	free(answer.data.data);
}

static void fake_gone(struct ttrpc_request *req, void *userdata)
{
	struct fake *f = userdata;

	f->held = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_stdout(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__ReadStreamRequest *q = (const Grpc__ReadStreamRequest *)request;
	struct fake *f = userdata;

	assert_string_equal(q->container_id, "c1");
	assert_string_equal(q->exec_id, "e1");
	if (f->hold_output && !f->in_closed) {
		assert_null(f->held); /* one outstanding */
		f->held = req;
		ttrpc_request_on_close(req, fake_gone, f);
		return;
	}
	send_output(f, req, 1, q->len);
}

static void fake_stderr(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	send_output(userdata, req, 2, ((const Grpc__ReadStreamRequest *)request)->len);
}

static void fake_stdin(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	const Grpc__WriteStreamRequest *q = (const Grpc__WriteStreamRequest *)request;
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;
	struct fake *f = userdata;

	if (f->refuse_input) {
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no stdin");
		return;
	}
	assert_in_range(q->data.len, 1, STDIO_CHUNK);
	/* Every third write is taken in part only. */
	answer.len = (uint32_t)(f->writes++ % 3 == 2 ? q->data.len / 2 + 1 : q->data.len);
	if (answer.len > q->data.len)
		answer.len = (uint32_t)q->data.len;
	if (mismatch(q->data.data, f->in_got, answer.len))
		f->in_bad++;
	f->in_got += answer.len;
	if (q->data.len < sizeof f->last_input)
		memcpy(f->last_input, q->data.data, q->data.len);
	ttrpc_reply(req, &answer.base);
}

static void fake_close(struct ttrpc_request *req, const ProtobufCMessage *request, void *userdata)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	struct fake *f = userdata;

	f->in_closed++;
	ttrpc_reply(req, &empty.base);
	if (f->held) {
		struct ttrpc_request *held = take_ptr(f->held);

		send_output(f, held, 1, ((const Grpc__ReadStreamRequest *)ttrpc_request_message(held))->len);
	}
}

static const struct ttrpc_method methods[] = {
	{ "ReadStdout", &grpc__read_stream_request__descriptor, fake_stdout },
	{ "ReadStderr", &grpc__read_stream_request__descriptor, fake_stderr },
	{ "WriteStdin", &grpc__write_stream_request__descriptor, fake_stdin },
	{ "CloseStdin", &grpc__close_stdin_request__descriptor, fake_close },
};
static const struct ttrpc_service services[] = { { "grpc.AgentService", methods, sizeof methods / sizeof *methods } };

static void fake_start(struct fake *f)
{
	int sv[2];

	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ttrpc_server_new(f->loop, -1, services, 1, f, &f->server, NULL), 0);
	assert_int_equal(ttrpc_server_add(f->server, sv[0], NULL), 0);
	assert_int_equal(agent_new(f->loop, sv[1], -1, NULL, &f->agent, NULL), 0);
}

static void fake_stop(struct fake *f)
{
	agent_free(f->agent);
	ttrpc_server_free(f->server);
	loop_free(f->loop);
}

static void on_tee(int stream, const void *data, size_t n, void *userdata)
{
	struct fake *f = userdata;

	assert_int_equal(mismatch(data, f->teed[stream], n), 0);
	f->teed[stream] += n;
	if (n > f->max_chunk)
		f->max_chunk = n;
}

static void on_done(int result, const struct err *e, void *userdata)
{
	struct fake *f = userdata;

	f->done++;
	f->result = result;
	f->e = *e;
	loop_quit(f->loop, 0);
}

static void pump(struct fake *f, int in, int out, int err, bool terminal)
{
	struct stdio_params p = { .loop = f->loop,
				  .agent = f->agent,
				  .container_id = "c1",
				  .exec_id = "e1",
				  .in_fd = in,
				  .out_fd = out,
				  .err_fd = err,
				  .terminal = terminal,
				  .tee = on_tee,
				  .done = on_done,
				  .userdata = f };
	struct stdio *s;

	assert_int_equal(stdio_start(&p, &s, NULL), 0);
	assert_int_equal(loop_run(f->loop), 0);
	assert_int_equal(f->done, 1);
	stdio_free(s);
}

/* ---- the caller's side ---- */

struct side {
	pthread_t thread;
	int fd;
	uint64_t total, got;
	size_t bad;
	size_t stop_after; /* close early */
};

static void *feed(void *userdata)
{
	struct side *s = userdata;
	uint8_t data[40000];

	for (uint64_t pos = 0; pos < s->total;) {
		size_t n = 1 + pos * 3 % sizeof data;

		if (n > s->total - pos)
			n = (size_t)(s->total - pos);
		fill(data, pos, n);
		if (fd_write_full(s->fd, data, n) < 0)
			break;
		pos += n;
	}
	close(s->fd);
	return NULL;
}

static void *consume(void *userdata)
{
	struct side *s = userdata;
	uint8_t data[30000];

	while (!s->stop_after || s->got < s->stop_after) {
		ssize_t n = read(s->fd, data, 1 + s->got % sizeof data);

		if (n <= 0)
			break;
		if (!s->bad)
			s->bad = mismatch(data, s->got, (size_t)n);
		s->got += (size_t)n;
	}
	close(s->fd);
	return NULL;
}

/* 20 MiB each way through pipes, stderr apart; the pipes' own flags stay as they were. */
static void test_both_ways(void **state)
{
	struct fake f = { .out_total = { 0, TOTAL, 300000 } };
	struct side in = { .total = TOTAL }, out = { 0 }, err = { 0 };
	int a[2], b[2], c[2];

	fake_start(&f);
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	assert_int_equal(pipe2(c, O_CLOEXEC), 0);
	in.fd = a[1];
	out.fd = b[0];
	err.fd = c[0];
	f.hold_output = true; /* all input first: the process is a sort of its own */
	pthread_create(&in.thread, NULL, feed, &in);
	pthread_create(&out.thread, NULL, consume, &out);
	pthread_create(&err.thread, NULL, consume, &err);
	pump(&f, a[0], b[1], c[1], false);
	assert_int_equal(fcntl(b[1], F_GETFL) & O_NONBLOCK, 0);
	assert_int_equal(fcntl(a[0], F_GETFL) & O_NONBLOCK, 0);
	close(a[0]);
	close(b[1]);
	close(c[1]);
	pthread_join(in.thread, NULL);
	pthread_join(out.thread, NULL);
	pthread_join(err.thread, NULL);
	assert_int_equal(f.result, 0);
	assert_int_equal(f.in_got, TOTAL);
	assert_int_equal(f.in_bad, 0);
	assert_int_equal(f.in_closed, 1);
	assert_int_equal(out.got, TOTAL);
	assert_int_equal(out.bad, 0);
	assert_int_equal(err.got, 300000);
	assert_int_equal(err.bad, 0);
	assert_int_equal(f.teed[1], TOTAL);
	assert_int_equal(f.teed[2], 300000);
	assert_in_range(f.max_chunk, 1, STDIO_CHUNK);
	fake_stop(&f);
}

/* Files: never refused by epoll, and the position moves on as for any program. */
static void test_files(void **state)
{
	struct fake f = { .out_total = { 0, 1000000, 0 }, .hold_output = true, .eof_by_error = true };
	char path[] = "/tmp/stdio-test-XXXXXX", *data;
	uint8_t *expected = malloc(1000000);
	int fd = mkostemp(path, O_CLOEXEC), null = open("/dev/null", O_RDWR | O_CLOEXEC);
	size_t len;

	fake_start(&f);
	fill(expected, 0, 1000000);
	assert_int_equal(fd_write_full(fd, expected, 1000000), 0);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	pump(&f, fd, null, null, false);
	assert_int_equal(f.result, 0);
	assert_int_equal(f.in_got, 1000000);
	assert_int_equal(f.in_bad, 0);
	assert_int_equal(f.in_closed, 1);
	/* And out: behind what the file holds already. */
	f.out_sent[1] = f.teed[1] = f.done = 0;
	f.in_closed = 0;
	pump(&f, null, fd, -1, false);
	assert_int_equal(f.in_closed, 1);
	assert_int_equal(file_read(path, 4000000, &data, &len), 0);
	assert_int_equal(len, 2000000);
	assert_memory_equal(data + 1000000, expected, 1000000);
	free(data);
	free(expected);
	close(fd);
	close(null);
	unlink(path);
	fake_stop(&f);
}

static void test_socket(void **state)
{
	struct fake f = { .out_total = { 0, 3000000, 0 } };
	struct side out = { 0 };
	int sv[2];

	fake_start(&f);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	out.fd = sv[0];
	pthread_create(&out.thread, NULL, consume, &out);
	/* One descriptor both ways, as inetd does it. */
	pump(&f, sv[1], sv[1], -1, false);
	close(sv[1]);
	pthread_join(out.thread, NULL);
	assert_int_equal(f.result, 0);
	assert_int_equal(out.got, 3000000);
	assert_int_equal(out.bad, 0);
	fake_stop(&f);
}

/* `| head`: the reader goes, the process writes on to its end. No signal. */
static void test_reader_goes(void **state)
{
	struct fake f = { .out_total = { 0, TOTAL, 5 } };
	struct side out = { .stop_after = 100000 };
	int b[2];

	fake_start(&f);
	assert_int_equal(pipe2(b, O_CLOEXEC), 0);
	out.fd = b[0];
	pthread_create(&out.thread, NULL, consume, &out);
	pump(&f, -1, b[1], -1, false);
	pthread_join(out.thread, NULL);
	close(b[1]);
	assert_int_equal(f.result, 0);
	assert_int_equal(f.out_sent[1], TOTAL);
	assert_int_equal(f.teed[1], TOTAL);
	assert_int_equal(f.teed[2], 5);
	assert_int_equal(f.in_closed, 1);
	fake_stop(&f);
}

static void test_output_full(void **state)
{
	struct fake f = { .out_total = { 0, 1000000, 0 } };
	int full = open("/dev/full", O_WRONLY | O_CLOEXEC);

	fake_start(&f);
	pump(&f, -1, full, -1, false);
	assert_int_equal(f.result, -ENOSPC);
	assert_non_null(strstr(f.e.text, "cannot write standard output"));
	assert_int_equal(f.out_sent[1], 1000000);
	close(full);
	fake_stop(&f);
}

static void test_input_refused(void **state)
{
	struct fake f = { .out_total = { 0, 10, 0 }, .refuse_input = true };
	int a[2];

	fake_start(&f);
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	assert_int_equal(write(a[1], "abc", 3), 3);
	pump(&f, a[0], -1, -1, false);
	assert_int_equal(f.result, 0);
	assert_int_equal(f.teed[1], 10);
	close(a[0]);
	close(a[1]);
	fake_stop(&f);
}

/* On a terminal the end of the input is typed, and there is one output. */
static void test_terminal(void **state)
{
	struct fake f = { .out_total = { 0, 10, 0 } };
	int a[2];

	fake_start(&f);
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	close(a[1]);
	pump(&f, a[0], -1, -1, true);
	while (!f.last_input[0])
		assert_int_equal(loop_run_once(f.loop, 1000), 0);
	assert_int_equal(f.last_input[0], 4);
	assert_int_equal(f.in_closed, 0);
	close(a[0]);
	fake_stop(&f);
}

/* The caller's own terminal, slow and shared: exact, and its flags stay. */
static void test_on_a_terminal(void **state)
{
	struct fake f = { .out_total = { 0, 500000, 0 } };
	struct side out = { .stop_after = 500000 };
	struct termios raw = { 0 };
	int master, slave;

	fake_start(&f);
	cfmakeraw(&raw);
	assert_int_equal(openpty(&master, &slave, NULL, &raw, NULL), 0);
	out.fd = master;
	pthread_create(&out.thread, NULL, consume, &out);
	pump(&f, slave, slave, -1, true);
	assert_int_equal(fcntl(slave, F_GETFL) & O_NONBLOCK, 0);
	pthread_join(out.thread, NULL);
	assert_int_equal(f.result, 0);
	assert_int_equal(out.got, 500000);
	assert_int_equal(out.bad, 0);
	close(slave);
	fake_stop(&f);
}

/* Where a pipe cannot be opened again: small pieces, and never blocked. */
static void test_blocking_pipe(void **state)
{
	static char data[PIPE_BUF * 2];
	struct stdio_fd in = { .step = PIPE_BUF }, out = { .step = PIPE_BUF };
	int p[2], n = 0;
	ssize_t r;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	in.fd = p[0];
	out.fd = p[1];
	assert_int_equal(stdio_fd_read(&in, data, sizeof data), -EAGAIN);
	while ((r = stdio_fd_write(&out, data, sizeof data)) > 0) {
		assert_in_range(r, 1, PIPE_BUF);
		n += (int)r;
	}
	assert_int_equal(r, -EAGAIN);
	assert_int_equal(n, fcntl(p[1], F_GETPIPE_SZ));
	assert_int_equal(stdio_fd_read(&in, data, sizeof data), sizeof data);
	stdio_fd_close(&in);
	assert_int_equal(stdio_fd_write(&out, data, 1), -EPIPE);
	stdio_fd_close(&out);
}

static void test_hung_up_terminal(void **state)
{
	struct stdio_fd out;
	int master, slave;

	assert_int_equal(openpty(&master, &slave, NULL, NULL, NULL), 0);
	assert_int_equal(stdio_fd_open(&out, slave, true), 0);
	close(master);
	assert_int_equal(stdio_fd_write(&out, "x", 1), -EPIPE);
	stdio_fd_close(&out);
	close(slave);
}

static void test_connection_lost(void **state)
{
	struct fake f = { .hold_output = true };
	int a[2];
	struct stdio_params p = {
		.container_id = "c1", .exec_id = "e1", .out_fd = -1, .err_fd = -1, .done = on_done, .userdata = &f
	};
	struct stdio *s;

	fake_start(&f);
	assert_int_equal(pipe2(a, O_CLOEXEC), 0);
	p.loop = f.loop;
	p.agent = f.agent;
	p.in_fd = a[0];
	assert_int_equal(stdio_start(&p, &s, NULL), 0);
	while (!f.held)
		assert_int_equal(loop_run_once(f.loop, 1000), 0);
	ttrpc_server_free(take_ptr(f.server));
	assert_int_equal(loop_run(f.loop), 0);
	assert_int_equal(f.result, -ECONNRESET);
	assert_non_null(strstr(f.e.text, "guest agent: ReadStdout c1: "));
	stdio_free(s);
	close(a[0]);
	close(a[1]);
	fake_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_both_ways),       cmocka_unit_test(test_files),
		cmocka_unit_test(test_socket),          cmocka_unit_test(test_reader_goes),
		cmocka_unit_test(test_output_full),     cmocka_unit_test(test_input_refused),
		cmocka_unit_test(test_terminal),        cmocka_unit_test(test_on_a_terminal),
		cmocka_unit_test(test_blocking_pipe),   cmocka_unit_test(test_hung_up_terminal),
		cmocka_unit_test(test_connection_lost),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
