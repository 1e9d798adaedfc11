/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "cli/handover.h"

struct fixture {
	char dir[64], path[96];
	struct loop *loop;
	struct handover *h;
	int n_arrived, n_left;
	char bundle[64];
	/* a client in a thread of its own, since it waits */
	const char *id, *exec_id;
	int standin_fd, conn, result;
	struct err err;
};

static int on_arrived(const struct handover_offer *offer, struct err *e, void *userdata)
{
	struct fixture *f = userdata;

	f->n_arrived++;
	snprintf(f->bundle, sizeof f->bundle, "%s", offer->bundle);
	return strcmp(offer->id, "unwanted") ? 0 : err_set(e, ERR_CONFIG, EEXIST, "unwanted it is");
}

static void on_left(void *userdata)
{
	struct fixture *f = userdata;

	f->n_left++;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct handover_params p = { .arrived = on_arrived, .left = on_left, .userdata = f, .path = f->path };
	struct err e = { 0 };

	snprintf(f->dir, sizeof f->dir, "/tmp/caisson-handover-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->path, sizeof f->path, "%s/s", f->dir);
	assert_int_equal(loop_new(&f->loop, &e), 0);
	p.loop = f->loop;
	assert_int_equal(handover_new(&p, &f->h, &e), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	handover_free(f->h);
	loop_free(f->loop);
	assert_int_equal(access(f->path, F_OK), -1);
	rmdir(f->dir);
	free(f);
	return 0;
}

static void *client(void *userdata)
{
	struct fixture *f = userdata;
	struct handover_offer o = { .id = f->id, .exec_id = f->exec_id, .bundle = "/the/bundle", .pid = 321 };

	f->conn = -1;
	f->result = handover_offer(f->path, &o, f->standin_fd, &f->conn, &f->err);
	return NULL;
}

/* Offer our end of a new pair; the other end is returned. */
static int offer(struct fixture *f, const char *id, const char *exec_id)
{
	int pair[2], before = f->n_arrived;
	pthread_t t;

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	f->id = id;
	f->exec_id = exec_id;
	f->standin_fd = pair[0];
	pthread_create(&t, NULL, client, f);
	while (f->n_arrived == before)
		loop_run_once(f->loop, -1);
	pthread_join(t, NULL);
	close(pair[0]);
	return pair[1];
}

static bool is_closed(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };

	return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void await_left(struct fixture *f, int n)
{
	while (f->n_left < n)
		loop_run_once(f->loop, -1);
}

static void test_taken(void **state)
{
	struct fixture *f = *state;
	int other = offer(f, "c1", ""), fd;
	pid_t pid = 0;

	assert_int_equal(f->result, 0);
	assert_string_equal(f->bundle, "/the/bundle");
	assert_true(handover_is_busy(f->h, NULL));
	assert_true(handover_is_busy(f->h, "c1"));
	assert_false(handover_is_busy(f->h, "c2"));
	assert_int_equal(handover_take(f->h, "c2", "", &pid), -1);
	assert_int_equal(handover_take(f->h, "c1", "exec-1", &pid), -1);
	fd = handover_take(f->h, "c1", "", &pid);
	assert_true(fd >= 0);
	assert_int_equal(pid, 321);
	/* Once. */
	assert_int_equal(handover_take(f->h, "c1", "", &pid), -1);
	close(f->conn);
	await_left(f, 1);
	assert_false(handover_is_busy(f->h, NULL));
	assert_false(is_closed(other));
	close(fd);
	assert_true(is_closed(other));
	close(other);
}

static void test_dropped_with_its_client(void **state)
{
	struct fixture *f = *state;
	int other = offer(f, "c1", "exec-1");
	pid_t pid;

	assert_false(is_closed(other));
	close(f->conn);
	await_left(f, 1);
	assert_true(is_closed(other));
	assert_int_equal(handover_take(f->h, "c1", "exec-1", &pid), -1);
	close(other);
}

static void test_unwanted(void **state)
{
	struct fixture *f = *state;
	int other = offer(f, "unwanted", "");

	assert_true(f->result < 0);
	assert_string_equal(f->err.text, "unwanted it is");
	assert_int_equal(f->conn, -1);
	await_left(f, 1);
	assert_true(is_closed(other));
	close(other);
}

/* What blocks the loop notices that the client has gone, but only once its stand-in is taken. */
static void test_interrupt(void **state)
{
	struct fixture *f = *state;
	struct pollfd p = { .fd = handover_interrupt_fd(f->h), .events = POLLIN };
	int other = offer(f, "c1", ""), fd;
	pid_t pid;

	assert_int_equal(poll(&p, 1, 0), 0);
	fd = handover_take(f->h, "c1", "", &pid);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(f->conn);
	assert_int_equal(poll(&p, 1, 30000), 1);
	await_left(f, 1);
	assert_int_equal(poll(&p, 1, 0), 0);
	close(fd);
	close(other);
	/* Served, and gone in another round: no interrupt. */
	other = offer(f, "c1", "");
	fd = handover_take(f->h, "c1", "", &pid);
	loop_run_once(f->loop, -1);
	close(f->conn);
	assert_int_equal(poll(&p, 1, 0), 0);
	await_left(f, 2);
	close(fd);
	close(other);
}

/* Strangers: nothing, too little, no descriptor. */
static void test_nonsense(void **state)
{
	static const size_t sizes[] = { 0, 1, 100, 8192 };
	struct fixture *f = *state;
	unsigned before = count_entries("/proc/self/fd");

	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		_cleanup_free_ char *data = calloc(1, sizes[i] + 1);
		int fd;

		assert_int_equal(unix_connect(f->path, &fd), 0);
		if (sizes[i])
			assert_int_equal(send(fd, data, sizes[i], 0), sizes[i]);
		else
			shutdown(fd, SHUT_WR);
		await_left(f, (int)i + 1);
		close(fd);
	}
	assert_int_equal(f->n_arrived, 0);
	assert_int_equal(count_entries("/proc/self/fd"), before);
}

static void test_nobody_there(void **state)
{
	struct handover_offer o = { .id = "c1", .exec_id = "", .bundle = "/b" };
	struct err e = { 0 };
	int fd;

	assert_int_equal(handover_offer("/tmp/no-such-socket", &o, 0, &fd, &e), -ENOENT);
	assert_non_null(strstr(e.text, "c1"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dropped_with_its_client, setup, teardown),
		cmocka_unit_test_setup_teardown(test_unwanted, setup, teardown),
		cmocka_unit_test_setup_teardown(test_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_nonsense, setup, teardown),
		cmocka_unit_test(test_nobody_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
