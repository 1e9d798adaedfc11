/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "state/state.h"
#include "virtio/fake_counters.h"
#include "virtio/fake_machine.h"
#include "virtio/rng.h"

struct fixture {
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
};

static int setup(void **state)
{
	struct rate_config none = { 0 };
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	assert_int_equal(virtio_rng_new(f->loop, &none, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	fake_machine_fini(&f->m);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* How many of len bytes are not 0. */
static unsigned changed(struct fixture *f, gpa_t at, unsigned len)
{
	unsigned n = 0;

	for (unsigned i = 0; i < len; i++)
		n += f->m.ram[at + i] != 0;
	return n;
}

static void test_fills_scattered_buffers(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b[] = { { .len = 700, .write = true },
				{ .len = 0, .write = true },
				{ .len = 300, .write = true } };
	gpa_t end;
	uint32_t len;

	assert_true(fake_request(&f->m, 0, b, 3, &len));
	end = b[2].gpa + 300;
	assert_int_equal(len, 1000);
	/* One byte in 256 is 0 by chance; 64 in a row are not. */
	assert_true(changed(f, b[0].gpa, 64) > 0);
	assert_true(changed(f, b[0].gpa + 636, 64) > 0);
	assert_true(changed(f, b[2].gpa + 236, 64) > 0);
	assert_int_equal(changed(f, end, 1000), 0);
	assert_int_equal(f->m.signals[0], 1);
}

static void test_at_most_64_kib(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 100000, .write = true };
	uint32_t len;

	assert_true(fake_request(&f->m, 0, &b, 1, &len));
	assert_int_equal(len, 65536);
	assert_true(changed(f, b.gpa + 65536 - 64, 64) > 0);
	assert_int_equal(changed(f, b.gpa + 65536, 1000), 0);
}

static void test_nothing_to_write(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 0, .write = true };
	uint32_t len;

	assert_true(fake_request(&f->m, 0, &b, 1, &len));
	assert_int_equal(len, 0);
}

static void test_readable_buffer_breaks(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b[] = { { .len = 4 }, { .len = 4, .write = true } };
	uint32_t len;

	assert_false(fake_request(&f->m, 0, b, 2, &len));
	assert_string_equal(f->m.why, "a request for entropy with something to read");
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	assert_true(fake_request(&f->m, 0, b + 1, 1, &len));
}

static void test_work_of_a_turn_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 8, .write = true };
	unsigned done = 0;
	uint32_t id, len;

	for (int i = 0; i < 40; i++)
		fake_send(&f->m, 0, &b, 1);
	virtio_device_kick(f->dev, 0);
	while (fake_used(&f->m.q[0], &id, &len))
		done++;
	assert_in_range(done, 1, 39);
	/* The rest comes without another kick. */
	while (done < 40) {
		assert_int_equal(loop_run_once(f->loop, -1), 0);
		while (fake_used(&f->m.q[0], &id, &len))
			done++;
	}
}

static void test_rate_and_its_state(void **state)
{
	struct fixture *f = *state;
	struct rate_config hour = { .bytes = { .size = 100, .refill_ms = 3600 * 1000 } }, none = { 0 };
	_cleanup_(state_free_p) struct state *s = NULL;
	struct fake_buf b = { .len = 100, .write = true };
	struct virtio_device *other;
	uint32_t id, len;

	virtio_rng_set_rate(f->dev, &hour);
	assert_true(fake_request(&f->m, 0, &b, 1, &len));
	assert_false(fake_request(&f->m, 0, &b, 1, &len));
	assert_int_equal(counted(f->dev, "entropy_event_count"), 1);
	assert_int_equal(counted(f->dev, "entropy_bytes"), 100);
	assert_int_equal(counted(f->dev, "entropy_rate_limiter_throttled"), 1);
	/* What was used up stays used up in a restored machine. */
	assert_int_equal(state_new(&s), 0);
	f->dev->ops->save(f->dev, s);
	assert_int_equal(virtio_rng_new(f->loop, &none, &other, NULL), 0);
	assert_int_equal(other->ops->load(other, s, NULL), 0);
	virtio_rng_set_rate(f->dev, &none);
	while (!fake_used(&f->m.q[0], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	fake_start(&f->m, other, ~0ULL, 1);
	assert_false(fake_request(&f->m, 0, &b, 1, &len));
	virtio_device_free(other);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_fills_scattered_buffers),   T(test_at_most_64_kib),
		T(test_nothing_to_write),          T(test_readable_buffer_breaks),
		T(test_work_of_a_turn_is_bounded), T(test_rate_and_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
