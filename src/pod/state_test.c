/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "pod/state.h"

static char root[] = "/tmp/caisson-state-XXXXXX";

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	return dir_remove(root);
}

static struct pod_state example(const char *id)
{
	return (struct pod_state){ .id = (char *)id,
				   .status = (char *)"running",
				   .hypervisor = (char *)"qemu",
				   .agent_address = (char *)"hvsock:/x",
				   .command = (char *)"sh -c \"a\tb\"",
				   .rootfs = (char *)"/r",
				   .pid = 7,
				   .created = 1700000000 };
}

static void test_write_and_read(void **state)
{
	struct pod_state s = example("one"), got = { 0 };
	struct state_dir *d;
	struct err e = { 0 };
	bool alive;

	assert_int_equal(state_dir_create(root, "one", &d, &e), 0);
	assert_int_equal(state_dir_write(d, &s, &e), 0);
	assert_int_equal(state_read(root, "one", &got, &alive, &e), 0);
	assert_true(alive);
	assert_string_equal(got.command, s.command);
	assert_string_equal(got.agent_address, "hvsock:/x");
	assert_int_equal(got.pid, 7);
	pod_state_fini(&got);
	state_dir_remove(d);
	assert_int_equal(state_read(root, "one", &got, &alive, &e), -ENOENT);
	assert_non_null(strstr(e.text, "no container named one"));
}

static void test_id_in_use(void **state)
{
	struct state_dir *d, *again;
	struct err e = { 0 };

	assert_int_equal(state_dir_create(root, "two", &d, &e), 0);
	assert_int_equal(state_dir_create(root, "two", &again, &e), -EEXIST);
	state_dir_remove(d);
	assert_int_equal(state_dir_create(root, "two", &d, &e), 0);
	state_dir_remove(d);
}

/* An owner that is killed leaves its directory; others see it dead, prune it, or take its place. */
static void leave_dead(const char *id)
{
	struct state_dir *d;
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct pod_state s = example(id);

		if (state_dir_create(root, id, &d, NULL) == 0 && state_dir_write(d, &s, NULL) == 0)
			raise(SIGKILL);
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
}

static void test_dead_owner(void **state)
{
	_cleanup_strv_ struct strv removed = { 0 }, left = { 0 };
	struct pod_state got = { 0 };
	struct state_dir *d, *live;
	bool alive;

	leave_dead("three");
	assert_int_equal(state_read(root, "three", &got, &alive, NULL), 0);
	assert_false(alive);
	pod_state_fini(&got);
	assert_int_equal(state_dir_create(root, "three", &d, NULL), 0);
	state_dir_remove(d);

	leave_dead("four");
	assert_int_equal(state_dir_create(root, "five", &live, NULL), 0);
	assert_int_equal(state_prune(root, &removed, NULL), 0);
	assert_int_equal(removed.len, 1);
	assert_string_equal(removed.v[0], "four");
	assert_int_equal(state_list(root, &left, NULL), 0);
	assert_int_equal(left.len, 1);
	assert_string_equal(left.v[0], "five");
	/* One alone. An owner lives before it has written anything, too. */
	leave_dead("six");
	assert_int_equal(state_remove_dead(root, "six", NULL), 0);
	assert_int_equal(state_read(root, "six", &got, &alive, NULL), -ENOENT);
	assert_int_equal(state_remove_dead(root, "six", NULL), 0);
	assert_int_equal(state_remove_dead(root, "five", NULL), -EBUSY);
	assert_int_equal(state_remove_dead(root, ".", NULL), 0);
	assert_int_equal(state_dir_write(live, &(struct pod_state){ 0 }, NULL), 0);
	state_dir_remove(live);
}

/* Whoever has the root's lock, to make a directory of this name perhaps, finds it whole or not at all. */
static void test_removal_waits(void **state)
{
	_cleanup_free_ char *lock = str_printf("%s/seven/lock", root);
	struct state_dir *d;
	int ready[2], status;
	char byte;
	pid_t pid;

	assert_int_equal(state_dir_create(root, "seven", &d, NULL), 0);
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		int fd = open(root, O_RDONLY | O_DIRECTORY);

		if (flock(fd, LOCK_EX) < 0 || write(ready[1], "", 1) != 1)
			_exit(2);
		usleep(50000);
		_exit(access(lock, F_OK) < 0);
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	state_dir_remove(d);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(access(lock, F_OK), -1);
	close(ready[0]);
	close(ready[1]);
}

static void test_ids(void **state)
{
	static const char *const bad[] = {
		"",    ".",   "..",
		"-x",  "a/b", "../x",
		"a b", "ä",   "01234567890123456789012345678901234567890123456789012345678901234567890123456"
	};

	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		assert_int_equal(state_check_id(bad[i], NULL), -EINVAL);
	assert_int_equal(state_check_id("a.B_c-9", NULL), 0);
	assert_int_equal(state_check_id(bad[sizeof bad / sizeof bad[0] - 1] + 1, NULL), 0);
}

/* Root of a user namespace, but not of the host. */
static void be_mapped_root(int told, int go)
{
	char root_of[64], byte = 0;

	if (unshare(CLONE_NEWUSER) < 0)
		_exit(77);
	if (write(told, &byte, 1) != 1 || read(go, &byte, 1) != 1 || setresuid(0, 0, 0) < 0 || geteuid() != 0)
		_exit(2);
	_exit(strcmp(state_default_root(root_of, sizeof root_of), "/run/user/7/caisson") != 0);
}

static void test_root_of_a_user_namespace(void **state)
{
	char path[64], root_of[64], byte = 0;
	int told[2], go[2], status;
	pid_t pid;

	if (geteuid() != 0)
		skip();
	setenv("XDG_RUNTIME_DIR", "/run/user/7", 1);
	assert_string_equal(state_default_root(root_of, sizeof root_of), "/run/caisson");
	assert_null(state_user_dir());
	assert_int_equal(pipe(told), 0);
	assert_int_equal(pipe(go), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		be_mapped_root(told[1], go[0]);
	close(told[1]);
	if (read(told[0], &byte, 1) == 1) {
		snprintf(path, sizeof path, "/proc/%d/uid_map", (int)pid);
		assert_int_equal(file_write(path, "0 100000 1"), 0);
		assert_int_equal(write(go[1], &byte, 1), 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	close(told[0]);
	close(go[0]);
	close(go[1]);
	unsetenv("XDG_RUNTIME_DIR");
	if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
		skip();
	assert_int_equal(status, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_write_and_read),
		cmocka_unit_test(test_id_in_use),
		cmocka_unit_test(test_dead_owner),
		cmocka_unit_test(test_removal_waits),
		cmocka_unit_test(test_ids),
		cmocka_unit_test(test_root_of_a_user_namespace),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
