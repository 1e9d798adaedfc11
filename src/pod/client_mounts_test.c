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
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "pod/client_mounts.h"

/* We are the owner, in a mount namespace of our own; a child, the client, is in another one. */
struct fixture {
	char dir[64], root[96], file[96];
	pid_t client;
	int ready, end;
};

static void client(struct fixture *f)
{
	char path[128], byte;

	if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
	    mount("t", f->root, "tmpfs", 0, NULL) < 0)
		_exit(1);
	snprintf(path, sizeof path, "%s/program", f->root);
	if (file_replace(path, "#!", 2, 0755) < 0 || mount(path, f->file, NULL, MS_BIND, NULL) < 0)
		_exit(2);
	(void)!write(f->ready, "", 1);
	(void)!read(f->end, &byte, 1);
	_exit(0);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int ready[2], end[2];
	char byte;

	if (geteuid() != 0) {
		free(f);
		return 0;
	}
	snprintf(f->dir, sizeof f->dir, "/tmp/caisson-mounts-XXXXXX");
	assert_non_null(mkdtemp(f->dir));
	snprintf(f->root, sizeof f->root, "%s/root", f->dir);
	snprintf(f->file, sizeof f->file, "%s/file", f->dir);
	assert_int_equal(mkdir(f->root, 0755), 0);
	assert_int_equal(file_replace(f->file, "ours", 4, 0644), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	assert_int_equal(pipe2(end, O_CLOEXEC), 0);
	f->ready = ready[1];
	f->end = end[0];
	f->client = fork();
	if (f->client == 0) {
		close(end[1]);
		client(f);
	}
	close(end[0]);
	f->end = end[1];
	close(ready[1]);
	assert_int_equal(read(ready[0], &byte, 1), 1);
	close(ready[0]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	if (!f)
		return 0;
	close(f->end);
	waitpid(f->client, NULL, 0);
	dir_remove(f->dir);
	free(f);
	return 0;
}

static void test_fetch(void **state)
{
	struct fixture *f = *state;
	struct strv attached = { 0 };
	char program[128], text[8] = "";
	struct err e = { 0 };
	unsigned before;
	int fd;

	if (!f)
		skip();
	snprintf(program, sizeof program, "%s/program", f->root);
	before = count_entries("/proc/self/fd");
	assert_int_equal(access(program, F_OK), -1);
	if (client_mounts_fetch(f->client, f->root, &attached, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(access(program, X_OK), 0);
	assert_int_equal(client_mounts_fetch(f->client, f->file, &attached, &e), 0);
	fd = open(f->file, O_RDONLY | O_CLOEXEC);
	assert_int_equal(read(fd, text, sizeof text), 2);
	close(fd);
	/* What is the same already, and what is nowhere. */
	assert_int_equal(client_mounts_fetch(f->client, f->root, &attached, &e), 0);
	assert_int_equal(client_mounts_fetch(f->client, f->dir, &attached, &e), 0);
	assert_int_equal(client_mounts_fetch(f->client, "/no/such/path", &attached, &e), 0);
	assert_int_equal(attached.len, 2);
	client_mounts_drop(&attached);
	assert_int_equal(access(program, F_OK), -1);
	assert_int_equal(count_entries("/proc/self/fd"), before);
}

/* The namespace itself, without anybody in it to ask for. */
static void test_namespace(void **state)
{
	struct fixture *f = *state;
	struct strv attached = { 0 };
	char program[128], path[64];
	int ns;

	if (!f)
		skip();
	snprintf(program, sizeof program, "%s/program", f->root);
	snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)f->client);
	ns = open(path, O_RDONLY | O_CLOEXEC);
	assert_int_equal(client_mounts_fetch_from(ns, f->root, &attached, NULL), 0);
	assert_int_equal(access(program, X_OK), 0);
	client_mounts_drop(&attached);
	close(ns);
	ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	assert_int_equal(client_mounts_fetch_from(ns, f->root, &attached, NULL), 0);
	assert_int_equal(attached.len, 0);
	close(ns);
}

static void test_same_namespace(void **state)
{
	struct strv attached = { 0 };
	struct err e = { 0 };

	assert_int_equal(client_mounts_fetch(getpid(), "/tmp", &attached, &e), 0);
	assert_int_equal(attached.len, 0);
}

static void test_client_gone(void **state)
{
	struct strv attached = { 0 };
	struct err e = { 0 };

	assert_true(client_mounts_fetch(4194305, "/tmp", &attached, &e) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_fetch, setup, teardown),
		cmocka_unit_test_setup_teardown(test_namespace, setup, teardown),
		cmocka_unit_test(test_same_namespace),
		cmocka_unit_test(test_client_gone),
	};

#ifdef __SANITIZE_THREAD__
	print_message("not under the thread sanitizer: no process with threads can enter a mount namespace\n");
	return 77;
#endif
	/* What is attached must be nobody else's. */
	if (geteuid() == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0))
		return 1;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
