/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A session against a fake agent in the same thread and loop. Linked with --wrap, in a hurry all the time: see
 * codec/hurry.h. Standard output and error are files meanwhile.
 */
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
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/session.h"
#include "codec/hurry.h"
#include "codec/ttrpc.h"
#include "proto/empty.pb-c.h"

/* ---- the fake agent ---- */

enum on_signal { NOTE, EXIT, LAST_EXIT, NO_ANSWER };

static struct {
	struct loop *loop;
	struct ttrpc_server *server;
	struct agent *agent;
	struct ttrpc_request *waiting;
	enum on_signal on_signal;
	const char *output[3]; /* by stream; NULL: the stream ends at once */
	bool keep_open[3];     /* the stream does not end */
	int status;            /* ends with it as soon as its output was read; -1: runs on */
	bool ends_early;       /* it does not wait until it was read */
	bool refuse_wait, hang_up;
	struct strv seen;
	int files[3], before[3], end_fd;
	char log_dir[32];
	struct output_log *log;
	uint64_t first_byte;
	int raise_signal; /* when output is read for the first time */
	/* of the session */
	int result, exit_status;
	struct err e;
} t;

static void end_process(int status)
{
	Grpc__WaitProcessResponse ended = GRPC__WAIT_PROCESS_RESPONSE__INIT;

	ended.status = status;
	if (t.waiting)
		ttrpc_reply(take_ptr(t.waiting), &ended.base);
}

static void fake_wait_gone(struct ttrpc_request *req, void *userdata)
{
	t.waiting = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_wait(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (t.refuse_wait) {
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no such process");
		return;
	}
	t.waiting = req;
	ttrpc_request_on_close(req, fake_wait_gone, NULL);
}

static void fake_gone(struct ttrpc_request *req, void *userdata)
{
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void read_output(struct ttrpc_request *req, int stream)
{
	Grpc__ReadStreamResponse answer = GRPC__READ_STREAM_RESPONSE__INIT;

	if (t.hang_up) {
		ttrpc_request_on_close(req, fake_gone, NULL);
		return;
	}
	if (t.raise_signal)
		kill(getpid(), t.raise_signal);
	t.raise_signal = 0;
	if (t.output[stream]) {
		answer.data.data = (uint8_t *)t.output[stream];
		answer.data.len = strlen(t.output[stream]);
		t.output[stream] = NULL;
		ttrpc_reply(req, &answer.base);
		if (t.ends_early)
			end_process(t.status);
		return;
	}
	if (t.status >= 0 && stream == 1)
		end_process(t.status);
	if (t.keep_open[stream])
		ttrpc_request_on_close(req, fake_gone, NULL);
	else
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "read meets eof");
}

static void fake_stdout(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	read_output(req, 1);
}

static void fake_stderr(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	read_output(req, 2);
}

static void fake_signal(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__SignalProcessRequest *q = (const Grpc__SignalProcessRequest *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	const int signo = (int)q->signal;

	strv_addf(&t.seen, "signal %u %s %s", q->signal, q->container_id, q->exec_id);
	if (t.on_signal == NO_ANSWER) {
		ttrpc_request_on_close(req, fake_gone, NULL);
		return;
	}
	ttrpc_reply(req, &empty.base);
	if (t.on_signal == EXIT || (t.on_signal == LAST_EXIT && signo == SIGKILL))
		end_process(128 + signo);
}

static void fake_close(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	strv_add(&t.seen, "close stdin");
	ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method methods[] = {
	{ "WaitProcess", &grpc__wait_process_request__descriptor, fake_wait },
	{ "ReadStdout", &grpc__read_stream_request__descriptor, fake_stdout },
	{ "ReadStderr", &grpc__read_stream_request__descriptor, fake_stderr },
	{ "SignalProcess", &grpc__signal_process_request__descriptor, fake_signal },
	{ "CloseStdin", &grpc__close_stdin_request__descriptor, fake_close },
};
static const struct ttrpc_service service = { "grpc.AgentService", methods, sizeof methods / sizeof *methods };

/* ---- set-up ---- */

static int set_up(void **state)
{
	int sv[2];

	memset(&t, 0, sizeof t);
	t.status = -1;
	hurry = true;
	snprintf(t.log_dir, sizeof t.log_dir, "/tmp/session-XXXXXX");
	assert_non_null(mkdtemp(t.log_dir));
	t.log = output_log_new(t.log_dir);
	t.end_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	for (int i = 1; i <= 2; i++)
		t.files[i] = open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(t.loop, -1, &service, 1, NULL, &t.server, NULL), 0);
	assert_int_equal(ttrpc_server_add(t.server, sv[0], NULL), 0);
	return agent_new(t.loop, sv[1], -1, NULL, &t.agent, NULL);
}

static int tear_down(void **state)
{
	agent_free(t.agent);
	ttrpc_server_free(t.server);
	loop_free(t.loop);
	output_log_free(t.log);
	dir_remove(t.log_dir);
	strv_fini(&t.seen);
	close(t.end_fd);
	for (int i = 1; i <= 2; i++)
		close(t.files[i]);
	return 0;
}

static void redirect(bool on)
{
	fflush(stdout);
	fflush(stderr);
	for (int i = 1; i <= 2; i++) {
		if (on)
			t.before[i] = fcntl(i, F_DUPFD_CLOEXEC, 10);
		dup2(on ? t.files[i] : t.before[i], i);
		if (!on)
			close(t.before[i]);
	}
}

static void hang_up(void *userdata)
{
	ttrpc_server_free(take_ptr(t.server));
}

/* Run a session of init to its end; t.result, t.exit_status, t.e. */
static void run(uint32_t timeout_s)
{
	struct session_options o = { .loop = t.loop,
				     .agent = t.agent,
				     .container_id = "c1",
				     .exec_id = "",
				     .end_fd = t.end_fd,
				     .timeout_s = timeout_s,
				     .stop_signal = SIGTERM,
				     .log = t.log,
				     .first_byte_us = &t.first_byte };
	struct session *s = NULL;

	redirect(true);
	t.result = session_start(&o, &s, &t.e);
	if (t.result == 0 && t.hang_up)
		loop_post(t.loop, hang_up, NULL);
	if (t.result == 0)
		t.result = session_run(s, &t.exit_status, &t.e);
	session_free(s);
	redirect(false);
}

static void file_is(int fd, const char *expected)
{
	char text[256] = "";

	assert_true(pread(fd, text, sizeof text - 1, 0) >= 0);
	assert_string_equal(text, expected);
}

/* ---- tests ---- */

static void test_status_and_output(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/" OUTPUT_LOG_NAME, t.log_dir), *log = NULL;

	t.output[1] = "to out\n";
	t.output[2] = "to err\n";
	t.status = 7;
	run(0);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.exit_status, 7);
	file_is(t.files[1], "to out\n");
	file_is(t.files[2], "to err\n");
	assert_int_not_equal(t.first_byte, 0);
	assert_int_equal(file_read(path, 100, &log, NULL), 0);
	assert_int_equal(strlen(log), 14);
	assert_int_equal(t.seen.len, 1);
	assert_string_equal(t.seen.v[0], "close stdin"); /* without -i there is none */
}

/* A child of the process may hold its output open: that is not waited for without end. */
static void test_output_that_does_not_end(void **state)
{
	t.output[1] = "x";
	t.keep_open[1] = t.keep_open[2] = true;
	t.status = 3;
	run(0);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.exit_status, 3);
	file_is(t.files[1], "x");
}

