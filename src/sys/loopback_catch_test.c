/* SPDX-License-Identifier: Apache-2.0 */
/* A network namespace of the test's own, which it is in, with a loopback that is up. Needs root. */
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/err.h"
#include "sys/loopback_catch.h"

static int ns_fd = -1;

static void address(bool ipv6, uint32_t v4, uint16_t port, struct sockaddr_storage *ret)
{
	if (ipv6)
		*(struct sockaddr_in6 *)ret = (struct sockaddr_in6){ .sin6_family = AF_INET6,
								     .sin6_addr = IN6ADDR_LOOPBACK_INIT,
								     .sin6_port = htons(port) };
	else
		*(struct sockaddr_in *)ret = (struct sockaddr_in){ .sin_family = AF_INET,
								   .sin_addr.s_addr = htonl(v4),
								   .sin_port = htons(port) };
}

/* A connected socket or -errno. */
static int dial(bool ipv6, uint32_t v4, uint16_t port)
{
	struct sockaddr_storage a = { 0 };
	int fd = socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	address(ipv6, v4, port, &a);
	if (connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
		return fd;
	close(fd);
	return -errno;
}

static uint16_t local_port(int fd)
{
	struct sockaddr_storage a;
	socklen_t len = sizeof a;

	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	return ntohs(a.ss_family == AF_INET ? ((struct sockaddr_in *)&a)->sin_port
					    : ((struct sockaddr_in6 *)&a)->sin6_port);
}

static int open_catch(struct loopback_catch *c)
{
	struct err e = { 0 };
	int r;

	if (ns_fd < 0)
		skip();
	r = loopback_catch_open(ns_fd, 8, c, &e);
	if (r < 0)
		fail_msg("%s", e.text);
	return r;
}

static void test_every_port(void **state)
{
	static const uint16_t ports[] = { 1, 80, 40000, 65535 };
	struct loopback_catch c;

	open_catch(&c);
	assert_true(c.listen_fds[1] >= 0);
	for (int i = 0; i < 2; i++)
		for (size_t k = 0; k < sizeof ports / sizeof *ports; k++) {
			int client = dial(i, INADDR_LOOPBACK, ports[k]), fd;

			assert_true(client >= 0);
			fd = accept(c.listen_fds[i], NULL, NULL);
			assert_true(fd >= 0);
			assert_int_equal(local_port(fd), ports[k]);
			assert_int_equal(write(fd, "x", 1), 1);
			assert_int_equal(read(client, &(char){ 0 }, 1), 1);
			close(fd);
			close(client);
		}
	loopback_catch_close(&c);
	/* Nothing is left. */
	assert_int_equal(dial(false, INADDR_LOOPBACK, 80), -ECONNREFUSED);
	assert_int_equal(dial(true, 0, 80), -ECONNREFUSED);
}

/* 127.0.0.11 is the address of docker's name server. */
static void test_other_addresses_are_left_alone(void **state)
{
	struct loopback_catch c;
	struct sockaddr_storage a = { 0 };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;

	open_catch(&c);
	assert_int_equal(dial(false, 0x7f00000b, 53), -ECONNREFUSED);
	address(false, 0x7f00000b, 53, &a);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(fd, 1), 0);
	client = dial(false, 0x7f00000b, 53);
	assert_true(client >= 0);
	assert_int_equal(accept(c.listen_fds[0], NULL, NULL), -1);
	close(client);
	close(fd);
	loopback_catch_close(&c);
}

/* Who is killed leaves nothing, either. */
static void test_killed(void **state)
{
	struct loopback_catch c;
	int ready[2], fd;
	char byte;
	pid_t pid;

	if (ns_fd < 0)
		skip();
	assert_int_equal(pipe(ready), 0);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		byte = loopback_catch_open(ns_fd, 8, &c, NULL) == 0;
		(void)!write(ready[1], &byte, 1);
		pause();
	}
	assert_int_equal(read(ready[0], &byte, 1), 1);
	assert_int_equal(byte, 1);
	fd = dial(false, INADDR_LOOPBACK, 80);
	assert_true(fd >= 0);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(dial(false, INADDR_LOOPBACK, 80), -ECONNREFUSED);
	close(fd);
	close(ready[0]);
	close(ready[1]);
}

static void test_no_namespace(void **state)
{
	struct loopback_catch c = LOOPBACK_CATCH_NONE;
	struct err e = { 0 };

	assert_true(loopback_catch_open(STDERR_FILENO, 8, &c, &e) < 0);
	assert_non_null(strstr(e.text, "BPF_SK_LOOKUP"));
	assert_int_equal(c.link_fd, -1);
}

static int set_up(void **state)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	struct loopback_catch c;
	struct err e = { 0 };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		return 0;
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &ifr), 0);
	close(fd);
	ns_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	/* What a kernel lacks is no failure. */
	if (loopback_catch_open(ns_fd, 8, &c, &e) == 0) {
		loopback_catch_close(&c);
	} else if (e.code == EINVAL || e.code == EPERM || e.code == ENOSYS) {
		print_message("%s\n", e.text);
		close(ns_fd);
		ns_fd = -1;
	}
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_port),
		cmocka_unit_test(test_other_addresses_are_left_alone),
		cmocka_unit_test(test_killed),
		cmocka_unit_test(test_no_namespace),
	};

	return cmocka_run_group_tests(tests, set_up, NULL);
}
