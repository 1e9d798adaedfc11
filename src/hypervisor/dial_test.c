/* SPDX-License-Identifier: Apache-2.0 */
/* A fake VMM's socket, in the same loop's rounds: the test accepts and answers by hand. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/fd.h"
#include "hypervisor/dial.h"

static char dir[] = "/tmp/caisson-dial-XXXXXX", address[80];
static struct loop *loop;
static int listener, result, calls;

static void on_dialed(int fd, void *userdata)
{
	result = fd;
	calls++;
}

static int set_up(void **state)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	calls = 0;
	result = -1;
	snprintf(a.sun_path, sizeof a.sun_path, "%s/v", dir);
	unlink(a.sun_path);
	snprintf(address, sizeof address, "hvsock:%s/v", dir);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	assert_int_equal(bind(listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(listener, 0), 0);
	assert_int_equal(loop_new(&loop, NULL), 0);
	return 0;
}

static int tear_down(void **state)
{
	fd_close(&listener);
	fd_close(&result);
	loop_free(loop);
	return 0;
}

static struct vm_dial *dial(unsigned timeout_ms)
{
	struct vm_dial *d = NULL;

	assert_int_equal(vm_dial(loop, address, 1028, timeout_ms, on_dialed, NULL, &d), 0);
	return d;
}

/* The VMM's side, after the request. */
static int answer(const char *text)
{
	int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	char request[64] = "";

	assert_true(read(fd, request, sizeof request - 1) > 0);
	assert_string_equal(request, "CONNECT 1028\n");
	assert_int_equal(fd_write_full(fd, text, strlen(text)), 0);
	return fd;
}

static void until_called(void)
{
	uint64_t deadline = clock_ms() + 20000;

	while (!calls && clock_ms() < deadline)
		assert_int_equal(loop_run_once(loop, 20), 0);
	assert_int_equal(calls, 1);
}

static void test_connects(void **state)
{
	char data[6] = "";
	int fd;

	dial(20000);
	fd = answer("OK 10");
	assert_int_equal(loop_run_once(loop, 20), 0);
	assert_int_equal(calls, 0);
	assert_int_equal(fd_write_full(fd, "24\nhello", 8), 0);
	until_called();
	/* What follows the answer is the connection's. */
	assert_int_equal(fd_read_full(result, data, 5), 0);
	assert_string_equal(data, "hello");
	assert_true(fcntl(result, F_GETFL) & O_NONBLOCK);
	close(fd);
}

static void test_wrong_answers(void **state)
{
	static const struct {
		const char *text;
		int r;
	} cases[] = { { "", -ECONNREFUSED },
		      { "O", -EPROTO },
		      { "HTTP/1.1 400 Bad Request\n", -EPROTO },
		      { "OK 1111111111111111111111111111111111111111\n", -EPROTO } };

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		calls = 0;
		dial(20000);
		close(answer(cases[i].text));
		until_called();
		assert_int_equal(result, cases[i].r);
	}
}

static void test_silence(void **state)
{
	int fd;

	dial(50);
	fd = answer("");
	until_called();
	assert_int_equal(result, -ETIMEDOUT);
	close(fd);
}

/* connect(2) would wait. */
static void test_full_backlog(void **state)
{
	struct vm_dial *first;
	int fd;

	dial(20000);
	dial(20000);
	assert_int_equal(loop_run_once(loop, 20), 0);
	assert_int_equal(calls, 0);
	close(answer("OK 1\n"));
	until_called();
	fd_close(&result);
	calls = 0;
	while ((fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) < 0)
		assert_int_equal(loop_run_once(loop, 20), 0);
	close(fd);
	until_called();
	assert_int_equal(result, -ECONNREFUSED);
	/* For as long as it may. */
	calls = 0;
	first = dial(20000);
	dial(60);
	until_called();
	assert_int_equal(result, -ETIMEDOUT);
	vm_dial_free(first);
}

static void test_nobody(void **state)
{
	struct vm_dial *d = NULL;
	struct {
		const char *address;
		int r;
	} cases[] = { { "hvsock:/no/where", -ENOENT },
		      { address, -ECONNREFUSED },
		      { "vsock:2", -EINVAL },
		      { "vsock:x", -EINVAL },
		      { "", -EINVAL } };

	fd_close(&listener);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		assert_int_equal(vm_dial(loop, cases[i].address, 1, 1000, on_dialed, NULL, &d), cases[i].r);
	assert_int_equal(calls, 0);
}

static void test_given_up(void **state)
{
	struct vm_dial *d = dial(100);
	int fd = answer("OK 1\n");

	vm_dial_free(d);
	assert_int_equal(loop_run_once(loop, 150), 0);
	assert_int_equal(calls, 0);
	close(fd);
	vm_dial_free(NULL);
}

static int set_up_dir(void **state)
{
	return mkdtemp(dir) ? 0 : -1;
}

static int tear_down_dir(void **state)
{
	return dir_remove(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_connects, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_wrong_answers, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_silence, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_full_backlog, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_nobody, set_up, tear_down),
		cmocka_unit_test_setup_teardown(test_given_up, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, set_up_dir, tear_down_dir);
}
