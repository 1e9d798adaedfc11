/* SPDX-License-Identifier: Apache-2.0 */
/* The server on a real Unix socket; its loop turns inside the test, so that nothing depends on time. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "vmm/fake_vmm.h"
#include "vmm/server.h"

#define OK_VERSION                                                                                                     \
	"HTTP/1.1 200 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"     \
	"Content-Length: 32\r\n\r\n{\"firecracker_version\":\"1.16.0\"}"
#define NO_CONTENT  "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"
#define GET_VERSION "GET /version HTTP/1.1\r\nHost: localhost\r\nAccept: */*\r\n\r\n"
#define BODY_MAX    300

struct fixture {
	char dir[32], *path;
	struct loop *loop;
	struct instance i;
	struct server *server;
	int fatal;
};

static void on_fatal(void *userdata)
{
	((struct fixture *)userdata)->fatal++;
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/caisson-vmm-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	f->path = str_printf("%s/api.sock", f->dir);
	instance_init(&f->i, "vm");
	f->i.logger.level = LOGGER_OFF;
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(server_new(f->loop, &f->i, f->path, BODY_MAX, on_fatal, f, &f->server, NULL), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	server_free(f->server);
	assert_int_equal(access(f->path, F_OK), -1);
	loop_free(f->loop);
	instance_fini(&f->i);
	dir_remove(f->dir);
	free(f->path);
	free(f);
	return 0;
}

/* As long as there is anything to do at once. */
static void turn(struct fixture *f)
{
	for (int i = 0; i < 50; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
}

static int connect_to(struct fixture *f)
{
	int fd;

	assert_int_equal(unix_connect(f->path, &fd), 0);
	turn(f);
	return fd;
}

static void put(int fd, const char *data, size_t len)
{
	assert_int_equal(send(fd, data, len, MSG_NOSIGNAL), (ssize_t)len);
}

/* What has been answered. *closed: and then the connection ended. */
static char *answers(struct fixture *f, int fd, bool *closed)
{
	struct buf out = { 0 };
	char data[8192];
	ssize_t n;

	do {
		turn(f);
		n = recv(fd, data, sizeof data, 0);
		assert_true(n <= 0 || buf_append(&out, data, (size_t)n) == 0);
	} while (n > 0);
	*closed = n == 0;
	assert_true(n == 0 || errno == EAGAIN || errno == ECONNRESET);
	assert_int_equal(buf_append(&out, "", 0), 0);
	return buf_take(&out);
}

static void check(struct fixture *f, int fd, const char *request, const char *expected, bool end)
{
	_cleanup_free_ char *got = NULL;
	bool closed;

	put(fd, request, strlen(request));
	got = answers(f, fd, &closed);
	assert_string_equal(got, expected);
	assert_int_equal(closed, end);
}

static void test_pipelining(void **state)
{
	static const char text[] = GET_VERSION "PUT /entropy HTTP/1.1\r\ncontent-length: 2\r\n\r\n{}" GET_VERSION;
	static const char expected[] = OK_VERSION NO_CONTENT OK_VERSION;
	struct fixture *f = *state;
	_cleanup_close_ int fd = connect_to(f), slow = connect_to(f);
	_cleanup_free_ char *got = NULL;
	bool closed;

	check(f, fd, text, expected, false);
	check(f, fd, GET_VERSION, OK_VERSION, false); /* the connection stays */
	/* Byte for byte it is the same. */
	for (size_t i = 0; i < sizeof text - 1; i++) {
		put(slow, text + i, 1);
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	got = answers(f, slow, &closed);
	assert_string_equal(got, expected);
	assert_false(closed);
}

static void test_connections(void **state)
{
	struct fixture *f = *state;
	int fd[SERVER_CONNECTIONS_MAX], more;
	_cleanup_free_ char *got = NULL;
	bool closed;

	for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
		fd[i] = connect_to(f);
	more = connect_to(f);
	got = answers(f, more, &closed);
	assert_true(closed);
	assert_string_equal(got, "HTTP/1.1 503 \r\nServer: Firecracker API\r\nConnection: close\r\n"
				 "Content-Length: 40\r\n\r\n{ \"error\": \"Too many open connections\" }");
	close(more);
	for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
		check(f, fd[i], GET_VERSION, OK_VERSION, false);
	/* One that goes makes room. */
	close(fd[0]);
	turn(f);
	fd[0] = connect_to(f);
	check(f, fd[0], GET_VERSION, OK_VERSION, false);
	for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
		close(fd[i]);
}

/* Faults of HTTP have their own shape, and end the connection; what was asked before is still answered. */
static void test_http_faults(void **state)
{
#define FAULT(length, text)                                                                                            \
	"HTTP/1.1 400 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\nContent-Type: application/json\r\n"     \
	"Content-Length: " length "\r\n\r\n{ \"error\": \"" text                                                       \
	"\nAll previous unanswered requests will be dropped.\" }"
	static const struct {
		const char *request, *answer;
	} cases[] = {
		{ "PUT /vsock HTTP/1.1\r\nContent-Length: 301\r\n\r\n",
		  FAULT("145", "Request payload with size 301 is larger than the limit of 300 allowed by server.") },
		{ "POST /vsock HTTP/1.1\r\n\r\n", FAULT("110", "Invalid HTTP Method: Unsupported HTTP method.") },
		{ "get /version HTTP/1.1\r\n\r\n", FAULT("110", "Invalid HTTP Method: Unsupported HTTP method.") },
		{ GET_VERSION "nonsense\r\n\r\n",
		  OK_VERSION FAULT("105", "\\\"nonsense\\\" is not an HTTP request line") },
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		_cleanup_close_ int fd = connect_to(f);

		check(f, fd, cases[i].request, cases[i].answer, true);
	}
}

/* 1024 bytes with its end is a line, one more is none. */
static void test_long_line(void **state)
{
	struct fixture *f = *state;
	char line[1200];

	for (int more = 0; more < 2; more++) {
		_cleanup_close_ int fd = connect_to(f);
		_cleanup_free_ char *got = NULL;
		int n = snprintf(line, sizeof line, "GET /version HTTP/1.1\r\nX: %0*d\r\n\r\n", 1024 - 5 + more, 0);
		bool closed;

		put(fd, line, (size_t)n);
		got = answers(f, fd, &closed);
		assert_int_equal(closed, more);
		assert_int_equal(strncmp(got, "HTTP/1.1 200", 12) == 0, !more);
	}
}

static void test_garbage(void **state)
{
	struct fixture *f = *state;
	unsigned seed = 1;

	for (int round = 0; round < 50; round++) {
		_cleanup_close_ int fd = connect_to(f);
		_cleanup_free_ char *got = NULL;
		char data[600];
		bool closed;

		for (size_t i = 0; i < sizeof data; i++)
			data[i] = (char)(rand_r(&seed) >> 7);
		put(fd, data, sizeof data);
		got = answers(f, fd, &closed);
	}
	{
		_cleanup_close_ int fd = connect_to(f);

		check(f, fd, GET_VERSION, OK_VERSION, false);
	}
}

static void test_continue(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = connect_to(f);

	check(f, fd, "PUT /entropy HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
	      "HTTP/1.1 100 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n", false);
	check(f, fd, "{}", NO_CONTENT, false);
}

static void test_deprecation(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = connect_to(f);

	check(f, fd, "PATCH /machine-config HTTP/1.1\r\nContent-Length: 24\r\n\r\n{\"cpu_template\": \"None\"}",
	      "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\nDeprecation: true\r\n\r\n", false);
}

/* A client that only asks: its requests wait, memory does not grow, and in the end all are answered. */
static void test_slow_reader(void **state)
{
	static const char request[] = GET_VERSION;
	struct fixture *f = *state;
	_cleanup_close_ int fd = connect_to(f);
	_cleanup_free_ char *got = NULL;
	size_t asked = 0, partial = 0;
	bool closed;

	for (ssize_t n = 0; n >= 0;) {
		n = send(fd, &request[partial], strlen(request) - partial, MSG_NOSIGNAL);
		if (n < 0) {
			assert_int_equal(errno, EAGAIN);
			break;
		}
		partial = (partial + (size_t)n) % strlen(request);
		asked += partial == 0;
		turn(f);
	}
	assert_true(asked > 100);
	got = answers(f, fd, &closed);
	assert_int_equal(strlen(got), asked * strlen(OK_VERSION));
	assert_false(closed);
}

static void test_path_in_use(void **state)
{
	struct fixture *f = *state;
	struct server *second = NULL;
	struct err e = { 0 };

	assert_int_equal(server_new(f->loop, &f->i, f->path, BODY_MAX, on_fatal, f, &second, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, f->path));
	assert_null(second);
	assert_int_equal(access(f->path, F_OK), 0); /* it is not ours to remove */
}

/* The answer to a failed load is sent before the process is told to end. */
static void test_fatal(void **state)
{
	static const char body[] = "{\"snapshot_path\": \"s\", \"mem_file_path\": \"m\"}";
	struct fixture *f = *state;
	_cleanup_close_ int fd = connect_to(f);
	_cleanup_free_ char *request = NULL, *got = NULL;
	bool closed;

	request = str_printf("PUT /snapshot/load HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s" GET_VERSION, strlen(body),
			     body);
	fake_vmm_fail("vmm_restore", EIO);
	put(fd, request, strlen(request));
	got = answers(f, fd, &closed);
	assert_true(f->fatal > 0);
	assert_non_null(strstr(got, "Load snapshot error: Failed to restore from snapshot"));
	assert_null(strstr(got, "firecracker_version"));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_pipelining),  TEST(test_connections), TEST(test_http_faults), TEST(test_long_line),
		TEST(test_garbage),     TEST(test_continue),    TEST(test_deprecation), TEST(test_slow_reader),
		TEST(test_path_in_use), TEST(test_fatal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
