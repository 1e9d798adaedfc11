/* SPDX-License-Identifier: Apache-2.0 */
/* Loop devices of the real kernel, where it has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "sys/loop_device.h"

static void test_attach(void **state)
{
	char file[] = "/tmp/loop-test-XXXXXX", data[4096] = "what is in the file", read_back[4096] = { 0 };
	_cleanup_close_ int made = mkostemp(file, O_CLOEXEC);
	_cleanup_free_ char *path = NULL, *backing = NULL, *text = NULL;
	struct err e = { 0 };
	int fd = -1, r;

	assert_int_equal(write(made, data, sizeof data), sizeof data);
	r = loop_device_attach(file, true, &path, &fd, &e);
	unlink(file);
	if (r == -ENOENT || r == -EACCES || r == -EPERM || r == -ENODEV)
		skip();
	if (r < 0)
		fail_msg("%s", e.text);
	assert_int_equal(pread(fd, read_back, sizeof read_back, 0), sizeof read_back);
	assert_memory_equal(read_back, data, sizeof data);
	assert_int_equal(pwrite(fd, data, sizeof data, 0), -1); /* read-only */
	close(fd);
	/* Nobody holds it: it is free, or somebody else's. */
	backing = str_printf("/sys/block/%s/loop/backing_file", path + strlen("/dev/"));
	assert_true(file_read(backing, 4096, &text, NULL) < 0 || !strstr(text, file));
}

static void test_no_file(void **state)
{
	char *path = NULL;
	struct err e = { 0 };
	int fd = -1;

	assert_int_equal(loop_device_attach("/no/such/file", true, &path, &fd, &e), -ENOENT);
	assert_non_null(strstr(e.text, "/no/such/file"));
	assert_null(path);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_attach), cmocka_unit_test(test_no_file) };

	return cmocka_run_group_tests_name("loop_device", tests, NULL, NULL);
}
