/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/reaper.h"

#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <setjmp.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

struct seen {
	struct loop *loop;
	int n, status[2];
};

static void ended(pid_t pid, int status, void *userdata)
{
	struct seen *s = userdata;

	s->status[s->n++] = status;
	if (s->n == 2)
		loop_quit(s->loop, 0);
}

static bool children_left(void)
{
	siginfo_t info;

	return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0;
}

static void reaps_watched_and_orphans(void **state)
{
	struct loop *loop;
	struct reaper *r;
	struct seen seen = { 0 };
	pid_t a, b, forgotten;

	assert_int_equal(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(reaper_new(loop, &r, NULL), 0);
	seen.loop = loop;
	forgotten = fork();
	if (forgotten == 0) {
		if (fork() == 0)
			_exit(1); /* becomes our orphan */
		_exit(9);
	}
	assert_int_equal(reaper_watch(r, forgotten, ended, &seen), 0);
	reaper_unwatch(r, forgotten);
	a = fork();
	if (a == 0)
		_exit(7);
	assert_int_equal(reaper_watch(r, a, ended, &seen), 0);
	b = fork();
	if (b == 0)
		for (;;)
			pause();
	assert_int_equal(reaper_watch(r, b, ended, &seen), 0);
	kill(b, SIGKILL);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(seen.n, 2);
	assert_true(WIFEXITED(seen.status[0]) || WIFEXITED(seen.status[1]));
	assert_true(WIFSIGNALED(seen.status[0]) || WIFSIGNALED(seen.status[1]));
	/* Nobody is left as a zombie once all have ended. */
	for (int i = 0; i < 500 && children_left(); i++)
		loop_run_once(loop, 10);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
	reaper_free(r);
	loop_free(loop);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(reaps_watched_and_orphans) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
