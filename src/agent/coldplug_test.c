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

#include "agent/coldplug.h"
#include "base/fd.h"
#include "base/strv.h"

static char sys[] = "/tmp/coldplug-test-XXXXXX";

static void make_device(const char *bus, const char *name, const char *modalias, bool has_driver)
{
	char path[256];

	snprintf(path, sizeof path, "%s/bus/%s/devices/%s%s", sys, bus, name, has_driver ? "/driver" : "");
	assert_int_equal(dir_make(path, 0755), 0);
	snprintf(path, sizeof path, "%s/bus/%s/devices/%s/modalias", sys, bus, name);
	if (modalias)
		assert_int_equal(file_replace(path, modalias, strlen(modalias), 0644), 0);
}

static int make_sys(void **state)
{
	if (!mkdtemp(sys))
		return -1;
	make_device("virtio", "virtio0", "virtio:d00000013v00001AF4\n", true);
	make_device("virtio", "virtio1", "virtio:d0000001Av00001AF4\n", false);
	make_device("virtio", "virtio2", NULL, false);
	make_device("virtio", "virtio3", "\n", false);
	make_device("empty", ".", NULL, false);
	return 0;
}

static int remove_sys(void **state)
{
	return dir_remove(sys);
}

static void collect(const char *modalias, void *userdata)
{
	assert_int_equal(strv_add(userdata, modalias), 0);
}

static void test_scan_finds_devices_without_driver(void **state)
{
	_cleanup_strv_ struct strv got = { 0 };

	assert_int_equal(coldplug_scan(sys, "virtio", collect, &got), 0);
	assert_int_equal(got.len, 1);
	assert_string_equal(got.v[0], "virtio:d0000001Av00001AF4");
	assert_int_equal(coldplug_scan(sys, "empty", collect, &got), 0);
	assert_int_equal(coldplug_scan(sys, "nd", collect, &got), -ENOENT);
	assert_int_equal(got.len, 1);
}

static void test_what_can_wait(void **state)
{
	static const char *const lazy[] = { "virtio:d00000004v00001AF4", "virtio:d00000005v00001AF4" };
	static const char *const urgent[] = { "virtio:d00000001v00001AF4",
					      "virtio:d00000002v00001AF4",
					      "virtio:d00000003v00001AF4",
					      "virtio:d00000008v00001AF4",
					      "virtio:d00000018v00001AF4",
					      "virtio:d0000001Av00001AF4",
					      "virtio:d0000001Bv00001AF4",
					      "scsi:t-0x00",
					      "",
					      "virtio:d00000004" };

	for (size_t i = 0; i < sizeof lazy / sizeof lazy[0]; i++)
		assert_true(coldplug_is_lazy(lazy[i]));
	for (size_t i = 0; i < sizeof urgent / sizeof urgent[0]; i++)
		assert_false(coldplug_is_lazy(urgent[i]));
}

static void test_events_without_coldplug(void **state)
{
	struct uevent ev = { .action = "add", .modalias = "virtio:d00000002v00001AF4" };

	coldplug_event(NULL, &ev); /* a service: udev does it */
	coldplug_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_scan_finds_devices_without_driver),
		cmocka_unit_test(test_what_can_wait),
		cmocka_unit_test(test_events_without_coldplug),
	};

	return cmocka_run_group_tests(tests, make_sys, remove_sys);
}
