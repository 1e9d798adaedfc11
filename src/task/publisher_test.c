/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events and a containerd that is not there at first, is started again, refuses, does not answer, or has to be told by
 * its program. No pause is waited for: they are made short (--wrap=loop_timer_set).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "base/unix_socket.h"
#include "codec/ttrpc.h"
#include "proto/empty.pb-c.h"
#include "proto/events.pb-c.h"
#include "proto/forward.pb-c.h"
#include "task/publisher.h"

#define EVENTS "containerd.services.events.ttrpc.v1.Events"

struct fixture {
	struct loop *loop;
	struct publisher *publisher;
	struct ttrpc_server *server;
	char dir[64], address[96];
	struct strv got; /* container ids of TaskOOM events */
	int refuse;      /* this many times */
	int hang_up;     /* this many times, in place of an answer */
	unsigned sent;
};

static uint64_t longest_pause;
static bool real_time;

/* Seconds become milliseconds; how long a pause was to be is noted. */
void __real_loop_timer_set(struct loop_source *s, uint64_t delay_ms);
void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms);
void __wrap_loop_timer_set(struct loop_source *s, uint64_t delay_ms)
{
	if (delay_ms != UINT64_MAX && delay_ms > longest_pause)
		longest_pause = delay_ms;
	__real_loop_timer_set(s, delay_ms == UINT64_MAX || real_time ? delay_ms : delay_ms / 1000);
}

/* ---- containerd ---- */

static void stop_containerd(struct fixture *f)
{
	ttrpc_server_free(take_ptr(f->server));
	unlink(f->address);
}

static void stop_soon(void *userdata)
{
	stop_containerd(userdata);
}

