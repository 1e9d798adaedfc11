/* SPDX-License-Identifier: Apache-2.0 */
/* The streams of a process against an agent in the same loop: what each kind of name opens, and how it ends. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/ttrpc.h"
#include "pod/io.h"
#include "pod/io_end.h"
#include "pod/io_logger.h"
#include "proto/empty.pb-c.h"

struct fixture {
	struct loop *loop;
	struct ttrpc_server *server;
	struct agent *agent;
	struct pod_streams *streams;
	char dir[64];
	/* The guest's process. */
	const char *output[3]; /* by stream; what is left to say */
	struct ttrpc_request *held[3];
	bool running;
	struct buf input;
	int input_closed;
	int done, result;
};

static void say(struct fixture *f, int stream, struct ttrpc_request *req)
{
	Grpc__ReadStreamResponse answer = GRPC__READ_STREAM_RESPONSE__INIT;
	const char *text = f->output[stream];

	if (!text && f->running) {
		f->held[stream] = req;
		return;
	}
	answer.data.data = (uint8_t *)(text ? text : "");
	answer.data.len = text ? strlen(text) : 0;
	f->output[stream] = NULL;
	ttrpc_reply(req, &answer.base);
}

static void on_gone(struct ttrpc_request *req, void *userdata)
{
	struct fixture *f = userdata;

	for (int i = 1; i < 3; i++)
		if (f->held[i] == req)
			f->held[i] = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void do_stdout(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	ttrpc_request_on_close(req, on_gone, userdata);
	say(userdata, 1, req);
}

static void do_stderr(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	ttrpc_request_on_close(req, on_gone, userdata);
	say(userdata, 2, req);
}

static void do_stdin(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__WriteStreamRequest *q = (const Grpc__WriteStreamRequest *)m;
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;
	struct fixture *f = userdata;

	assert_int_equal(buf_append(&f->input, q->data.data, q->data.len), 0);
	answer.len = (uint32_t)q->data.len;
	ttrpc_reply(req, &answer.base);
}

static void do_close(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	((struct fixture *)userdata)->input_closed++;
	ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method methods[] = {
	{ "ReadStdout", &grpc__read_stream_request__descriptor, do_stdout },
	{ "ReadStderr", &grpc__read_stream_request__descriptor, do_stderr },
	{ "WriteStdin", &grpc__write_stream_request__descriptor, do_stdin },
	{ "CloseStdin", &grpc__close_stdin_request__descriptor, do_close },
};
static const struct ttrpc_service services[] = { { "grpc.AgentService", methods, sizeof methods / sizeof *methods } };

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int sv[2];

	log_set_level(LOG_LEVEL_ERROR);
	strcpy(f->dir, "/tmp/task-io-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->running = true;
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ttrpc_server_new(f->loop, -1, services, 1, f, &f->server, NULL), 0);
	assert_int_equal(ttrpc_server_add(f->server, sv[0], NULL), 0);
	assert_int_equal(agent_new(f->loop, sv[1], -1, NULL, &f->agent, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pod_streams_free(f->streams);
	agent_free(f->agent);
	ttrpc_server_free(f->server);
	loop_free(f->loop);
	buf_fini(&f->input);
	dir_remove(f->dir);
	free(f);
	return 0;
}

static char *path_in(struct fixture *f, const char *name)
{
	return str_printf("%s/%s", f->dir, name);
}

static char *make_fifo(struct fixture *f, const char *name)
{
	char *path = path_in(f, name);

	assert_int_equal(mkfifo(path, 0600), 0);
	return path;
}

static void on_done(int result, const struct err *e, void *userdata)
{
	struct fixture *f = userdata;

	f->done++;
	f->result = result;
}

static int open_streams(struct fixture *f, const struct pod_io *io, struct err *e)
{
	struct pod_streams_params p = { .loop = f->loop,
					.namespace = "ns1",
					.container_id = "c1",
					.exec_id = "",
					.io = io,
					.done = on_done,
					.userdata = f };

	return pod_streams_open(&p, &f->streams, e);
}

static void begin(struct fixture *f, const struct pod_io *io)
{
	struct err e = { 0 };

	if (open_streams(f, io, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(pod_streams_start(f->streams, f->agent, NULL), 0);
}

static void rounds(struct fixture *f, int n)
{
	while (n--)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
}

/* The process says more, or ends. */
static void speak(struct fixture *f, int stream, const char *text)
{
	struct ttrpc_request *req;

	while (!(req = f->held[stream]))
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	f->held[stream] = NULL;
	f->output[stream] = text;
	say(f, stream, req);
}

static void exit_process(struct fixture *f)
{
	f->running = false;
	for (int i = 1; i < 3; i++)
		if (f->held[i])
			say(f, i, take_ptr(f->held[i]));
	while (!f->done)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	assert_int_equal(f->done, 1);
}

/* Run the loop until the descriptor has something, and read it. */
static void expect_read(struct fixture *f, int fd, const char *want)
{
	char got[256];
	size_t n = 0;

	while (n < strlen(want)) {
		ssize_t r = read(fd, got + n, sizeof got - 1 - n);

		if (r < 0)
			assert_int_equal(errno, EAGAIN);
		else
			n += (size_t)r;
		assert_int_equal(loop_run_once(f->loop, 1), 0);
	}
	got[n] = '\0';
	assert_string_equal(got, want);
}

static void expect_file(const char *path, const char *want)
{
	char *got = NULL;

	assert_int_equal(file_read(path, 4096, &got, NULL), 0);
	assert_string_equal(got, want);
	free(got);
}

static void expect_input(struct fixture *f, const char *want)
{
	while (f->input.len < strlen(want))
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	assert_string_equal(f->input.data, want);
}

/* ---- FIFOs ---- */

static void test_fifo_clients_come_and_go(void **state)
{
	struct fixture *f = *state;
	char *in = make_fifo(f, "in"), *out = make_fifo(f, "out"), *err = make_fifo(f, "err");
	struct pod_io io = { .in = in, .out = out, .err = err };
	int fd;

	begin(f, &io);
	speak(f, 1, "before anybody came\n");
	fd = open(out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect_read(f, fd, "before anybody came\n");
	close(fd);
	speak(f, 1, "nobody listens\n");
	rounds(f, 20);
	fd = open(out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect_read(f, fd, "nobody listens\n");
	speak(f, 1, "and on\n");
	expect_read(f, fd, "and on\n");
	/* Two writers, one after the other; neither ends the input. */
	for (int i = 0; i < 2; i++) {
		int w = open(in, O_WRONLY | O_NONBLOCK | O_CLOEXEC);

		assert_int_equal(write(w, "hello\n", 6), 6);
		close(w);
		expect_input(f, i ? "hello\nhello\n" : "hello\n");
		rounds(f, 20);
	}
	assert_int_equal(f->input_closed, 0);
	speak(f, 2, "last words\n");
	exit_process(f);
	assert_int_equal(f->result, 0);
	/* The reader sees the end ... */
	assert_int_equal(read(fd, &fd, 1), 0);
	close(fd);
	/* ... and one that comes later gets what was not read. */
	fd = open(err, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect_read(f, fd, "last words\n");
	assert_int_equal(read(fd, &fd, 1), 0);
	close(fd);
	free(in);
	free(out);
	free(err);
}

static void test_fifo_close_stdin(void **state)
{
	struct fixture *f = *state;
	char *in = make_fifo(f, "in");
	struct pod_io io = { .in = in };
	int w;

	begin(f, &io);
	w = open(in, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(write(w, "all of it", 9), 9);
	assert_int_equal(pod_streams_close_stdin(f->streams, NULL), 0);
	assert_int_equal(pod_streams_close_stdin(f->streams, NULL), 0); /* twice */
	expect_input(f, "all of it");
	rounds(f, 20);
	assert_int_equal(f->input_closed, 0); /* the client has it open still */
	close(w);
	while (!f->input_closed)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	assert_string_equal(f->input.data, "all of it");
	exit_process(f);
	free(in);
}

/* Closed before the process was started. Until then a client's open(2) waits, because ctr relies on that. */
static void test_fifo_close_stdin_early(void **state)
{
	struct fixture *f = *state;
	char *in = make_fifo(f, "in");
	struct pod_io io = { .in = in };

	assert_int_equal(open_streams(f, &io, NULL), 0);
	assert_int_equal(open(in, O_WRONLY | O_NONBLOCK | O_CLOEXEC), -1);
	assert_int_equal(errno, ENXIO);
	assert_int_equal(pod_streams_close_stdin(f->streams, NULL), 0);
	assert_int_equal(pod_streams_start(f->streams, f->agent, NULL), 0);
	while (!f->input_closed)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	assert_int_equal(f->input.len, 0);
	exit_process(f);
	free(in);
}

static void test_nothing(void **state)
{
	struct pod_io io = { .in = "", .out = NULL };
	struct fixture *f = *state;

	begin(f, &io);
	speak(f, 1, "into the void");
	exit_process(f);
	assert_int_equal(f->input_closed, 1);
	assert_int_equal(f->result, 0);
}

static void test_never_started(void **state)
{
	struct fixture *f = *state;
	char *out = make_fifo(f, "out");
	struct pod_io io = { .out = out };

	assert_int_equal(open_streams(f, &io, NULL), 0);
	free(out); /* teardown frees the streams */
}

/* It could not be started: its client must not wait for output. */
static void test_hang_up(void **state)
{
	struct fixture *f = *state;
	char *out = make_fifo(f, "out"), byte;
	struct pod_io io = { .out = out };
	int fd;

	assert_int_equal(open_streams(f, &io, NULL), 0);
	fd = open(out, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	assert_int_equal(read(fd, &byte, 1), -1);
	assert_int_equal(errno, EAGAIN);
	pod_streams_hang_up(f->streams);
	assert_int_equal(read(fd, &byte, 1), 0);
	close(fd);
	free(out);
}

static void test_bad_names(void **state)
{
	struct fixture *f = *state;
	const char *const names[] = { "http://x/y",       "fd:1",           "fd:0:1",     "fd:x:1",
				      "fd:1:4294967296",  "fd:1:100000000", "/not/there", "file://relative",
				      "binary://relative" };
	char *missing = path_in(f, "missing");
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct pod_io io = { .out = names[i] };

		assert_true(open_streams(f, &io, &e) < 0);
		assert_non_null(strstr(e.text, names[i]));
	}
	{
		struct pod_io io = { .in = missing };

		assert_int_equal(open_streams(f, &io, &e), -ENOENT);
	}
	f->streams = NULL;
	free(missing);
}

/* ---- files ---- */

static void test_file_uri(void **state)
{
	struct fixture *f = *state;
	char *uri = str_printf("file://%s/new%%20folder/log", f->dir), *path = path_in(f, "new folder/log");
	struct pod_io io = { .out = uri, .err = "ignored" };

	begin(f, &io);
	speak(f, 1, "one\n");
	speak(f, 2, "two\n");
	exit_process(f);
	expect_file(path, "one\ntwo\n");
	pod_streams_free(take_ptr(f->streams));
	/* Appended to. */
	f->running = true;
	f->done = 0;
	begin(f, &io);
	speak(f, 1, "three\n");
	exit_process(f);
	expect_file(path, "one\ntwo\nthree\n");
	free(uri);
	free(path);
}

/* It is opened as any other, without waiting for a reader, who comes when he likes. */
static void test_file_uri_of_a_fifo(void **state)
{
	struct fixture *f = *state;
	char *path = make_fifo(f, "out"), *uri = str_printf("file://%s", path);
	struct pod_io io = { .out = uri };
	int fd;

	alarm(30);
	begin(f, &io);
	alarm(0);
	speak(f, 1, "one\n");
	speak(f, 2, "two\n");
	rounds(f, 20);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	expect_read(f, fd, "one\ntwo\n");
	exit_process(f);
	close(fd);
	free(uri);
	free(path);
}

/* ---- logging programs ---- */

static char *make_program(struct fixture *f, const char *body)
{
	char *path = path_in(f, "logger");
	FILE *file = fopen(path, "w");

	fprintf(file, "#!/bin/sh\nset -e\ncd %s\n%s\n", f->dir, body);
	fclose(file);
	assert_int_equal(chmod(path, 0700), 0);
	return path;
}

static void test_logger(void **state)
{
	struct fixture *f = *state;
	char *program = make_program(f, "echo \"$CONTAINER_ID $CONTAINER_NAMESPACE $*\" > args\n"
					"exec 5>&-\ncat <&3 > stdout\ncat <&4 > stderr\n"
					"ls /proc/self/fd | tr '\\n' ' ' > fds");
	char *uri = str_printf("binary://%s?a=b&c&d=e%%20f", program), *path;
	struct pod_io io = { .out = uri, .err = uri };

	begin(f, &io);
	speak(f, 1, "out\n");
	speak(f, 2, "err\n");
	exit_process(f); /* after the program's end */
	path = path_in(f, "args");
	expect_file(path, "c1 ns1 a b c d e f\n");
	free(path);
	path = path_in(f, "stdout");
	expect_file(path, "out\n");
	free(path);
	path = path_in(f, "stderr");
	expect_file(path, "err\n");
	free(path);
	path = path_in(f, "fds");
	expect_file(path, "0 1 2 3 4 5 "); /* 5: the folder that ls reads */
	free(path);
	free(uri);
	free(program);
}

/* One that dies does not hold up the process. */
static void test_logger_dies(void **state)
{
	struct fixture *f = *state;
	char *program = make_program(f, "exit 3"), *uri = str_printf("binary://%s", program);
	struct pod_io io = { .out = uri, .err = uri };

	log_set_sink(-1, LOG_FORMAT_TEXT, "");
	begin(f, &io);
	speak(f, 1, "nobody hears\n");
	speak(f, 1, "this either\n");
	exit_process(f);
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "test");
	assert_int_equal(f->result, 0);
	free(uri);
	free(program);
}

static void test_logger_missing(void **state)
{
	struct fixture *f = *state;
	struct pod_io io = { .out = "binary:///not/there" };
	struct err e = { 0 };

	assert_int_equal(open_streams(f, &io, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/not/there"));
	f->streams = NULL;
}

/* ---- descriptors of another process ---- */

static void test_descriptor_of_process(void **state)
{
	struct fixture *f = *state;
	int in[2], out[2], alive[2];
	char *in_name, *out_name;
	struct pod_io io;
	pid_t pid;
	char byte;

	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	assert_int_equal(pipe2(alive, O_CLOEXEC), 0);
	pid = fork();
	if (pid == 0) {
		/* Holds the far ends under numbers of its own until it is killed. */
		dup2(in[0], 100);
		dup2(out[1], 101);
		close(in[0]);
		close(in[1]);
		close(out[0]);
		close(out[1]);
		if (write(alive[1], "", 1) == 1)
			pause();
		_exit(0);
	}
	assert_int_equal(read(alive[0], &byte, 1), 1);
	in_name = str_printf("fd:%d:100", pid);
	out_name = str_printf("fd:%d:101", pid);
	io = (struct pod_io){ .in = in_name, .out = out_name };
	close(in[0]);
	close(out[1]);
	begin(f, &io);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	assert_int_equal(write(in[1], "typed", 5), 5);
	expect_input(f, "typed");
	assert_int_equal(pod_streams_close_stdin(f->streams, NULL), 0);
	while (!f->input_closed)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
	fd_set_nonblock(out[0], true);
	speak(f, 1, "said");
	expect_read(f, out[0], "said");
	exit_process(f);
	assert_int_equal(read(out[0], &byte, 1), 0);
	close(in[1]);
	close(out[0]);
	close(alive[0]);
	close(alive[1]);
	free(in_name);
	free(out_name);
}

/* ---- console socket ---- */

static int receive_master(int listener, char *name, size_t size)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = { .iov_base = name, .iov_len = size - 1 };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
	};
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC), master;
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);

	assert_true(n > 0);
	name[n] = '\0';
	assert_non_null(CMSG_FIRSTHDR(&m));
	memcpy(&master, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof master);
	close(fd);
	return master;
}

static void test_console(void **state)
{
	struct fixture *f = *state;
	char *socket_path = path_in(f, "console"), name[128];
	struct pod_io io = { .terminal = true, .console_socket = socket_path };
	int listener, master;

	assert_int_equal(unix_listen(socket_path, 0600, &listener, NULL), 0);
	assert_int_equal(open_streams(f, &io, NULL), 0);
	master = receive_master(listener, name, sizeof name);
	assert_true(isatty(master));
	assert_int_equal(fcntl(master, F_GETFL) & O_NONBLOCK, 0);
	assert_ptr_equal(strstr(name, "/dev/"), name);
	assert_true(isatty(pod_streams_terminal(f->streams)));
	assert_int_equal(pod_streams_start(f->streams, f->agent, NULL), 0);
	/* Nothing is changed on the way: no echo, no CR, no signal of ^C. */
	assert_int_equal(write(master, "ls\r\003", 4), 4);
	expect_input(f, "ls\r\003");
	fd_set_nonblock(master, true);
	speak(f, 1, "a\nb");
	expect_read(f, master, "a\nb");
	exit_process(f);
	assert_int_equal(read(master, name, 1), -1);
	assert_int_equal(errno, EIO); /* hung up */
	close(master);
	close(listener);
	free(socket_path);
}

static void test_console_nobody(void **state)
{
	struct fixture *f = *state;
	char *socket_path = path_in(f, "console");
	struct pod_io io = { .terminal = true, .console_socket = socket_path };
	struct err e = { 0 };

	assert_int_equal(open_streams(f, &io, &e), -ENOENT);
	assert_non_null(strstr(e.text, socket_path));
	f->streams = NULL;
	free(socket_path);
}

/* ---- parts ---- */

static void test_decode(void **state)
{
	const char *const table[][2] = {
		{ "/a/b", "/a/b" }, { "%2Fa%20b", "/a b" }, { "%", "%" }, { "%4", "%4" },
		{ "%zz", "%zz" },   { "%1z", "%1z" },       { "", "" },
	};
	char *got;

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		got = io_uri_decode(table[i][0], strlen(table[i][0]));
		assert_string_equal(got, table[i][1]);
		free(got);
	}
	assert_null(io_uri_decode("a%00b", 5));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_fifo_clients_come_and_go),
		TEST(test_fifo_close_stdin),
		TEST(test_fifo_close_stdin_early),
		TEST(test_nothing),
		TEST(test_never_started),
		TEST(test_hang_up),
		TEST(test_bad_names),
		TEST(test_file_uri),
		TEST(test_file_uri_of_a_fifo),
		TEST(test_logger),
		TEST(test_logger_dies),
		TEST(test_logger_missing),
		TEST(test_descriptor_of_process),
		TEST(test_console),
		TEST(test_console_nobody),
		cmocka_unit_test(test_decode),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
