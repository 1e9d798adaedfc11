/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void test_messages(void **state)
{
	struct err e = { 0 };

	assert_false(err_is_set(&e));
	assert_int_equal(err_sys(&e, ENOENT, "cannot open %s", "x"), -ENOENT);
	assert_string_equal(e.text, "cannot open x: No such file or directory");
	err_wrap(&e, "disk %d", 1);
	err_append(&e, "; make it");
	assert_int_equal(e.code, ENOENT);
	assert_string_equal(e.text, "disk 1: cannot open x: No such file or directory; make it");
	assert_true(err_is_set(&e));
	assert_int_equal(err_set(NULL, ERR_CONFIG, EINVAL, "dropped"), -EINVAL);
	assert_int_equal(err_set(&e, ERR_LIMIT, 0, "x"), -EIO);
}

static void test_control_characters(void **state)
{
	struct err e = { 0 };

	err_set(&e, ERR_CONFIG, EINVAL, "tag \"%s\"", "a\033]0;x\007\tb\n\x7f\xc3\xbc");
	assert_string_equal(e.text, "tag \"a ]0;x \tb\n \xc3\xbc\"");
	err_wrap(&e, "\r");
	assert_int_equal(e.text[0], ' ');
	err_append(&e, "\b");
	assert_int_equal(e.text[strlen(e.text) - 1], ' ');
}

static void test_long_messages_are_cut(void **state)
{
	struct err e = { 0 };

	err_set(&e, ERR_CONFIG, EINVAL, "%2000d", 1);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
	err_wrap(&e, "%2000d", 2);
	err_append(&e, "%2000d", 3);
	assert_int_equal(strlen(e.text), ERR_TEXT_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_control_characters),
		cmocka_unit_test(test_long_messages_are_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
