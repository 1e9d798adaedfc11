/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The REST client against a server that behaves as a VMM should not: a thread that serves connection N with acts[N].
 * What is left of a connection is drained until the client closes it.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/http.h"
#include "hypervisor/rest.h"

#define FOREVER 60000 /* ms; nothing here takes so long */
#define OK_204  "HTTP/1.1 204 \r\nServer: Firecracker API\r\nConnection: keep-alive\r\n\r\n"

static char dir[] = "/tmp/caisson-rest-XXXXXX";
static char socket_path[80];

struct server;
typedef void (*act_fn)(struct server *s, int fd);

struct server {
	const act_fn *acts; /* NULL-terminated */
	int listener;
	pthread_t thread;
	/* Of the last request. */
	char method[16], target[64], body[256];
	int fds[REST_FDS_MAX];
	size_t n_fds;
};

/* ---- the server's part ---- */

static ssize_t receive_with_fds(struct server *s, int fd, char *data, size_t size)
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(sizeof s->fds)];
	} control;
	struct iovec iov = { .iov_base = data, .iov_len = size };
	struct msghdr m = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control
	};
	ssize_t n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
	struct cmsghdr *h = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;

	if (h) {
		size_t k = (h->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		memcpy(s->fds + s->n_fds, CMSG_DATA(h), k * sizeof(int));
		s->n_fds += k;
	}
	return n;
}

/* False: the client closed. */
static bool take_request(struct server *s, int fd)
{
	const struct http_message *m;
	struct http_parser p;
	char data[4096];
	int r;

	http_parser_init(&p, HTTP_REQUEST, HTTP_LINE_MAX, 4 << 20);
	while ((r = http_parser_next(&p, &m, NULL)) == 0) {
		ssize_t n = receive_with_fds(s, fd, data, sizeof data);

		if (n <= 0)
			break;
		(void)http_parser_feed(&p, data, (size_t)n);
	}
	if (r == 1) {
		snprintf(s->method, sizeof s->method, "%s", m->method);
		snprintf(s->target, sizeof s->target, "%s", m->target);
		snprintf(s->body, sizeof s->body, "%s", m->body);
	}
	http_parser_fini(&p);
	return r == 1;
}

static void say(int fd, const char *text)
{
	(void)send(fd, text, strlen(text), MSG_NOSIGNAL);
}

static void drain(int fd)
{
	char data[4096];

	while (read(fd, data, sizeof data) > 0) {
	}
}

static void *serve(void *arg)
{
	struct server *s = arg;

	for (size_t i = 0; s->acts[i]; i++) {
		int fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC);

		s->acts[i](s, fd);
		close(fd);
	}
	return NULL;
}

static void server_start(struct server *s, const act_fn *acts)
{
	*s = (struct server){ .acts = acts };
	assert_int_equal(unix_listen(socket_path, 0600, &s->listener, NULL), 0);
	fd_set_nonblock(s->listener, false);
	assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void server_finish(struct server *s)
{
	pthread_join(s->thread, NULL);
	close(s->listener);
	unlink(socket_path);
	for (size_t i = 0; i < s->n_fds; i++)
		close(s->fds[i]);
}

/* ---- the acts ---- */

static void act_answers_each(struct server *s, int fd)
{
	while (take_request(s, fd))
		say(fd,
		    str_eq(s->method, "GET") ? "HTTP/1.1 200 \r\nContent-Length: 13\r\n\r\n{\"state\":\"x\"}" : OK_204);
}

static void act_answers_late_and_in_pieces(struct server *s, int fd)
{
	static const char answer[] = "HTTP/1.1 100 \r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}";

	take_request(s, fd);
	usleep(20000);
	for (size_t i = 0; answer[i]; i++)
		(void)send(fd, answer + i, 1, MSG_NOSIGNAL);
	drain(fd);
}

static void act_answers_once_and_closes(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, OK_204);
}

static void act_answers_with_close(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
	drain(fd);
}

static void act_never_answers(struct server *s, int fd)
{
	drain(fd);
}

static void act_closes(struct server *s, int fd)
{
	take_request(s, fd);
}

static void act_closes_in_mid_answer(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "HTTP/1.1 200 \r\nContent-Length: 100\r\n\r\n{\"id\":");
}

static void act_garbage(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "\x16\x03\x01 hello\r\n\r\n");
	drain(fd);
}

static void act_old_http(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "HTTP/2 200\r\n\r\n");
	drain(fd);
}

static void act_chunked(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n");
	drain(fd);
}

static void act_endless_line(struct server *s, int fd)
{
	char x[4096];

	memset(x, 'x', sizeof x);
	take_request(s, fd);
	while (send(fd, x, sizeof x, MSG_NOSIGNAL) > 0) {
	}
}

