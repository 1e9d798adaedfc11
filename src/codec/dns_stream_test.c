/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "codec/dns_stream.h"

static int set_up(void **state)
{
	int *sv = malloc(2 * sizeof *sv);

	*state = sv;
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv);
}

static int tear_down(void **state)
{
	int *sv = *state;

	close(sv[0]);
	close(sv[1]);
	free(sv);
	return 0;
}

/* Byte by byte, two messages behind each other, the second one empty. */
static void test_pieces(void **state)
{
	static const uint8_t text[] = { 0, 5, 'w', 'h', 'e', 'r', 'e', 0, 0 };
	struct dns_incoming m = { 0 };
	int *sv = *state;

	for (size_t i = 0; i < sizeof text; i++) {
		assert_int_equal(dns_receive(&m, sv[0]), 0);
		assert_int_equal(send(sv[1], &text[i], 1, 0), 1);
		if (i == 6) {
			assert_int_equal(dns_receive(&m, sv[0]), 1);
			assert_int_equal(m.len, 5);
			assert_memory_equal(m.data, "where", 5);
			dns_incoming_reset(&m);
		}
	}
	assert_int_equal(dns_receive(&m, sv[0]), 1);
	assert_int_equal(m.len, 0);
	dns_incoming_reset(&m);
}

static void test_end(void **state)
{
	struct dns_incoming m = { 0 };
	int *sv = *state;

	assert_int_equal(send(sv[1], "\0\5wh", 4, 0), 4);
	assert_int_equal(dns_receive(&m, sv[0]), 0);
	shutdown(sv[1], SHUT_WR);
	assert_int_equal(dns_receive(&m, sv[0]), -EPIPE);
	dns_incoming_reset(&m);
}

/* The largest one goes through a small buffer. */
static void test_both_ways(void **state)
{
	_cleanup_free_ uint8_t *data = malloc(DNS_MESSAGE_MAX + 1);
	struct dns_outgoing out = { 0 };
	struct dns_incoming in = { 0 };
	int *sv = *state, small = 4096, sent = 0, got = 0, rounds = 0;

	setsockopt(sv[1], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
	for (size_t i = 0; i < DNS_MESSAGE_MAX; i++)
		data[i] = (uint8_t)(i % 251);
	assert_int_equal(dns_outgoing_set(&out, data, DNS_MESSAGE_MAX + 1), -EMSGSIZE);
	assert_int_equal(dns_outgoing_set(&out, data, DNS_MESSAGE_MAX), 0);
	for (; !sent || !got; rounds++) {
		sent = dns_send(&out, sv[1]);
		got = dns_receive(&in, sv[0]);
		assert_true(sent >= 0 && got >= 0 && rounds < 1000);
	}
	assert_true(rounds > 1);
	assert_int_equal(in.len, DNS_MESSAGE_MAX);
	assert_memory_equal(in.data, data, DNS_MESSAGE_MAX);
	dns_outgoing_reset(&out);
	dns_incoming_reset(&in);
	assert_int_equal(dns_outgoing_set(&out, NULL, 0), 0);
	close(sv[0]);
	sv[0] = dup(sv[1]);
	assert_true(dns_send(&out, sv[1]) < 0);
	dns_outgoing_reset(&out);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = { TEST(test_pieces), TEST(test_end), TEST(test_both_ways) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
