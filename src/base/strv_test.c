/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/err.h"
#include "base/strv.h"

static void test_buf(void **state)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (int i = 0; i < 100; i++)
		assert_int_equal(buf_printf(&b, "%02d", i), 0);
	assert_int_equal(b.len, 200);
	buf_consume(&b, 196);
	assert_string_equal(b.data, "9899");
	buf_consume(&b, 1000);
	assert_int_equal(b.len, 0);
	assert_int_equal(buf_reserve(&b, SIZE_MAX), -ENOMEM);
}

static void test_strv(void **state)
{
	_cleanup_strv_ struct strv s = { 0 };

	for (int i = 0; i < 20; i++)
		assert_int_equal(strv_addf(&s, "K%d=%d", i, i), 0);
	assert_null(s.v[20]);
	assert_string_equal(strv_get_env(&s, "K7"), "7");
	assert_int_equal(strv_set_env(&s, "K7=x"), 0);
	assert_int_equal(s.len, 20);
	assert_string_equal(strv_get_env(&s, "K7"), "x");
	assert_null(strv_get_env(&s, "K"));
	assert_int_equal(strv_set_env(&s, "novalue"), -EINVAL);
	assert_true(strv_contains(&s, "K19=19"));
}

static void test_copy_env(void **state)
{
	char *list[] = { (char *)"A=1",  (char *)"B=", (char *)"AB=2", (char *)"A=3",
			 (char *)"B=\n", (char *)"A=", (char *)"C=4" };
	static const char *const want[] = { "AB=2", "B=\n", "A=", "C=4" };
	_cleanup_strv_ struct strv s = { 0 }, none = { 0 };

	assert_int_equal(strv_copy_env(&s, list, 7), 0);
	assert_int_equal(s.len, 4);
	for (size_t i = 0; i < 4; i++)
		assert_string_equal(s.v[i], want[i]);
	assert_int_equal(strv_copy_env(&none, NULL, 0), 0);
	assert_int_equal(none.len, 0);
}

static void test_u64(void **state)
{
	uint64_t v;

	assert_int_equal(str_to_u64("18446744073709551615", 10, &v), 0);
	assert_true(v == UINT64_MAX);
	assert_int_equal(str_to_u64("18446744073709551616", 10, &v), -ERANGE);
	assert_int_equal(str_to_u64("-1", 10, &v), -EINVAL);
	assert_int_equal(str_to_u64(" 1", 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("1x", 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("", 10, &v), -EINVAL);
	assert_int_equal(str_to_u64("0x10", 0, &v), 0);
	assert_int_equal(v, 16);
}

static void test_utf8(void **state)
{
	assert_int_equal(utf8_length("a", 1), 1);
	assert_int_equal(utf8_length("\xc3\xb6", 2), 2);
	assert_int_equal(utf8_length("\xc3\xb6", 1), 0);
	assert_int_equal(utf8_length("\xf0\x9f\x98\x80", 4), 4);
	assert_int_equal(utf8_length("\xc0\x80", 2), 0);         /* overlong */
	assert_int_equal(utf8_length("\xed\xa0\x80", 3), 0);     /* half of a pair */
	assert_int_equal(utf8_length("\xf4\x90\x80\x80", 4), 0); /* beyond the last one */
	assert_int_equal(utf8_length("\xff", 1), 0);
}

static void repaired(const char *given, const char *expected)
{
	char text[32];

	snprintf(text, sizeof text, "%s", given);
	utf8_repair(text);
	assert_string_equal(text, expected);
}

static void test_repair(void **state)
{
	repaired("", "");
	repaired("a\n\xc3\xb6\xf0\x9f\x98\x80", "a\n\xc3\xb6\xf0\x9f\x98\x80");
	repaired("\xff"
		 "a\xb6",
		 "?a?");
	repaired("\xc0\x80", "??");
	repaired("a\xf0\x9f\x98", "a???"); /* cut off */
}

static void joined(const char *given, const char *expected)
{
	char text[32];

	snprintf(text, sizeof text, "%s", given);
	str_one_line(text);
	assert_string_equal(text, expected);
}

static void test_one_line(void **state)
{
	joined("", "");
	joined("\r\n", "");
	joined("a  b", "a  b");
	joined("\n\tone: \r\n\x1b[1mtwo\x7f\xc3\xb6\n", "one: [1mtwo \xc3\xb6");
}

static void test_err(void **state)
{
	struct err e = { 0 };

	assert_int_equal(err_sys(&e, ENOENT, "cannot open %s", "x"), -ENOENT);
	err_wrap(&e, "container %s", "c1");
	assert_string_equal(e.text, "container c1: cannot open x: No such file or directory");
	err_append(&e, "; install it");
	assert_true(str_endswith(e.text, "; install it"));
	assert_int_equal(err_set(NULL, ERR_LIMIT, 0, "dropped"), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_buf),      cmocka_unit_test(test_strv), cmocka_unit_test(test_copy_env),
		cmocka_unit_test(test_u64),      cmocka_unit_test(test_utf8), cmocka_unit_test(test_repair),
		cmocka_unit_test(test_one_line), cmocka_unit_test(test_err),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
