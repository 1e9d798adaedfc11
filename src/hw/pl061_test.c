/* SPDX-License-Identifier: Apache-2.0 */
/* The GPIO chip as its driver sees it, and a press of the button as the driver of a key does. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "hw/pl061.h"
#include "state/state.h"

enum {
	DIRECTION = 0x400,
	LEVEL = 0x404,
	BOTH = 0x408,
	EVENT = 0x40c,
	ENABLE = 0x410,
	RAW = 0x414,
	MASKED = 0x418,
	CLEAR = 0x41c,
	MODE = 0x420,
};

#define BUTTON 8u

struct fixture {
	struct loop *loop;
	struct pl061 *gpio;
	int irq;
};

static int setup(void **state)
{
	static struct fixture f;

	f = (struct fixture){ .irq = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC) };
	assert_int_equal(loop_new(&f.loop, NULL), 0);
	assert_int_equal(pl061_new(f.loop, f.irq, &f.gpio), 0);
	*state = &f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	pl061_free(f->gpio);
	loop_free(f->loop);
	close(f->irq);
	return 0;
}

static uint8_t rd(struct fixture *f, uint64_t reg)
{
	uint8_t v = 0xff;

	pl061_bus.read(f->gpio, reg, &v, 1);
	return v;
}

static void wr(struct fixture *f, uint64_t reg, uint8_t v)
{
	pl061_bus.write(f->gpio, reg, &v, 1);
}

/* The lines of the mask, by the address (DDI 0190 §3.2.1). */
static uint8_t data(struct fixture *f, uint8_t mask)
{
	return rd(f, (uint64_t)mask << 2);
}

static unsigned edges(struct fixture *f)
{
	uint64_t n;

	return read(f->irq, &n, sizeof n) == sizeof n ? (unsigned)n : 0;
}

static void released(struct fixture *f)
{
	while (data(f, 0xff) & BUTTON)
		assert_int_equal(loop_run_once(f->loop, 1000), 0);
}

static void test_identification(void **state)
{
	static const uint8_t want[8] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };
	struct fixture *f = *state;
	uint32_t v;

	for (unsigned i = 0; i < 8; i++) {
		assert_int_equal(rd(f, 0xfe0 + 4 * i), want[i]);
		/* Its bus reads these 32 bits wide. */
		pl061_bus.read(f->gpio, 0xfe0 + 4 * i, &v, 4);
		assert_int_equal(v, want[i]);
	}
	for (uint64_t reg = 0; reg < 0xfe0; reg += 4)
		assert_int_equal(rd(f, reg), 0);
	assert_int_equal(rd(f, 0xfe1), 0);
}

static void test_registers(void **state)
{
	static const uint64_t regs[] = { DIRECTION, LEVEL, BOTH, EVENT, ENABLE, MODE };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof regs / sizeof *regs; i++) {
		wr(f, regs[i], (uint8_t)(0x10 + i));
		wr(f, regs[i] + 1, 0xff);
	}
	for (size_t i = 0; i < sizeof regs / sizeof *regs; i++)
		assert_int_equal(rd(f, regs[i]), 0x10 + i);
	wr(f, RAW, 0xff); /* read-only */
	wr(f, MASKED, 0xff);
	assert_int_equal(rd(f, CLEAR), 0); /* write-only */
}

static void test_outputs(void **state)
{
	struct fixture *f = *state;

	wr(f, 0x3fc, 0xf0);
	assert_int_equal(data(f, 0xff), 0); /* all are inputs */
	wr(f, DIRECTION, 0xff);
	assert_int_equal(data(f, 0xff), 0xf0);
	assert_int_equal(data(f, 0x30), 0x30);
	wr(f, (uint64_t)0x81 << 2, 0x0f); /* lines 0 and 7 only */
	assert_int_equal(data(f, 0xff), 0x71);
	wr(f, DIRECTION, 0x01);
	assert_int_equal(data(f, 0xff), 0x01);
	assert_int_equal(edges(f), 0);
}

