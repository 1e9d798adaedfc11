/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "loop/pump.h"

/*
 * Linked with --wrap: what epoll says of a peer of AF_VSOCK's that has gone, no other socket leaves out. gone: to send
 * there, also nothing, is refused. Timers run a hundred times as fast.
 */
static int gone = -1;

ssize_t __real_send(int fd, const void *data, size_t len, int flags);
ssize_t __wrap_send(int fd, const void *data, size_t len, int flags);
int __real_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret);
int __wrap_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret);
void __real_loop_timer_set(struct loop_source *s, uint64_t delay_ms);
void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms);

ssize_t __wrap_send(int fd, const void *data, size_t len, int flags)
{
	if (fd != gone)
		return __real_send(fd, data, len, flags);
	errno = EPIPE;
	return -1;
}

int __wrap_loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata,
			  struct loop_source **ret)
{
	return __real_loop_add_timer(loop, delay_ms / 100, fn, userdata, ret);
}

void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms)
{
	__real_loop_timer_set(s, delay_ms / 100);
}

/* left: TCP, as a client of the host has; right: the way into a guest. The test has one end of each, the pump the
 * other.
 */
struct pair {
	struct loop *loop;
	struct pump *pump;
	int left, right, right_fd, done; /* right_fd: the pump's */
};

static void on_done(void *userdata)
{
	((struct pair *)userdata)->done++;
}

static void tcp_pair(int fds[2])
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof a;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	fds[0] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&a, sizeof a), 0);
	fds[1] = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	assert_true(fds[1] >= 0);
	close(fd);
}

static int set_up(void **state)
{
	struct pair *p = calloc(1, sizeof *p);
	int left[2], right[2];

	gone = -1;
	tcp_pair(left);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, right), 0);
	assert_int_equal(loop_new(&p->loop, NULL), 0);
	p->left = left[0];
	p->right = right[0];
	p->right_fd = right[1];
	assert_int_equal(pump_new(p->loop, left[1], right[1], on_done, p, &p->pump), 0);
	*state = p;
	return 0;
}

static int tear_down(void **state)
{
	struct pair *p = *state;

	pump_free(p->pump);
	loop_free(p->loop);
	fd_close(&p->left);
	fd_close(&p->right);
	free(p);
	return 0;
}

static void settle(struct pair *p)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(p->loop, 5), 0);
}

static void until_done(struct pair *p)
{
	uint64_t deadline = clock_ms() + 20000;

	while (!p->done && clock_ms() < deadline)
		assert_int_equal(loop_run_once(p->loop, 20), 0);
	settle(p);
	assert_int_equal(p->done, 1);
}

/* What recv(2) says once something is there: a length or -errno. */
static int receive(struct pair *p, int fd, void *data, size_t n)
{
	uint64_t deadline = clock_ms() + 20000;

	for (;;) {
		ssize_t k = recv(fd, data, n, MSG_DONTWAIT);

		if (k >= 0)
			return (int)k;
		if (errno != EAGAIN)
			return -errno;
		assert_true(clock_ms() < deadline);
		assert_int_equal(loop_run_once(p->loop, 20), 0);
	}
}

/* Fill everything between the two until no more goes in. */
static size_t stuff(struct pair *p, int from)
{
	unsigned char data[4096];
	size_t sent = 0;

	for (int quiet = 0; quiet < 5;) {
		ssize_t n;

		for (size_t i = 0; i < sizeof data; i++)
			data[i] = (unsigned char)((sent + i) % 251);
		n = send(from, data, sizeof data, MSG_DONTWAIT);
		quiet = n < 0 ? quiet + 1 : 0;
		sent += n > 0 ? (size_t)n : 0;
		assert_int_equal(loop_run_once(p->loop, 2), 0);
	}
	return sent;
}

static void take_all(struct pair *p, int to, size_t n)
{
	unsigned char data[5000];

	for (size_t got = 0; got < n;) {
		int k = receive(p, to, data, sizeof data);

		assert_true(k > 0);
		for (int i = 0; i < k; i++)
			assert_int_equal(data[i], (got + (size_t)i) % 251);
		got += (size_t)k;
	}
}

