/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "pod/oom_file.h"

static struct {
	char dir[64], bundle[80], persist[80];
} t;

static int set_up(void **state)
{
	(void)state;
	snprintf(t.dir, sizeof t.dir, "/tmp/caisson-oom-test-XXXXXX");
	assert_non_null(mkdtemp(t.dir));
	snprintf(t.bundle, sizeof t.bundle, "%s/bundle", t.dir);
	snprintf(t.persist, sizeof t.persist, "%s/persist", t.dir);
	assert_int_equal(dir_make(t.bundle, 0700), 0);
	assert_int_equal(dir_make(t.persist, 0700), 0);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return dir_remove(t.dir);
}

static bool has_file(const char *folder)
{
	_cleanup_free_ char *path = str_printf("%s/oom", folder);

	return access(path, F_OK) == 0;
}

/* A stand-in's parent, called `name`, with these words behind; *ret: the stand-in. Both end when fd is closed. */
static pid_t start(const char *name, const char *first, const char *second, pid_t *ret, int *ret_fd)
{
	static const char script[] = "cat <&3 >&2 & echo $!; exec 3<&-; wait";
	char text[16];
	int in[2], out[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe(in), 0);
	assert_int_equal(pipe(out), 0);
	pid = fork();
	if (pid == 0) {
		dup2(out[1], 1);
		dup2(in[0], 3);
		fd_close_others((const int[]){ 3 }, 1);
		execl("/bin/sh", name, "-c", script, "sh", "--api-version", "1", first, second, (char *)NULL);
		_exit(127);
	}
	close(in[0]);
	close(out[1]);
	n = read(out[0], text, sizeof text - 1);
	assert_true(n > 0);
	text[n] = '\0';
	*ret = atoi(text);
	close(out[0]);
	*ret_fd = in[1];
	return pid;
}

static void leave_for(const char *name, const char *first, const char *second)
{
	pid_t standin, pid;
	int fd;

	pid = start(name, first, second, &standin, &fd);
	oom_file_leave(t.bundle, standin, false);
	close(fd);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
}

static void is_left_where_conmon_leaves_it(void **state)
{
	(void)state;
	leave_for("/usr/bin/conmon", "--persist-dir", t.persist);
	assert_true(has_file(t.bundle));
	assert_true(has_file(t.persist));
}

static void takes_the_word_in_one(void **state)
{
	_cleanup_free_ char *word = str_printf("--persist-dir=%s", t.persist);

	(void)state;
	leave_for("conmon", word, "--leave-stdin-open");
	assert_true(has_file(t.persist));
}

/* Older ones (podman 4) know the bundle only. */
static void is_left_in_the_bundle(void **state)
{
	(void)state;
	leave_for("conmon", "-b", "--persist-dir");
	assert_true(has_file(t.bundle));
	assert_false(has_file(t.persist));
}

static void is_left_for_nobody_else(void **state)
{
	(void)state;
	leave_for("/usr/bin/containerd-shim-runc-v2", "--persist-dir", t.persist);
	assert_false(has_file(t.bundle));
	assert_false(has_file(t.persist));
	oom_file_leave(t.bundle, 0, false);
	assert_false(has_file(t.bundle));
	oom_file_leave(t.bundle, 0, true);
	assert_true(has_file(t.bundle));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(is_left_where_conmon_leaves_it),
		TEST(takes_the_word_in_one),
		TEST(is_left_in_the_bundle),
		TEST(is_left_for_nobody_else),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
