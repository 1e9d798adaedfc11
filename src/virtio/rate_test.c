/* SPDX-License-Identifier: Apache-2.0 */
/* Token buckets on a clock that the test turns. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>

#include "state/state.h"
#include "virtio/rate.h"

#define MS 1000ULL
#define S  1000000ULL

static void test_no_limit(void **state)
{
	static const struct rate_bucket_config none[] = { { 0, 5, 100 }, { 100, 5, 0 }, { 0 } };
	struct rate_bucket b;

	for (size_t i = 0; i < 3; i++) {
		rate_bucket_init(&b, &none[i], 0);
		for (int n = 0; n < 100; n++)
			assert_int_equal(rate_bucket_take(&b, UINT64_MAX, 0), 0);
		rate_bucket_return(&b, 1);
		assert_int_equal(b.budget, none[i].size);
	}
}

static void test_full_then_filled_at_its_rate(void **state)
{
	struct rate_bucket b;

	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 1000, .refill_ms = 1000 }, 5 * S);
	assert_int_equal(rate_bucket_take(&b, 600, 5 * S), 0);
	assert_int_equal(rate_bucket_take(&b, 400, 5 * S), 0);
	/* Refused until enough is there, and the answer says when that is. */
	assert_int_equal(rate_bucket_take(&b, 250, 5 * S), 250 * MS);
	assert_int_equal(rate_bucket_take(&b, 250, 5 * S + 249 * MS), 1 * MS);
	assert_int_equal(rate_bucket_take(&b, 250, 5 * S + 250 * MS), 0);
	assert_int_equal(rate_bucket_take(&b, 1, 5 * S + 250 * MS), 1 * MS);
	/* Never more than full. */
	assert_int_equal(rate_bucket_take(&b, 1000, 100 * S), 0);
	assert_int_equal(rate_bucket_take(&b, 1, 100 * S), 1 * MS);
}

static void test_idle_time_counts_once(void **state)
{
	struct rate_bucket b;

	/* Full since 0; the ten idle seconds before the first take are not tokens. */
	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 10, .refill_ms = 1000 }, 0);
	assert_int_equal(rate_bucket_take(&b, 10, 10 * S), 0);
	assert_int_equal(rate_bucket_take(&b, 10, 10 * S), 1 * S);
}

static void test_burst_is_given_once(void **state)
{
	struct rate_bucket b;

	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 100, .burst = 50, .refill_ms = 1000 }, 0);
	assert_int_equal(rate_bucket_take(&b, 150, 0), 0);
	assert_int_equal(rate_bucket_take(&b, 150, 0), 1 * S);
	assert_int_equal(rate_bucket_take(&b, 100, 1 * S), 0);
	assert_int_equal(rate_bucket_take(&b, 1, 1 * S), 10 * MS);
	/* A refusal spends no burst. */
	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 100, .burst = 50, .refill_ms = 1000 }, 0);
	assert_int_equal(rate_bucket_take(&b, 100, 0), 0);
	assert_int_equal(b.burst, 0);
	b.burst = 20;
	assert_true(rate_bucket_take(&b, 100, 0) > 0);
	assert_int_equal(b.burst, 20);
}

static void test_larger_than_the_bucket(void **state)
{
	struct rate_bucket b;

	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 100, .refill_ms = 1000 }, 0);
	assert_int_equal(rate_bucket_take(&b, 10, 0), 0);
	assert_int_equal(rate_bucket_take(&b, 350, 0), 100 * MS); /* when it is full */
	assert_int_equal(rate_bucket_take(&b, 350, 100 * MS), 0);
	/* 250 too many: 2.5 s before anything comes in, and the token itself. */
	assert_int_equal(rate_bucket_take(&b, 1, 100 * MS), 2510 * MS);
	assert_int_equal(rate_bucket_take(&b, 1, 1100 * MS), 1510 * MS);
	assert_int_equal(rate_bucket_take(&b, 1, 2610 * MS), 0);
	assert_int_equal(rate_bucket_take(&b, 1, 2610 * MS), 10 * MS);
}

static void test_fractions_are_kept(void **state)
{
	struct rate_bucket b;
	uint64_t taken = 0;

	/* 3 tokens in 7 ms, asked for every 100 µs over 7 s: not one too many, not one lost. */
	rate_bucket_init(&b, &(struct rate_bucket_config){ .size = 3, .refill_ms = 7 }, 0);
	assert_int_equal(rate_bucket_take(&b, 3, 0), 0);
	for (uint64_t now = 0; now <= 7 * S; now += 100)
		taken += rate_bucket_take(&b, 1, now) == 0;
	assert_in_range(taken, 2990, 3000);
}

static void test_extreme_limits(void **state)
{
	struct rate_bucket b;

	rate_bucket_init(&b, &(struct rate_bucket_config){ UINT64_MAX, UINT64_MAX, UINT64_MAX }, 0);
	assert_int_equal(rate_bucket_take(&b, UINT64_MAX, 0), 0);
	assert_int_equal(rate_bucket_take(&b, UINT64_MAX, 0), 0);
	assert_int_equal(rate_bucket_take(&b, UINT64_MAX, 0), UINT64_MAX);
	rate_bucket_init(&b, &(struct rate_bucket_config){ 1, 0, UINT64_MAX }, 0);
	assert_int_equal(rate_bucket_take(&b, UINT64_MAX, 0), 0);
	assert_int_equal(rate_bucket_take(&b, UINT64_MAX, UINT64_MAX), UINT64_MAX);
}

