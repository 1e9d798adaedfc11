/* SPDX-License-Identifier: Apache-2.0 */
/* Option parsing for everybody; real mounts in a mount namespace of the test's own when it runs as root. */
#include "sys/mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

static int parse(const char *text, struct mount_options *o)
{
	char *v[] = { (char *)text };

	return mount_options_parse(v, 1, o, NULL);
}

static void parses_flags(void **state)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };

	assert_int_equal(parse("ro,nosuid,noexec,nodev,sync,dirsync,,defaults,size=5m,mode=755", &o), 0);
	assert_int_equal(o.attr_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NODEV);
	assert_int_equal(o.attr_clr, 0);
	assert_int_equal(o.sb_flags, MS_RDONLY | MS_SYNCHRONOUS | MS_DIRSYNC);
	assert_int_equal(o.data.len, 2);
	assert_string_equal(o.data.v[0], "size=5m");
	assert_string_equal(o.data.v[1], "mode=755");
}

static void last_word_wins(void **state)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };

	assert_int_equal(parse("ro,rw,suid,nosuid,sync,async,noatime,relatime", &o), 0);
	assert_int_equal(o.attr_set, MOUNT_ATTR_NOSUID | MOUNT_ATTR_RELATIME);
	assert_int_equal(o.attr_clr, MOUNT_ATTR_RDONLY | MOUNT_ATTR__ATIME);
	assert_int_equal(o.sb_flags, 0);
}

static void parses_bind_and_propagation(void **state)
{
	_cleanup_mount_options_ struct mount_options o = { 0 };

	assert_int_equal(parse("rbind,rprivate,shared,rro,rnoatime,tmpcopyup", &o), 0);
	assert_true(o.bind && o.recursive && o.tmpcopyup);
	assert_int_equal(o.n_propagation, 2);
	assert_int_equal(o.propagation[0].type, MS_PRIVATE);
	assert_true(o.propagation[0].recursive);
	assert_int_equal(o.propagation[1].type, MS_SHARED);
	assert_false(o.propagation[1].recursive);
	assert_int_equal(o.rattr_set, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME);
	assert_int_equal(o.rattr_clr, MOUNT_ATTR__ATIME);
	assert_int_equal(o.attr_set, 0);
	assert_int_equal(o.sb_flags, 0);
}

static void refuses(void **state)
{
	struct mount_options o;

	assert_int_equal(parse("idmap", &o), -EOPNOTSUPP);
	assert_int_equal(parse("a\nb", &o), -EINVAL);
	assert_int_equal(parse("shared,shared,shared,shared,shared,shared,shared,shared,shared", &o), -E2BIG);
	assert_null(o.data.v);
}

static int own_namespace(void **state)
{
	if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0 && mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
	    mount("tmpfs", "/mnt", "tmpfs", 0, NULL) == 0)
		*state = own_namespace;
	return 0;
}

static void mounts_really(void **state)
{
	struct mount_options o;
	struct statvfs st;
	struct err e = { 0 };

	if (!*state)
		skip();
	assert_int_equal(mkdir("/mnt/a", 0755), 0);
	assert_int_equal(mkdir("/mnt/b", 0755), 0);
	assert_int_equal(parse("size=64k,nosuid,noexec,mode=700,rslave", &o), 0);
	assert_int_equal(mount_at_path("tmpfs", "/mnt/a", "tmpfs", &o, &e), 0);
	mount_options_fini(&o);
	assert_int_equal(statvfs("/mnt/a", &st), 0);
	assert_int_equal(st.f_blocks * st.f_frsize, 65536);
	assert_int_equal(st.f_flag & (ST_NOSUID | ST_NOEXEC | ST_NODEV | ST_RDONLY), ST_NOSUID | ST_NOEXEC);

	/* A bind mount keeps what its source had and adds its own. */
	assert_int_equal(parse("bind,ro,exec", &o), 0);
	assert_int_equal(mount_at_path("/mnt/a", "/mnt/b", "", &o, &e), 0);
	mount_options_fini(&o);
	assert_int_equal(statvfs("/mnt/b", &st), 0);
	assert_int_equal(st.f_flag & (ST_NOSUID | ST_NOEXEC | ST_RDONLY), ST_NOSUID | ST_RDONLY);
	assert_int_equal(statvfs("/mnt/a", &st), 0);
	assert_int_equal(st.f_flag & ST_RDONLY, 0);

	assert_int_equal(parse("remount,rw", &o), 0);
	assert_int_equal(mount_at_path("", "/mnt/b", "", &o, &e), 0);
	mount_options_fini(&o);
	assert_int_equal(statvfs("/mnt/b", &st), 0);
	assert_int_equal(st.f_flag & ST_RDONLY, 0);

	assert_int_equal(parse("bogus=1", &o), 0);
	assert_true(mount_at_path("tmpfs", "/mnt/b", "tmpfs", &o, &e) < 0);
	mount_options_fini(&o);
	assert_int_equal(umount2("/mnt/b", MNT_DETACH), 0);
	assert_int_equal(umount2("/mnt/a", MNT_DETACH), 0);
}

