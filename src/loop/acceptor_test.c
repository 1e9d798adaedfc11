/* SPDX-License-Identifier: Apache-2.0 */
/* Linked with --wrap: accept4() fails on demand. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "loop/acceptor.h"

static int fails_with; /* 0: it does not */
static unsigned asked;

int __real_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);
int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags);

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *len, int flags)
{
	asked++;
	if (!fails_with)
		return __real_accept4(fd, address, len, flags);
	errno = fails_with;
	return -1;
}

struct fixture {
	struct loop *loop;
	struct acceptor *acceptor;
	struct sockaddr_un address;
	socklen_t len;
	int listen_fd;
	unsigned taken;
};

static void on_connection(struct acceptor *a, int fd, void *userdata)
{
	struct fixture *f = userdata;

	assert_ptr_equal(a, f->acceptor);
	f->taken++;
	close(fd);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	fails_with = 0;
	asked = 0;
	f->address.sun_family = AF_UNIX;
	f->len = sizeof f->address;
	f->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* A name that the kernel chooses. */
	assert_int_equal(bind(f->listen_fd, (struct sockaddr *)&f->address, sizeof(sa_family_t)), 0);
	assert_int_equal(getsockname(f->listen_fd, (struct sockaddr *)&f->address, &f->len), 0);
	assert_int_equal(listen(f->listen_fd, 8), 0);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(acceptor_new(f->loop, f->listen_fd, on_connection, f, &f->acceptor), 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	acceptor_free(f->acceptor);
	loop_free(f->loop);
	close(f->listen_fd);
	free(f);
	return 0;
}

static void come(struct fixture *f)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&f->address, f->len), 0);
	close(fd);
}

static void run_ms(struct fixture *f, unsigned ms)
{
	for (uint64_t end = clock_ms() + ms; clock_ms() < end;)
		loop_run_once(f->loop, 10);
}

static void test_all_are_taken(void **state)
{
	struct fixture *f = *state;

	come(f);
	come(f);
	run_ms(f, 50);
	assert_int_equal(f->taken, 2);
}

static void test_off_and_on(void **state)
{
	struct fixture *f = *state;

	acceptor_set(f->acceptor, false);
	come(f);
	run_ms(f, 50);
	assert_int_equal(f->taken + asked, 0);
	acceptor_set(f->acceptor, true);
	run_ms(f, 50);
	assert_int_equal(f->taken, 1);
}

static void test_does_not_spin(void **state)
{
	struct fixture *f = *state;

	fails_with = EMFILE;
	come(f);
	run_ms(f, 200);
	assert_int_equal(asked, 1);
	fails_with = 0;
	for (uint64_t end = clock_ms() + 10000; clock_ms() < end && !f->taken;)
		loop_run_once(f->loop, 10);
	assert_int_equal(f->taken, 1);
	/* Who switched it off meanwhile is not overruled. */
	fails_with = EMFILE;
	come(f);
	run_ms(f, 50);
	acceptor_set(f->acceptor, false);
	fails_with = 0;
	run_ms(f, 1300);
	assert_int_equal(f->taken, 1);
}

/* It has gone while it waited. */
static void test_gone(void **state)
{
	struct fixture *f = *state;

	fails_with = ECONNABORTED;
	come(f);
	run_ms(f, 50);
	assert_true(asked > 1);
	fails_with = 0;
	run_ms(f, 50);
	assert_int_equal(f->taken, 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_all_are_taken),
		TEST(test_off_and_on),
		TEST(test_does_not_spin),
		TEST(test_gone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
