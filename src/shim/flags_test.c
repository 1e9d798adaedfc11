/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shim/address.h"
#include "shim/flags.h"

#define HASH "d25aa4ef11a84e954e74a5bcff06557d0b6ea8d0c00243896f29826694bbd888"

#define PARSE(ret, e, ...)                                                                                             \
	shim_flags_parse(sizeof((const char *[]){ "shim", __VA_ARGS__ }) / sizeof(char *),                             \
			 (char **)(const char *[]){ "shim", __VA_ARGS__, NULL }, ret, e)

/* As containerd 1.6 writes it. */
static void test_start(void **state)
{
	struct shim_flags f;

	assert_int_equal(PARSE(&f, NULL, "-namespace", "k8s.io", "-address", "/run/containerd/containerd.sock",
			       "-publish-binary", "/usr/bin/containerd", "-id", "c1", "-debug", "start"),
			 0);
	assert_string_equal(f.namespace, "k8s.io");
	assert_string_equal(f.address, "/run/containerd/containerd.sock");
	assert_string_equal(f.publish_binary, "/usr/bin/containerd");
	assert_string_equal(f.id, "c1");
	assert_string_equal(f.action, "start");
	assert_null(f.bundle);
	assert_true(f.debug);
}

static void test_forms(void **state)
{
	struct shim_flags f;

	assert_int_equal(PARSE(&f, NULL, "--id=c1", "-bundle=/b=c", "--debug=false", "-namespace", "", "delete"), 0);
	assert_string_equal(f.id, "c1");
	assert_string_equal(f.bundle, "/b=c");
	assert_string_equal(f.namespace, "");
	assert_false(f.debug);
	assert_string_equal(f.action, "delete");
	assert_int_equal(PARSE(&f, NULL, "-v"), 0);
	assert_true(f.version);
	assert_null(f.action);
	assert_int_equal(PARSE(&f, NULL, "-info"), 0);
	assert_true(f.info);
}

static void test_wrong(void **state)
{
	struct err e = { 0 };
	struct shim_flags f;

	assert_int_equal(PARSE(&f, &e, "-nonsense", "start"), -EINVAL);
	assert_string_equal(e.text, "-nonsense: there is no such flag");
	assert_int_equal(PARSE(&f, &e, "-id"), -EINVAL);
	assert_string_equal(e.text, "-id: a value is missing");
	assert_int_equal(PARSE(&f, &e, "-debug=perhaps"), -EINVAL);
	assert_int_equal(PARSE(&f, &e, "start", "stop"), -EINVAL);
}

/* The name that containerd's own shims would have for this container (sha256 of "ADDRESS/NS/ID"). */
static void test_address(void **state)
{
	char *a = shim_address("/run/containerd/containerd.sock", "default", "c1");

	assert_string_equal(a, "unix:///run/containerd/s/" HASH);
	assert_string_equal(shim_address_path(a), "/run/containerd/s/" HASH);
	assert_null(shim_address_path("unix://relative"));
	assert_null(shim_address_path("vsock://2:1"));
	free(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_start),
		cmocka_unit_test(test_forms),
		cmocka_unit_test(test_wrong),
		cmocka_unit_test(test_address),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
