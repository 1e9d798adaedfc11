/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The TOML parser against the toml-test suite (https://github.com/toml-lang/toml-test, list for TOML 1.0.0), and what
 * that suite does not look at: places, messages, limits, merging.
 *
 * The suite is data from outside the tree: TOML_TEST_DIR names its folder (with tests/files-toml-1.0.0 in it).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <json-c/json.h>

#include "base/fd.h"
#include "base/strv.h"
#include "codec/toml.h"

static struct toml_value *parse(const char *text)
{
	struct toml_value *v = NULL;
	struct err e = { 0 };

	if (toml_parse(text, strlen(text), "f", &v, &e) < 0)
		fail_msg("%s", e.text);
	return v;
}

static void check_error(const char *text, const char *want)
{
	struct toml_value *v = NULL;
	struct err e = { 0 };

	assert_true(toml_parse(text, strlen(text), "f.toml", &v, &e) < 0);
	assert_null(v);
	assert_string_equal(e.text, want);
}

/* ---- toml-test ---- */

static const char *tag_of(enum toml_type type)
{
	static const char *const tags[] = {
		[TOML_STRING] = "string",         [TOML_INTEGER] = "integer",
		[TOML_FLOAT] = "float",           [TOML_BOOL] = "bool",
		[TOML_DATETIME] = "datetime",     [TOML_DATETIME_LOCAL] = "datetime-local",
		[TOML_DATE_LOCAL] = "date-local", [TOML_TIME_LOCAL] = "time-local",
	};

	return tags[type];
}

/* The expected text of a number or date: read by the parser itself, whose fields other tests here check. */
static bool same_scalar(const struct toml_value *v, const char *want)
{
	_cleanup_free_ char *text = str_printf("v = %s", want);
	_cleanup_toml_ struct toml_value *doc = NULL;
	const struct toml_value *w;
	double d;

	switch (v->type) {
	case TOML_BOOL:
		return v->u.boolean == !strcmp(want, "true");
	case TOML_INTEGER:
		return v->u.integer == strtoll(want, NULL, 10);
	case TOML_FLOAT:
		d = strtod(want, NULL);
		return isnan(d) ? isnan(v->u.number) : v->u.number == d && !signbit(v->u.number) == !signbit(d);
	default:
		doc = parse(text);
		w = toml_get(doc, "v");
		return w && w->type == v->type && !memcmp(&w->u.datetime, &v->u.datetime, sizeof w->u.datetime);
	}
}

static bool same(const struct toml_value *v, struct json_object *want)
{
	struct json_object *type, *value;

	if (v->type == TOML_ARRAY) {
		if (!json_object_is_type(want, json_type_array) || json_object_array_length(want) != v->u.array.len)
			return false;
		for (size_t i = 0; i < v->u.array.len; i++)
			if (!same(v->u.array.items[i], json_object_array_get_idx(want, i)))
				return false;
		return true;
	}
	if (!json_object_is_type(want, json_type_object))
		return false;
	if (v->type == TOML_TABLE) {
		if ((size_t)json_object_object_length(want) != v->u.table.len)
			return false;
		for (size_t i = 0; i < v->u.table.len; i++) {
			struct json_object *w;

			if (!json_object_object_get_ex(want, v->u.table.entries[i].key, &w) ||
			    !same(v->u.table.entries[i].value, w))
				return false;
		}
		return true;
	}
	if (!json_object_object_get_ex(want, "type", &type) || !json_object_object_get_ex(want, "value", &value) ||
	    strcmp(json_object_get_string(type), tag_of(v->type)))
		return false;
	if (v->type == TOML_STRING)
		return (size_t)json_object_get_string_len(value) == v->u.string.len &&
		       !memcmp(json_object_get_string(value), v->u.string.data, v->u.string.len);
	return same_scalar(v, json_object_get_string(value));
}

static void run_case(const char *dir, const char *name, unsigned *valid, unsigned *invalid)
{
	_cleanup_free_ char *path = str_printf("%s/tests/%s", dir, name);
	_cleanup_toml_ struct toml_value *v = NULL;
	_cleanup_free_ char *data = NULL;
	struct json_object *want;
	struct err e = { 0 };
	size_t len;
	int r;

	if (file_read(path, TOML_SIZE_MAX, &data, &len) < 0)
		fail_msg("cannot read %s", path);
	r = toml_parse(data, len, name, &v, &e);
	if (str_after(name, "invalid/")) {
		if (r == 0)
			fail_msg("%s: accepted", name);
		assert_non_null(str_after(e.text, name)); /* every refusal names file and line */
		assert_int_equal(e.text[strlen(name)], ':');
		++*invalid;
		return;
	}
	if (r < 0)
		fail_msg("%s", e.text);
	strcpy(path + strlen(path) - 4, "json");
	want = json_object_from_file(path);
	if (!want && !strstr(name, "empty"))
		fail_msg("cannot read %s", path);
	if (!same(v, want))
		fail_msg("%s: the tree differs from what is expected", name);
	json_object_put(want);
	++*valid;
}

#define SUITE_LIST "tests/files-toml-1.0.0"

/* Where the suite is: TOML_TEST_DIR, or beside the source tree (a git worktree lies one level deeper). */
static char *suite_dir(void)
{
	const char *root = getenv("SOURCE_ROOT");
	char *const candidates[] = {
		str_printf("%s", getenv("TOML_TEST_DIR") ? getenv("TOML_TEST_DIR") : "/nonexistent"),
		str_printf("%s/../shared/data/toml-test", root ? root : "."),
		str_printf("%s/../../shared/data/toml-test", root ? root : "."),
	};
	char *found = NULL;

	for (size_t i = 0; i < sizeof candidates / sizeof candidates[0]; i++) {
		_cleanup_free_ char *dir = candidates[i], *list = str_printf("%s/" SUITE_LIST, dir);

		if (!found && access(list, R_OK) == 0)
			found = take_ptr(dir);
	}
	return found;
}

static char *read_list(const char *dir)
{
	_cleanup_free_ char *path = str_printf("%s/" SUITE_LIST, dir);
	char *list = NULL;

	assert_int_equal(file_read(path, 1 << 20, &list, NULL), 0);
	return list;
}

static void test_suite(void **state)
{
	_cleanup_free_ char *dir = suite_dir(), *list = NULL;
	unsigned valid = 0, invalid = 0;
	char *save = NULL;

	if (!dir) {
		print_message("skipped: no toml-test suite; TOML_TEST_DIR can name its folder\n");
		skip();
	}
	list = read_list(dir);
	for (char *name = strtok_r(list, "\n", &save); name; name = strtok_r(NULL, "\n", &save))
		if (str_endswith(name, ".toml"))
			run_case(dir, name, &valid, &invalid);
	print_message("toml-test: %u valid and %u invalid documents\n", valid, invalid);
	assert_true(valid >= 200 && invalid >= 400);
}

/* ---- what the suite does not see ---- */

static void test_values(void **state)
{
	_cleanup_toml_ struct toml_value *doc = parse("s = \"a\\u0000b\"\n"
						      "i = -9223372036854775808\n"
						      "d = 1979-05-27 00:32:00.25-07:30\n"
						      "t = 23:59:60\n");
	const struct toml_value *v = toml_get(doc, "s");

	assert_int_equal(v->u.string.len, 3);
	assert_memory_equal(v->u.string.data, "a\0b", 4);
	assert_true(toml_get(doc, "i")->u.integer == INT64_MIN);
	v = toml_get(doc, "d");
	assert_int_equal(v->type, TOML_DATETIME);
	assert_int_equal(v->u.datetime.year, 1979);
	assert_int_equal(v->u.datetime.month, 5);
	assert_int_equal(v->u.datetime.day, 27);
	assert_int_equal(v->u.datetime.hour, 0);
	assert_int_equal(v->u.datetime.minute, 32);
	assert_int_equal(v->u.datetime.second, 0);
	assert_int_equal(v->u.datetime.nanosecond, 250000000);
	assert_int_equal(v->u.datetime.offset_minutes, -450);
	assert_int_equal(toml_get(doc, "t")->u.datetime.second, 60);
	assert_null(toml_get(doc, "none"));
	assert_null(toml_get(v, "none"));
	assert_null(toml_get(NULL, "none"));
}

static void test_places(void **state)
{
	_cleanup_toml_ struct toml_value *doc =
		parse("# first\n[a.b]\n  \"ä\" = [ 1,\n   'x' ] # end\n[[c]]\nk.l = {m = 2}\n");
	const struct toml_entry *entry = toml_find(toml_get(toml_get(doc, "a"), "b"), "ä");
	const struct toml_value *v;

	assert_int_equal(entry->line, 3);
	assert_int_equal(entry->column, 3);
	assert_int_equal(entry->value->line, 3);
	assert_int_equal(entry->value->column, 9);
	assert_int_equal(entry->value->u.array.items[1]->line, 4);
	assert_int_equal(entry->value->u.array.items[1]->column, 4);
	assert_string_equal(entry->value->file, "f");
	v = toml_get(doc, "c");
	assert_int_equal(v->type, TOML_ARRAY);
	v = toml_get(toml_get(toml_get(v->u.array.items[0], "k"), "l"), "m");
	assert_int_equal(v->line, 6);
	assert_int_equal(v->column, 12);
}

static void test_messages(void **state)
{
	check_error("a = 1\na = 2\n", "f.toml:2:1: \"a\" is already defined in line 1");
	check_error("a = yes\n", "f.toml:1:5: \"yes\" is not a value; strings need quotes");
	check_error("a = \n", "f.toml:1:5: expected a value");
	check_error("a 1\n", "f.toml:1:3: expected \"=\" after the key");
	check_error("a = 1 2\n", "f.toml:1:7: expected the end of the line");
	check_error("\n a = \"x\n", "f.toml:2:6: string without its closing \"");
	check_error("a = '''x\n\ny", "f.toml:1:5: string without its closing '''");
	check_error("a = \"\\d\"",
		    "f.toml:1:6: unknown escape; write \\\\ for a backslash, or use '…' for text without "
		    "escapes");
	check_error("a = \"\\ud800\"", "f.toml:1:6: U+D800 is not a character");
	check_error("a = \"\\u12\"", "f.toml:1:6: \\u needs 4 hexadecimal digits");
	check_error("a = 2023-02-29", "f.toml:1:5: \"2023-02-29\" is not a date or time");
	check_error("[a\n", "f.toml:1:3: expected \"]\" at the end of the table's name");
	check_error("[[a]\n", "f.toml:1:4: expected \"]]\" at the end of the table's name");
	check_error("a = [1 2]", "f.toml:1:8: expected \",\" or \"]\" in the array");
	check_error("a = {b = 1\n}",
		    "f.toml:1:11: expected \",\" or \"}\" in the inline table, which must stand in one line");
	check_error("= 1", "f.toml:1:1: expected a key: letters, digits, \"-\", \"_\", or a quoted string");
	check_error("a = '\x01'", "f.toml:1:6: control character 0x01; in a string write \\u0001");
	check_error("ä = '\xff'", "f.toml:1:6: byte 0xff is not UTF-8 text here");
	check_error("a = 1\rb = 2", "f.toml:1:6: carriage return without a line feed");
}

static void check_limit(struct buf *text, const char *want)
{
	struct toml_value *v = NULL;
	struct err e = { 0 };

	assert_int_equal(toml_parse(text->data, text->len, "f", &v, &e), -EFBIG);
	assert_int_equal(e.domain, ERR_LIMIT);
	assert_string_equal(e.text, want);
	buf_fini(text);
}

static void test_limits(void **state)
{
	struct buf b = { 0 };

	buf_puts(&b, "a = ");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, "[");
	check_limit(&b, "f:1: more than 100 tables and arrays within each other");
	buf_puts(&b, "a = ");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, "{a=");
	check_limit(&b, "f:1: more than 100 tables and arrays within each other");
	buf_puts(&b, "\na");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, ".a");
	buf_puts(&b, "=1");
	check_limit(&b, "f:2: more than 100 tables and arrays within each other");
	buf_puts(&b, "[a");
	for (int i = 0; i < 200; i++)
		buf_puts(&b, ".a");
	buf_puts(&b, "]");
	check_limit(&b, "f:1: more than 100 tables and arrays within each other");
	buf_puts(&b, "a = [");
	for (unsigned i = 0; i < TOML_VALUES_MAX; i++)
		buf_puts(&b, "1,");
	check_limit(&b, "f:1: more than 65536 values");
	for (unsigned i = 0; i <= TOML_SIZE_MAX; i++)
		buf_puts(&b, "\n");
	check_limit(&b, "f: larger than 1048576 bytes");
}

