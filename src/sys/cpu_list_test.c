/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "sys/cpu_list.h"

static void check(const char *text, const char *want, unsigned count)
{
	_cleanup_free_ char *again = NULL;
	struct cpu_list l;

	if (cpu_list_parse(text, &l) < 0)
		fail_msg("\"%s\" is no list", text);
	again = cpu_list_format(&l);
	assert_string_equal(again, want);
	assert_int_equal(cpu_list_count(&l), count);
	assert_int_equal(cpu_list_is_empty(&l), !count);
}

static void test_lists(void **state)
{
	check(NULL, "", 0);
	check("", "", 0);
	check("0", "0", 1);
	check("0-3,8", "0-3,8", 5);
	check("8,0,3,1-2", "0-3,8", 5);
	check("1,1-1,0-2", "0-2", 3);
	check("63-64,127,128", "63-64,127-128", 4);
	check("0-8191", "0-8191", CPU_LIST_MAX);
	check("00007", "7", 1);
}

static void test_no_lists(void **state)
{
	static const char *const bad[] = { ",", "0,",  ",0",   "-",  "-1",  "1-",  "3-1",  "1-2-3",   "0,,1",
					   "a", "0x1", "0-3 ", " 0", "1;2", "0\n", "0-,1", "0-3:1/2", "all" };
	struct cpu_list l, before;

	assert_int_equal(cpu_list_parse("5", &before), 0);
	l = before;
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		if (cpu_list_parse(bad[i], &l) != -EINVAL)
			fail_msg("\"%s\" is a list", bad[i]);
	assert_int_equal(cpu_list_parse("0,8192", &l), -ERANGE);
	assert_int_equal(cpu_list_parse("0-99999999999999999999", &l), -ERANGE);
	assert_true(cpu_list_equal(&l, &before));
}

static void test_sets(void **state)
{
	struct cpu_list a, b;

	assert_int_equal(cpu_list_parse("0-1,200", &a), 0);
	assert_int_equal(cpu_list_parse("2-3", &b), 0);
	assert_false(cpu_list_meet(&a, &b));
	assert_int_equal(cpu_list_next(&a, 0), 0);
	assert_int_equal(cpu_list_next(&a, 2), 200);
	assert_int_equal(cpu_list_next(&a, 201), -1);
	assert_int_equal(cpu_list_next(&a, CPU_LIST_MAX), -1);
	cpu_list_add(&b, &a);
	assert_true(cpu_list_meet(&a, &b));
	assert_int_equal(cpu_list_count(&b), 5);
	assert_false(cpu_list_equal(&a, &b));
	cpu_list_set(&a, 2);
	cpu_list_set(&a, 3);
	cpu_list_set(&a, CPU_LIST_MAX);
	assert_true(cpu_list_equal(&a, &b));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lists),
		cmocka_unit_test(test_no_lists),
		cmocka_unit_test(test_sets),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
