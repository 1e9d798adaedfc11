/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sys/tsc.h"

static void test_agrees_with_itself(void **state)
{
	int64_t first = tsc_measure_khz(), second = tsc_measure_khz();

	(void)state;
#ifdef __x86_64__
	assert_in_range(first, 100000, 20000000);
	assert_true(llabs(first - second) * 500 < first);
#else
	assert_int_equal(first, 0);
	assert_int_equal(second, 0);
#endif
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_agrees_with_itself) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
