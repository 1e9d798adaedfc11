/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json.h"

static int parse(const char *text, struct json_object **ret)
{
	return json_parse(text, strlen(text), 1024, ret, NULL);
}

static void test_values(void **state)
{
	_cleanup_json_ struct json_object *o = NULL;
	uint64_t u = 7;
	int64_t i;
	double d;
	bool b = false;

	assert_int_equal(parse(" {\"nan\":NaN,\"s\":\"x\",\"n\":18446744073709551615,\"neg\":-4,\"b\":true,\"d\":1.5,"
			       "\"a\":[1,\"two\"],\"z\":\"a\\u0000b\"} ",
			       &o),
			 0);
	assert_string_equal(json_get_str(o, "s"), "x");
	assert_null(json_get_str(o, "n"));
	assert_null(json_get_str(o, "z")); /* a NUL inside would be cut off silently */
	assert_int_equal(json_get_u64(o, "n", &u), 0);
	assert_true(u == UINT64_MAX);
	assert_int_equal(json_get_i64(o, "n", &i), -ERANGE);
	assert_int_equal(json_get_u64(o, "neg", &u), -ERANGE);
	assert_int_equal(json_get_i64(o, "neg", &i), 0);
	assert_int_equal(i, -4);
	assert_int_equal(json_get_u64(o, "s", &u), -EINVAL);
	assert_int_equal(json_get_u64(o, "none", &u), -ENOENT);
	assert_int_equal(json_get_bool(o, "b", &b), 0);
	assert_true(b);
	assert_int_equal(json_get_double(o, "d", &d), 0);
	assert_true(d == 1.5);
	assert_int_equal(json_get_double(o, "nan", &d), -EINVAL); /* json-c reads it, nobody wants it */
	assert_int_equal(json_array_len(json_get_array(o, "a")), 2);
	assert_string_equal(json_str(json_array_at(json_get_array(o, "a"), 1)), "two");
	assert_null(json_array_at(json_get_array(o, "a"), 2));
	assert_null(json_get_object(o, "a"));
	assert_null(json_get(NULL, "a"));
}

static void test_refusals(void **state)
{
	static const char *const wrong[] = { "",     " ",    "{",   "{\"a\":1,}", "[1 2]",
					     "{} x", "null", "nul", "\"a",        "\"\xff\"" };
	char deep[2 * JSON_DEPTH_MAX + 8];
	struct json_object *o = NULL;
	struct err e = { 0 };

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		if (parse(wrong[i], &o) != -EBADMSG)
			fail_msg("accepted: %s", wrong[i]);
	memset(deep, '[', JSON_DEPTH_MAX + 2);
	memset(deep + JSON_DEPTH_MAX + 2, ']', JSON_DEPTH_MAX + 2);
	assert_int_equal(json_parse(deep, 2 * JSON_DEPTH_MAX + 4, 1024, &o, NULL), -EBADMSG);
	assert_int_equal(json_parse("[1]", 3, 2, &o, &e), -EFBIG);
	assert_int_equal(e.domain, ERR_LIMIT);
	assert_null(o);
}

static void test_write(void **state)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	struct json_object *a = json_array_make();
	_cleanup_free_ char *text = NULL;

	json_add_str(a, "q\"\n/");
	json_set_u64(o, "n", UINT64_MAX);
	json_set_bool(o, "b", true);
	json_set(o, "a", a);
	text = json_write(o, false);
	assert_string_equal(text, "{\"n\":18446744073709551615,\"b\":true,\"a\":[\"q\\\"\\n/\"]}");
	/* A failed step is not lost. */
	assert_int_equal(json_set(o, "x", NULL), -ENOMEM);
	assert_null(json_write(o, false));
	assert_null(json_write(NULL, false));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_values),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_write),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
