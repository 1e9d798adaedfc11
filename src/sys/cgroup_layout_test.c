/* SPDX-License-Identifier: Apache-2.0 */
/* Layouts as hosts and containers have them, in a directory that stands for "/". */
#include "sys/cgroup_layout.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/fd.h"

static char root[] = "/tmp/caisson-layout-XXXXXX";

static int make_root(void **state)
{
	return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
	return dir_remove(root);
}

static void put(const char *path, const char *text)
{
	_cleanup_free_ char *full = str_printf("%s%s", root, path), *dir = strdup(full);

	*strrchr(dir, '/') = '\0';
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_replace(full, text, strlen(text), 0644), 0);
}

/* mounted: mount points, separated by spaces, that can be reached. */
static void host(const char *mountinfo, const char *self, const char *mounted, struct cgroup_layout *ret)
{
	_cleanup_free_ char *points = strdup(mounted);
	char *rest = points, *point;
	struct err e = { 0 };

	dir_remove(root);
	put("/proc/self/mountinfo", mountinfo);
	put("/proc/self/cgroup", self);
	while ((point = strsep(&rest, " "))) {
		_cleanup_free_ char *procs = str_printf("%s/cgroup.procs", point);

		put(procs, "");
	}
	assert_int_equal(cgroup_layout_read(root, ret, &e), 0);
}

static void assert_hierarchy(const struct cgroup_layout *l, const char *controller, const char *point, const char *own)
{
	const struct cgroup_hierarchy *h = cgroup_layout_find(l, controller);

	assert_non_null(h);
	assert_string_equal(h->mount_point + strlen(root), point);
	if (own)
		assert_string_equal(h->own, own);
	else
		assert_null(h->own);
}

static void v1(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
	     "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:4 - cgroup cgroup rw,cpu,cpuacct\n"
	     "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:5 master:1 - cgroup cgroup rw,memory\n"
	     "36 31 0:33 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset,noprefix\n"
	     "37 31 0:34 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n",
	     "9:name=systemd:/system.slice/x.service\n5:pids:/\n4:memory:/m\n3:cpuset:/\n1:cpu,cpuacct:/c:d\n",
	     "/sys/fs/cgroup/cpu,cpuacct /sys/fs/cgroup/memory /sys/fs/cgroup/systemd /sys/fs/cgroup/cpuset", &l);
	assert_int_equal(l.n, 4); /* pids is not mounted */
	assert_hierarchy(&l, "cpu", "/sys/fs/cgroup/cpu,cpuacct", "/c:d");
	assert_ptr_equal(cgroup_layout_find(&l, "cpu"), cgroup_layout_find(&l, "cpuacct"));
	assert_hierarchy(&l, "memory", "/sys/fs/cgroup/memory", "/m");
	assert_hierarchy(&l, "cpuset", "/sys/fs/cgroup/cpuset", "/");
	assert_hierarchy(&l, "name=systemd", "/sys/fs/cgroup/systemd", "/system.slice/x.service");
	assert_null(cgroup_layout_find(&l, "pids"));
	assert_false(l.v[0].v2);
}

static void v2(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("30 23 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n", "0::/user.slice\n",
	     "/sys/fs/cgroup", &l);
	put("/sys/fs/cgroup/cgroup.controllers", "cpuset cpu memory pids\n");
	cgroup_layout_fini(&l);
	assert_int_equal(cgroup_layout_read(root, &l, NULL), 0);
	assert_int_equal(l.n, 1);
	assert_true(l.v[0].v2);
	assert_hierarchy(&l, "memory", "/sys/fs/cgroup", "/user.slice");
	assert_null(cgroup_layout_find(&l, "io"));
}

static void hybrid(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	     "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
	     "1:cpu:/\n0::/\n", "/sys/fs/cgroup/cpu /sys/fs/cgroup/unified", &l);
	assert_int_equal(l.n, 2);
	assert_false(l.v[0].v2);
	assert_true(l.v[1].v2);
	assert_string_equal(l.v[1].mount_point + strlen(root), "/sys/fs/cgroup/unified");
}

/* A container without a cgroup namespace sees its own group as the root of each mount. */
static void nested(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("32 31 0:29 /docker/abc /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	     "33 31 0:30 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	     "34 31 0:31 /docker/ab /sys/fs/cgroup/pids rw - cgroup cgroup rw,pids\n"
	     "35 31 0:32 /../.. /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n",
	     "4:freezer:/\n3:pids:/docker/abc\n2:memory:/docker/abc/inner\n1:cpu:/docker/abc\n",
	     "/sys/fs/cgroup/cpu /sys/fs/cgroup/memory /sys/fs/cgroup/pids /sys/fs/cgroup/freezer", &l);
	assert_hierarchy(&l, "cpu", "/sys/fs/cgroup/cpu", "/");
	assert_hierarchy(&l, "memory", "/sys/fs/cgroup/memory", "/inner");
	assert_hierarchy(&l, "pids", "/sys/fs/cgroup/pids", NULL);
	assert_hierarchy(&l, "freezer", "/sys/fs/cgroup/freezer", NULL);
}

/* The usual place wins over others, and one that is hidden does not count. */
static void mounted_twice(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("10 1 0:29 / /var/lib/a\\040b/cg rw - cgroup cgroup rw,cpu\n"
	     "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
	     "11 1 0:30 / /var/lib/a\\040b/mem rw - cgroup cgroup rw,memory\n"
	     "33 31 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
	     "nonsense\n1 2 3\n\n",
	     "2:memory:/\n1:cpu:/\nnonsense\n", "/sys/fs/cgroup/cpu", &l);
	put("/var/lib/a b/cg/cgroup.procs", "");
	cgroup_layout_fini(&l);
	assert_int_equal(cgroup_layout_read(root, &l, NULL), 0);
	assert_hierarchy(&l, "cpu", "/sys/fs/cgroup/cpu", "/");
	assert_null(cgroup_layout_find(&l, "memory"));
	put("/var/lib/a b/mem/cgroup.procs", "");
	cgroup_layout_fini(&l);
	assert_int_equal(cgroup_layout_read(root, &l, NULL), 0);
	assert_hierarchy(&l, "memory", "/var/lib/a b/mem", "/");
}

/* One over the other, as in a cgroup namespace with a mount of its own: the later one is seen. */
static void mounted_over(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	host("99 98 0:38 /.. /sys/fs/cgroup rw - cgroup2 none rw\n"
	     "116 115 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
	     "0::/main\n", "/sys/fs/cgroup", &l);
	assert_int_equal(l.n, 1);
	assert_string_equal(l.v[0].own, "/main");
}

static void none(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };
	struct err e = { 0 };

	host("1 2 0:1 / / rw - ext4 /dev/vda rw\n", "", "/x", &l);
	assert_int_equal(l.n, 0);
	assert_int_equal(cgroup_layout_read("/nonexistent", &l, &e), -ENOENT);
	assert_non_null(strstr(e.text, "mountinfo"));
}

/* Whatever this machine has, it can be read. */
static void here(void **state)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };

	assert_int_equal(cgroup_layout_read(NULL, &l, NULL), 0);
	for (size_t i = 0; i < l.n; i++)
		assert_int_equal(access(l.v[i].mount_point, F_OK), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(v1),
		cmocka_unit_test(v2),
		cmocka_unit_test(hybrid),
		cmocka_unit_test(nested),
		cmocka_unit_test(mounted_twice),
		cmocka_unit_test(mounted_over),
		cmocka_unit_test(none),
		cmocka_unit_test(here),
	};

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