/* ---- a reader that pauses ---- */

static struct {
	char data[20000];
	int fd;
	size_t n; /* that it has read */
	int signal;
	struct loop_source *timer;
} reader;

static void read_on(struct loop_source *source, void *userdata)
{
	char data[4096];
	ssize_t n;

	if (reader.signal) {
		kill(getpid(), reader.signal);
		return;
	}
	while ((n = read(reader.fd, data, sizeof data)) > 0)
		reader.n += (size_t)n;
	__real_loop_timer_set(source, 10);
}

/* Our standard output is a pipe that is read only when the limit for late output is over several times. */
static void run_with_reader(int signal)
{
	int fds[2];

	assert_int_equal(pipe2(fds, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(fcntl(fds[1], F_SETPIPE_SZ, 4096), 4096);
	close(t.files[1]);
	t.files[1] = fds[1];
	reader.fd = fds[0];
	reader.n = 0;
	reader.signal = signal;
	memset(reader.data, 'x', sizeof reader.data - 1);
	t.output[1] = reader.data;
	t.status = 5;
	t.ends_early = true;
	assert_int_equal(__real_loop_add_timer(t.loop, 300, read_on, NULL, &reader.timer), 0);
	run(0);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.exit_status, 5);
	if (!signal)
		read_on(reader.timer, NULL);
	loop_source_free(reader.timer);
	close(reader.fd);
}

static void test_reader_that_pauses(void **state)
{
	run_with_reader(0);
	assert_int_equal(reader.n, sizeof reader.data - 1);
}

static void test_reader_that_does_not_come_back(void **state)
{
	t.keep_open[1] = true;
	run_with_reader(SIGTERM);
}

static void test_output_that_cannot_be_written(void **state)
{
	close(t.files[1]);
	t.files[1] = open("/dev/full", O_RDWR | O_CLOEXEC);
	t.output[1] = "lost";
	t.status = 0;
	run(0);
	assert_int_equal(t.result, -ENOSPC);
	assert_string_equal(t.e.text, "cannot write standard output: No space left on device");
}

static void test_time_limit(void **state)
{
	t.keep_open[1] = t.keep_open[2] = true;
	t.on_signal = EXIT;
	run(1);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.exit_status, EXIT_TIMEOUT);
	assert_string_equal(t.seen.v[t.seen.len - 1], "signal 15 c1 c1");
}

