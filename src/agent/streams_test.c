// SPDX-License-Identifier: Apache-2.0
/* The log stream and the debug console, each in this process behind a Unix socket. */
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>
#include <json-c/json.h>

#include "agent/debug_console.h"
#include "agent/log_stream.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/vsock.h"

static struct loop *loop;
static struct sock_addr address;

static int listen_here(void)
{
	int fd;

	address.kind = SOCK_ADDR_UNIX;
	snprintf(address.path, sizeof address.path, "@caisson-streams-test-%d", (int)getpid());
	fd = sock_addr_listen(&address, NULL);
	assert_true(fd >= 0);
	fd_set_nonblock(fd, true);
	return fd;
}

static int connect_here(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(address.path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path + 1, address.path + 1, n - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
			 0);
	fd_set_nonblock(fd, true);
	return fd;
}

/* Run the loop until what came on fd contains text. */
static void read_until(int fd, struct buf *out, const char *text)
{
	uint64_t deadline = clock_ms() + 20000;

	while (!out->data || !strstr(out->data, text)) {
		char chunk[4096];
		ssize_t n;

		assert_true(clock_ms() < deadline);
		assert_int_equal(loop_run_once(loop, 20), 0);
		while ((n = read(fd, chunk, sizeof chunk)) > 0)
			assert_int_equal(buf_append(out, chunk, (size_t)n), 0);
	}
}

static void test_log(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct log_stream *s = NULL;
	struct json_object *line, *v;
	int fd;

	(void)state;
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(log_stream_new(loop, listen_here(), &s, NULL), 0);
	log_warn("before \"anybody\" listens");
	assert_int_equal(loop_run_once(loop, 100), 0);
	fd = connect_here();
	read_until(fd, &out, "}\n");
	line = json_tokener_parse(out.data);
	assert_non_null(line);
	assert_true(json_object_object_get_ex(line, "msg", &v));
	assert_string_equal(json_object_get_string(v), "before \"anybody\" listens");
	assert_true(json_object_object_get_ex(line, "level", &v));
	assert_string_equal(json_object_get_string(v), "WARN");
	assert_true(json_object_object_get_ex(line, "ts", &v));
	assert_true(json_object_object_get_ex(line, "subsystem", &v));
	json_object_put(line);
	log_info("second");
	read_until(fd, &out, "second");
	close(fd);
	log_stream_free(s);
}

/* A reader that does not read costs lines, but neither memory nor time, and gets whole lines afterwards. */
static void test_slow_reader(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct log_stream *s = NULL;
	char filler[800], *next = NULL;
	bool lost = false;
	int fd;

	(void)state;
	memset(filler, 'x', sizeof filler - 1);
	filler[sizeof filler - 1] = '\0';
	assert_int_equal(log_stream_new(loop, listen_here(), &s, NULL), 0);
	fd = connect_here();
	for (int i = 0; i < 2000; i++) {
		log_info("%s %d", filler, i);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
	log_info("the last");
	read_until(fd, &out, "the last");
	read_until(fd, &out, "the last\",\"level\"");
	for (char *line = strtok_r(out.data, "\n", &next); line && *next; line = strtok_r(NULL, "\n", &next)) {
		/* Only the line that was being sent when the reader fell behind may be cut. */
		lost |= strstr(line, "log lines were lost") != NULL;
		assert_int_equal(line[0] == '{', true);
	}
	assert_true(lost);
	close(fd);
	log_stream_free(s);
}

static void test_console(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	struct debug_console *c = NULL;
	struct reaper *r = NULL;
	static const char command[] = "echo $((40 + 2))-ok; test -t 0 && echo terminal; exit\n";
	uint64_t deadline = clock_ms() + 20000;
	char byte;
	int fd;

	(void)state;
	if (access("/bin/sh", X_OK) < 0)
		skip();
	assert_int_equal(reaper_new(loop, &r, NULL), 0);
	assert_int_equal(debug_console_new(loop, r, listen_here(), &c, NULL), 0);
	fd = connect_here();
	assert_int_equal(write(fd, command, sizeof command - 1), sizeof command - 1);
	read_until(fd, &out, "42-ok");
	read_until(fd, &out, "terminal\r\n");
	/* The end of the shell ends the connection. */
	while (read(fd, &byte, 1) != 0) {
		assert_true(clock_ms() < deadline);
		assert_int_equal(loop_run_once(loop, 20), 0);
	}
	close(fd);
	debug_console_free(c);
	reaper_free(r);
}

/* What a shell said that is gone is kept for a client that is slow, without a loop that never rests. */
static void test_console_waits(void **state)
{
	struct debug_console *c = NULL;
	struct reaper *r = NULL;
	static const char command[] = "tr '\\0' x </dev/zero & sleep 1; kill -9 $! $$\n";
	uint64_t end;
	size_t turns = 0, got = 0;
	char chunk[4096];
	ssize_t n;
	int fd;

	(void)state;
	if (access("/bin/sh", X_OK) < 0)
		skip();
	assert_int_equal(reaper_new(loop, &r, NULL), 0);
	assert_int_equal(debug_console_new(loop, r, listen_here(), &c, NULL), 0);
	fd = connect_here();
	assert_int_equal(write(fd, command, sizeof command - 1), sizeof command - 1);
	for (end = clock_ms() + 2500; clock_ms() < end;)
		assert_int_equal(loop_run_once(loop, 20), 0);
	for (end = clock_ms() + 400; clock_ms() < end; turns++)
		assert_int_equal(loop_run_once(loop, 20), 0);
	assert_in_range(turns, 1, 100);
	for (end = clock_ms() + 20000; (n = read(fd, chunk, sizeof chunk)) != 0; got += n > 0 ? (size_t)n : 0) {
		assert_true(clock_ms() < end);
		assert_int_equal(loop_run_once(loop, 0), 0);
	}
	assert_true(got > sizeof chunk);
	close(fd);
	debug_console_free(c);
	reaper_free(r);
}

/* A client that is gone while the shell does not read what it was told ends the session. */
static void test_console_left(void **state)
{
	struct debug_console *c = NULL;
	struct reaper *r = NULL;
	static const char command[] = "stty -echo; echo quiet-$((1)); sleep 30\n";
	_cleanup_buf_ struct buf out = { 0 };
	char filler[4096];
	size_t turns = 0;
	uint64_t end;
	int fd;

	(void)state;
	if (access("/bin/sh", X_OK) < 0)
		skip();
	memset(filler, '\n', sizeof filler);
	assert_int_equal(reaper_new(loop, &r, NULL), 0);
	assert_int_equal(debug_console_new(loop, r, listen_here(), &c, NULL), 0);
	fd = connect_here();
	assert_int_equal(write(fd, command, sizeof command - 1), sizeof command - 1);
	read_until(fd, &out, "quiet-1");
	for (end = clock_ms() + 500; clock_ms() < end;) {
		(void)!write(fd, filler, sizeof filler);
		assert_int_equal(loop_run_once(loop, 5), 0);
	}
	close(fd);
	for (end = clock_ms() + 400; clock_ms() < end; turns++)
		assert_int_equal(loop_run_once(loop, 20), 0);
	assert_in_range(turns, 1, 100);
	debug_console_free(c);
	reaper_free(r);
}

static int setup(void **state)
{
	(void)state;
	return loop_new(&loop, NULL);
}

static int teardown(void **state)
{
	(void)state;
	loop_free(loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_slow_reader, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console_waits, setup, teardown),
		cmocka_unit_test_setup_teardown(test_console_left, setup, teardown),
	};

	signal(SIGPIPE, SIG_IGN); /* as the agent does */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
