/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/console.h"

static struct loop *loop;
static struct console *console;
static int writer;

static void open_console(const char *log, size_t max)
{
	int p[2];

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	writer = p[1];
	assert_int_equal(console_new(loop, p[0], log, max, NULL, &console, NULL), 0);
}

static int set_up(void **state)
{
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	console_free(console);
	fd_close(&writer);
	loop_free(loop);
	return 0;
}

static void say(const char *text)
{
	assert_int_equal(fd_write_full(writer, text, strlen(text)), 0);
	loop_run_once(loop, 1000);
}

static void expect(unsigned n, const char *text)
{
	char lines[4096];

	console_last_lines(console, n, lines, sizeof lines);
	assert_string_equal(lines, text);
}

static void test_lines(void **state)
{
	open_console(NULL, 0);
	expect(3, "");
	say("one\r\n\n\ntwo\nthr");
	expect(9, "one | two | thr"); /* a line that is not finished counts: it may be the last words */
	expect(2, "two | thr");
	say("ee\n");
	expect(2, "two | three");
	assert_string_equal(console_find(console, "wo"), "two");
	assert_null(console_find(console, "four"));
	console_last_lines(NULL, 3, (char[1]){ 'x' }, 1);
}

static void test_cleaning(void **state)
{
	open_console(NULL, 0);
	say("\033[1;31mred\033[0m \033]0;title\007plain\tb\001c\177\n");
	expect(1, "red plain bc");
	say("ok \xc3\xa9 \xff \xe2\x82 cut \xc2\x9b"
	    "31m\n");
	expect(1, "ok \xc3\xa9 ? ? cut ??31m");
	/* A sequence that never ends does not eat the next line. */
	say("a\033[12\nb\033]xx\nc\n");
	expect(3, "a | b | c");
	say("broken\xe2\n");
	expect(1, "broken");
}

static void test_bounds(void **state)
{
	char line[1000];

	open_console(NULL, 0);
	memset(line, 'x', sizeof line);
	line[sizeof line - 2] = '\n';
	line[sizeof line - 1] = 0;
	say(line);
	line[CONSOLE_LINE_MAX] = 0;
	expect(1, line);
	for (unsigned i = 0; i < 3 * CONSOLE_LINES; i++)
		say("filler\n");
	say("last\n");
	expect(1, "last");
	assert_null(console_find(console, "xxx"));
	/* A small buffer cuts, and does not overflow. */
	console_last_lines(console, 40, line, 10);
	assert_int_equal(strlen(line), 9);
}

static void test_log_file(void **state)
{
	char path[] = "/tmp/caisson-console-XXXXXX";
	_cleanup_free_ char *data = NULL;
	int fd = mkstemp(path);
	struct stat st;

	close(fd);
	open_console(path, 1000);
	for (unsigned i = 0; i < 300; i++) {
		char text[32];

		snprintf(text, sizeof text, "line %u\n", i);
		say(text);
		assert_int_equal(stat(path, &st), 0);
		assert_true(st.st_size <= 1000);
	}
	assert_int_equal(file_read(path, 4096, &data, NULL), 0);
	assert_true(strlen(data) > 400);
	assert_string_equal(strrchr(data, 'l'), "line 299\n");
	unlink(path);
}

static void test_end_of_stream(void **state)
{
	open_console(NULL, 0);
	say("last words");
	fd_close(&writer);
	loop_run_once(loop, 1000);
	console_drain(console);
	expect(1, "last words");
	loop_run_once(loop, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_lines, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cleaning, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_bounds, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_log_file, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_end_of_stream, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
