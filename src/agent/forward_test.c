// SPDX-License-Identifier: Apache-2.0
/* In this process: the host at a Unix socket, and what listens on the loopback. */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/forward.h"
#include "base/fd.h"
#include "codec/forward.h"
#include "sys/vsock.h"

static struct loop *loop;
static struct forward *forward;
static struct sock_addr address;
static int listener = -1; /* a container's */

static int set_up(void **state)
{
	int fd;

	address.kind = SOCK_ADDR_UNIX;
	snprintf(address.path, sizeof address.path, "@caisson-forward-test-%d", (int)getpid());
	fd = sock_addr_listen(&address, NULL);
	assert_true(fd >= 0);
	fd_set_nonblock(fd, true);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(forward_new(loop, fd, &forward, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	forward_free(forward);
	loop_free(loop);
	fd_close(&listener);
	return 0;
}

static int connect_here(void)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	size_t n = strlen(address.path);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	memcpy(sa.sun_path + 1, address.path + 1, n - 1);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + n)),
			 0);
	return fd;
}

static uint16_t listen_on(bool ipv6)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };
	socklen_t len = sizeof a;

	if (ipv6)
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	else
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	listener = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (listener < 0 || bind(listener, &a.any, sizeof a) < 0)
		skip(); /* no IPv6 */
	assert_int_equal(listen(listener, 200), 0);
	assert_int_equal(getsockname(listener, &a.any, &len), 0);
	return ntohs(ipv6 ? a.v6.sin6_port : a.v4.sin_port);
}

/* What comes on fd: a byte, or -1 for the end. */
static int next(int fd)
{
	uint64_t deadline = clock_ms() + 20000;
	unsigned char byte;
	ssize_t n;

	while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		assert_true(clock_ms() < deadline);
		assert_int_equal(loop_run_once(loop, 20), 0);
	}
	return n == 1 ? byte : -1;
}

static int ask(bool ipv6, uint16_t port)
{
	uint8_t request[FORWARD_REQUEST_SIZE];
	int fd = connect_here();

	forward_request_write(request, ipv6, port);
	assert_int_equal(send(fd, request, sizeof request, 0), sizeof request);
	return fd;
}

static void half_close(int first, int second)
{
	assert_int_equal(send(first, "a", 1, 0), 1);
	assert_int_equal(shutdown(first, SHUT_WR), 0);
	assert_int_equal(next(second), 'a');
	assert_int_equal(next(second), -1);
	assert_int_equal(send(second, "b", 1, 0), 1);
	assert_int_equal(shutdown(second, SHUT_WR), 0);
	assert_int_equal(next(first), 'b');
	assert_int_equal(next(first), -1);
}

static void test_both_ways(void **state)
{
	uint16_t port = listen_on(false);

	for (int i = 0; i < 2; i++) {
		int host = ask(false, port), local;

		assert_int_equal(next(host), 0);
		local = accept(listener, NULL, NULL);
		if (i == 0)
			half_close(host, local);
		else
			half_close(local, host);
		close(host);
		close(local);
	}
}

static void test_ipv6(void **state)
{
	uint16_t port = listen_on(true);

	/* Also where 127.0.0.1 was meant, and refuses. */
	for (int i = 0; i < 2; i++) {
		int host = ask(i, port);

		assert_int_equal(next(host), 0);
		close(accept(listener, NULL, NULL));
		close(host);
	}
}

static void test_refused(void **state)
{
	uint16_t port = listen_on(false);
	int host;

	/* Not the other way round: a client has tried 127.0.0.1 before. */
	host = ask(true, port);
	assert_int_equal(next(host), ECONNREFUSED);
	assert_int_equal(next(host), -1);
	close(host);
	fd_close(&listener);
	host = ask(false, port);
	assert_int_equal(next(host), ECONNREFUSED);
	assert_int_equal(next(host), -1);
	close(host);
}

static void test_requests(void **state)
{
	static const uint8_t wrong[][FORWARD_REQUEST_SIZE] = {
		{ 0, 4, 0, 80 }, { 2, 4, 0, 80 }, { 1, 5, 0, 80 }, { 1, 4, 0, 0 }, { 'G', 'E', 'T', ' ' }
	};
	uint16_t port = listen_on(false);
	uint8_t request[FORWARD_REQUEST_SIZE];
	int host;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
		host = connect_here();
		assert_int_equal(send(host, wrong[i], sizeof wrong[i], 0), sizeof wrong[i]);
		assert_int_equal(next(host), EPROTO);
		assert_int_equal(next(host), -1);
		close(host);
	}
	/* In pieces. */
	forward_request_write(request, false, port);
	host = connect_here();
	for (size_t i = 0; i < sizeof request; i++) {
		assert_int_equal(send(host, &request[i], 1, 0), 1);
		assert_int_equal(loop_run_once(loop, 5), 0);
		assert_int_equal(loop_run_once(loop, 5), 0);
	}
	assert_int_equal(next(host), 0);
	close(host);
	/* Not to its end. */
	host = connect_here();
	assert_int_equal(send(host, request, 2, 0), 2);
	shutdown(host, SHUT_WR);
	assert_int_equal(next(host), -1);
	close(host);
}

static void test_limit(void **state)
{
	uint16_t port = listen_on(false);
	int hosts[FORWARD_CONNECTIONS_MAX], more;

	for (size_t i = 0; i < FORWARD_CONNECTIONS_MAX; i++) {
		hosts[i] = ask(false, port);
		assert_int_equal(next(hosts[i]), 0);
	}
	more = ask(false, port);
	assert_int_equal(next(more), -1);
	close(more);
	/* The others do not notice; one that ends makes room. */
	half_close(hosts[0], accept(listener, NULL, NULL));
	more = ask(false, port);
	assert_int_equal(next(more), 0);
	close(more);
	for (size_t i = 0; i < FORWARD_CONNECTIONS_MAX; i++)
		close(hosts[i]);
}

/* The host goes: who listens is told so. */
static void test_host_goes(void **state)
{
	uint16_t port = listen_on(false);
	int host = ask(false, port), local;
	char byte;

	assert_int_equal(next(host), 0);
	local = accept(listener, NULL, NULL);
	close(host);
	assert_int_equal(next(local), -1);
	assert_int_equal(recv(local, &byte, 1, 0), 0);
	close(local);
	host = ask(false, port);
	close(host);
	for (int i = 0; i < 5; i++)
		assert_int_equal(loop_run_once(loop, 5), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_ipv6, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_requests, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_host_goes, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
