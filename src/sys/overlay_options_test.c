/* SPDX-License-Identifier: Apache-2.0 */
/* Layers of an overlay by names relative to what holds them all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "sys/overlay_options.h"

static void test_shorten(void **state)
{
	static const struct {
		const char *lower, *dir, *names; /* dir NULL: refused */
	} rows[] = {
		{ "/var/snapshots/3/fs:/var/snapshots/2/fs:/var/snapshots/1/fs", "/var/snapshots", "3/fs:2/fs:1/fs" },
		{ "/var/snapshots/30/fs:/var/snapshots/3/fs", "/var/snapshots", "30/fs:3/fs" },
		{ "/a/b/c", "/a/b", "c" },
		{ "/a/b:/a/b/c", "/a", "b:b/c" },
		{ "/a/b:/a/b", "/a", "b:b" },
		{ "/a/x\\:y/1:/a/x\\:y/2", "/a/x:y", "1:2" },
		{ "/a/1\\:2:/a/1\\:3", "/a", "1\\:2:1\\:3" },
		{ "/a:/b", NULL, NULL },
		{ "/a/1:b/2", NULL, NULL },
		{ "a", NULL, NULL },
		{ "/a/b/:/a/b/c", NULL, NULL },
		{ "", NULL, NULL },
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *dir = NULL, *names = NULL;
		int r = overlay_shorten(rows[i].lower, &dir, &names);

		if (!rows[i].dir) {
			assert_int_equal(r, -EINVAL);
			continue;
		}
		assert_int_equal(r, 0);
		assert_string_equal(dir, rows[i].dir);
		assert_string_equal(names, rows[i].names);
		free(dir);
		free(names);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_shorten) };

	return cmocka_run_group_tests_name("overlay_options", tests, NULL, NULL);
}
