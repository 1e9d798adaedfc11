/* SPDX-License-Identifier: Apache-2.0 */
/* HTTP messages: RFC 9112 as far as the APIs of VMMs use it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "codec/http.h"

#define LINE_MAX_HERE 1024
#define BODY_MAX_HERE 100

static int parse(struct http_parser *p, enum http_kind kind, const char *text, const struct http_message **ret,
		 struct err *e)
{
	http_parser_init(p, kind, LINE_MAX_HERE, BODY_MAX_HERE);
	assert_int_equal(http_parser_feed(p, text, strlen(text)), 0);
	return http_parser_next(p, ret, e);
}

static void test_a_request(void **state)
{
	const struct http_message *m = NULL;
	struct http_parser p;

	assert_int_equal(
		parse(&p, HTTP_REQUEST,
		      "\r\nPUT /drives/root HTTP/1.1\r\nHost: localhost\r\nContent-Length:  3 \r\nX-Y:\r\n\r\nabcGET",
		      &m, NULL),
		1);
	assert_string_equal(m->method, "PUT");
	assert_string_equal(m->target, "/drives/root");
	assert_int_equal(m->minor, 1);
	assert_string_equal(m->body, "abc");
	assert_true(m->has_length && m->keep_alive && !m->expect_continue);
	assert_string_equal(http_field(m, "host"), "localhost");
	assert_string_equal(http_field(m, "x-y"), "");
	assert_null(http_field(m, "y"));
	/* The beginning of the next one waits. */
	assert_int_equal(http_parser_next(&p, &m, NULL), 0);
	assert_false(http_parser_idle(&p));
	assert_int_equal(http_parser_feed(&p, " / HTTP/1.0\n\n", 13), 0);
	assert_int_equal(http_parser_next(&p, &m, NULL), 1);
	assert_string_equal(m->method, "GET");
	assert_string_equal(m->body, "");
	assert_false(m->has_length || m->keep_alive);
	assert_true(http_parser_idle(&p));
	http_parser_fini(&p);
}

static void test_a_response(void **state)
{
	const struct http_message *m = NULL;
	struct http_parser p;

	/* A reason phrase may be missing, with or without its space. */
	assert_int_equal(
		parse(&p, HTTP_RESPONSE, "HTTP/1.1 204 \r\n\r\nHTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}", &m, NULL),
		1);
	assert_int_equal(m->status, 204);
	assert_int_equal(http_parser_next(&p, &m, NULL), 1);
	assert_int_equal(m->status, 200);
	assert_string_equal(m->body, "{}");
	http_parser_fini(&p);
	assert_int_equal(parse(&p, HTTP_RESPONSE,
			       "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", &m, NULL),
			 1);
	assert_int_equal(m->status, 400);
	assert_false(m->keep_alive);
	http_parser_fini(&p);
}

static void test_bytes_one_at_a_time(void **state)
{
	static const char text[] = "PATCH /vm HTTP/1.1\r\nExpect: 100-Continue\r\nContent-Length: 2\r\n\r\nok";
	const struct http_message *m = NULL;
	struct http_parser p;
	unsigned told = 0;

	http_parser_init(&p, HTTP_REQUEST, LINE_MAX_HERE, BODY_MAX_HERE);
	assert_true(http_parser_idle(&p));
	for (size_t i = 0; i < sizeof text - 1; i++) {
		assert_int_equal(http_parser_next(&p, &m, NULL), 0);
		if (http_parser_wants_continue(&p)) {
			told++;
			assert_int_equal(i, sizeof text - 3);
		}
		assert_int_equal(http_parser_feed(&p, text + i, 1), 0);
	}
	assert_int_equal(http_parser_next(&p, &m, NULL), 1);
	assert_int_equal(told, 1);
	assert_string_equal(m->body, "ok");
	http_parser_fini(&p);
}

static void test_what_is_refused(void **state)
{
	static const struct {
		enum http_kind kind;
		const char *text;
		int r;
	} cases[] = {
		{ HTTP_REQUEST, "GET /\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET  HTTP/1.1\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, " / HTTP/1.1\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / x HTTP/1.1\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/2.0\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.12\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "G\x01T / HTTP/1.1\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nno colon\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nName : x\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nA: x\r\n folded\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nContent-Length: +1\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nContent-Length:\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nContent-Length: 99999999999999999999999\r\n\r\n", -EPROTO },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", -EFBIG },
		{ HTTP_REQUEST, "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", -ENOTSUP },
		{ HTTP_RESPONSE, "HTTP/1.1 20 OK\r\n\r\n", -EPROTO },
		{ HTTP_RESPONSE, "HTTP/1.1 2000 OK\r\n\r\n", -EPROTO },
		{ HTTP_RESPONSE, "HTTP/1.1\r\n\r\n", -EPROTO },
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct http_message *m;
		struct http_parser p;
		struct err e = { 0 };

		if (parse(&p, cases[i].kind, cases[i].text, &m, &e) != cases[i].r)
			fail_msg("%s", cases[i].text);
		assert_true(e.text[0]);
		http_parser_fini(&p);
	}
}

