/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The test is in the pod's network namespace, as a client, and answers at the VMM's socket by hand, as the guest. Needs
 * root, and a kernel with BPF_SK_LOOKUP.
 */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "codec/forward.h"
#include "pod/forward.h"

static char dir[] = "/tmp/caisson-forward-XXXXXX", address[80];
static int ns_fd = -1, listener = -1;
static struct loop *loop;
static struct pod_forward *forward;

static int set_up(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	struct err e = { 0 };
	int r;

	if (ns_fd < 0)
		return 0;
	snprintf(a.sun_path, sizeof a.sun_path, "%s/v", dir);
	unlink(a.sun_path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 128), 0);
	snprintf(address, sizeof address, "hvsock:%s/v", dir);
	assert_int_equal(loop_new(&loop, NULL), 0);
	r = pod_forward_new(loop, ns_fd, address, &forward, &e);
	if (r == -EINVAL || r == -EPERM || r == -ENOSYS) {
		print_message("%s\n", e.text);
		forward = NULL;
	} else {
		assert_int_equal(r, 0);
	}
	return 0;
}

static int tear_down(void **state)
{
	pod_forward_free(forward);
	forward = NULL;
	loop_free(loop);
	loop = NULL;
	fd_close(&listener);
	return 0;
}

/* A connected client or -errno. */
static int dial(bool ipv6, uint16_t port)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} a = { 0 };
	int fd;

	if (ipv6)
		a.v6 = (struct sockaddr_in6){ .sin6_family = AF_INET6,
					      .sin6_addr = IN6ADDR_LOOPBACK_INIT,
					      .sin6_port = htons(port) };
	else
		a.v4 = (struct sockaddr_in){ .sin_family = AF_INET,
					     .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
					     .sin_port = htons(port) };
	fd = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (connect(fd, &a.any, sizeof a) == 0)
		return fd;
	close(fd);
	return -errno;
}

/* A round of the owner's loop, which waits for nobody. */
static void round_of_loop(void)
{
	uint64_t begun = clock_ms();

	assert_int_equal(loop_run_once(loop, 20), 0);
	assert_true(clock_ms() - begun < 2000);
}

/* What recv(2) says: a byte, -1 for the end, or -errno. */
static int next(int fd)
{
	uint64_t deadline = clock_ms() + 20000;
	unsigned char byte;
	ssize_t n;

	while ((n = recv(fd, &byte, 1, MSG_DONTWAIT)) < 0 && errno == EAGAIN) {
		assert_true(clock_ms() < deadline);
		round_of_loop();
	}
	return n == 1 ? byte : n == 0 ? -1 : -errno;
}

/* What the VMM hears next. */
static int vmm_accept(void)
{
	uint64_t deadline = clock_ms() + 20000;
	int fd;

	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0) {
		assert_true(clock_ms() < deadline);
		round_of_loop();
	}
	return fd;
}

/* The agent, up to the request. */
static int guest_accept(bool ipv6, uint16_t port)
{
	static const char request[] = "CONNECT 1028\n";
	uint8_t expected[FORWARD_REQUEST_SIZE];
	int fd = vmm_accept();

	for (size_t i = 0; i < sizeof request - 1; i++)
		assert_int_equal(next(fd), request[i]);
	assert_int_equal(send(fd, "OK 1\n", 5, 0), 5);
	forward_request_write(expected, ipv6, port);
	for (size_t i = 0; i < sizeof expected; i++)
		assert_int_equal(next(fd), expected[i]);
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
	close(first);
	close(second);
}

static void test_both_ways(void **state)
{
	if (!forward)
		skip();
	for (int i = 0; i < 4; i++) {
		bool ipv6 = i & 1;
		uint16_t port = (uint16_t)(80 + 1000 * i);
		int client = dial(ipv6, port), guest;

		assert_true(client >= 0);
		guest = guest_accept(ipv6, port);
		/* The first words of who listens may come with the status. */
		assert_int_equal(send(guest, "\0hi", 3, 0), 3);
		assert_int_equal(next(client), 'h');
		assert_int_equal(next(client), 'i');
		if (i < 2)
			half_close(client, guest);
		else
			half_close(guest, client);
	}
}

static void test_refused(void **state)
{
	static const uint8_t status = ECONNREFUSED;
	int client, guest;

	if (!forward)
		skip();
	client = dial(false, 81);
	guest = guest_accept(false, 81);
	assert_int_equal(send(guest, &status, 1, 0), 1);
	assert_int_equal(next(client), -ECONNRESET);
	close(client);
	close(guest);
	/* An agent that does not know of it: nobody listens on that port of the guest. */
	client = dial(false, 81);
	close(vmm_accept());
	assert_int_equal(next(client), -ECONNRESET);
	close(client);
	/* The VM has ended. */
	fd_close(&listener);
	client = dial(true, 81);
	assert_int_equal(next(client), -ECONNRESET);
	close(client);
}

/* A guest that says nothing holds up its own clients alone, and no more than so many. */
static void test_limit(void **state)
{
	int clients[FORWARD_CONNECTIONS_MAX], guests[FORWARD_CONNECTIONS_MAX], more, guest;

	if (!forward)
		skip();
	for (int i = 0; i < FORWARD_CONNECTIONS_MAX; i++) {
		clients[i] = dial(false, 82);
		assert_true(clients[i] >= 0);
		guests[i] = vmm_accept();
	}
	more = dial(false, 83);
	assert_true(more >= 0);
	for (int i = 0; i < 10; i++)
		round_of_loop();
	assert_int_equal(accept(listener, NULL, NULL), -1);
	close(guests[0]);
	assert_int_equal(next(clients[0]), -ECONNRESET);
	guest = guest_accept(false, 83);
	assert_int_equal(send(guest, "\0", 1, 0), 1);
	half_close(more, guest);
	for (int i = 0; i < FORWARD_CONNECTIONS_MAX; i++) {
		close(clients[i]);
		if (i)
			close(guests[i]);
	}
}

static void test_end(void **state)
{
	int waiting, talking, guest;

	if (!forward)
		skip();
	talking = dial(false, 84);
	guest = guest_accept(false, 84);
	assert_int_equal(send(guest, "\0x", 2, 0), 2);
	assert_int_equal(next(talking), 'x');
	waiting = dial(false, 85);
	close(vmm_accept());
	pod_forward_free(forward);
	forward = NULL;
	assert_int_equal(next(talking), -ECONNRESET);
	assert_int_equal(next(waiting), -ECONNRESET);
	assert_int_equal(next(guest), -1);
	assert_int_equal(dial(false, 84), -ECONNREFUSED);
	close(talking);
	close(waiting);
	close(guest);
}

static int set_up_all(void **state)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (!mkdtemp(dir))
		return -1;
	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
	ns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	return 0;
}

static int tear_down_all(void **state)
{
	fd_close(&ns_fd);
	return dir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_both_ways, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_limit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, set_up_all, tear_down_all);
}