static void test_time_limit_of_the_deaf(void **state)
{
	t.keep_open[1] = t.keep_open[2] = true;
	t.on_signal = LAST_EXIT;
	run(1);
	assert_int_equal(t.exit_status, EXIT_TIMEOUT);
	assert_string_equal(t.seen.v[t.seen.len - 2], "signal 15 c1 c1");
	assert_string_equal(t.seen.v[t.seen.len - 1], "signal 9 c1 c1");
}

/* Not even SIGKILL ends it, or the agent does not answer: the VM will be ended. */
static void test_time_limit_of_the_immortal(void **state)
{
	t.keep_open[1] = t.keep_open[2] = true;
	t.on_signal = NO_ANSWER;
	run(1);
	assert_int_equal(t.result, 0);
	assert_int_equal(t.exit_status, EXIT_TIMEOUT);
}

static void test_vm_end(void **state)
{
	uint64_t one = 1;

	t.keep_open[1] = t.keep_open[2] = true;
	assert_int_equal(write(t.end_fd, &one, sizeof one), 8);
	run(0);
	assert_int_equal(t.result, -ENOTCONN);
}

static void test_connection_breaks(void **state)
{
	t.hang_up = true;
	run(0);
	assert_int_equal(t.result, -ECONNRESET);
	assert_non_null(strstr(t.e.text, "the peer has closed the connection"));
}

static void test_agent_refuses(void **state)
{
	t.keep_open[1] = t.keep_open[2] = true;
	t.refuse_wait = true;
	run(0);
	assert_int_equal(t.result, -ENOENT);
	assert_string_equal(t.e.text, "guest agent: WaitProcess c1: no such process");
}

static void test_signals_are_passed_on(void **state)
{
	static const int signals[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP };

	for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
		_cleanup_free_ char *expected = str_printf("signal %d c1 c1", signals[i]);

		if (i)
			set_up(state);
		t.keep_open[1] = t.keep_open[2] = true;
		t.on_signal = EXIT;
		t.raise_signal = signals[i];
		run(0);
		assert_int_equal(t.result, 0);
		assert_int_equal(t.exit_status, 128 + signals[i]);
		assert_string_equal(t.seen.v[t.seen.len - 1], expected);
		if (i + 1 < sizeof signals / sizeof signals[0])
			tear_down(state);
	}
}

/* Before the session: what ends us interrupts the start; SIGUSR1 and the like wait for the container. */
static void test_interrupt_fd(void **state)
{
	static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };
	int fd = session_interrupt_fd();
	struct {
		uint32_t signo;
		char rest[124];
	} info;

	assert_true(fd >= 0);
	kill(getpid(), SIGUSR1);
	assert_int_equal(read(fd, &info, sizeof info), -1);
	assert_int_equal(errno, EAGAIN);
	for (size_t i = 0; i < 4; i++) {
		kill(getpid(), ending[i]);
		assert_int_equal(read(fd, &info, sizeof info), sizeof info);
		assert_int_equal(info.signo, ending[i]);
	}
	close(fd);
	/* The one that waited reaches the next session. */
	t.keep_open[1] = t.keep_open[2] = true;
	t.on_signal = EXIT;
	run(0);
	assert_int_equal(t.exit_status, 128 + SIGUSR1);
}

/* A session that never ran: its calls must not come back to it when the agent goes. */
static void test_free_while_calls_are_under_way(void **state)
{
	struct session_options o = {
		.loop = t.loop, .agent = t.agent, .container_id = "c1", .exec_id = "e1", .end_fd = -1
	};
	struct session *s = NULL;

	t.keep_open[1] = t.keep_open[2] = true;
	assert_int_equal(session_start(&o, &s, &t.e), 0);
	assert_int_equal(loop_run_once(t.loop, 0), 0);
	session_free(s);
	agent_free(take_ptr(t.agent));
	assert_int_equal(loop_run_once(t.loop, 0), 0);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(test_status_and_output),
		T(test_output_that_does_not_end),
		T(test_reader_that_pauses),
		T(test_reader_that_does_not_come_back),
		T(test_output_that_cannot_be_written),
		T(test_time_limit),
		T(test_time_limit_of_the_deaf),
		T(test_time_limit_of_the_immortal),
		T(test_vm_end),
		T(test_connection_breaks),
		T(test_agent_refuses),
		T(test_signals_are_passed_on),
		T(test_interrupt_fd),
		T(test_free_while_calls_are_under_way),
	};

	signal(SIGPIPE, SIG_IGN);
	if (session_block_signals(NULL) < 0)
		return 1;
	return cmocka_run_group_tests_name("session", tests, NULL, NULL);
}
