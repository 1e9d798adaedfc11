/* SPDX-License-Identifier: Apache-2.0 */
/* Paths below a root that is full of traps. */
#include "sys/inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

struct fixture {
	char top[64];
	int root_fd;
};

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	char path[128];

	strcpy(f->top, "/tmp/caisson-inroot-XXXXXX");
	assert_non_null(mkdtemp(f->top));
	snprintf(path, sizeof(path), "%s/root", f->top);
	assert_int_equal(mkdir(path, 0755), 0);
	f->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(f->root_fd >= 0);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	close(f->root_fd);
	dir_remove(f->top);
	free(f);
	return 0;
}

static bool exists(int root_fd, const char *path)
{
	return faccessat(root_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void makes_directories(void **state)
{
	struct fixture *f = *state;
	int fd = inroot_mkdir(f->root_fd, "/a//b/./c/", 0755);

	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "a/b/c"));
	fd = inroot_mkdir(f->root_fd, "../../up", 0755);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "up"));
	assert_false(exists(f->root_fd, "../up"));
}

static void follows_links_inside(void **state)
{
	struct fixture *f = *state;
	int fd;

	assert_int_equal(symlinkat("/run", f->root_fd, "varrun"), 0); /* dangling: the target is made */
	assert_int_equal(symlinkat("../../../outside", f->root_fd, "up"), 0);
	assert_int_equal(symlinkat("self", f->root_fd, "self"), 0);
	fd = inroot_mkdir(f->root_fd, "varrun/x", 0755);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "run/x"));
	fd = inroot_mkdir(f->root_fd, "up/y", 0755);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "outside/y"));
	assert_false(exists(f->root_fd, "../outside"));
	assert_int_equal(inroot_mkdir(f->root_fd, "self/z", 0755), -ELOOP);
}

static void makes_mount_points(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd = inroot_mount_point(f->root_fd, "/etc/conf/file", false);

	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	close(fd);
	assert_int_equal(inroot_mount_point(f->root_fd, "/etc/conf/file", true), -ENOTDIR);
	assert_int_equal(inroot_mount_point(f->root_fd, "/etc/conf", false), -EISDIR);
	assert_int_equal(inroot_mount_point(f->root_fd, "/etc/conf/file/x", true), -ENOTDIR);
	assert_int_equal(inroot_mount_point(f->root_fd, "/", false), -EISDIR);
	/* A dangling link: the file appears where it points to, inside. */
	assert_int_equal(symlinkat("/etc/target", f->root_fd, "link"), 0);
	fd = inroot_mount_point(f->root_fd, "/link", false);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "etc/target"));
	/* Also into a folder that is not there yet, by way of another link. */
	assert_int_equal(symlinkat("../run/resolve/stub", f->root_fd, "etc/resolv.conf"), 0);
	assert_int_equal(symlinkat("etc/resolv.conf", f->root_fd, "resolv"), 0);
	fd = inroot_mount_point(f->root_fd, "/resolv", false);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "run/resolve/stub"));
	assert_int_equal(symlinkat("../../../../above/x", f->root_fd, "etc/out"), 0);
	fd = inroot_mount_point(f->root_fd, "/etc/out", false);
	assert_true(fd >= 0);
	close(fd);
	assert_true(exists(f->root_fd, "above/x"));
}

static void parents(void **state)
{
	struct fixture *f = *state;
	const char *name;
	int fd = inroot_parent(f->root_fd, "/p/q/r", &name);

	assert_true(fd >= 0);
	close(fd);
	assert_string_equal(name, "r");
	assert_true(exists(f->root_fd, "p/q"));
	assert_false(exists(f->root_fd, "p/q/r"));
	assert_int_equal(inroot_parent(f->root_fd, "/p/..", &name), -EINVAL);
	assert_int_equal(inroot_parent(f->root_fd, "/", &name), -EINVAL);
	assert_int_equal(inroot_parent(f->root_fd, "", &name), -EINVAL);
}

static void plain_paths(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int fd;

	umask(077);
	fd = inroot_make_plain(f->root_fd, "/s//t/", 02775);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 02775);
	close(fd);
	assert_int_equal(fstatat(f->root_fd, "s", &st, 0), 0);
	assert_int_equal(st.st_mode, S_IFDIR | 02775);
	/* What is there stays as it is, files too. */
	assert_int_equal(mknodat(f->root_fd, "s/file", S_IFREG | 0600, 0), 0);
	fd = inroot_make_plain(f->root_fd, "s/file", 0777);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	close(fd);
	assert_int_equal(inroot_make_plain(f->root_fd, "s/file/x", 0777), -ENOTDIR);
	/* Links are not followed, not even inside; nothing is made through them. */
	assert_int_equal(symlinkat("/s", f->root_fd, "link"), 0);
	assert_int_equal(symlinkat("nothing", f->root_fd, "s/dangling"), 0);
	assert_int_equal(inroot_make_plain(f->root_fd, "link", 0777), -ELOOP);
	assert_int_equal(inroot_make_plain(f->root_fd, "link/x", 0777), -ELOOP);
	assert_int_equal(inroot_make_plain(f->root_fd, "s/dangling", 0777), -ELOOP);
	assert_int_equal(inroot_make_plain(f->root_fd, "s/../s", 0777), -EINVAL);
	assert_int_equal(inroot_make_plain(f->root_fd, "./s", 0777), -EINVAL);
	assert_false(exists(f->root_fd, "s/x"));
	assert_false(exists(f->root_fd, "s/nothing"));
}

int main(void)
{
#define T(fn) cmocka_unit_test_setup_teardown(fn, set_up, tear_down)
	const struct CMUnitTest tests[] = { T(makes_directories), T(follows_links_inside), T(makes_mount_points),
					    T(parents), T(plain_paths) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
