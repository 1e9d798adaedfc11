// SPDX-License-Identifier: Apache-2.0
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/tool.h"
#include "base/fd.h"

static struct {
	struct loop *loop;
	struct reaper *reaper;
	unsigned done;
	int r;
	size_t n;
	char first;
	struct err e;
} t;

static void on_done(int r, const struct buf *output, const struct err *e, void *userdata)
{
	(void)userdata;
	t.done++;
	t.r = r;
	t.e = *e;
	t.n = output->len;
	t.first = output->len ? output->data[0] : '\0';
}

static struct tool *begin(const char *script, const void *input, size_t n, unsigned timeout_ms)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)script, NULL };
	struct tool_params p = { .loop = t.loop,
				 .reaper = t.reaper,
				 .name = "sh",
				 .argv = argv,
				 .input = input,
				 .n_input = n,
				 .output_max = 1 << 20,
				 .timeout_ms = timeout_ms };
	struct tool *tool;

	t.done = 0;
	if (tool_start(&p, on_done, NULL, &tool, &t.e) < 0)
		fail_msg("%s", t.e.text);
	assert_int_equal(t.done, 0);
	return tool;
}

static int run(const char *script, const void *input, size_t n, unsigned timeout_ms)
{
	uint64_t end = clock_ms() + 60000;

	begin(script, input, n, timeout_ms);
	while (!t.done && clock_ms() < end)
		loop_run_once(t.loop, 10);
	assert_int_equal(t.done, 1);
	return t.r;
}

/* More than a pipe holds, in both directions. */
static void test_streams(void **state)
{
	static char input[300000];

	(void)state;
	memset(input, 'x', sizeof input);
	assert_int_equal(run("cat", input, sizeof input, 30000), 0);
	assert_int_equal(t.n, sizeof input);
	assert_int_equal(t.first, 'x');
	assert_int_equal(run("cat", NULL, 0, 30000), 0);
	assert_int_equal(t.n, 0);
	/* It does not want it. */
	assert_int_equal(run("exec <&-; echo done", input, sizeof input, 30000), 0);
	assert_int_equal(t.n, 5);
	/* Somebody else still has the streams. */
	assert_int_equal(run("sleep 3 & echo yes", NULL, 0, 30000), 0);
	assert_int_equal(t.n, 4);
}

static void test_failures(void **state)
{
	(void)state;
	assert_int_equal(run("echo 'this fails' >&2; echo more >&2; exit 2", NULL, 0, 30000), -EIO);
	assert_string_equal(t.e.text, "sh: exit status 2: this fails");
	assert_int_equal(run("exit 3", NULL, 0, 30000), -EIO);
	assert_string_equal(t.e.text, "sh: exit status 3");
	assert_int_equal(run("kill -15 $$", NULL, 0, 30000), -EIO);
	assert_string_equal(t.e.text, "sh: killed by signal 15");
	assert_int_equal(run("yes >&2 | yes", NULL, 0, 30000), -EFBIG);
	assert_non_null(strstr(t.e.text, "it wrote more than 1048576 bytes"));
	assert_int_equal(run("echo waiting >&2; sleep 60", NULL, 0, 200), -ETIMEDOUT);
	assert_string_equal(t.e.text, "sh: killed after 200 ms: waiting");
}

static void test_cancelled(void **state)
{
	(void)state;
	tool_cancel(begin("sleep 60", NULL, 0, 30000));
	tool_cancel(NULL);
	for (int i = 0; i < 5; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(t.done, 0);
}

static void test_missing(void **state)
{
	char *argv[] = { (char *)"no-such-program", NULL };
	struct tool_params p = { .loop = t.loop, .reaper = t.reaper, .name = argv[0], .argv = argv };
	struct tool *tool;

	(void)state;
	assert_int_equal(tool_start(&p, on_done, NULL, &tool, &t.e), -ENOSYS);
	assert_string_equal(t.e.text, "the guest has no program no-such-program");
}

static int set_up(void **state)
{
	(void)state;
	signal(SIGPIPE, SIG_IGN); /* as the agent does */
	return loop_new(&t.loop, NULL) < 0 || reaper_new(t.loop, &t.reaper, NULL) < 0;
}

static int tear_down(void **state)
{
	(void)state;
	reaper_free(t.reaper);
	loop_free(t.loop);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_streams),
		cmocka_unit_test(test_failures),
		cmocka_unit_test(test_cancelled),
		cmocka_unit_test(test_missing),
	};

	return cmocka_run_group_tests_name("tool", tests, set_up, tear_down);
}
