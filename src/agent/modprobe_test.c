// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/modprobe.h"
#include "base/fd.h"

static char dir[] = "/tmp/modprobe-test-XXXXXX";

static void write_in(const char *folder, const char *name, const char *text)
{
	char path[128];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", folder, name);
	f = fopen(path, "we");
	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void write_file(const char *name, const char *text)
{
	write_in(dir, name, text);
}

static int make_lists(void **state)
{
	if (!mkdtemp(dir))
		return -1;
	write_file("modules.dep", "kernel/fs/fuse/fuse.ko:\n"
				  "kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/virtio/virtio.ko "
				  "kernel/virtio/virtio_ring.ko\n"
				  "kernel/char/virtio-rng.ko: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko\n"
				  "kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko\n"
				  "kernel/virtio/virtio_ring.ko:\n");
	write_file("modules.alias", "# Aliases\n"
				    "alias fs-virtiofs virtiofs\n"
				    "alias virtio:d0000001Av* virtiofs\n"
				    "alias both virtio-rng\n"
				    "alias both fuse\n"
				    "alias pci:v00001AF4d0000[0-9]* virtio\n"
				    "alias gone not_here\n"
				    "alias broken\n");
	return 0;
}

static int remove_lists(void **state)
{
	char path[128];

	snprintf(path, sizeof path, "%s/modules.dep", dir);
	unlink(path);
	snprintf(path, sizeof path, "%s/modules.alias", dir);
	unlink(path);
	return rmdir(dir);
}

/* What modprobe would load, joined by spaces. */
static void expect(const char *name, const char *files)
{
	_cleanup_strv_ struct strv got = { 0 };
	char joined[1024] = "";

	assert_int_equal(modprobe_resolve(dir, name, &got), 0);
	for (size_t i = 0; i < got.len; i++)
		snprintf(joined + strlen(joined), sizeof joined - strlen(joined), "%s%s", i ? " " : "", got.v[i]);
	assert_string_equal(joined, files);
}

#define RING "kernel/virtio/virtio_ring.ko"
#define CORE "kernel/virtio/virtio.ko"

static void test_dependencies_come_first(void **state)
{
	expect("fuse", "kernel/fs/fuse/fuse.ko");
	expect("virtiofs", RING " " CORE " kernel/fs/fuse/fuse.ko kernel/fs/fuse/virtiofs.ko");
}

static void test_dash_is_underscore(void **state)
{
	expect("virtio_rng", RING " " CORE " kernel/char/virtio-rng.ko");
	expect("virtio-ring", RING);
}

static void test_aliases(void **state)
{
	expect("fs-virtiofs", RING " " CORE " kernel/fs/fuse/fuse.ko kernel/fs/fuse/virtiofs.ko");
	expect("virtio:d0000001Av00001AF4", RING " " CORE " kernel/fs/fuse/fuse.ko kernel/fs/fuse/virtiofs.ko");
	expect("pci:v00001AF4d00001041", RING " " CORE);
	expect("both", RING " " CORE " kernel/char/virtio-rng.ko kernel/fs/fuse/fuse.ko");
}

static void test_unknown(void **state)
{
	_cleanup_strv_ struct strv got = { 0 };
	char longest[300] = { 0 };

	assert_int_equal(modprobe_resolve(dir, "nothing", &got), -ENOENT);
	assert_int_equal(modprobe_resolve(dir, "gone", &got), -ENOENT);
	assert_int_equal(modprobe_resolve(dir, "broken", &got), -ENOENT);
	assert_int_equal(modprobe_resolve(dir, "", &got), -ENOENT);
	assert_int_equal(modprobe_resolve("/nonexistent", "fuse", &got), -ENOENT);
	for (size_t i = 0; i + 1 < sizeof longest; i++)
		longest[i] = 'x';
	assert_int_equal(modprobe_resolve(dir, longest, &got), -ENAMETOOLONG);
	assert_int_equal(got.len, 0);
}

/* As the initramfs and what the host shares: the first one knows more modules than it has files. */
static void test_several_folders(void **state)
{
	_cleanup_strv_ struct strv got = { 0 };
	char all[] = "/tmp/modprobe-test-XXXXXX", path[128];
	const char *dirs[] = { dir, all };

	assert_non_null(mkdtemp(all));
	assert_int_equal(modprobe_find(dirs, 2, "fuse", &got), 0);
	snprintf(path, sizeof path, "%s/kernel/fs/fuse/fuse.ko", dir);
	assert_int_equal(got.len, 1);
	assert_string_equal(got.v[0], path);
	strv_fini(&got);
	assert_int_equal(modprobe_find(dirs, 2, "xfs", &got), -ENOENT);

	write_in(all, "modules.dep", "fuse.ko: core.ko\nxfs.ko:\ncore.ko:\n");
	write_in(all, "fuse.ko", "");
	assert_int_equal(modprobe_find(dirs, 2, "xfs", &got), 0);
	strv_fini(&got);
	/* Not all that it needs is in the other one either. */
	assert_int_equal(modprobe_find(dirs, 2, "fuse", &got), 0);
	assert_string_equal(got.v[0], path);
	strv_fini(&got);
	write_in(all, "core.ko", "");
	assert_int_equal(modprobe_find(dirs, 2, "fuse", &got), 0);
	assert_int_equal(got.len, 2);
	snprintf(path, sizeof path, "%s/core.ko", all);
	assert_string_equal(got.v[0], path);
	dir_remove(all);
}

static void test_called(void **state)
{
	assert_true(modprobe_called("/sbin/modprobe"));
	assert_true(modprobe_called("modprobe"));
	assert_false(modprobe_called("/init"));
	assert_false(modprobe_called(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_dependencies_come_first),
		cmocka_unit_test(test_dash_is_underscore),
		cmocka_unit_test(test_aliases),
		cmocka_unit_test(test_unknown),
		cmocka_unit_test(test_several_folders),
		cmocka_unit_test(test_called),
	};

	return cmocka_run_group_tests(tests, make_lists, remove_lists);
}
