/* SPDX-License-Identifier: Apache-2.0 */
/* The C library knows the calendar too. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/calendar.h"

static void check(int64_t t)
{
	time_t unix_s = (time_t)t;
	struct tm want, got;

	gmtime_r(&unix_s, &want);
	calendar_utc(t, &got);
	if (got.tm_sec != want.tm_sec || got.tm_min != want.tm_min || got.tm_hour != want.tm_hour ||
	    got.tm_mday != want.tm_mday || got.tm_mon != want.tm_mon || got.tm_year != want.tm_year ||
	    got.tm_wday != want.tm_wday)
		fail_msg("%lld is %d-%d-%d %d:%d:%d", (long long)t, got.tm_year, got.tm_mon, got.tm_mday, got.tm_hour,
			 got.tm_min, got.tm_sec);
	assert_int_equal(calendar_seconds(&got), t);
}

static void test_days(void **state)
{
	/* Every day of 2000 years around the epoch, at some time of it. */
	for (int64_t day = -365000; day < 365000; day++)
		check(day * 86400 + (day * 7919 % 86400 + 86400) % 86400);
	for (int64_t t = -100; t < 100; t++)
		check(t);
	for (int64_t far = 1; far < 1LL << 40; far *= 3) {
		check(far);
		check(-far);
	}
}

static void test_out_of_range(void **state)
{
	static const int odd[] = { -99, -13, -1, 0, 1, 11, 12, 13, 31, 32, 59, 60, 99, 165 };
	const size_t n = sizeof odd / sizeof *odd;

	for (size_t i = 0; i < n * n * n; i++) {
		struct tm tm = { .tm_year = 2000 - 1900 + (int)(i % 7),
				 .tm_mon = odd[i % n],
				 .tm_mday = odd[i / n % n],
				 .tm_hour = odd[i / n / n % n],
				 .tm_min = odd[(i + 3) % n],
				 .tm_sec = odd[(i + 7) % n] };
		struct tm copy = tm;

		assert_int_equal(calendar_seconds(&tm), timegm(&copy));
	}
}

static void test_stamp(void **state)
{
	char text[CALENDAR_STAMP_MAX];

	calendar_stamp(0, text);
	assert_string_equal(text, "1970-01-01T00:00:00");
	calendar_stamp(951782399, text);
	assert_string_equal(text, "2000-02-28T23:59:59");
	calendar_stamp(951782400, text);
	assert_string_equal(text, "2000-02-29T00:00:00");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_days),
		cmocka_unit_test(test_out_of_range),
		cmocka_unit_test(test_stamp),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