static void recursive_readonly(void **state)
{
	struct mount_options o;
	struct statvfs st;
	struct err e = { 0 };

	if (!*state)
		skip();
	assert_int_equal(mkdir("/mnt/r", 0755), 0);
	assert_int_equal(mkdir("/mnt/to", 0755), 0);
	assert_int_equal(mount("tmpfs", "/mnt/r", "tmpfs", 0, NULL), 0);
	assert_int_equal(mkdir("/mnt/r/sub", 0755), 0);
	assert_int_equal(mount("tmpfs", "/mnt/r/sub", "tmpfs", 0, NULL), 0);
	assert_int_equal(parse("rbind,rro", &o), 0);
	assert_int_equal(mount_at_path("/mnt/r", "/mnt/to", "bind", &o, &e), 0);
	mount_options_fini(&o);
	assert_int_equal(statvfs("/mnt/to/sub", &st), 0);
	assert_true(st.f_flag & ST_RDONLY);
	assert_int_equal(statvfs("/mnt/r/sub", &st), 0);
	assert_false(st.f_flag & ST_RDONLY);
	umount2("/mnt/to", MNT_DETACH);
	umount2("/mnt/r", MNT_DETACH);
}

#define SNAPSHOTS "/mnt/io.containerd.snapshotter.v1.overlayfs/snapshots"
#define LAYERS    100

/* As containerd asks for an image of many layers: their names are longer than a page. */
static void overlay_of_many(void **state)
{
	_cleanup_buf_ struct buf option = { 0 };
	struct mount_options o;
	struct err e = { 0 };

	if (!*state)
		skip();
	assert_int_equal(buf_puts(&option, "lowerdir="), 0);
	for (int i = 0; i < LAYERS; i++) {
		_cleanup_free_ char *dir = str_printf(SNAPSHOTS "/%d/fs", i), *file = str_printf("%s/f%d", dir, i);

		assert_int_equal(dir_make(dir, 0755), 0);
		assert_int_equal(file_replace(file, "", 0, 0644), 0);
		assert_int_equal(buf_printf(&option, "%s%s", i ? ":" : "", dir), 0);
	}
	assert_true(option.len > 4096);
	assert_int_equal(dir_make(SNAPSHOTS "/new/upper", 0755) | dir_make(SNAPSHOTS "/new/work", 0755) |
				 dir_make("/mnt/merged", 0755),
			 0);
	assert_int_equal(buf_puts(&option, ",upperdir=" SNAPSHOTS "/new/upper,workdir=" SNAPSHOTS "/new/work"), 0);
	assert_int_equal(parse(option.data, &o), 0);
	if (mount_at_path("overlay", "/mnt/merged", "overlay", &o, &e) < 0)
		fail_msg("%s", e.text);
	mount_options_fini(&o);
	assert_int_equal(access("/mnt/merged/f0", F_OK), 0);
	assert_int_equal(access("/mnt/merged/f99", F_OK), 0);
	assert_int_equal(file_write("/mnt/merged/f0", "x"), 0);
	assert_int_equal(umount2("/mnt/merged", MNT_DETACH), 0);
	/* Layers that have nothing in common cannot be told in a page. */
	memcpy(option.data, "lowerdir=/mnu", 13);
	assert_int_equal(parse(option.data, &o), 0);
	assert_int_equal(mount_at_path("overlay", "/mnt/merged", "overlay", &o, &e), -E2BIG);
	mount_options_fini(&o);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parses_flags),
		cmocka_unit_test(last_word_wins),
		cmocka_unit_test(parses_bind_and_propagation),
		cmocka_unit_test(refuses),
		cmocka_unit_test(mounts_really),
		cmocka_unit_test(recursive_readonly),
		cmocka_unit_test(overlay_of_many),
	};

	return cmocka_run_group_tests(tests, own_namespace, NULL);
}
