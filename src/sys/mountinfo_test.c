/* SPDX-License-Identifier: Apache-2.0 */
/* Where files are, whichever mount shows them. */
#include "sys/mountinfo.h"

#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"

static void unescapes(void **state)
{
	char text[] = "a\\040b\\134c\\9d\\04", plain[] = "/srv";

	mountinfo_unescape(text);
	assert_string_equal(text, "a b\\c\\9d\\04");
	mountinfo_unescape(plain);
	assert_string_equal(plain, "/srv");
}

static void assert_place(const char *path, const char *place, dev_t dev)
{
	_cleanup_free_ char *found = NULL;
	dev_t its = 0;

	assert_int_equal(mountinfo_place(path, &its, &found), 0);
	assert_string_equal(found, place);
	assert_int_equal(its, dev);
}

static void finds_places(void **state)
{
	char dir[] = "/tmp/caisson-mountinfo-XXXXXX", *none = NULL;
	struct stat st;
	dev_t dev;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	assert_int_equal(dir_make("fs", 0755), 0);
	assert_int_equal(dir_make("bound", 0755), 0);
	assert_int_equal(mount("tmpfs", "fs", "tmpfs", 0, NULL), 0);
	assert_int_equal(dir_make("fs/a b/c", 0755), 0);
	assert_int_equal(mount("fs/a b", "bound", NULL, MS_BIND, NULL), 0);
	assert_int_equal(symlink("bound/c", "link"), 0);
	assert_int_equal(stat("fs", &st), 0);
	assert_place("fs", "/", st.st_dev);
	assert_place("fs/a b/c", "/a b/c", st.st_dev);
	assert_place("bound", "/a b", st.st_dev);
	assert_place("bound/c", "/a b/c", st.st_dev);
	assert_place("link", "/a b/c", st.st_dev);
	assert_int_equal(mountinfo_place("nothing", &dev, &none), -ENOENT);
	assert_int_equal(rmdir("fs/a b/c"), 0);
	assert_int_equal(rmdir("fs/a b"), 0);
	assert_int_equal(mountinfo_place("bound", &dev, &none), -ENOENT);
	assert_null(none);
	assert_int_equal(umount("bound"), 0);
	assert_int_equal(umount("fs"), 0);
	assert_int_equal(chdir("/"), 0);
	dir_remove(dir);
}

static void finds_mounts_below(void **state)
{
	char dir[] = "/tmp/caisson-mountinfo-XXXXXX";
	_cleanup_free_ char *folder = NULL;
	struct mountinfo_mounts m;

	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chdir(dir), 0);
	folder = str_printf("%s/v", dir);
	assert_int_equal(dir_make("v", 0755), 0);
	assert_int_equal(dir_make("v2", 0755), 0);
	assert_int_equal(mount("tmpfs", "v2", "tmpfs", 0, NULL), 0);
	assert_int_equal(mount("tmpfs", "v", "tmpfs", 0, NULL), 0);
	assert_int_equal(mountinfo_below(folder, &m), 0);
	assert_int_equal(m.n, 0);
	assert_int_equal(dir_make("v/a b", 0755), 0);
	assert_int_equal(mount("tmpfs", "v/a b", "tmpfs", 0, NULL), 0);
	assert_int_equal(dir_make("v/a b/c", 0755), 0);
	assert_int_equal(mount("tmpfs", "v/a b/c", "tmpfs", 0, NULL), 0);
	assert_int_equal(mountinfo_below(folder, &m), 0);
	assert_int_equal(m.n, 2);
	assert_string_equal(m.v[0].place, "a b");
	assert_string_equal(m.v[1].place, "a b/c");
	assert_true(m.v[0].id && m.v[1].id && m.v[0].id != m.v[1].id);
	mountinfo_mounts_fini(&m);
	assert_int_equal(mountinfo_below("/", &m), 0);
	assert_true(m.n >= 4);
	mountinfo_mounts_fini(&m);
	assert_int_equal(umount2("v", MNT_DETACH), 0);
	assert_int_equal(umount("v2"), 0);
	assert_int_equal(chdir("/"), 0);
	dir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unescapes),
		cmocka_unit_test(finds_places),
		cmocka_unit_test(finds_mounts_below),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
