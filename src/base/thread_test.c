// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/thread.h"

struct seen {
	sigset_t blocked;
	size_t stack;
};

static void *look(void *arg)
{
	struct seen *seen = arg;
	pthread_attr_t attr;

	pthread_sigmask(SIG_BLOCK, NULL, &seen->blocked);
	if (pthread_getattr_np(pthread_self(), &attr) == 0) {
		pthread_attr_getstacksize(&attr, &seen->stack);
		pthread_attr_destroy(&attr);
	}
	return arg;
}

static void test_start(void **state)
{
	struct seen seen = { 0 };
	sigset_t before, after;
	pthread_t thread;
	void *ret;

	(void)state;
	pthread_sigmask(SIG_BLOCK, NULL, &before);
	assert_int_equal(thread_start(&thread, look, &seen), 0);
	pthread_sigmask(SIG_BLOCK, NULL, &after);
	assert_int_equal(pthread_join(thread, &ret), 0);
	assert_ptr_equal(ret, &seen);
	assert_true(sigismember(&seen.blocked, SIGTERM));
	assert_true(sigismember(&seen.blocked, SIGUSR1));
	assert_int_equal(sigismember(&after, SIGTERM), sigismember(&before, SIGTERM));
	/* The thread sanitizer asks for more. */
	assert_in_range(seen.stack, THREAD_STACK / 2, (2 << 20) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