static void on_forward(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *q =
		(const Containerd__Services__Events__Ttrpc__V1__ForwardRequest *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;
	const Google__Protobuf__Any *any = q->envelope->event;
	Containerd__Events__TaskOOM *oom;
	struct fixture *f = userdata;

	if (f->refuse > 0) {
		f->refuse--;
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "not this one");
		return;
	}
	if (f->hang_up > 0) {
		f->hang_up--;
		ttrpc_reply_error(req, TTRPC_CANCELLED, "nobody hears this");
		loop_post(f->loop, stop_soon, f);
		return;
	}
	assert_string_equal(any->type_url, "containerd.events.TaskOOM");
	oom = containerd__events__task_oom__unpack(NULL, any->value.len, any->value.data);
	strv_add(&f->got, oom->container_id);
	containerd__events__task_oom__free_unpacked(oom, NULL);
	ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method methods[] = {
	{ "Forward", &containerd__services__events__ttrpc__v1__forward_request__descriptor, on_forward },
};
static const struct ttrpc_service services[] = { { EVENTS, methods, 1 } };

static void start_containerd(struct fixture *f)
{
	int fd;

	assert_int_equal(unix_listen(f->address, 0600, &fd, NULL), 0);
	assert_int_equal(ttrpc_server_new(f->loop, fd, services, 1, f, &f->server, NULL), 0);
}

/* ---- fixture ---- */

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	log_set_sink(-1, LOG_FORMAT_TEXT, "");
	longest_pause = 0;
	real_time = false;
	strcpy(f->dir, "/tmp/task-events-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->address, sizeof f->address, "%s/e", f->dir);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	publisher_free(f->publisher);
	stop_containerd(f);
	loop_free(f->loop);
	strv_fini(&f->got);
	dir_remove(f->dir);
	free(f);
	return 0;
}

static void by_ttrpc(struct fixture *f)
{
	_cleanup_free_ char *address = str_printf("unix://%s", f->address);
	struct publisher_params p = { .loop = f->loop, .namespace = "ns1", .ttrpc_address = address };

	assert_int_equal(publisher_new(&p, &f->publisher, NULL), 0);
}

static void publish(struct fixture *f, unsigned n)
{
	Containerd__Events__TaskOOM m = CONTAINERD__EVENTS__TASK_OOM__INIT;
	char id[16];

	m.container_id = id;
	while (n--) {
		snprintf(id, sizeof id, "%u", f->sent++);
		publisher_publish(f->publisher, "/tasks/oom", &m.base);
	}
}

static void rounds(struct fixture *f, int n)
{
	while (n--)
		assert_int_equal(loop_run_once(f->loop, 1), 0);
}

/* All from first on have come, each once and in order. */
static void expect_in_order(struct fixture *f, unsigned first)
{
	char want[16];

	publisher_drain(f->publisher, 20000);
	assert_int_equal(publisher_pending(f->publisher), 0);
	assert_int_equal(f->got.len, f->sent - first);
	for (size_t i = 0; i < f->got.len; i++) {
		snprintf(want, sizeof want, "%zu", i + first);
		assert_string_equal(f->got.v[i], want);
	}
}

/* ---- tests ---- */

static void test_order(void **state)
{
	struct fixture *f = *state;

	start_containerd(f);
	by_ttrpc(f);
	publish(f, 500);
	expect_in_order(f, 0);
	publish(f, 1);
	expect_in_order(f, 0);
}

static void test_not_there_at_first(void **state)
{
	struct fixture *f = *state;

	by_ttrpc(f);
	publish(f, 3);
	while (longest_pause < 5000) /* longer and longer, up to here */
		rounds(f, 1);
	assert_int_equal(publisher_pending(f->publisher), 3);
	assert_int_equal(longest_pause, 5000);
	publish(f, 2);
	start_containerd(f);
	expect_in_order(f, 0);
}

static void test_started_again(void **state)
{
	struct fixture *f = *state;

	start_containerd(f);
	by_ttrpc(f);
	for (int i = 0; i < 5; i++) {
		publish(f, 10);
		if (i % 2)
			rounds(f, 3); /* in the middle */
		stop_containerd(f);
		publish(f, 10);
		rounds(f, 5);
		start_containerd(f);
		publisher_drain(f->publisher, 20000);
	}
	/* One whose answer was lost may have come twice; none is missing, and none comes before an earlier one. */
	{
		unsigned long last = 0, next = 0;

		for (size_t i = 0; i < f->got.len; i++) {
			unsigned long id = strtoul(f->got.v[i], NULL, 10);

			assert_true(id == next || (i && id == last));
			last = id;
			next = id + 1;
		}
		assert_int_equal(next, f->sent);
	}
}

static void test_dies_with_an_event(void **state)
{
	struct fixture *f = *state;

	start_containerd(f);
	by_ttrpc(f);
	f->hang_up = 1;
	publish(f, 3);
	while (f->server)
		rounds(f, 1);
	start_containerd(f);
	expect_in_order(f, 0);
}

static void test_refused(void **state)
{
	struct fixture *f = *state;

	start_containerd(f);
	by_ttrpc(f);
	f->refuse = 4; /* four times: taken at last */
	publish(f, 2);
	expect_in_order(f, 0);
	strv_fini(&f->got);
	f->refuse = 5; /* five: that one is given up */
	publish(f, 3);
	expect_in_order(f, 3);
}

static void test_bounded(void **state)
{
	struct fixture *f = *state;

	by_ttrpc(f);
	publish(f, 10);
	rounds(f, 5);
	publish(f, PUBLISHER_QUEUE_MAX);
	assert_int_equal(publisher_pending(f->publisher), PUBLISHER_QUEUE_MAX);
	start_containerd(f);
	publisher_drain(f->publisher, 20000);
	assert_int_equal(publisher_pending(f->publisher), 0);
	assert_int_equal(f->got.len, PUBLISHER_QUEUE_MAX);
	assert_string_equal(f->got.v[PUBLISHER_QUEUE_MAX - 1], "2057");
}

static void test_nobody_listens(void **state)
{
	struct fixture *f = *state;
	struct publisher_params p = { .loop = f->loop, .namespace = "ns1", .ttrpc_address = "" };

	assert_int_equal(publisher_new(&p, &f->publisher, NULL), 0);
	publish(f, 10);
	assert_int_equal(publisher_pending(f->publisher), 0);
	publisher_publish(NULL, "/tasks/oom", NULL);
}

/* CRI-O gives its own program, and no socket: it takes no events. */
static void test_no_address(void **state)
{
	struct fixture *f = *state;
	struct publisher_params p = {
		.loop = f->loop, .namespace = "default", .publish_binary = "/bin/false", .address = ""
	};

	assert_int_equal(publisher_new(&p, &f->publisher, NULL), 0);
	publish(f, 1);
	assert_int_equal(publisher_pending(f->publisher), 0);
}

/* What waits at the end does not hold up the end. */
static void test_drain_gives_up(void **state)
{
	struct fixture *f = *state;

	by_ttrpc(f);
	publish(f, 2);
	publisher_drain(f->publisher, 20);
	assert_int_equal(publisher_pending(f->publisher), 2);
}

/* containerd's program: fails twice, then notes its arguments and the size of its input. */
static void test_program(void **state)
{
	static const char script[] = "#!/bin/sh\ncd %s\necho x >>tries\n[ $(wc -l <tries) -gt 2 ] || exit 1\n"
				     "echo \"$* $(wc -c)\" >>log\n";
	struct fixture *f = *state;
	_cleanup_free_ char *program = str_printf("%s/containerd", f->dir), *log = str_printf("%s/log", f->dir);
	_cleanup_free_ char *text = NULL;
	struct publisher_params p = {
		.loop = f->loop, .namespace = "ns1", .publish_binary = program, .address = "/run/c.sock"
	};
	FILE *file = fopen(program, "w");

	real_time = true; /* it may take its time */
	fprintf(file, script, f->dir);
	fclose(file);
	assert_int_equal(chmod(program, 0700), 0);
	assert_int_equal(publisher_new(&p, &f->publisher, NULL), 0);
	publish(f, 2);
	publisher_drain(f->publisher, 60000);
	assert_int_equal(publisher_pending(f->publisher), 0);
	assert_int_equal(file_read(log, 4096, &text, NULL), 0);
	/* An Any: two bytes and the type's name, two bytes and the event. */
	assert_string_equal(text, "--address /run/c.sock publish --topic /tasks/oom --namespace ns1 32\n"
				  "--address /run/c.sock publish --topic /tasks/oom --namespace ns1 32\n");
}

static void test_program_missing(void **state)
{
	struct fixture *f = *state;
	struct publisher_params p = {
		.loop = f->loop, .namespace = "ns1", .publish_binary = "/not/there", .address = "/run/c.sock"
	};

	assert_int_equal(publisher_new(&p, &f->publisher, NULL), 0);
	publish(f, 1);
	rounds(f, 20);
	assert_int_equal(publisher_pending(f->publisher), 1);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_order),           TEST(test_not_there_at_first),
		TEST(test_started_again),   TEST(test_dies_with_an_event),
		TEST(test_refused),         TEST(test_bounded),
		TEST(test_nobody_listens),  TEST(test_no_address),
		TEST(test_drain_gives_up),  TEST(test_program),
		TEST(test_program_missing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