static void test_merge(void **state)
{
	_cleanup_toml_ struct toml_value *a = parse("x = 1\nl = [1, 2]\n[t]\nk = 1\nm = 2\n[t.u]\nv = 1\n");
	struct toml_value *b = NULL;
	static const char text[] = "\n\nx = 2\nl = [3]\nn = 'new'\n[t]\nm = 'two'\n[t.u]\nw = 3\n";

	assert_int_equal(toml_parse(text, strlen(text), "g", &b, NULL), 0);
	assert_int_equal(toml_merge(a, b), 0);
	assert_int_equal(toml_get(a, "x")->u.integer, 2);
	assert_int_equal(toml_find(a, "x")->line, 3);
	assert_string_equal(toml_get(a, "x")->file, "g");
	assert_int_equal(toml_get(a, "l")->u.array.len, 1);
	assert_string_equal(toml_get(a, "n")->u.string.data, "new");
	assert_int_equal(toml_get(toml_get(a, "t"), "k")->u.integer, 1);
	assert_string_equal(toml_get(toml_get(a, "t"), "m")->u.string.data, "two");
	assert_int_equal(toml_get(toml_get(toml_get(a, "t"), "u"), "v")->u.integer, 1);
	assert_int_equal(toml_get(toml_get(toml_get(a, "t"), "u"), "w")->u.integer, 3);
	assert_string_equal(toml_get(toml_get(a, "t"), "k")->file, "f");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_suite),    cmocka_unit_test(test_values), cmocka_unit_test(test_places),
		cmocka_unit_test(test_messages), cmocka_unit_test(test_limits), cmocka_unit_test(test_merge),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
