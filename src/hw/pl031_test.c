/* SPDX-License-Identifier: Apache-2.0 */
/* The clock as a driver sees it, and by whole seconds only: the host's time is what it is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "hw/pl031.h"
#include "state/state.h"

enum { DATA = 0, MATCH = 4, LOAD = 8, CONTROL = 0xc, MASK = 0x10, RAW = 0x14, MASKED = 0x18, CLEAR = 0x1c };

#define CENTURY_21 946684800u
#define FAR        100000u /* seconds: no test lasts that long */

struct fixture {
	struct loop *loop;
	struct pl031 *rtc;
	int irq;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .irq = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	assert_int_equal(loop_new(&f.loop, NULL), 0);
	assert_int_equal(pl031_new(f.loop, f.irq, &f.rtc), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pl031_free(f->rtc);
	loop_free(f->loop);
	close(f->irq);
	return 0;
}

static uint32_t rd(struct fixture *f, uint64_t reg)
{
	uint8_t v[4];

	pl031_bus.read(f->rtc, reg, v, sizeof v);
	return v[0] | (uint32_t)v[1] << 8 | (uint32_t)v[2] << 16 | (uint32_t)v[3] << 24;
}

static void wr(struct fixture *f, uint64_t reg, uint32_t value)
{
	const uint8_t v[4] = { (uint8_t)value, (uint8_t)(value >> 8), (uint8_t)(value >> 16), (uint8_t)(value >> 24) };

	pl031_bus.write(f->rtc, reg, v, sizeof v);
}

static uint64_t interrupts(struct fixture *f)
{
	uint64_t n;

	return read(f->irq, &n, sizeof n) < 0 ? 0 : n;
}

/* What Linux compares before it takes the device (drivers/amba/bus.c, drivers/rtc/rtc-pl031.c). */
static void test_ids(void **state)
{
	struct fixture *f = *state;
	uint32_t part = 0, cell = 0;

	for (unsigned i = 0; i < 4; i++) {
		part |= rd(f, 0xfe0 + 4 * i) << 8 * i;
		cell |= rd(f, 0xff0 + 4 * i) << 8 * i;
	}
	assert_int_equal(part & 0xfffff, 0x41031);
	assert_int_equal(cell, 0xb105f00d);
	assert_int_equal(rd(f, CONTROL), 1);
	wr(f, CONTROL, 0);
	assert_int_equal(rd(f, CONTROL), 1);
}

static void test_time(void **state)
{
	struct fixture *f = *state;
	time_t before = time(NULL), seen = rd(f, DATA);

	assert_true(seen >= before && seen <= time(NULL) + 1);
	wr(f, LOAD, CENTURY_21);
	assert_int_equal(rd(f, LOAD), CENTURY_21);
	assert_in_range(rd(f, DATA), CENTURY_21, CENTURY_21 + FAR);
	wr(f, DATA, 5);
	assert_in_range(rd(f, DATA), CENTURY_21, CENTURY_21 + FAR);
	/* The counter wraps. */
	wr(f, LOAD, UINT32_MAX);
	seen = rd(f, DATA);
	assert_true(seen == UINT32_MAX || seen < FAR);
}

/* The match is now, and then the loop finds it; without the permission nothing is told, but it is seen. */
static void test_alarm(void **state)
{
	struct fixture *f = *state;

	wr(f, MATCH, CENTURY_21);
	wr(f, LOAD, CENTURY_21);
	while (!rd(f, RAW))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	assert_int_equal(rd(f, MASKED), 0);
	assert_int_equal(interrupts(f), 0);
	wr(f, MASK, 0xffffffff);
	assert_int_equal(rd(f, MASK), 1);
	assert_int_equal(rd(f, MASKED), 1);
	assert_int_equal(interrupts(f), 1);
	wr(f, MASK, 1);
	assert_int_equal(interrupts(f), 0);
	wr(f, CLEAR, 1);
	assert_int_equal(rd(f, RAW), 0);
	/* A second ahead: it comes, and not before. */
	wr(f, MATCH, CENTURY_21 + 1);
	wr(f, LOAD, CENTURY_21);
	while (!rd(f, RAW))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	assert_true(rd(f, DATA) > CENTURY_21);
	assert_int_equal(interrupts(f), 1);
}

static void test_widths(void **state)
{
	struct fixture *f = *state;
	uint64_t v = UINT64_MAX;

	wr(f, MATCH, 0x11223344);
	pl031_bus.read(f->rtc, MATCH, &v, 8);
	assert_true(v == 0);
	v = UINT64_MAX;
	pl031_bus.read(f->rtc, MATCH + 2, &v, 4);
	assert_true(v == 0xffffffff00000000);
	v = 0;
	pl031_bus.write(f->rtc, MATCH, &v, 1);
	pl031_bus.write(f->rtc, MATCH, &v, 8);
	pl031_bus.write(f->rtc, MATCH - 2, &v, 4);
	assert_int_equal(rd(f, MATCH), 0x11223344);
	assert_int_equal(rd(f, 0x20), 0);
	assert_int_equal(rd(f, PL031_SIZE - 4), 0xb1);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct err e = { 0 };

	wr(f, MATCH, CENTURY_21);
	wr(f, LOAD, CENTURY_21);
	wr(f, MASK, 1);
	assert_int_equal(state_new(&s), 0);
	pl031_save(f->rtc, s);
	pl031_free(f->rtc);
	f->rtc = NULL;
	assert_int_equal(pl031_new(f->loop, f->irq, &f->rtc), 0);
	assert_int_equal(pl031_load(f->rtc, s, &e), 0);
	assert_int_equal(rd(f, MATCH), CENTURY_21);
	assert_in_range(rd(f, DATA), CENTURY_21, CENTURY_21 + FAR);
	while (!rd(f, MASKED))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	assert_int_equal(interrupts(f), 1);
	/* What rang and was acknowledged does not ring again. */
	wr(f, CLEAR, 1);
	pl031_save(f->rtc, s);
	assert_int_equal(pl031_load(f->rtc, s, &e), 0);
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(rd(f, RAW), 0);
	state_put_u64(s, "mask", 2);
	assert_int_equal(pl031_load(f->rtc, s, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_ids, setup, teardown),
		cmocka_unit_test_setup_teardown(test_time, setup, teardown),
		cmocka_unit_test_setup_teardown(test_alarm, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
