/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "sys/namespaces.h"
#include "sys/spawn.h"

static void test_missing_program(void **state)
{
	char *argv[] = { (char *)"no-such-program-here", NULL };
	struct spawn s = { .path = argv[0], .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	struct err e = { 0 };
	pid_t pid;

	assert_int_equal(spawn_start(&s, &pid, NULL, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no-such-program-here"));
}

static void test_descriptors_and_stop(void **state)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"ls -m /proc/$$/fd; exec sleep 100", NULL };
	int out[2], kept, other, pidfd = -1, status;
	struct err e = { 0 };
	char text[64] = "", want[64];
	pid_t pid;

	assert_int_equal(pipe2(out, O_CLOEXEC), 0);
	kept = fcntl(out[0], F_DUPFD_CLOEXEC, 50);
	other = fcntl(out[0], F_DUPFD, 60);
	struct spawn s = { .path = "sh",
			   .argv = argv,
			   .stdin_fd = -1,
			   .stdout_fd = out[1],
			   .stderr_fd = -1,
			   .keep_fds = &kept,
			   .n_keep_fds = 1,
			   .die_with_parent = true };

	assert_int_equal(spawn_start(&s, &pid, &pidfd, &e), 0);
	snprintf(want, sizeof want, "0, 1, 2, %d\n", kept);
	assert_int_equal(fd_read_full(out[0], text, strlen(want)), 0);
	assert_string_equal(text, want);
	status = spawn_stop(pid, pidfd, 5000);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
	assert_int_equal(waitpid(pid, NULL, 0), -1);
	close(pidfd);
	close(kept);
	close(other);
	close(out[0]);
	close(out[1]);
}

static void test_children_of_who_ignores_them(void **state)
{
	char *argv[] = { (char *)"sh", (char *)"-c", (char *)"exit 3", NULL };
	struct spawn s = { .path = "sh", .argv = argv, .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1 };
	int pidfd = -1, status;
	pid_t pid;

	signal(SIGCHLD, SIG_IGN); /* as it would be inherited */
	spawn_keep_children();
	assert_int_equal(spawn_start(&s, &pid, &pidfd, NULL), 0);
	assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 5000), 1);
	status = spawn_stop(pid, pidfd, 0);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 3);
	close(pidfd);
}

/* A number that has passed to somebody else meanwhile: here a process that is not our child. */
static void test_another_process(void **state)
{
	pid_t child, other = 0;
	int pair[2], pidfd;

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	child = fork();
	if (child == 0) {
		other = fork();
		if (other == 0) {
			alarm(10); /* also when the test fails */
			pause();
			_exit(0);
		}
		_exit(write(pair[1], &other, sizeof other) != sizeof other);
	}
	assert_int_equal(fd_read_full(pair[0], &other, sizeof other), 0);
	assert_int_equal(waitpid(child, NULL, 0), child);
	pidfd = pidfd_of(other);
	assert_true(pidfd >= 0);
	assert_int_equal(spawn_stop(other, pidfd, 0), -1);
	assert_int_equal(poll(&(struct pollfd){ .fd = pidfd, .events = POLLIN }, 1, 50), 0);
	assert_int_equal(kill(other, SIGKILL), 0);
	close(pidfd);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_missing_program),
		cmocka_unit_test(test_descriptors_and_stop),
		cmocka_unit_test(test_children_of_who_ignores_them),
		cmocka_unit_test(test_another_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
