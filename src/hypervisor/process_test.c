/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/process.h"

static struct loop *loop;

static int set_up(void **state)
{
	return loop_new(&loop, NULL);
}

static int tear_down(void **state)
{
	loop_free(loop);
	return 0;
}

static struct process *start(const char *script)
{
	char *argv[] = { (char *)(uintptr_t) "sh", (char *)(uintptr_t) "-c", (char *)(uintptr_t)script, NULL };
	struct spawn s = { .path = "/bin/sh", .argv = argv, .stdin_fd = -1 };
	struct process *p = NULL;

	assert_int_equal(process_start(loop, &s, "fake VMM", &p, NULL), 0);
	return p;
}

static bool exit_is_visible(const struct process *p, int timeout_ms)
{
	struct pollfd w = { .fd = process_exit_fd(p), .events = POLLIN };

	return poll(&w, 1, timeout_ms) == 1;
}

static void test_exit(void **state)
{
	struct process *p = start("echo out; echo 'err: no such thing' >&2; exit 7");
	char text[256];

	assert_int_equal(process_wait(p, clock_ms() + 10000), 0);
	assert_true(exit_is_visible(p, 0)); /* also after it was reaped */
	process_describe(p, text, sizeof text);
	assert_string_equal(text, "fake VMM exited with status 7");
	process_last_words(p, text, sizeof text);
	assert_string_equal(text, "out | err: no such thing");
	assert_int_equal(WEXITSTATUS(process_status(p)), 7);
	process_stop(p, 100);
	process_free(p);
}

static void test_killed(void **state)
{
	struct process *p = start("exec sleep 1000");
	char text[256];

	assert_false(exit_is_visible(p, 0));
	assert_false(process_ended(p));
	assert_int_equal(process_wait(p, clock_ms() + 10), -ETIMEDOUT);
	process_describe(p, text, sizeof text);
	assert_string_equal(text, "fake VMM is running");
	assert_int_equal(kill(process_pid(p), SIGKILL), 0);
	assert_true(exit_is_visible(p, 10000));
	assert_int_equal(process_wait(p, clock_ms() + 10000), 0);
	process_describe(p, text, sizeof text);
	assert_string_equal(text, "fake VMM was killed by signal 9 (Killed)");
	process_free(p);
}

/* SIGTERM does not impress it; freeing it must. */
static void test_stubborn(void **state)
{
	struct process *p = start("trap '' TERM; echo ready; while :; do sleep 0.05; done");
	pid_t pid = process_pid(p);
	char text[256] = "";

	while (!text[0])
		process_last_words(p, text, sizeof text);
	process_stop(p, 50);
	assert_true(WIFSIGNALED(process_status(p)) && WTERMSIG(process_status(p)) == SIGKILL);
	process_free(p);
	assert_int_equal(kill(pid, 0), -1);
	p = start("exec sleep 1000");
	pid = process_pid(p);
	process_free(p);
	assert_int_equal(kill(pid, 0), -1);
	process_free(NULL);
}

/* More output than the pipe holds: whoever waits keeps it flowing. */
static void test_talkative(void **state)
{
	struct process *p = start("head -c 1000000 /dev/zero | tr '\\0' x; echo; echo end");
	char text[256];

	assert_int_equal(process_wait(p, clock_ms() + 30000), 0);
	process_last_words(p, text, sizeof text);
	assert_string_equal(text + strlen(text) - 6, " | end");
	process_free(p);
}

/* Who waits for something else, as for the monitor's answer, does not read meanwhile. */
static void test_verbose(void **state)
{
	struct process *p = start("head -c 500000 /dev/zero | tr '\\0' '\\n' >&2");

	assert_true(exit_is_visible(p, 10000));
	process_free(p);
}

static void test_cannot_start(void **state)
{
	char *argv[] = { (char *)(uintptr_t) "x", NULL };
	struct spawn s = { .path = "/nonexistent/vmm", .argv = argv, .stdin_fd = -1 };
	struct process *p = NULL;
	struct err e = { 0 };

	assert_int_equal(process_start(loop, &s, "fake VMM", &p, &e), -ENOENT);
	assert_null(p);
	assert_non_null(strstr(e.text, "/nonexistent/vmm"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_exit, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_killed, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_stubborn, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_talkative, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_verbose, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_cannot_start, set_up, tear_down),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
