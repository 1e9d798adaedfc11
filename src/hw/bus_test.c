/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "hw/bus.h"

struct probe {
	uint64_t offset;
	uint32_t len;
	uint8_t data[8];
	unsigned reads, writes;
};

static void probe_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct probe *p = device;

	p->offset = offset;
	p->len = len;
	p->reads++;
	memset(data, 0x5a, len);
}

static void probe_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct probe *p = device;

	p->offset = offset;
	p->len = len;
	p->writes++;
	memcpy(p->data, data, len);
}

static const struct bus_handler probe_handler = { probe_read, probe_write };

static void test_dispatch(void **state)
{
	_cleanup_(bus_free_p) struct bus *bus = NULL;
	struct probe a = { 0 }, b = { 0 };
	uint64_t v = 0;

	assert_int_equal(bus_new(&bus), 0);
	assert_false(bus_read(bus, 0x10, &v, 2));
	assert_true(v == 0xffff);
	assert_int_equal(bus_add(bus, 0x200, 0x10, &probe_handler, &b, NULL), 0);
	assert_int_equal(bus_add(bus, 0x100, 0x10, &probe_handler, &a, NULL), 0);
	v = 0;
	assert_true(bus_read(bus, 0x10f, &v, 1));
	assert_true(v == 0x5a);
	assert_int_equal(a.offset, 15);
	assert_true(bus_write(bus, 0x208, "12345678", 8));
	assert_int_equal(b.offset, 8);
	assert_memory_equal(b.data, "12345678", 8);
	/* Across the end, between, of odd length. */
	assert_false(bus_read(bus, 0x10f, &v, 2));
	assert_false(bus_read(bus, 0x20c, &v, 8));
	assert_false(bus_write(bus, 0x110, &v, 1));
	assert_false(bus_write(bus, 0xff, &v, 1));
	assert_false(bus_write(bus, 0x100, &v, 3));
	assert_int_equal(a.reads, 1);
	assert_int_equal(a.writes, 0);
	assert_int_equal(bus_remove(bus, 0x100), 0);
	assert_int_equal(bus_remove(bus, 0x100), -ENOENT);
	assert_int_equal(bus_remove(bus, 0x208), -ENOENT);
	assert_false(bus_read(bus, 0x100, &v, 1));
}

static void test_overlap(void **state)
{
	_cleanup_(bus_free_p) struct bus *bus = NULL;
	struct probe p = { 0 };

	assert_int_equal(bus_new(&bus), 0);
	assert_int_equal(bus_add(bus, 0x100, 0, &probe_handler, &p, NULL), -EINVAL);
	assert_int_equal(bus_add(bus, UINT64_MAX, 2, &probe_handler, &p, NULL), -EINVAL);
	assert_int_equal(bus_add(bus, UINT64_MAX, 1, &probe_handler, &p, NULL), 0);
	assert_int_equal(bus_add(bus, 0x100, 0x10, &probe_handler, &p, NULL), 0);
	assert_int_equal(bus_add(bus, 0x10f, 1, &probe_handler, &p, NULL), -EEXIST);
	assert_int_equal(bus_add(bus, 0xff, 2, &probe_handler, &p, NULL), -EEXIST);
	assert_int_equal(bus_add(bus, 0, 0x1000, &probe_handler, &p, NULL), -EEXIST);
	assert_int_equal(bus_add(bus, 0x108, 4, &probe_handler, &p, NULL), -EEXIST);
	assert_int_equal(bus_add(bus, 0x110, 1, &probe_handler, &p, NULL), 0);
	assert_int_equal(bus_add(bus, 0xff, 1, &probe_handler, &p, NULL), 0);
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(bus_add(bus, 0x10000 + (i * 37 % 100) * 16, 16, &probe_handler, &p, NULL), 0);
	assert_true(bus_write(bus, 0x10000 + 99 * 16 + 12, "abcd", 4));
	assert_int_equal(p.offset, 12);
}

/* A device whose memory goes away with its removal: an access that comes later would be seen by the sanitizers. */
struct race {
	struct bus *bus;
	struct loop *loop;
	atomic_bool stop;
	atomic_uint hits;
};