static void act_endless_interim(struct server *s, int fd)
{
	static const char interim[] = "HTTP/1.1 100 Continue\r\n\r\n";

	take_request(s, fd);
	while (send(fd, interim, sizeof interim - 1, MSG_NOSIGNAL) > 0) {
	}
}

static void act_gibibyte(struct server *s, int fd)
{
	char x[4096] = { 0 };

	take_request(s, fd);
	say(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
	while (send(fd, x, sizeof x, MSG_NOSIGNAL) > 0) {
	}
}

static void act_body_without_a_length(struct server *s, int fd)
{
	take_request(s, fd);
	say(fd, "HTTP/1.1 200 OK\r\n\r\n{\"a\":1}");
	drain(fd);
}

static void refuse(int fd, const char *status, const char *body)
{
	char text[512];

	snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", status, strlen(body), body);
	say(fd, text);
}

static void act_fault_message(struct server *s, int fd)
{
	take_request(s, fd);
	refuse(fd, "400 ", "{\"fault_message\":\"Vsock config error: no\\nsuch device\"}");
	drain(fd);
}

static void act_error_with_a_raw_newline(struct server *s, int fd)
{
	take_request(s, fd);
	refuse(fd, "400 ", "{ \"error\": \"Invalid header.\nAll previous unanswered requests will be dropped.\" }");
	drain(fd);
}

static void act_error_chain(struct server *s, int fd)
{
	take_request(s, fd);
	refuse(fd, "500 Internal Server Error", "[\"Error from API\",\"The disk could not be added\",\"EBUSY\"]");
	drain(fd);
}

static void act_refuses_silently(struct server *s, int fd)
{
	take_request(s, fd);
	refuse(fd, "404 Not Found", "");
	drain(fd);
}

static void act_refuses_unread(struct server *s, int fd)
{
	char some[16];

	(void)!read(fd, some, sizeof some);
	refuse(fd, "413 ", "{\"fault_message\":\"too long\"}");
}

/* ---- the client's part ---- */

static int call_once(struct rest *r, const char *method, const char *body, char **ret, struct err *e)
{
	return rest_call(r, method, "/vm", body, NULL, 0, clock_ms() + FOREVER, ret, e);
}

/* The whole exchange with a server of one act: the result; *e has its message. */
static int try_act(act_fn act, struct err *e)
{
	const act_fn acts[] = { act, NULL };
	struct server s;
	struct rest r;
	int k;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	k = call_once(&r, "PUT", "{}", NULL, e);
	if (k < 0 && k != -EREMOTEIO)
		assert_int_equal(r.fd, -1); /* nothing more is said on such a connection */
	rest_fini(&r);
	server_finish(&s);
	return k;
}

static void test_calls_share_a_connection(void **state)
{
	static const act_fn acts[] = { act_answers_each, NULL };
	_cleanup_free_ char *answer = NULL, *nothing = NULL;
	struct server s;
	struct rest r;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	assert_int_equal(rest_wait(&r, clock_ms() + FOREVER, NULL), 0);
	assert_int_equal(call_once(&r, "PUT", "{\"a\":1}", &nothing, NULL), 0);
	assert_string_equal(nothing, "");
	assert_string_equal(s.body, "{\"a\":1}");
	assert_string_equal(s.target, "/vm");
	assert_int_equal(call_once(&r, "GET", NULL, &answer, NULL), 0);
	assert_string_equal(answer, "{\"state\":\"x\"}");
	assert_string_equal(s.method, "GET");
	rest_fini(&r);
	server_finish(&s);
}

static void test_late_and_in_pieces(void **state)
{
	struct err e = { 0 };

	assert_int_equal(try_act(act_answers_late_and_in_pieces, &e), 0);
}

static void test_a_closed_connection_is_made_anew(void **state)
{
	static const act_fn acts[] = { act_answers_once_and_closes, act_answers_with_close, act_answers_once_and_closes,
				       NULL };
	struct server s;
	struct rest r;
	char byte;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	assert_int_equal(call_once(&r, "PUT", "{}", NULL, NULL), 0);
	/* Until the server has closed its end. */
	fd_set_nonblock(r.fd, false);
	assert_int_equal(recv(r.fd, &byte, 1, MSG_PEEK), 0);
	assert_int_equal(call_once(&r, "PUT", "{}", NULL, NULL), 0);
	assert_int_equal(r.fd, -1);
	assert_int_equal(call_once(&r, "PUT", "{}", NULL, NULL), 0);
	rest_fini(&r);
	server_finish(&s);
}

static void test_descriptors_go_along(void **state)
{
	static const act_fn acts[] = { act_answers_each, NULL };
	int fds[REST_FDS_MAX + 1];
	char *large = malloc(3 << 20);
	struct stat sent, got;
	struct server s;
	struct rest r;

	/* Larger than any socket buffer: the descriptors must not be sent with each piece. */
	assert_non_null(large);
	memset(large, ' ', (3 << 20) - 1);
	large[0] = '[';
	large[(3 << 20) - 1] = 0;
	for (size_t i = 0; i < REST_FDS_MAX + 1; i++)
		fds[i] = open("/dev/null", O_RDONLY | O_CLOEXEC);
	close(fds[1]);
	fds[1] = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	assert_int_equal(rest_call(&r, "PUT", "/net", large, fds, REST_FDS_MAX, clock_ms() + FOREVER, NULL, NULL), 0);
	assert_int_equal(rest_call(&r, "PUT", "/net", "{}", fds, REST_FDS_MAX + 1, clock_ms() + FOREVER, NULL, NULL),
			 -E2BIG);
	rest_fini(&r);
	pthread_join(s.thread, NULL);
	assert_int_equal(s.n_fds, REST_FDS_MAX);
	assert_int_equal(fstat(fds[1], &sent), 0);
	assert_int_equal(fstat(s.fds[1], &got), 0);
	assert_int_equal(sent.st_ino, got.st_ino);
	close(s.listener);
	unlink(socket_path);
	for (size_t i = 0; i < s.n_fds; i++)
		close(s.fds[i]);
	for (size_t i = 0; i < REST_FDS_MAX + 1; i++)
		close(fds[i]);
	free(large);
}

static void test_what_is_wrong(void **state)
{
	static const struct {
		act_fn act;
		int r;
		const char *text;
	} cases[] = {
		{ act_closes, -EPIPE, "Fake closed the connection instead of answering PUT /vm" },
		{ act_closes_in_mid_answer, -EPIPE,
		  "Fake closed the connection in the middle of its answer to PUT /vm" },
		{ act_garbage, -EPROTO, "Fake answers PUT /vm wrongly: \"    hello\" is not" },
		{ act_old_http, -EPROTO, "Fake answers PUT /vm wrongly: HTTP version \"HTTP/2\"" },
		{ act_chunked, -EPROTO, "Fake answers PUT /vm wrongly: HTTP transfer coding \"chunked\"" },
		{ act_endless_line, -EPROTO, "Fake answers PUT /vm wrongly: a line of an HTTP head is longer" },
		{ act_endless_interim, -EPROTO, "Fake answers PUT /vm with more than 8 interim" },
		{ act_gibibyte, -EFBIG, "Fake answers PUT /vm wrongly: an HTTP body of 1073741824 bytes is too large" },
		{ act_body_without_a_length, -EPROTO, "Fake sent more than one answer to PUT /vm" },
		{ act_fault_message, -EREMOTEIO, "Fake PUT /vm: Vsock config error: no such device (status 400)" },
		{ act_error_with_a_raw_newline, -EREMOTEIO, "Fake PUT /vm: " },
		{ act_error_chain, -EREMOTEIO,
		  "Fake PUT /vm: Error from API: The disk could not be added: EBUSY (status 500)" },
		{ act_refuses_silently, -EREMOTEIO, "Fake PUT /vm: refused without a word (status 404)" },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct err e = { 0 };
		int r = try_act(cases[i].act, &e);

		if (r != cases[i].r || !str_after(e.text, cases[i].text) || strchr(e.text, '\n'))
			fail_msg("case %zu: %d, \"%s\"", i, r, e.text);
	}
}

/* It says why it stops reading, and that is what a person is told. */
static void test_a_refusal_of_what_is_not_read(void **state)
{
	static const act_fn acts[] = { act_refuses_unread, NULL };
	char *large = calloc(1, 3 << 20);
	struct err e = { 0 };
	struct server s;
	struct rest r;

	assert_non_null(large);
	memset(large, 'x', (3 << 20) - 1);
	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	assert_int_equal(call_once(&r, "PUT", large, NULL, &e), -EREMOTEIO);
	assert_non_null(strstr(e.text, "too long"));
	rest_fini(&r);
	server_finish(&s);
	free(large);
}

static void test_time_and_interruption(void **state)
{
	static const act_fn acts[] = { act_never_answers, act_never_answers, act_never_answers, NULL };
	struct err e = { 0 };
	struct server s;
	struct rest r;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	assert_int_equal(rest_call(&r, "GET", "/", NULL, NULL, 0, clock_ms() + 30, NULL, &e), -ETIMEDOUT);
	assert_string_equal(e.text, "Fake did not answer GET / in time");
	assert_int_equal(r.fd, -1);
	r.interrupt_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(call_once(&r, "GET", NULL, NULL, &e), -ECANCELED);
	r.exit_fd = r.interrupt_fd; /* a VMM that has ended is told first */
	assert_int_equal(call_once(&r, "GET", NULL, NULL, &e), -EPIPE);
	close(r.interrupt_fd);
	rest_fini(&r);
	server_finish(&s);
}

/* Until then a VMM sends empty lines faster than they can be read (meson.build). */
static uint64_t empty_lines_until_ms;

ssize_t __real_recv(int fd, void *data, size_t size, int flags);
ssize_t __wrap_recv(int fd, void *data, size_t size, int flags);

ssize_t __wrap_recv(int fd, void *data, size_t size, int flags)
{
	if (clock_ms() >= empty_lines_until_ms)
		return __real_recv(fd, data, size, flags);
	memcpy(data, "\r\n", 2);
	return 2;
}

static void test_empty_lines_for_ever(void **state)
{
	static const act_fn acts[] = { act_answers_once_and_closes, NULL };
	struct err e = { 0 };
	struct server s;
	struct rest r;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	empty_lines_until_ms = clock_ms() + 3000;
	assert_int_equal(rest_call(&r, "GET", "/", NULL, NULL, 0, clock_ms() + 30, NULL, &e), -ETIMEDOUT);
	assert_true(clock_ms() < empty_lines_until_ms);
	empty_lines_until_ms = 0;
	rest_fini(&r);
	server_finish(&s);
}

static void *listen_later(void *arg)
{
	usleep(30000);
	assert_int_equal(unix_listen(socket_path, 0600, arg, NULL), 0);
	return NULL;
}

static void test_waiting_for_the_socket(void **state)
{
	struct err e = { 0 };
	int listener = -1;
	pthread_t thread;
	struct rest r;

	rest_init(&r, "Fake", socket_path);
	assert_int_equal(rest_wait(&r, clock_ms() + 20, &e), -ETIMEDOUT);
	assert_int_equal(call_once(&r, "GET", NULL, NULL, &e), -ENOENT);
	r.exit_fd = eventfd(1, EFD_CLOEXEC);
	assert_int_equal(rest_wait(&r, clock_ms() + FOREVER, &e), -EPIPE);
	close(r.exit_fd);
	r.exit_fd = -1;
	assert_int_equal(pthread_create(&thread, NULL, listen_later, &listener), 0);
	assert_int_equal(rest_wait(&r, clock_ms() + FOREVER, &e), 0);
	pthread_join(thread, NULL);
	rest_fini(&r);
	close(listener);
	unlink(socket_path);
	rest_init(&r, "Fake",
		  "/nonexistent-0123456789-0123456789-0123456789-0123456789-0123456789-0123456789-"
		  "0123456789-0123456789-0123456789");
	assert_int_equal(rest_wait(&r, clock_ms() + FOREVER, &e), -ENAMETOOLONG);
}

static void note(void *ctx, const char *method, const char *target, const char *body, size_t n_fds, unsigned status,
		 const char *answer)
{
	(void)buf_printf(ctx, "%s %s %s +%zu %u %s|", method, target, body ? body : "-", n_fds, status,
			 answer ? answer : "-");
}

static void test_the_trace(void **state)
{
	static const act_fn acts[] = { act_answers_each, NULL };
	_cleanup_buf_ struct buf text = { 0 };
	struct server s;
	struct rest r;

	server_start(&s, acts);
	rest_init(&r, "Fake", socket_path);
	r.trace = note;
	r.trace_ctx = &text;
	assert_int_equal(call_once(&r, "PUT", "{}", NULL, NULL), 0);
	assert_int_equal(call_once(&r, "GET", NULL, NULL, NULL), 0);
	assert_string_equal(text.data, "PUT /vm {} +0 0 -|PUT /vm {} +0 204 |GET /vm - +0 0 -|"
				       "GET /vm - +0 200 {\"state\":\"x\"}|");
	rest_fini(&r);
	server_finish(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_calls_share_a_connection),
		cmocka_unit_test(test_late_and_in_pieces),
		cmocka_unit_test(test_a_closed_connection_is_made_anew),
		cmocka_unit_test(test_descriptors_go_along),
		cmocka_unit_test(test_what_is_wrong),
		cmocka_unit_test(test_a_refusal_of_what_is_not_read),
		cmocka_unit_test(test_time_and_interruption),
		cmocka_unit_test(test_empty_lines_for_ever),
		cmocka_unit_test(test_waiting_for_the_socket),
		cmocka_unit_test(test_the_trace),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	snprintf(socket_path, sizeof socket_path, "%s/api", dir);
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
