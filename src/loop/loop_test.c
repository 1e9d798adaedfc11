/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "base/fd.h"
#include "loop/loop.h"

struct seen {
	struct loop *loop;
	struct loop_source *a, *b;
	int calls, order[8], status, signo;
};

static void on_timer(struct loop_source *s, void *userdata)
{
	struct seen *seen = userdata;

	seen->order[seen->calls++] = s == seen->a ? 1 : 2;
	if (seen->calls == 2)
		loop_quit(seen->loop, 7);
}

static void test_timers_in_order(void **state)
{
	struct seen seen = { 0 };
	struct loop_source *never;

	assert_int_equal(loop_new(&seen.loop, NULL), 0);
	assert_int_equal(loop_add_timer(seen.loop, 30, on_timer, &seen, &seen.b), 0);
	assert_int_equal(loop_add_timer(seen.loop, 5, on_timer, &seen, &seen.a), 0);
	assert_int_equal(loop_add_timer(seen.loop, UINT64_MAX, on_timer, &seen, &never), 0);
	assert_int_equal(loop_run(seen.loop), 7);
	assert_int_equal(seen.order[0], 1);
	assert_int_equal(seen.order[1], 2);
	loop_free(seen.loop);
}

static void on_io_free_both(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct seen *seen = userdata;

	seen->calls++;
	loop_source_free(seen->a);
	loop_source_free(seen->b);
	loop_quit(seen->loop, 0);
}

static void test_freed_source_is_not_called(void **state)
{
	struct seen seen = { 0 };
	int p[2], q[2];

	assert_int_equal(loop_new(&seen.loop, NULL), 0);
	assert_int_equal(pipe(p) | pipe(q), 0);
	assert_int_equal(fd_write_full(p[1], "x", 1) | fd_write_full(q[1], "x", 1), 0);
	assert_int_equal(loop_add_io(seen.loop, p[0], EPOLLIN, on_io_free_both, &seen, &seen.a), 0);
	assert_int_equal(loop_add_io(seen.loop, q[0], EPOLLIN, on_io_free_both, &seen, &seen.b), 0);
	assert_int_equal(loop_run(seen.loop), 0);
	assert_int_equal(seen.calls, 1);
	loop_free(seen.loop);
	close(p[0]);
	close(p[1]);
	close(q[0]);
	close(q[1]);
}

static void on_child(struct loop_source *s, pid_t pid, int status, void *userdata)
{
	struct seen *seen = userdata;

	seen->status = status;
	loop_source_free(s);
	loop_quit(seen->loop, 0);
}

static void on_signal(struct loop_source *s, int signo, void *userdata)
{
	((struct seen *)userdata)->signo = signo;
}

static void test_child_and_signal(void **state)
{
	struct seen seen = { 0 };
	sigset_t now;
	pid_t pid;

	assert_int_equal(loop_new(&seen.loop, NULL), 0);
	assert_int_equal(loop_add_signal(seen.loop, SIGUSR1, on_signal, &seen, &seen.a), 0);
	kill(getpid(), SIGUSR1);
	pid = fork();
	if (pid == 0) {
		usleep(20000);
		_exit(42);
	}
	assert_int_equal(loop_add_child(seen.loop, pid, on_child, &seen, &seen.b), 0);
	assert_int_equal(loop_run(seen.loop), 0);
	assert_true(WIFEXITED(seen.status));
	assert_int_equal(WEXITSTATUS(seen.status), 42);
	assert_int_equal(seen.signo, SIGUSR1);
	loop_source_free(seen.a);
	pthread_sigmask(SIG_BLOCK, NULL, &now);
	assert_false(sigismember(&now, SIGUSR1));
	loop_free(seen.loop);
}

static void posted(void *userdata)
{
	struct seen *seen = userdata;

	if (++seen->calls == 100)
		loop_quit(seen->loop, 3);
}

static void *poster(void *userdata)
{
	struct seen *seen = userdata;

	for (int i = 0; i < 100; i++)
		loop_post(seen->loop, posted, seen);
	return NULL;
}