static void count_read(void *device, uint64_t offset, void *data, uint32_t len)
{
	(*(unsigned *)device)++;
	memset(data, 0, len);
}

static void count_write(void *device, uint64_t offset, const void *data, uint32_t len)
{
	(*(unsigned *)device)++;
}

static const struct bus_handler count_handler = { count_read, count_write };

static void *hammer(void *arg)
{
	struct race *r = arg;
	uint32_t v;

	while (!atomic_load(&r->stop)) {
		if (bus_read(r->bus, 0x100, &v, 4))
			atomic_fetch_add(&r->hits, 1);
		bus_write(r->bus, 0x104, &v, 4);
	}
	return NULL;
}

static void remove_inside_loop(struct race *r, bool inside)
{
	unsigned *device = calloc(1, sizeof *device), seen = atomic_load(&r->hits);

	assert_int_equal(bus_add(r->bus, 0x100, 8, &count_handler, device, r->loop), 0);
	while (atomic_load(&r->hits) == seen)
		;
	if (inside)
		loop_enter(r->loop);
	assert_int_equal(bus_remove(r->bus, 0x100), 0);
	if (inside)
		loop_leave(r->loop);
	free(device);
}

static void test_removal_races_with_accesses(void **state)
{
	struct race r = { 0 };
	pthread_t threads[3];

	assert_int_equal(bus_new(&r.bus), 0);
	assert_int_equal(loop_new(&r.loop, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &r), 0);
	for (int i = 0; i < 40; i++)
		remove_inside_loop(&r, i % 2);
	atomic_store(&r.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	loop_free(r.loop);
	bus_free(r.bus);
}

/* A device's loop may go with the device. The accesses are made to wait for it first, and find the device dead. */
static void test_the_loop_goes_too(void **state)
{
	struct race r = { 0 };
	pthread_t threads[3];
	unsigned device = 0;

	assert_int_equal(bus_new(&r.bus), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, hammer, &r), 0);
	for (int i = 0; i < 100; i++) {
		unsigned seen = atomic_load(&r.hits);

		assert_int_equal(loop_new(&r.loop, NULL), 0);
		assert_int_equal(bus_add(r.bus, 0x100, 8, &count_handler, &device, r.loop), 0);
		while (atomic_load(&r.hits) == seen)
			sched_yield();
		loop_enter(r.loop);
		usleep(200);
		assert_int_equal(bus_remove(r.bus, 0x100), 0);
		loop_leave(r.loop);
		bus_settle(r.bus);
		loop_free(r.loop);
	}
	atomic_store(&r.stop, true);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	bus_free(r.bus);
}

/* Without a loop: one thread only touches the device, the removal waits for it. */
static void test_removal_waits_without_a_loop(void **state)
{
	struct race r = { 0 };
	pthread_t thread;

	assert_int_equal(bus_new(&r.bus), 0);
	assert_int_equal(pthread_create(&thread, NULL, hammer, &r), 0);
	for (int i = 0; i < 40; i++)
		remove_inside_loop(&r, false);
	atomic_store(&r.stop, true);
	pthread_join(thread, NULL);
	bus_free(r.bus);
}

static void remove_self(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct race *r = device;

	assert_int_equal(bus_remove(r->bus, 0x100), 0);
	atomic_fetch_add(&r->hits, 1);
}

static void test_a_handler_may_remove_its_own_range(void **state)
{
	static const struct bus_handler handler = { count_read, remove_self };
	struct race r = { 0 };

	assert_int_equal(bus_new(&r.bus), 0);
	assert_int_equal(loop_new(&r.loop, NULL), 0);
	assert_int_equal(bus_add(r.bus, 0x100, 8, &handler, &r, r.loop), 0);
	assert_true(bus_write(r.bus, 0x100, "x", 1));
	assert_false(bus_write(r.bus, 0x100, "x", 1));
	assert_int_equal(atomic_load(&r.hits), 1);
	loop_free(r.loop);
	bus_free(r.bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dispatch),
		cmocka_unit_test(test_overlap),
		cmocka_unit_test(test_removal_races_with_accesses),
		cmocka_unit_test(test_the_loop_goes_too),
		cmocka_unit_test(test_removal_waits_without_a_loop),
		cmocka_unit_test(test_a_handler_may_remove_its_own_range),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
