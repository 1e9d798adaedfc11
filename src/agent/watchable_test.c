// SPDX-License-Identifier: Apache-2.0
/* A copy that follows its source, as Kubernetes changes config maps. Timers are not waited for: each round is called.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watchable.h"
#include "base/fd.h"
#include "base/strv.h"

struct fixture {
	char dir[40];
	struct loop *loop;
	struct watchable *w;
};

/* A path in the fixture's folder; a few may be in use at a time. */
static const char *at(const struct fixture *f, const char *name)
{
	static char paths[4][400];
	static unsigned next;
	char *path = paths[next++ % 4];

	snprintf(path, sizeof paths[0], "%s/%s", f->dir, name);
	return path;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	strcpy(f->dir, "/tmp/watchable-test-XXXXXX");
	if (!mkdtemp(f->dir) || loop_new(&f->loop, NULL) < 0)
		return -1;
	mkdir(at(f, "source"), 0755);
	mkdir(at(f, "copy"), 0755);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	watchable_free(f->w);
	loop_free(f->loop);
	dir_remove(f->dir);
	free(f);
	return 0;
}

static void put(const struct fixture *f, const char *name, const char *text)
{
	assert_int_equal(file_replace(at(f, name), text, strlen(text), 0644), 0);
}

static void begin(struct fixture *f)
{
	struct err e = { 0 };

	if (watchable_new(f->loop, at(f, "source"), at(f, "copy"), &f->w, &e) < 0)
		fail_msg("%s", e.text);
}

static void expect(const struct fixture *f, const char *name, const char *text)
{
	_cleanup_free_ char *got = NULL;

	assert_int_equal(file_read(at(f, name), 4096, &got, NULL), 0);
	assert_string_equal(got, text);
}

static bool exists(const struct fixture *f, const char *name)
{
	struct stat st;

	return lstat(at(f, name), &st) == 0;
}