static void test_post_from_thread(void **state)
{
	struct seen seen = { 0 };
	pthread_t t;

	assert_int_equal(loop_new(&seen.loop, NULL), 0);
	pthread_create(&t, NULL, poster, &seen);
	assert_int_equal(loop_run(seen.loop), 3);
	pthread_join(t, NULL);
	loop_free(seen.loop);
}

/* Two strangers and a loop that is never idle count together; each `enter` is alone with the counter. */
struct shared {
	struct loop *loop;
	struct loop_source *timer;
	int count, rounds; /* not atomic: the thread sanitizer sees a missing lock */
	bool fired;
};

static void on_busy(struct loop_source *s, void *userdata)
{
	struct shared *shared = userdata;

	loop_enter(shared->loop); /* nests */
	shared->count++;
	loop_leave(shared->loop);
	if (shared->rounds < 2000)
		loop_timer_set(s, 0);
	else
		loop_quit(shared->loop, 0);
}

static void *stranger(void *userdata)
{
	struct shared *shared = userdata;

	for (int i = 0; i < 1000; i++) {
		loop_enter(shared->loop);
		shared->count++;
		shared->rounds++;
		loop_leave(shared->loop);
	}
	return NULL;
}

static void test_strangers_enter(void **state)
{
	struct shared shared = { 0 };
	pthread_t threads[2];

	assert_int_equal(loop_new(&shared.loop, NULL), 0);
	assert_int_equal(loop_add_timer(shared.loop, 0, on_busy, &shared, &shared.timer), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, stranger, &shared), 0);
	assert_int_equal(loop_run(shared.loop), 0);
	for (int i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	assert_int_equal(shared.rounds, 2000);
	assert_true(shared.count > 2000);
	loop_source_free(shared.timer);
	loop_free(shared.loop);
}

static void on_fired(struct loop_source *s, void *userdata)
{
	struct shared *shared = userdata;

	shared->fired = true;
	loop_quit(shared->loop, 0);
}

static void *arms_timer(void *userdata)
{
	struct shared *shared = userdata;

	loop_enter(shared->loop);
	loop_timer_set(shared->timer, 0);
	loop_leave(shared->loop);
	return NULL;
}

/* Without the wake-up the loop would sleep for ever. */
static void test_stranger_arms_a_timer(void **state)
{
	struct shared shared = { 0 };
	pthread_t thread;

	assert_int_equal(loop_new(&shared.loop, NULL), 0);
	assert_int_equal(loop_add_timer(shared.loop, UINT64_MAX, on_fired, &shared, &shared.timer), 0);
	assert_int_equal(pthread_create(&thread, NULL, arms_timer, &shared), 0);
	assert_int_equal(loop_run(shared.loop), 0);
	pthread_join(thread, NULL);
	assert_true(shared.fired);
	loop_source_free(shared.timer);
	loop_free(shared.loop);
}

struct churn {
	struct loop *loop;
	atomic_bool stop;
};

static void *frees_timers(void *userdata)
{
	struct churn *c = userdata;
	struct loop_source *s;

	while (!atomic_load(&c->stop)) {
		loop_enter(c->loop);
		assert_int_equal(loop_add_timer(c->loop, UINT64_MAX, on_fired, NULL, &s), 0);
		loop_source_free(s);
		loop_leave(c->loop);
		sched_yield();
	}
	return NULL;
}

/* What a stranger frees is released by the loop, which must not sleep over it: many of them would fill the memory. */
static void test_stranger_frees_a_source(void **state)
{
	struct churn c = { 0 };
	uint64_t begin = clock_ms();
	pthread_t thread;

	assert_int_equal(loop_new(&c.loop, NULL), 0);
	assert_int_equal(pthread_create(&thread, NULL, frees_timers, &c), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(c.loop, 10000), 0);
	assert_true(clock_ms() - begin < 10000);
	atomic_store(&c.stop, true);
	pthread_join(thread, NULL);
	loop_free(c.loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_timers_in_order),         cmocka_unit_test(test_freed_source_is_not_called),
		cmocka_unit_test(test_child_and_signal),        cmocka_unit_test(test_post_from_thread),
		cmocka_unit_test(test_strangers_enter),         cmocka_unit_test(test_stranger_arms_a_timer),
		cmocka_unit_test(test_stranger_frees_a_source),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
