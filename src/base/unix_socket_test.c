/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/entries.h"
#include "base/unix_socket.h"

static void test_listen_and_connect(void **state)
{
	char dir[] = "/tmp/unix_socket_XXXXXX", path[64], longpath[200];
	struct err e = { 0 };
	struct stat st;
	int l = -1, c = -1, other = -1;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/s", dir);
	assert_int_equal(unix_connect(path, &c), -ENOENT);
	assert_int_equal(unix_listen(path, 0600, &l, &e), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_int_equal(unix_connect(path, &c), 0);
	assert_int_equal(unix_listen(path, 0600, &other, &e), -EADDRINUSE);
	assert_non_null(strstr(e.text, "remove that file"));
	close(c);
	close(l);
	assert_int_equal(unix_connect(path, &c), -ECONNREFUSED);
	unlink(path);
	rmdir(dir);

	memset(longpath, 'x', sizeof longpath);
	longpath[0] = '/';
	longpath[199] = 0;
	e = (struct err){ 0 };
	assert_int_equal(unix_connect(longpath, &c), -ENAMETOOLONG);
	assert_int_equal(unix_listen(longpath, 0600, &l, &e), -ENAMETOOLONG);
	assert_non_null(strstr(e.text, "too long"));
	assert_int_equal(unix_listen("", 0600, &l, &e), -EINVAL);
	assert_int_equal(unix_connect("", &c), -EINVAL);
}

/* Deeper than sun_path has room for, as docker's folders are with a container's id of 64 digits in them. */
static void test_long_path(void **state)
{
	char dir[] = "/tmp/unix_socket_XXXXXX", deep[160], path[176];
	unsigned before = count_entries("/proc/self/fd");
	struct err e = { 0 };
	int l = -1, c = -1;
	struct stat st;

	assert_non_null(mkdtemp(dir));
	snprintf(deep, sizeof deep, "%s/%0120d", dir, 0);
	assert_int_equal(mkdir(deep, 0700), 0);
	snprintf(path, sizeof path, "%s/owner.sock", deep);
	assert_int_equal(unix_connect(path, &c), -ENOENT);
	if (unix_listen(path, 0600, &l, &e) < 0)
		fail_msg("%s", e.text);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_int_equal(unix_connect(path, &c), 0);
	close(c);
	close(l);
	assert_int_equal(unix_connect(path, &c), -ECONNREFUSED);
	unlink(path);
	rmdir(deep);
	assert_int_equal(unix_connect(path, &c), -ENOENT);
	rmdir(dir);
	assert_int_equal(count_entries("/proc/self/fd"), before);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_listen_and_connect),
					    cmocka_unit_test(test_long_path) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
