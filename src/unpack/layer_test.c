/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of unpacking that need no sandbox; whole layers are tested in oci/image_test.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <limits.h>
#include <string.h>

#include <cmocka.h>

#include "unpack/layer.h"
#include "unpack/seen.h"

static void test_clean_path(void **state)
{
	static const struct {
		const char *name, *clean; /* NULL: refused */
	} rows[] = {
		{ "a", "a" },           { "./a/b", "a/b" },   { "/a", "a" },
		{ "//a//b//", "a/b" },  { "a/./b/.", "a/b" }, { "a/../b", "b" },
		{ "a/b/../../c", "c" }, { ".", "." },         { "/", "." },
		{ "./", "." },          { "", "." },          { "a/..", "." },
		{ "...", "..." },       { "..a/b", "..a/b" }, { "..", NULL },
		{ "a/../..", NULL },    { "/../etc", NULL },  { "./../x", NULL },
	};
	char ret[PATH_MAX], longest[PATH_MAX + 10];

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		int r = layer_clean_path(rows[i].name, ret);

		assert_int_equal(r, rows[i].clean ? 0 : -EINVAL);
		if (rows[i].clean)
			assert_string_equal(ret, rows[i].clean);
	}
	memset(longest, 'a', sizeof longest);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(layer_clean_path(longest, ret), -ENAMETOOLONG);
	longest[PATH_MAX - 2] = '\0';
	assert_int_equal(layer_clean_path(longest, ret), 0);
	assert_string_equal(ret, longest);
}

static void test_seen(void **state)
{
	struct seen s = { 0 };

	assert_int_equal(seen_add(&s, "a/b/c"), 0);
	assert_int_equal(seen_add(&s, "a/b/d"), 0);
	assert_true(seen_has(&s, "a"));
	assert_true(seen_has(&s, "a/b"));
	assert_true(seen_has(&s, "a/b/d"));
	assert_false(seen_has(&s, "a/b/e"));
	assert_false(seen_has(&s, "b"));
	assert_int_equal(seen_add_alone(&s, "x/y"), 1);
	assert_int_equal(seen_add_alone(&s, "x/y"), 0);
	assert_false(seen_has(&s, "x"));
	seen_fini(&s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clean_path),
		cmocka_unit_test(test_seen),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