static void test_return(void **state)
{
	struct rate_bucket b;

	rate_bucket_init(&b, &(struct rate_bucket_config){ 10, 5, 1000 }, 0);
	assert_int_equal(rate_bucket_take(&b, 2, 0), 0);
	rate_bucket_return(&b, 2);
	assert_int_equal(b.budget, 10);
	assert_int_equal(b.burst, 5);
	assert_int_equal(rate_bucket_take(&b, 20, 0), 0);
	assert_int_equal(b.debt, 5);
	rate_bucket_return(&b, 20);
	assert_int_equal(b.debt, 0);
	assert_int_equal(b.budget, 10);
	assert_int_equal(b.burst, 5);
}

/* The limiter with its timer. */

static uint64_t fake_now;

static uint64_t now(void)
{
	return fake_now;
}

static void count(void *userdata)
{
	++*(int *)userdata;
}

struct fixture {
	struct loop *loop;
	struct rate rate;
	int ready;
};

static void begin(struct fixture *f, const struct rate_config *c)
{
	static const struct rate_config none;

	*f = (struct fixture){ 0 };
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(rate_init(&f->rate, f->loop, &none, count, &f->ready), 0);
	f->rate.now = now;
	fake_now = 0;
	rate_set(&f->rate, c);
}

static void end(struct fixture *f)
{
	rate_fini(&f->rate);
	rate_fini(&f->rate);
	loop_free(f->loop);
}

/* Until the timer has fired: however long that takes on this machine. */
static void wait_ready(struct fixture *f, int n)
{
	while (f->ready < n)
		assert_int_equal(loop_run_once(f->loop, -1), 0);
}

static void test_waits_by_timer(void **state)
{
	struct rate_config c = { .bytes = { .size = 100, .refill_ms = 10 }, .ops = { .size = 2, .refill_ms = 10 } };
	struct fixture f;

	begin(&f, &c);
	assert_true(rate_take(&f.rate, 60));
	assert_false(rate_take(&f.rate, 60)); /* bytes */
	assert_int_equal(f.rate.ops.budget, 1);
	/* While one waits, all wait. */
	assert_false(rate_take(&f.rate, 0));
	wait_ready(&f, 1);
	/* The loop's clock said so, ours not yet: refused again, and told again. */
	assert_false(rate_take(&f.rate, 60));
	wait_ready(&f, 2);
	fake_now = 2 * MS;
	assert_true(rate_take(&f.rate, 60));
	assert_false(rate_take(&f.rate, 0)); /* operations */
	wait_ready(&f, 3);
	end(&f);
}

static void test_new_limits_wake_who_waits(void **state)
{
	struct rate_config c = { .ops = { .size = 1, .refill_ms = 1000 * 3600 } }, off = { 0 };
	struct fixture f;

	begin(&f, &c);
	assert_true(rate_take(&f.rate, 1));
	assert_false(rate_take(&f.rate, 1));
	rate_set(&f.rate, &off);
	wait_ready(&f, 1); /* not in an hour */
	assert_true(rate_take(&f.rate, 1));
	assert_true(rate_take(&f.rate, 1));
	end(&f);
}

static void test_the_other_limit_stays_as_it_is(void **state)
{
	struct rate_config c = { .bytes = { 100, 10, 1000 }, .ops = { 5, 0, 1000 } };
	struct fixture f;

	begin(&f, &c);
	assert_true(rate_take(&f.rate, 90));
	c.ops.size = 7;
	rate_set(&f.rate, &c);
	assert_int_equal(f.rate.ops.budget, 7);
	assert_int_equal(f.rate.bytes.budget, 20);
	assert_int_equal(f.rate.bytes.burst, 0);
	end(&f);
}

static void test_save_load(void **state)
{
	struct rate_config c = { .bytes = { 100, 10, 1000 }, .ops = { 5, 0, 1000 } }, other = { 0 };
	_cleanup_(state_free_p) struct state *s = NULL;
	struct fixture f, g;

	begin(&f, &c);
	assert_true(rate_take(&f.rate, 300));
	assert_int_equal(state_new(&s), 0);
	rate_save(&f.rate, s);
	begin(&g, &other);
	assert_int_equal(rate_load(&g.rate, s, NULL), 0);
	assert_int_equal(g.rate.bytes.debt, 190);
	assert_int_equal(g.rate.bytes.config.burst, 10);
	assert_int_equal(g.rate.ops.budget, 4);
	assert_false(rate_take(&g.rate, 1));
	state_put_u64(state_child(s, "ops"), "budget", 6);
	assert_int_equal(rate_load(&g.rate, s, NULL), -EINVAL);
	state_put_u64(s, "ops", 0);
	assert_true(rate_load(&g.rate, s, NULL) < 0);
	end(&f);
	end(&g);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_no_limit),
		cmocka_unit_test(test_full_then_filled_at_its_rate),
		cmocka_unit_test(test_idle_time_counts_once),
		cmocka_unit_test(test_burst_is_given_once),
		cmocka_unit_test(test_larger_than_the_bucket),
		cmocka_unit_test(test_fractions_are_kept),
		cmocka_unit_test(test_extreme_limits),
		cmocka_unit_test(test_return),
		cmocka_unit_test(test_waits_by_timer),
		cmocka_unit_test(test_new_limits_wake_who_waits),
		cmocka_unit_test(test_the_other_limit_stays_as_it_is),
		cmocka_unit_test(test_save_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