/* Who does not read holds the other up, in one direction only, and nothing is lost. */
static void test_back_pressure(void **state)
{
	struct pair *p = *state;
	size_t a = stuff(p, p->left), b = stuff(p, p->right);

	assert_true(a > PUMP_CHUNK && b > PUMP_CHUNK);
	take_all(p, p->right, a);
	take_all(p, p->left, b);
	assert_int_equal(p->done, 0);
}

static void half_close(struct pair *p, int first, int second)
{
	char byte;

	assert_int_equal(send(first, "a", 1, 0), 1);
	assert_int_equal(shutdown(first, SHUT_WR), 0);
	assert_int_equal(receive(p, second, &byte, 1), 1);
	assert_int_equal(receive(p, second, &byte, 1), 0);
	settle(p);
	assert_int_equal(p->done, 0);
	assert_int_equal(send(second, "b", 1, 0), 1);
	assert_int_equal(receive(p, first, &byte, 1), 1);
	assert_int_equal(shutdown(second, SHUT_WR), 0);
	/* An end, and no reset. */
	assert_int_equal(receive(p, first, &byte, 1), 0);
	until_done(p);
	pump_free(p->pump);
	p->pump = NULL;
	assert_int_equal(receive(p, p->left, &byte, 1), 0);
}

static void test_half_close(void **state)
{
	struct pair *p = *state;

	half_close(p, p->left, p->right);
}

static void test_half_close_from_the_guest(void **state)
{
	struct pair *p = *state;

	half_close(p, p->right, p->left);
}

/* Who says much and goes: all of it arrives at who is slow, and meanwhile nobody spins. */
static void test_last_words(void **state)
{
	struct pair *p = *state;
	size_t n = stuff(p, p->right);
	uint64_t begun;
	char byte;

	fd_close(&p->right);
	settle(p);
	begun = clock_ms();
	assert_int_equal(loop_run_once(p->loop, 200), 0);
	assert_true(clock_ms() - begun >= 150);
	take_all(p, p->left, n);
	/* It took no more, either, which a TCP client is told. */
	assert_int_equal(receive(p, p->left, &byte, 1), 0);
	until_done(p);
	pump_free(p->pump);
	p->pump = NULL;
	assert_int_equal(send(p->left, "x", 1, MSG_NOSIGNAL), -1);
}

/* It has ended its direction, and goes while nobody has anything to say to it. */
static void test_goes_unheard(void **state)
{
	struct pair *p = *state;
	char byte;

	assert_int_equal(shutdown(p->right, SHUT_WR), 0);
	assert_int_equal(receive(p, p->left, &byte, 1), 0);
	for (int i = 0; i < 4; i++)
		settle(p);
	assert_int_equal(p->done, 0);
	gone = p->right_fd;
	until_done(p);
	pump_free(p->pump);
	p->pump = NULL;
	gone = -1;
	assert_int_equal(send(p->left, "x", 1, MSG_NOSIGNAL), -1);
}

static void test_client_resets(void **state)
{
	struct pair *p = *state;
	char byte;

	pump_reset_on_close(p->left);
	assert_int_equal(send(p->left, "a", 1, 0), 1);
	assert_int_equal(receive(p, p->right, &byte, 1), 1);
	fd_close(&p->left);
	until_done(p);
	pump_free(p->pump);
	p->pump = NULL;
	assert_int_equal(receive(p, p->right, &byte, 1), 0);
}

static void test_freed_before_the_end(void **state)
{
	struct pair *p = *state;
	char byte;

	settle(p);
	pump_free(p->pump);
	p->pump = NULL;
	assert_int_equal(receive(p, p->left, &byte, 1), -ECONNRESET);
	assert_int_equal(p->done, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_back_pressure, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_close, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_half_close_from_the_guest, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_last_words, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_goes_unheard, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_client_resets, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_freed_before_the_end, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
