/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "cli/table.h"

static void prints(struct table *t, const char *expected)
{
	char *text = NULL;
	size_t n;
	FILE *out = open_memstream(&text, &n);

	table_print(t, out);
	fclose(out);
	assert_string_equal(text, expected);
	free(text);
	table_fini(t);
}

static void test_columns(void **state)
{
	struct table t = { .columns = 3 };

	table_cell(&t, "ID");
	table_cell(&t, "STATUS");
	table_cell(&t, "COMMAND");
	table_cell(&t, "%s", "a-long-id");
	table_cell(&t, "%s", "");
	table_cell(&t, "sleep %d", 5);
	prints(&t, "ID         STATUS  COMMAND\n"
		   "a-long-id          sleep 5\n");
}

static void test_incomplete_row_is_left_out(void **state)
{
	struct table t = { .columns = 2 };

	table_cell(&t, "A");
	table_cell(&t, "B");
	table_cell(&t, "only");
	prints(&t, "A  B\n");
}

static void test_empty(void **state)
{
	struct table t = { .columns = 2 };

	prints(&t, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_columns),
					    cmocka_unit_test(test_incomplete_row_is_left_out),
					    cmocka_unit_test(test_empty) };

	return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
