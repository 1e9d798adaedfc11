/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "pod/output_log.h"

static char dir[32];

static int set_up(void **state)
{
	snprintf(dir, sizeof dir, "/tmp/output-log-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	return dir_remove(dir);
}

static char *content(const char *name, size_t *ret_n)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	char *text = NULL;

	*ret_n = 0;
	(void)file_read(path, 1 << 22, &text, ret_n);
	return text;
}

/* What is kept is the end of what was written, without a gap: the older file, then the newer. */
static void kept(const char *all, size_t total)
{
	size_t newer_n, older_n;
	_cleanup_free_ char *newer = content(OUTPUT_LOG_NAME, &newer_n),
			    *older = content(OUTPUT_LOG_NAME ".1", &older_n);

	assert_true(newer_n <= OUTPUT_LOG_HALF);
	assert_true(older_n == 0 || older_n == OUTPUT_LOG_HALF);
	assert_true(newer_n + older_n == total || older_n == OUTPUT_LOG_HALF);
	assert_memory_equal(newer, all + total - newer_n, newer_n);
	if (older_n)
		assert_memory_equal(older, all + total - newer_n - older_n, older_n);
}

static void test_wraps_around(void **state)
{
	const size_t total = 3 * OUTPUT_LOG_HALF + 1000,
		     steps[] = { 1, 4096, OUTPUT_LOG_HALF - 1, OUTPUT_LOG_HALF, OUTPUT_LOG_HALF + 1, total };
	_cleanup_free_ char *all = malloc(total);

	for (size_t i = 0; i < total; i++)
		all[i] = (char)(i * 31 + (i >> 8));
	for (size_t s = 1; s < sizeof steps / sizeof steps[0]; s++) {
		struct output_log *log = output_log_new(dir);
		size_t done = 0;

		assert_non_null(log);
		while (done < total) {
			size_t n = total - done < steps[s] ? total - done : steps[s];

			output_log_write(log, all + done, n);
			done += n;
			kept(all, done);
		}
		output_log_free(log);
		kept(all, total);
		tear_down(NULL);
		assert_int_equal(mkdir(dir, 0700), 0);
	}
}

static void test_private_and_new(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/" OUTPUT_LOG_NAME, dir), *text = NULL;
	struct output_log *log;
	struct stat st;
	size_t n;

	assert_int_equal(file_replace(path, "before", 6, 0600), 0);
	log = output_log_new(dir);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(st.st_size, 0);
	output_log_write(log, "a\0b", 3);
	output_log_write(log, "", 0);
	output_log_free(log);
	text = content(OUTPUT_LOG_NAME, &n);
	assert_int_equal(n, 3);
	assert_memory_equal(text, "a\0b", 3);
}

static void test_no_log_is_no_failure(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/" OUTPUT_LOG_NAME, dir);

	assert_null(output_log_new("/nonexistent"));
	/* Never through a link. */
	assert_int_equal(symlink("/dev/null", path), 0);
	assert_null(output_log_new(dir));
	output_log_write(NULL, "x", 1);
	output_log_free(NULL);
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(test_wraps_around), T(test_private_and_new),
					    T(test_no_log_is_no_failure) };

	return cmocka_run_group_tests_name("output_log", tests, NULL, NULL);
}
