/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "sys/vsock.h"

static void test_parse(void **state)
{
	struct sock_addr a;

	assert_int_equal(sock_addr_parse("vsock://-1:1024", &a, NULL), 0);
	assert_int_equal(a.kind, SOCK_ADDR_VSOCK);
	assert_int_equal(a.cid, VSOCK_CID_ANY);
	assert_int_equal(a.port, 1024);
	assert_int_equal(sock_addr_parse("vsock://3:0", &a, NULL), 0);
	assert_int_equal(a.cid, 3);
	assert_int_equal(a.port, 0);
	assert_int_equal(sock_addr_parse("unix:///run/a.sock", &a, NULL), 0);
	assert_int_equal(a.kind, SOCK_ADDR_UNIX);
	assert_string_equal(a.path, "/run/a.sock");
	assert_int_equal(sock_addr_parse("unix://@abstract", &a, NULL), 0);
	assert_string_equal(a.path, "@abstract");
}

static void test_parse_errors(void **state)
{
	static const char *const bad[] = {
		"",
		"1024",
		"tcp://1:2",
		"vsock://",
		"vsock://1024",
		"vsock://:1",
		"vsock://-2:1",
		"vsock://x:1",
		"vsock://1:",
		"vsock://1:x",
		"vsock://1:-1",
		"vsock://1:4294967295",
		"vsock://4294967296:1",
		"vsock://1:2:3",
		"unix://",
		"unix:///",
		"unix://relative",
		"unix://@",
	};
	char path[256] = "unix:///";
	struct sock_addr a;
	struct err e;

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		e = (struct err){ 0 };
		assert_int_equal(sock_addr_parse(bad[i], &a, &e), -EINVAL);
		assert_int_equal(e.domain, ERR_CONFIG);
	}
	/* The longest path has 107 characters. */
	memset(path + 8, 'p', 106);
	assert_int_equal(sock_addr_parse(path, &a, NULL), 0);
	path[8 + 106] = 'p';
	assert_int_equal(sock_addr_parse(path, &a, NULL), -EINVAL);
}

static int connect_to(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(sa.sun_path, path);
	assert_int_equal(connect(fd, (struct sockaddr *)&sa, sizeof sa), 0);
	return fd;
}

static void test_listen_unix(void **state)
{
	char dir[] = "/tmp/vsock-test-XXXXXX", text[128];
	struct sock_addr a;
	struct stat st;
	int fd, peer;

	assert_non_null(mkdtemp(dir));
	snprintf(text, sizeof text, "unix://%s/s", dir);
	assert_int_equal(sock_addr_parse(text, &a, NULL), 0);
	fd = sock_addr_listen(&a, NULL);
	assert_true(fd >= 0);
	assert_int_equal(stat(a.path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	peer = connect_to(a.path);
	close(peer);
	/* In use: refused. Left behind: replaced. Not a socket: kept. */
	assert_int_equal(sock_addr_listen(&a, NULL), -EADDRINUSE);
	close(fd);
	fd = sock_addr_listen(&a, NULL);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(unlink(a.path), 0);
	assert_int_equal(file_replace(a.path, "x", 1, 0600), 0);
	assert_int_equal(sock_addr_listen(&a, NULL), -EADDRINUSE);
	assert_int_equal(dir_remove(dir), 0);
}

static void test_listen_abstract(void **state)
{
	struct sock_addr a = { .kind = SOCK_ADDR_UNIX };
	int fd;

	snprintf(a.path, sizeof a.path, "@vsock-test-%d", (int)getpid());
	fd = sock_addr_listen(&a, NULL);
	assert_true(fd >= 0);
	assert_int_equal(sock_addr_listen(&a, NULL), -EADDRINUSE);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_parse),
		cmocka_unit_test(test_parse_errors),
		cmocka_unit_test(test_listen_unix),
		cmocka_unit_test(test_listen_abstract),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
