/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/oci_record.h"
#include "oci/spec.h"

static int setup(void **state)
{
	char *root = strdup("/tmp/caisson-record-XXXXXX"), dir[64];

	assert_non_null(mkdtemp(root));
	snprintf(dir, sizeof dir, "%s/c1", root);
	assert_int_equal(mkdir(dir, 0700), 0);
	*state = root;
	return 0;
}

static int teardown(void **state)
{
	dir_remove(*state);
	free(*state);
	return 0;
}

static void make(const char *json, struct oci_record *ret)
{
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	struct err e = { 0 };

	if (oci_spec_parse(json, strlen(json), "test", &spec, NULL, &e) < 0 ||
	    oci_record_make("c1", "pod", "/bundle", spec, ret, &e) < 0)
		fail_msg("%s", e.text);
}

#define SPEC "{\"ociVersion\":\"1.0.2-dev\",\"root\":{\"path\":\"%s\"},\"annotations\":{\"a.b\":\"c\"}}"

static void test_state(void **state)
{
	static const char *const keys[] = { "ociVersion", "id",      "pid",         "status", "bundle",
					    "rootfs",     "created", "annotations", "owner" };
	_cleanup_oci_record_ struct oci_record r = { 0 };
	_cleanup_json_ struct json_object *o = NULL;
	char spec[256];
	uint64_t pid;

	snprintf(spec, sizeof spec, SPEC, "rootfs");
	make(spec, &r);
	o = oci_record_state(&r, "running", 77, "");
	/* Those of runc, all and in its order. */
	for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
		assert_non_null(json_get(o, keys[i]));
	assert_string_equal(json_get_str(o, "ociVersion"), "1.0.2-dev");
	assert_string_equal(json_get_str(o, "id"), "c1");
	assert_int_equal(json_get_u64(o, "pid", &pid), 0);
	assert_int_equal(pid, 77);
	assert_string_equal(json_get_str(o, "status"), "running");
	assert_string_equal(json_get_str(o, "bundle"), "/bundle");
	assert_string_equal(json_get_str(o, "rootfs"), "/bundle/rootfs");
	assert_string_equal(json_get_str(json_get_object(o, "annotations"), "a.b"), "c");
	/* RFC 3339 with nanoseconds */
	assert_int_equal(strlen(json_get_str(o, "created")), strlen("2026-11-26T18:30:42.158195179Z"));
}

static void test_absolute_root(void **state)
{
	_cleanup_oci_record_ struct oci_record r = { 0 };
	char spec[256];

	snprintf(spec, sizeof spec, SPEC, "/var/lib/root");
	make(spec, &r);
	assert_string_equal(r.rootfs, "/var/lib/root");
}

static void test_kept(void **state)
{
	_cleanup_oci_record_ struct oci_record r = { 0 }, again = { 0 };
	const char *root = *state;
	char dir[64], spec[256];
	struct err e = { 0 };

	snprintf(dir, sizeof dir, "%s/c1", root);
	snprintf(spec, sizeof spec, SPEC, "rootfs");
	make(spec, &r);
	assert_int_equal(oci_record_write(&r, dir, &e), 0);
	assert_int_equal(oci_record_read(root, "c1", &again, &e), 0);
	assert_string_equal(again.id, "c1");
	assert_string_equal(again.sandbox, "pod");
	assert_string_equal(again.bundle, r.bundle);
	assert_string_equal(again.rootfs, r.rootfs);
	assert_string_equal(again.created, r.created);
	assert_string_equal(again.owner, r.owner);
	assert_string_equal(again.oci_version, r.oci_version);
	assert_string_equal(json_get_str(again.annotations, "a.b"), "c");
}

static void test_not_there(void **state)
{
	struct oci_record r = { 0 };
	struct err e = { 0 };

	assert_int_equal(oci_record_read(*state, "c2", &r, &e), -ENOENT);
	assert_string_equal(e.text, "container does not exist");
	/* One of `caisson run` has a folder, too. */
	assert_int_equal(oci_record_read(*state, "c1", &r, &e), -ENOENT);
	assert_int_equal(oci_record_read(*state, "../c1", &r, &e), -EINVAL);
	assert_int_equal(oci_record_read("/no/such/root", "c1", &r, &e), -ENOENT);
}

static void test_damaged(void **state)
{
	static const char *const texts[] = { "", "[]", "{", "{\"sandbox\":\"../x\"}", "{\"sandbox\":7}" };
	char path[64];

	snprintf(path, sizeof path, "%s/c1/oci.json", (char *)*state);
	for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
		struct oci_record r = { 0 };
		struct err e = { 0 };
		int ret;

		assert_int_equal(file_replace(path, texts[i], strlen(texts[i]), 0600), 0);
		ret = oci_record_read(*state, "c1", &r, &e);
		assert_true(ret < 0 && ret != -ENOENT);
		assert_non_null(strstr(e.text, "oci.json"));
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_state),
		cmocka_unit_test(test_absolute_root),
		cmocka_unit_test_setup_teardown(test_kept, setup, teardown),
		cmocka_unit_test_setup_teardown(test_not_there, setup, teardown),
		cmocka_unit_test_setup_teardown(test_damaged, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
