/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "oci/spec.h"
#include "pod/overlays.h"

static Grpc__Spec *parse(const char *mounts)
{
	_cleanup_free_ char *json =
		str_printf("{\"ociVersion\":\"1.0.2\",\"process\":{\"args\":[\"/x\"],\"cwd\":\"/\"},"
			   "\"root\":{\"path\":\"rootfs\"},\"mounts\":[%s]}",
			   mounts);
	Grpc__Spec *spec;

	assert_int_equal(oci_spec_parse(json, strlen(json), "test", &spec, NULL, NULL), 0);
	return spec;
}

static void test_layers(void **state)
{
	Grpc__Spec *spec =
		parse("{\"destination\":\"/a\",\"type\":\"overlay\",\"source\":\"overlay\",\"options\":"
		      "[\"lowerdir=/a:/b\\\\:c:/d\",\"upperdir=/u\",\"workdir=/w\",\"ro\"]},"
		      "{\"destination\":\"/b\",\"type\":\"tmpfs\",\"source\":\"t\"},"
		      "{\"destination\":\"/c\",\"type\":\"overlay\",\"source\":\"/x\",\"options\":[\"bind\"]}");
	_cleanup_strv_ struct strv layers = { 0 };
	static const char *const wanted[] = { "/a", "/b:c", "/d", "/u", "/w" };

	assert_true(overlay_is(spec->mounts[0]));
	assert_false(overlay_is(spec->mounts[1]));
	assert_false(overlay_is(spec->mounts[2]));
	assert_int_equal(overlay_layers(spec->mounts[0], &layers), 0);
	assert_int_equal(layers.len, 5);
	for (size_t i = 0; i < 5; i++)
		assert_string_equal(layers.v[i], wanted[i]);
	oci_spec_free(spec);
}

static void test_as_binds(void **state)
{
	Grpc__Spec *spec = parse("{\"destination\":\"/b\",\"type\":\"tmpfs\",\"source\":\"t\"},"
				 "{\"destination\":\"/a\",\"type\":\"overlay\",\"source\":\"overlay\",\"options\":"
				 "[\"lowerdir=/a\",\"ro\",\"private\",\"nosuid\"]}");
	const Grpc__Mount *m = spec->mounts[1];

	assert_int_equal(overlays_as_binds(spec, "/run/o"), 0);
	assert_string_equal(spec->mounts[0]->type, "tmpfs");
	assert_string_equal(m->type, "bind");
	assert_string_equal(m->source, "/run/o-1");
	assert_int_equal(m->n_options, 2);
	assert_string_equal(m->options[0], "ro");
	assert_string_equal(m->options[1], "nosuid");
	oci_spec_free(spec);
}

static void test_mount(void **state)
{
	char dir[] = "/tmp/overlays-XXXXXX", path[64];
	_cleanup_free_ char *prefix = NULL, *mounts = NULL;
	_cleanup_strv_ struct strv mounted = { 0 };
	struct err e = { 0 };
	Grpc__Spec *spec;

	if (geteuid() != 0)
		skip();
	assert_non_null(mkdtemp(dir));
	assert_int_equal(mount("t", dir, "tmpfs", 0, NULL), 0);
	prefix = str_printf("%s/o", dir);
	for (const char *const *name = (const char *const[]){ "lower", "upper", "work", NULL }; *name; name++) {
		snprintf(path, sizeof path, "%s/%s", dir, *name);
		assert_int_equal(dir_make(path, 0755), 0);
	}
	snprintf(path, sizeof path, "%s/lower/file", dir);
	assert_int_equal(file_replace(path, "x", 1, 0644), 0);
	mounts = str_printf("{\"destination\":\"/a\",\"type\":\"overlay\",\"source\":\"overlay\",\"options\":"
			    "[\"lowerdir=%s/lower\",\"upperdir=%s/upper\",\"workdir=%s/work\",\"private\"]},"
			    "{\"destination\":\"/b\",\"type\":\"overlay\",\"options\":[\"lowerdir=/not/there\"]}",
			    dir, dir, dir);
	spec = parse(mounts);
	assert_true(overlays_mount(spec, prefix, &mounted, &e) < 0);
	assert_non_null(strstr(e.text, "the overlay for /b"));
	snprintf(path, sizeof path, "%s/o-0/file", dir);
	assert_int_equal(access(path, F_OK), 0);
	overlays_unmount(&mounted);
	snprintf(path, sizeof path, "%s/o-0", dir);
	assert_int_equal(access(path, F_OK), -1);
	snprintf(path, sizeof path, "%s/o-1", dir);
	assert_int_equal(access(path, F_OK), -1);
	assert_int_equal(umount(dir), 0);
	assert_int_equal(rmdir(dir), 0);
	oci_spec_free(spec);
}

static int own_mounts(void **state)
{
	if (geteuid() == 0 && (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0))
		return -1;
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_layers),
		cmocka_unit_test(test_as_binds),
		cmocka_unit_test(test_mount),
	};

	return cmocka_run_group_tests(tests, own_mounts, NULL);
}