static void test_limits_of_the_head(void **state)
{
	_cleanup_buf_ struct buf long_line = { 0 }, many = { 0 };
	const struct http_message *m;
	struct http_parser p;

	/* A line of exactly the limit passes; refused as soon as it is longer, not when it ends. */
	assert_int_equal(buf_puts(&long_line, "GET / HTTP/1.1\r\nA: "), 0);
	while (long_line.len < 16 + LINE_MAX_HERE - 1)
		assert_int_equal(buf_puts(&long_line, "x"), 0);
	assert_int_equal(parse(&p, HTTP_REQUEST, long_line.data, &m, NULL), 0);
	assert_int_equal(http_parser_feed(&p, "\r\n\r\n", 4), 0);
	assert_int_equal(http_parser_next(&p, &m, NULL), 1);
	http_parser_fini(&p);
	assert_int_equal(buf_puts(&long_line, "xx"), 0);
	assert_int_equal(parse(&p, HTTP_REQUEST, long_line.data, &m, NULL), -E2BIG);
	http_parser_fini(&p);
	assert_int_equal(buf_puts(&many, "GET / HTTP/1.1\r\n"), 0);
	for (int i = 0; i < HTTP_FIELDS_MAX + 1; i++)
		assert_int_equal(buf_puts(&many, "A: b\r\n"), 0);
	assert_int_equal(buf_puts(&many, "\r\n"), 0);
	assert_int_equal(parse(&p, HTTP_REQUEST, many.data, &m, NULL), -E2BIG);
	http_parser_fini(&p);
}

static void test_a_nul_byte(void **state)
{
	static const char text[] = "GET /\0 HTTP/1.1\r\n\r\n";
	const struct http_message *m;
	struct http_parser p;

	http_parser_init(&p, HTTP_REQUEST, LINE_MAX_HERE, BODY_MAX_HERE);
	assert_int_equal(http_parser_feed(&p, text, sizeof text - 1), 0);
	assert_int_equal(http_parser_next(&p, &m, NULL), -EPROTO);
	http_parser_fini(&p);
}

static void test_written_requests_are_read(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	const struct http_message *m = NULL;
	struct http_parser p;

	assert_int_equal(http_write_request(&out, "PUT", "/api/v1/vm.create", "{\"a\":1}"), 0);
	assert_int_equal(http_write_request(&out, "GET", "/api/v1/vmm.ping", NULL), 0);
	assert_int_equal(parse(&p, HTTP_REQUEST, out.data, &m, NULL), 1);
	assert_string_equal(m->body, "{\"a\":1}");
	assert_string_equal(http_field(m, "content-type"), "application/json");
	assert_int_equal(http_parser_next(&p, &m, NULL), 1);
	assert_string_equal(m->target, "/api/v1/vmm.ping");
	assert_false(m->has_length);
	http_parser_fini(&p);
}

static void test_values_of_a_query(void **state)
{
	static const char target[] = "/stats?path=%2Fvar%2flib/a+b%25&x=&pathological=1&bad=%2&worse=%zz&nul=a%00b";
	_cleanup_free_ char *path = NULL, *empty = NULL, *none = NULL;

	assert_int_equal(http_query_value(target, "path", &path), 0);
	assert_string_equal(path, "/var/lib/a b%");
	assert_int_equal(http_query_value(target, "x", &empty), 0);
	assert_string_equal(empty, "");
	assert_int_equal(http_query_value(target, "bad", &none), -EINVAL);
	assert_int_equal(http_query_value(target, "worse", &none), -EINVAL);
	assert_int_equal(http_query_value(target, "nul", &none), -EINVAL);
	assert_int_equal(http_query_value(target, "pat", &none), -ENOENT);
	assert_int_equal(http_query_value("/stats", "path", &none), -ENOENT);
	assert_int_equal(http_query_value("/stats?path", "path", &none), -ENOENT);
	assert_null(none);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_request),
		cmocka_unit_test(test_a_response),
		cmocka_unit_test(test_bytes_one_at_a_time),
		cmocka_unit_test(test_what_is_refused),
		cmocka_unit_test(test_limits_of_the_head),
		cmocka_unit_test(test_a_nul_byte),
		cmocka_unit_test(test_written_requests_are_read),
		cmocka_unit_test(test_values_of_a_query),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
