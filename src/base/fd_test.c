/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <sys/stat.h>

#include "base/fd.h"

static void test_replace_and_read(void **state)
{
	char dir[] = "/tmp/caisson-fd-XXXXXX", path[64], *data;
	uint64_t size;
	size_t len;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/f", dir);
	assert_int_equal(file_replace(path, "hello", 5, 0600), 0);
	assert_int_equal(file_replace(path, "hello\0there", 11, 0600), 0);
	assert_int_equal(file_read(path, 100, &data, &len), 0);
	assert_int_equal(len, 11);
	assert_memory_equal(data, "hello\0there", 12);
	free(data);
	assert_int_equal(file_read(path, 10, &data, &len), -EFBIG);
	assert_int_equal(file_size(path, &size), 0);
	assert_int_equal(size, 11);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(file_size(path, &size), -ENOENT);
}

/* In a child, whose descriptors do not matter. */
static void test_close_others(void **state)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		const int keep[] = { 9, -1, 6 };
		bool ok = true;

		for (int fd = 3; fd < 12; fd++)
			dup2(0, fd);
		fd_close_others(keep, 3);
		for (int fd = 0; fd < 12; fd++)
			ok &= (fcntl(fd, F_GETFD) >= 0) == (fd < 3 || fd == 6 || fd == 9);
		_exit(ok ? 0 : 1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static void test_remove_does_not_follow_links(void **state)
{
	char dir[] = "/tmp/caisson-rm-XXXXXX", keep[] = "/tmp/caisson-keep-XXXXXX", path[80];

	assert_non_null(mkdtemp(dir));
	assert_non_null(mkdtemp(keep));
	snprintf(path, sizeof path, "%s/a/b/c", dir);
	assert_int_equal(dir_make(path, 0700), 0);
	snprintf(path, sizeof path, "%s/a/link", dir);
	assert_int_equal(symlink(keep, path), 0);
	snprintf(path, sizeof path, "%s/file", keep);
	assert_int_equal(file_replace(path, "", 0, 0600), 0);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(access(path, F_OK), 0);
	assert_int_equal(access(dir, F_OK), -1);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(dir_remove(keep), 0);
}

/* Deeper than descriptors and PATH_MAX allow. */
static void test_remove_deep_tree(void **state)
{
	char dir[] = "/tmp/caisson-deep-XXXXXX";
	int top, fd;

	assert_non_null(mkdtemp(dir));
	top = fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < 1500; i++) {
		int sub;

		assert_int_equal(mkdirat(fd, i % 2 ? "d" : ".remove-1", 0700), 0);
		sub = openat(fd, i % 2 ? "d" : ".remove-1", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(sub >= 0);
		assert_int_equal(symlinkat("x", sub, "link"), 0);
		if (fd != top)
			close(fd);
		fd = sub;
	}
	close(fd);
	close(top);
	assert_int_equal(dir_remove(dir), 0);
	assert_int_equal(access(dir, F_OK), -1);
}

static void test_read_full(void **state)
{
	int p[2];
	char b[4];

	assert_int_equal(pipe(p), 0);
	assert_int_equal(fd_write_full(p[1], "abc", 3), 0);
	close(p[1]);
	assert_int_equal(fd_read_full(p[0], b, 2), 0);
	assert_int_equal(fd_read_full(p[0], b, 2), -ENODATA);
	close(p[0]);
}

static void test_connect_result(void **state)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int server = socket(AF_INET, SOCK_STREAM, 0), fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	socklen_t len = sizeof a;

	/* Bound, but nobody listens. */
	assert_int_equal(bind(server, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(getsockname(server, (struct sockaddr *)&a, &len), 0);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 && errno == EINPROGRESS) {
		assert_int_equal(poll(&p, 1, 10000), 1);
		assert_int_equal(fd_connect_result(fd), -ECONNREFUSED);
	}
	close(fd);
	assert_int_equal(listen(server, 1), 0);
	p.fd = fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
	assert_true(connect(fd, (struct sockaddr *)&a, sizeof a) == 0 || errno == EINPROGRESS);
	assert_int_equal(poll(&p, 1, 10000), 1);
	assert_int_equal(fd_connect_result(fd), 0);
	close(fd);
	close(server);
	assert_int_equal(fd_connect_result(fd), -EBADF);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_replace_and_read),
		cmocka_unit_test(test_close_others),
		cmocka_unit_test(test_remove_does_not_follow_links),
		cmocka_unit_test(test_remove_deep_tree),
		cmocka_unit_test(test_read_full),
		cmocka_unit_test(test_connect_result),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