static void config_map(void **state)
{
	struct fixture *f = *state;
	char event[1024];
	struct stat st;
	int fd;

	mkdir(at(f, "source/..1"), 0755);
	put(f, "source/..1/key", "old");
	assert_int_equal(symlink("..1", at(f, "source/..data")), 0);
	assert_int_equal(symlink("..data/key", at(f, "source/key")), 0);
	begin(f);
	expect(f, "copy/key", "old");
	assert_int_equal(lstat(at(f, "copy/..data"), &st), 0);
	assert_true(S_ISLNK(st.st_mode));

	fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	assert_true(inotify_add_watch(fd, at(f, "copy"), IN_MODIFY | IN_ATTRIB | IN_CREATE | IN_DELETE | IN_MOVE) >= 0);
	assert_int_equal(watchable_sync(f->w), 0);
	assert_int_equal(read(fd, event, sizeof event), -1); /* nothing was changed: nobody is woken */

	mkdir(at(f, "source/..2"), 0750);
	put(f, "source/..2/key", "new");
	assert_int_equal(symlink("..2", at(f, "source/..tmp")), 0);
	assert_int_equal(rename(at(f, "source/..tmp"), at(f, "source/..data")), 0);
	assert_int_equal(unlink(at(f, "source/..1/key")), 0);
	assert_int_equal(rmdir(at(f, "source/..1")), 0);
	assert_int_equal(watchable_sync(f->w), 0);
	expect(f, "copy/key", "new");
	assert_false(exists(f, "copy/..1"));
	assert_int_equal(stat(at(f, "copy/..2"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0750);
	assert_true(read(fd, event, sizeof event) > 0);
	close(fd);
}

static void files_change_in_place(void **state)
{
	struct fixture *f = *state;
	struct stat before, after;

	put(f, "source/a", "a longer text");
	begin(f);
	assert_int_equal(stat(at(f, "copy/a"), &before), 0);
	put(f, "source/a", "short");
	assert_int_equal(chmod(at(f, "source/a"), 0440), 0);
	assert_int_equal(watchable_sync(f->w), 0);
	expect(f, "copy/a", "short");
	assert_int_equal(stat(at(f, "copy/a"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	assert_int_equal(after.st_mode & 07777, 0440);
	/* Of another kind, and back. */
	assert_int_equal(unlink(at(f, "source/a")), 0);
	mkdir(at(f, "source/a"), 0755);
	put(f, "source/a/b", "deep");
	assert_int_equal(watchable_sync(f->w), 0);
	expect(f, "copy/a/b", "deep");
	assert_int_equal(dir_remove(at(f, "source/a")), 0);
	assert_int_equal(symlink("nowhere", at(f, "source/a")), 0);
	assert_int_equal(watchable_sync(f->w), 0);
	assert_int_equal(unlink(at(f, "source/a")), 0);
	assert_int_equal(watchable_sync(f->w), 0);
	assert_false(exists(f, "copy/a"));
}

static void one_file(void **state)
{
	struct fixture *f = *state;

	put(f, "source/a", "one");
	put(f, "target", "");
	assert_int_equal(watchable_new(f->loop, at(f, "source/a"), at(f, "target"), &f->w, NULL), 0);
	expect(f, "target", "one");
	put(f, "source/a", "two");
	assert_int_equal(watchable_sync(f->w), 0);
	expect(f, "target", "two");
	assert_int_equal(unlink(at(f, "source/a")), 0);
	assert_int_equal(watchable_sync(f->w), -ENOENT);
	expect(f, "target", "two");
}

static void too_large(void **state)
{
	struct fixture *f = *state;
	char name[32];

	for (int i = 0; i < WATCHABLE_ENTRIES_MAX; i++) {
		snprintf(name, sizeof name, "source/%d", i);
		put(f, name, "x");
	}
	begin(f);
	assert_true(exists(f, "copy/15"));
	put(f, "source/more", "x");
	assert_int_equal(watchable_sync(f->w), -E2BIG);
	assert_false(exists(f, "copy/more"));
	assert_int_equal(unlink(at(f, "source/0")), 0);
	assert_int_equal(watchable_sync(f->w), 0);
	assert_true(exists(f, "copy/more"));
	assert_int_equal(truncate(at(f, "source/more"), WATCHABLE_BYTES_MAX), 0);
	assert_int_equal(watchable_sync(f->w), -E2BIG);
	watchable_free(f->w);
	f->w = NULL;
	assert_int_equal(watchable_new(f->loop, at(f, "source"), at(f, "copy"), &f->w, NULL), -E2BIG);
	assert_null(f->w);
}

/* The copy's owner puts links, a pipe and folders where files belong: nothing outside is touched, nothing hangs. */
static void hostile_copy(void **state)
{
	struct fixture *f = *state;

	put(f, "outside", "safe");
	mkdir(at(f, "source/d"), 0755);
	put(f, "source/d/a", "a");
	put(f, "source/b", "b");
	put(f, "source/c", "c");
	mkdir(at(f, "outside-dir"), 0755);
	begin(f);
	assert_int_equal(dir_remove(at(f, "copy/d")), 0);
	assert_int_equal(symlink(at(f, "outside-dir"), at(f, "copy/d")), 0);
	assert_int_equal(unlink(at(f, "copy/b")), 0);
	assert_int_equal(symlink(at(f, "outside"), at(f, "copy/b")), 0);
	assert_int_equal(unlink(at(f, "copy/c")), 0);
	assert_int_equal(mkfifo(at(f, "copy/c"), 0600), 0);
	mkdir(at(f, "copy/.caisson-new-link"), 0755);
	assert_int_equal(watchable_sync(f->w), 0);
	expect(f, "outside", "safe");
	assert_false(exists(f, "outside-dir/a"));
	expect(f, "copy/d/a", "a");
	expect(f, "copy/b", "b");
	expect(f, "copy/c", "c");
	assert_false(exists(f, "copy/.caisson-new-link"));
}

/* A container fills its copy: each round takes a bounded number away. */
static void many_leftovers(void **state)
{
	struct fixture *f = *state;
	char name[32];

	begin(f);
	for (int i = 0; i < 1500; i++) {
		snprintf(name, sizeof name, "copy/%d", i);
		close(open(at(f, name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644));
	}
	assert_int_equal(watchable_sync(f->w), -E2BIG);
	assert_int_equal(watchable_sync(f->w), 0);
	assert_int_equal(rmdir(at(f, "copy")), 0);
}

#define T(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(config_map), T(files_change_in_place), T(one_file), T(too_large), T(hostile_copy), T(many_leftovers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
