/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <linux/magic.h>

#include <cmocka.h>

#include "base/fd.h"
#include "pod/rootfs_mounts.h"

static char dir[] = "/tmp/rootfs-XXXXXX";

static const char *at(const char *name)
{
	static char paths[32][128];
	static unsigned i;
	char *path = paths[i++ % 32];

	snprintf(path, sizeof paths[0], "%s/%s", dir, name);
	return path;
}

static void test_is_disk(void **state)
{
	static const char *const ro[] = { "loop", "ro" }, *const rw[] = { "loop", "rw" };
	const struct {
		struct pod_mount mount;
		bool disk, readonly;
	} cases[] = {
		{ { .type = "ext4", .source = at("image"), .options = rw, .n_options = 2 }, true, false },
		{ { .type = "ext4", .source = at("image"), .options = ro, .n_options = 2 }, true, true },
		{ { .type = "xfs", .source = at("image") }, true, false },
		/* There is no other way to mount it. */
		{ { .type = "erofs", .source = at("image") }, true, true },
		{ { .type = "bind", .source = at("image") }, false, false },
		{ { .type = "ext4", .source = dir }, false, false },
		{ { .type = "ext4", .source = "/dev/null" }, false, false },
		{ { .type = "ext4", .source = at("nothing") }, false, false },
	};
	const struct pod_mount two[] = { cases[0].mount, cases[1].mount };
	bool readonly;

	assert_int_equal(file_replace(at("image"), "x", 1, 0600), 0);
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(rootfs_is_disk(&cases[i].mount, 1, &readonly), cases[i].disk);
		if (cases[i].disk)
			assert_int_equal(readonly, cases[i].readonly);
	}
	assert_false(rootfs_is_disk(two, 2, &readonly));
	assert_false(rootfs_is_disk(two, 0, &readonly));
	assert_int_equal(unlink(at("image")), 0);
}

static void test_mount(void **state)
{
	static const char *const bind[] = { "ro" }, *const size[] = { "size=64k", "mode=0700" };
	const struct pod_mount mounts[] = {
		{ .type = "bind", .source = at("lower"), .target = "/", .options = bind, .n_options = 1 },
		{ .type = "tmpfs", .source = "tmpfs", .target = "sub", .options = size, .n_options = 2 },
		{ .type = "no-such-type", .source = "none", .target = "" },
	};
	struct err e = { 0 };
	struct statfs sfs;
	size_t n;

	if (geteuid() != 0)
		skip();
	assert_int_equal(dir_make(at("lower/sub"), 0755), 0);
	assert_int_equal(rootfs_mount(mounts, 2, at("root"), &n, &e), 0);
	assert_int_equal(n, 2);
	assert_int_equal(statfs(at("root/sub"), &sfs), 0);
	assert_int_equal(sfs.f_type, TMPFS_MAGIC);
	assert_int_equal(sfs.f_blocks * (uint64_t)sfs.f_bsize, 64 << 10);
	assert_int_equal(file_replace(at("root/file"), "x", 1, 0644), -EROFS);
	rootfs_unmount(at("root"), n);
	assert_int_equal(access(at("root/sub"), F_OK), -1);

	/* What was mounted before one that fails is told, for its undo. */
	assert_true(rootfs_mount(mounts, 3, at("root"), &n, &e) < 0);
	assert_int_equal(n, 2);
	assert_non_null(strstr(e.text, "root file system, mount 2 (no-such-type)"));
	rootfs_unmount(at("root"), n);
	assert_int_equal(access(at("root/sub"), F_OK), -1);
	assert_int_equal(rmdir(at("root")), 0);
	assert_int_equal(rmdir(at("lower/sub")), 0);
	assert_int_equal(rmdir(at("lower")), 0);
}

static void test_refusals(void **state)
{
	static const char *const loop[] = { "loop" };
	const struct pod_mount up = { .type = "tmpfs", .source = "t", .target = "a/../../b" };
	const struct pod_mount gone = { .type = "ext4", .source = at("gone"), .options = loop, .n_options = 1 };
	struct err e = { 0 };
	size_t n;

	assert_int_equal(rootfs_mount(&up, 1, at("root"), &n, &e), -EINVAL);
	assert_int_equal(n, 0);
	assert_string_equal(
		e.text, "root file system, mount 0 (tmpfs): mount target a/../../b of the root file system leads up");
	assert_int_equal(rootfs_mount(&gone, 1, at("root"), &n, &e), -ENOENT);
	assert_non_null(strstr(e.text, at("gone")));
	assert_int_equal(rmdir(at("root")), 0);
}

/* As containerd's blockfile snapshotter tells it, where the guest cannot have a disk. */
static void test_loop(void **state)
{
	static const char *const loop[] = { "loop", "rw" };
	const struct pod_mount mount = { .type = "ext4", .source = at("image"), .options = loop, .n_options = 2 };
	_cleanup_free_ char *make = str_printf("mke2fs -q -t ext4 %s 2M 2>/dev/null", at("image"));
	struct err e = { 0 };
	size_t n;

	if (geteuid() != 0 || access("/dev/loop-control", F_OK) < 0 || system(make) != 0)
		skip();
	assert_int_equal(rootfs_mount(&mount, 1, at("root"), &n, &e), 0);
	assert_int_equal(access(at("root/lost+found"), F_OK), 0);
	assert_int_equal(file_replace(at("root/file"), "x", 1, 0644), 0);
	rootfs_unmount(at("root"), n);
	assert_int_equal(access(at("root/lost+found"), F_OK), -1);
	assert_int_equal(rmdir(at("root")), 0);
	assert_int_equal(unlink(at("image")), 0);
}

static int setup(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	return geteuid() == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0);
}

static int teardown(void **state)
{
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_is_disk),
		cmocka_unit_test(test_mount),
		cmocka_unit_test(test_refusals),
		cmocka_unit_test(test_loop),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
