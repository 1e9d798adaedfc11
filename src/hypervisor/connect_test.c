/* SPDX-License-Identifier: Apache-2.0 */
/* The hybrid vsock client against a fake VMM socket: a thread that answers connection N with script[N]. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/driver.h"

static char dir[] = "/tmp/caisson-connect-XXXXXX";
static char address[80];

struct fake_vmm {
	const char *const *script; /* NULL-terminated; "" closes without an answer */
	int listener;
	char request[64];
	pthread_t thread;
};

static void *fake_run(void *arg)
{
	struct fake_vmm *f = arg;

	for (size_t i = 0; f->script[i]; i++) {
		int c = accept4(f->listener, NULL, NULL, SOCK_CLOEXEC);
		ssize_t n = read(c, f->request, sizeof f->request - 1);

		f->request[n > 0 ? n : 0] = 0;
		fd_write_full(c, f->script[i], strlen(f->script[i]));
		if (str_eq(f->script[i], "silence"))
			usleep(200000);
		close(c);
	}
	return NULL;
}

static void start(struct fake_vmm *f, const char *const *script)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	*f = (struct fake_vmm){ .script = script };
	snprintf(a.sun_path, sizeof a.sun_path, "%s/v", dir);
	unlink(a.sun_path);
	snprintf(address, sizeof address, "hvsock:%s/v", dir);
	f->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(f->listener, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(f->listener, 4), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
}

static void finish(struct fake_vmm *f)
{
	pthread_join(f->thread, NULL);
	close(f->listener);
}

static void test_connects_when_the_guest_is_there(void **state)
{
	static const char *const script[] = { "", "", "OK 1073741824\nhello", NULL };
	struct fake_vmm f;
	struct err e = { 0 };
	char data[6] = "";
	int fd = -1;

	start(&f, script);
	assert_int_equal(vm_connect_address(address, 1024, clock_ms() + 10000, &fd, &e), 0);
	assert_string_equal(f.request, "CONNECT 1024\n");
	/* What follows the answer is the connection's. */
	assert_int_equal(fd_read_full(fd, data, 5), 0);
	assert_string_equal(data, "hello");
	assert_false(fcntl(fd, F_GETFL) & O_NONBLOCK);
	close(fd);
	finish(&f);
}

static void test_wrong_answers(void **state)
{
	static const char *const wrong[] = { "HTTP/1.1 400 Bad Request\r\n", NULL }, *const half[] = { "OK 12", NULL },
				 *const endless[] = { "OK 1111111111111111111111111111111111111111\n", NULL };
	const char *const *all[] = { wrong, half, endless };

	for (size_t i = 0; i < 3; i++) {
		struct fake_vmm f;
		struct err e = { 0 };
		int fd = -1;

		start(&f, all[i]);
		assert_int_equal(vm_connect_address(address, 1, clock_ms() + 10000, &fd, &e), -EPROTO);
		assert_int_equal(fd, -1);
		finish(&f);
	}
}

static void test_deadline(void **state)
{
	static const char *const script[] = { "silence", NULL };
	struct fake_vmm f;
	struct err e = { 0 };
	int fd = -1;

	start(&f, script);
	assert_true(vm_connect_address(address, 1, clock_ms() + 50, &fd, &e) < 0);
	finish(&f);
	snprintf(address, sizeof address, "hvsock:%s/nobody", dir);
	assert_int_equal(vm_connect_address(address, 1024, clock_ms() + 60, &fd, &e), -ETIMEDOUT);
	assert_int_equal(e.domain, ERR_GUEST);
}

static int fake_explain(struct vm *vm, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended");
}

static void test_end_of_the_vm(void **state)
{
	static const struct hypervisor_driver fake_driver = { .name = "fake", .explain_exit = fake_explain };
	struct vm vm = { .driver = &fake_driver, .interrupt_fd = -1 };
	struct err e = { 0 };
	uint64_t t = clock_ms();
	int p[2], fd;

	assert_int_equal(pipe2(p, O_CLOEXEC), 0);
	vm.exit_fd = p[0];
	close(p[1]);
	snprintf(vm.agent_address, sizeof vm.agent_address, "hvsock:%s/nobody", dir);
	assert_int_equal(vm_connect(&vm, 1024, t + 60000, &fd, &e), -EOWNERDEAD);
	assert_string_equal(e.text, "the VM ended");
	assert_true(clock_ms() - t < 20000);
	close(p[0]);
}

static void test_addresses(void **state)
{
	static const char *const wrong[] = { "", "tcp:1", "vsock:", "vsock:2", "vsock:x", "vsock:4294967296" };
	_cleanup_free_ char *longer = str_printf("hvsock:/%0107d", 0);
	int fd;

	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		assert_int_equal(vm_connect_address(wrong[i], 1, clock_ms() + 1000, &fd, NULL), -EINVAL);
	assert_int_equal(vm_connect_address(longer, 1, clock_ms() + 1000, &fd, NULL), -ENAMETOOLONG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_connects_when_the_guest_is_there),
		cmocka_unit_test(test_wrong_answers),
		cmocka_unit_test(test_deadline),
		cmocka_unit_test(test_end_of_the_vm),
		cmocka_unit_test(test_addresses),
	};
	int r;

	if (!mkdtemp(dir))
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	dir_remove(dir);
	return r;
}