/* As gpio-keys does it: both edges; at each one acknowledge, and look at the line later. */
static void test_press(void **state)
{
	struct fixture *f = *state;

	wr(f, BOTH, BUTTON);
	wr(f, ENABLE, BUTTON);
	assert_int_equal(edges(f), 0);
	pl061_press(f->gpio);
	pl061_press(f->gpio);
	assert_int_equal(edges(f), 1);
	assert_int_equal(rd(f, MASKED), BUTTON);
	wr(f, CLEAR, BUTTON);
	assert_int_equal(rd(f, RAW), 0);
	/* As long as nobody looks, the button stays. */
	assert_int_equal(loop_run_once(f->loop, 150), 0);
	assert_int_equal(data(f, 0x07), 0); /* at other lines */
	assert_int_equal(loop_run_once(f->loop, 150), 0);
	assert_int_equal(rd(f, RAW), 0);
	assert_int_equal(data(f, BUTTON), BUTTON);
	released(f);
	assert_int_equal(edges(f), 1);
	assert_int_equal(rd(f, MASKED), BUTTON);
	wr(f, CLEAR, BUTTON);
	pl061_press(f->gpio);
	assert_int_equal(edges(f), 1);
}

static void test_one_edge(void **state)
{
	struct fixture *f = *state;

	for (unsigned rising = 0; rising < 2; rising++) {
		wr(f, EVENT, rising ? BUTTON : 0);
		pl061_press(f->gpio);
		assert_int_equal(rd(f, RAW), rising ? BUTTON : 0);
		wr(f, CLEAR, 0xff);
		released(f);
		assert_int_equal(rd(f, RAW), rising ? 0 : BUTTON);
		wr(f, CLEAR, (uint8_t)~BUTTON);
		assert_int_equal(rd(f, RAW), rising ? 0 : BUTTON);
		wr(f, CLEAR, BUTTON);
	}
	assert_int_equal(edges(f), 0); /* not enabled */
	/* What was before it was enabled is told then. */
	pl061_press(f->gpio);
	assert_int_equal(rd(f, MASKED), 0);
	wr(f, ENABLE, BUTTON);
	assert_int_equal(edges(f), 1);
}

static void test_levels(void **state)
{
	struct fixture *f = *state;

	wr(f, LEVEL, BUTTON);
	wr(f, EVENT, BUTTON);
	wr(f, ENABLE, BUTTON);
	assert_int_equal(edges(f), 0);
	pl061_press(f->gpio);
	assert_int_equal(edges(f), 1);
	wr(f, CLEAR, BUTTON); /* does nothing to a level, which goes on to ask */
	assert_int_equal(rd(f, MASKED), BUTTON);
	assert_int_equal(edges(f), 1);
	released(f);
	assert_int_equal(rd(f, MASKED), 0);
	wr(f, EVENT, 0);
	assert_int_equal(rd(f, MASKED), BUTTON);
	assert_int_equal(edges(f), 1);
}

static void test_state(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(state_new(&s), 0);
	wr(f, BOTH, BUTTON);
	wr(f, ENABLE, BUTTON);
	pl061_press(f->gpio);
	assert_int_equal(data(f, BUTTON), BUTTON);
	pl061_save(f->gpio, s);
	pl061_free(f->gpio);
	assert_int_equal(edges(f), 1);
	assert_int_equal(pl061_new(f->loop, f->irq, &f->gpio), 0);
	assert_int_equal(pl061_load(f->gpio, s, &e), 0);
	assert_int_equal(edges(f), 1);
	assert_int_equal(rd(f, MASKED), BUTTON);
	wr(f, CLEAR, BUTTON);
	/* It was noticed, so it is released without another look. */
	while (!rd(f, RAW))
		assert_int_equal(loop_run_once(f->loop, 1000), 0);
	assert_int_equal(data(f, BUTTON), 0);
	state_put_u64(s, "edges", 256);
	assert_int_equal(pl061_load(f->gpio, s, &e), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identification, setup, teardown),
		cmocka_unit_test_setup_teardown(test_registers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_outputs, setup, teardown),
		cmocka_unit_test_setup_teardown(test_press, setup, teardown),
		cmocka_unit_test_setup_teardown(test_one_edge, setup, teardown),
		cmocka_unit_test_setup_teardown(test_levels, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
