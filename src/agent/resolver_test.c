// SPDX-License-Identifier: Apache-2.0
/* The name server of containers, in a network namespace of the test's own. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

#include "agent/resolver.h"
#include "agent/resolver_redirect.h"
#include "base/cleanup.h"
#include "base/fd.h"

#define ADDRESS "127.0.0.11"

static struct loop *loop;
static struct resolver *server;
static unsigned n_ready;

static void on_ready(void *userdata)
{
	(void)userdata;
	n_ready++;
}

static int try_start(const char *address, unsigned timeout_ms, const char *cgroup, struct err *e)
{
	struct resolver_params p = { .loop = loop, .cgroup = cgroup, .timeout_ms = timeout_ms, .ready = on_ready };

	n_ready = 0;
	assert_int_equal(inet_pton(AF_INET, address, &p.address), 1);
	return resolver_new(&p, &server, e);
}

static void start(unsigned timeout_ms)
{
	struct err e = { 0 };

	if (try_start(ADDRESS, timeout_ms, NULL, &e) < 0)
		fail_msg("%s", e.text);
}

static int stop(void **state)
{
	(void)state;
	resolver_free(take_ptr(server));
	return 0;
}

static struct sockaddr_in server_address(void)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };

	inet_pton(AF_INET, ADDRESS, &a.sin_addr);
	return a;
}

static int client(int type)
{
	struct sockaddr_in a = server_address();
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

/* A query of one question, "a.": 19 bytes. */
static const uint8_t query[] = { 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'a', 0, 0, 1, 0, 1 };

static void ask(int fd)
{
	assert_int_equal(send(fd, query, sizeof query, 0), sizeof query);
}

static void ask_stream(int fd)
{
	uint8_t head[2] = { 0, sizeof query };

	assert_int_equal(send(fd, head, 2, 0), 2);
	ask(fd);
}

static struct resolver_query taken(void)
{
	struct resolver_query q;

	for (int i = 0; i < 500; i++) {
		if (resolver_take(server, &q))
			return q;
		loop_run_once(loop, 10);
	}
	fail_msg("no query has come");
	return q;
}

static bool has_answer(int fd)
{
	char c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) >= 0;
}

/* Run the loop until something can be read from fd: bytes, or the end. */
static ssize_t receive(int fd, void *data, size_t n)
{
	for (int i = 0; i < 500 && !has_answer(fd); i++)
		loop_run_once(loop, 10);
	return recv(fd, data, n, MSG_DONTWAIT);
}

static void run_ms(unsigned ms)
{
	for (uint64_t end = clock_ms() + ms; clock_ms() < end;)
		loop_run_once(loop, 10);
}

/* ---- answers ---- */

static void answers_datagrams(void **state)
{
	int one = client(SOCK_DGRAM), two = client(SOCK_DGRAM);
	struct resolver_query first, second;
	char answer[64];

	(void)state;
	start(5000);
	ask(one);
	first = taken();
	assert_false(first.stream);
	assert_int_equal(first.len, sizeof query);
	assert_memory_equal(first.data, query, sizeof query);
	ask(two);
	second = taken();
	assert_int_not_equal(first.id, second.id);
	resolver_answer(server, second.id, (const uint8_t *)"the second answer", 17);
	resolver_answer(server, first.id, (const uint8_t *)"the first answer", 16);
	assert_int_equal(receive(two, answer, sizeof answer), 17);
	assert_memory_equal(answer, "the second answer", 17);
	assert_int_equal(receive(one, answer, sizeof answer), 16);
	/* There is one answer to a query. */
	resolver_answer(server, first.id, (const uint8_t *)"the first answer", 16);
	run_ms(50);
	assert_false(has_answer(one));
	close(one);
	close(two);
}

static void answers_streams(void **state)
{
	_cleanup_free_ uint8_t *large = calloc(1, 65535), *got = malloc(65537);
	struct resolver_query q;
	size_t n = 0;
	int fd;

	(void)state;
	start(5000);
	fd = client(SOCK_STREAM);
	/* Byte by byte, and two at once. */
	for (size_t i = 0; i < sizeof query + 2; i++) {
		uint8_t byte = i < 2 ? (i ? sizeof query : 0) : query[i - 2];

		assert_int_equal(send(fd, &byte, 1, 0), 1);
		loop_run_once(loop, 0);
	}
	ask_stream(fd);
	q = taken();
	assert_true(q.stream);
	assert_int_equal(q.len, sizeof query);
	assert_memory_equal(q.data, query, sizeof query);
	large[65534] = 7;
	resolver_answer(server, q.id, large, 65535);
	while (n < 65537) {
		ssize_t k = receive(fd, got + n, 65537 - n);

		assert_true(k > 0);
		n += (size_t)k;
	}
	assert_int_equal(got[0], 0xff);
	assert_int_equal(got[1], 0xff);
	assert_int_equal(got[65536], 7);
	q = taken();
	resolver_answer(server, q.id, (const uint8_t *)"the second answer", 17);
	assert_int_equal(receive(fd, got, 100), 19);
	assert_memory_equal(got, "\0\21the second answer", 19);
	close(fd);
}

/* SERVFAIL, with the question that it is for: so clients go on to their next server at once. */
static void tells_failure(void **state)
{
	int udp, tcp;
	uint8_t got[64];

	(void)state;
	start(5000);
	udp = client(SOCK_DGRAM);
	tcp = client(SOCK_STREAM);
	ask(udp);
	resolver_answer(server, taken().id, NULL, 0);
	assert_int_equal(receive(udp, got, sizeof got), sizeof query);
	assert_int_equal(got[2] & 0x80, 0x80);
	assert_int_equal(got[3] & 15, 2);
	assert_memory_equal(got, query, 2);
	assert_memory_equal(got + 4, query + 4, sizeof query - 4);
	ask_stream(tcp);
	/* Less than a header is none. */
	resolver_answer(server, taken().id, (const uint8_t *)"short", 5);
	assert_int_equal(receive(tcp, got, sizeof got), sizeof query + 2);
	assert_int_equal(got[5] & 15, 2);
	close(udp);
	close(tcp);
}

/* ---- limits ---- */

static void drops_what_is_no_query(void **state)
{
	struct resolver_query q;
	char got[8];
	int udp, tcp;

	(void)state;
	start(5000);
	udp = client(SOCK_DGRAM);
	tcp = client(SOCK_STREAM);
	assert_int_equal(send(udp, query, 11, 0), 11);
	assert_int_equal(send(udp, query, 0, 0), 0);
	assert_int_equal(send(tcp, "\0\0", 2, 0), 2);
	assert_int_equal(receive(tcp, got, sizeof got), 0);
	assert_false(resolver_take(server, &q));
	/* An answer to what nobody has asked, and one that is too long. */
	resolver_answer(server, 77, query, sizeof query);
	ask(udp);
	q = taken();
	resolver_answer(server, q.id, query, 65536);
	resolver_answer(server, q.id, query, sizeof query);
	assert_int_equal(receive(udp, got, sizeof got), sizeof got);
	close(udp);
	close(tcp);
}

static unsigned take_all(uint64_t *ids)
{
	struct resolver_query q;
	unsigned n = 0;

	run_ms(100);
	while (resolver_take(server, &q))
		ids[n++] = q.id;
	return n;
}

static void bounds_what_waits(void **state)
{
	int udp, tcp[20];
	uint64_t ids[128];
	char got[8];
	unsigned n;

	(void)state;
	start(60000);
	udp = client(SOCK_DGRAM);
	for (int i = 0; i < 60; i++)
		ask(udp);
	assert_int_equal(take_all(ids), 48);
	/* The rest waits in the socket. */
	for (int i = 0; i < 10; i++)
		resolver_answer(server, ids[i], query, sizeof query);
	assert_int_equal(take_all(ids), 10);
	for (size_t i = 0; i < 20; i++) {
		tcp[i] = client(SOCK_STREAM);
		ask_stream(tcp[i]);
		run_ms(20);
	}
	n = take_all(ids);
	assert_int_equal(n, 16);
	assert_true(receive(tcp[19], got, sizeof got) <= 0);
	/* A client that goes makes room. */
	resolver_answer(server, ids[0], query, sizeof query);
	run_ms(50);
	for (size_t i = 0; i < 20; i++)
		close(tcp[i]);
	close(udp);
}

static void forgets_what_nobody_answers(void **state)
{
	int udp, tcp, idle;
	struct resolver_query q;
	uint64_t ids[8];
	char got[8];

	(void)state;
	start(300);
	udp = client(SOCK_DGRAM);
	tcp = client(SOCK_STREAM);
	idle = client(SOCK_STREAM);
	ask(udp);
	ask_stream(tcp);
	assert_int_equal(send(idle, "\0\100half", 6, 0), 6);
	assert_int_equal(take_all(ids), 2);
	assert_int_equal(receive(tcp, got, sizeof got), 0);
	assert_int_equal(receive(idle, got, sizeof got), 0);
	run_ms(1100);
	resolver_answer(server, ids[0], query, sizeof query);
	resolver_answer(server, ids[1], query, sizeof query);
	run_ms(50);
	assert_false(has_answer(udp));
	ask(udp);
	q = taken();
	resolver_answer(server, q.id, query, sizeof query);
	assert_int_equal(receive(udp, got, sizeof got), sizeof got);
	close(udp);
	close(tcp);
	close(idle);
}

/* Who asks all the time does not keep alive what others have left. */
static void forgets_while_others_ask(void **state)
{
	int udp, idle;
	struct resolver_query q;
	char got[8];

	(void)state;
	start(300);
	udp = client(SOCK_DGRAM);
	idle = client(SOCK_STREAM);
	for (int i = 0; i < 30 && !has_answer(idle); i++) {
		ask(udp);
		run_ms(100);
		while (resolver_take(server, &q))
			resolver_answer(server, q.id, query, sizeof query);
	}
	assert_true(has_answer(idle));
	assert_int_equal(recv(idle, got, sizeof got, MSG_DONTWAIT), 0);
	close(udp);
	close(idle);
}

/* Others of the loop have their turn while a container sends what is no query as fast as it can. */
static void reads_some_at_a_time(void **state)
{
	int udp;

	(void)state;
	start(5000);
	udp = client(SOCK_DGRAM);
	for (int i = 0; i < 100; i++)
		assert_int_equal(send(udp, query, 1, 0), 1);
	ask(udp);
	loop_run_once(loop, 100);
	assert_int_equal(n_ready, 0);
	taken();
	close(udp);
}

/* Connections wait then, and nothing spins. */
static void waits_for_descriptors(void **state)
{
	struct rlimit all, none;
	uint64_t end = clock_ms() + 300;
	int fd, rounds = 0;

	(void)state;
	start(5000);
	fd = client(SOCK_STREAM);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &all), 0);
	none = (struct rlimit){ .rlim_cur = 0, .rlim_max = all.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	for (; clock_ms() < end; rounds++)
		loop_run_once(loop, 20);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &all), 0);
	assert_true(rounds < 50);
	ask_stream(fd);
	assert_true(taken().stream);
	close(fd);
}

static void serves_loopback_only(void **state)
{
	struct err e = { 0 };

	(void)state;
	assert_int_equal(try_start("10.0.0.1", 1000, NULL, &e), -EINVAL);
	assert_int_equal(try_start("0.0.0.0", 1000, NULL, &e), -EINVAL);
	assert_null(server);
}

/* ---- beside a server of the container's own ---- */

static char cgroup[64];

/* A folder of cgroup v2 with this process in it. NULL: not here. */
static const char *enter_cgroup(void)
{
	char dir[] = "/tmp/caisson-resolver-XXXXXX", path[96], pid[16];

	if (!mkdtemp(dir) || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return NULL;
	if (mount("cgroup2", dir, "cgroup2", 0, NULL) < 0) {
		rmdir(dir);
		return NULL;
	}
	snprintf(cgroup, sizeof cgroup, "%s/caisson-resolver-%d", dir, (int)getpid());
	snprintf(path, sizeof path, "%s/cgroup.procs", cgroup);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	return mkdir(cgroup, 0755) == 0 && file_write(path, pid) == 0 ? cgroup : NULL;
}

static void leave_cgroup(void)
{
	char path[128], pid[16], *slash;

	snprintf(path, sizeof path, "%s/../cgroup.procs", cgroup);
	snprintf(pid, sizeof pid, "%d", (int)getpid());
	file_write(path, pid);
	rmdir(cgroup);
	slash = strrchr(cgroup, '/');
	*slash = '\0';
	umount2(cgroup, MNT_DETACH);
	rmdir(cgroup);
}

static int bound(int type, const char *address, uint16_t port)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0), one = 1;

	/* Connections of the tests before are in TIME_WAIT. */
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	inet_pton(AF_INET, address, &a.sin_addr);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
	return fd;
}

/* As musl asks, without connect(2): the answer must come from where the query went. family: of the socket. */
static void ask_unconnected(int family)
{
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in a = server_address(), from4;
	struct sockaddr_in6 a6 = { .sin6_family = AF_INET6, .sin6_port = htons(53) }, from6;
	bool v6 = family == AF_INET6;
	socklen_t len = v6 ? sizeof from6 : sizeof from4;
	uint8_t got[64];

	inet_pton(AF_INET6, "::ffff:" ADDRESS, &a6.sin6_addr);
	assert_int_equal(sendto(fd, query, sizeof query, 0, v6 ? (struct sockaddr *)&a6 : (struct sockaddr *)&a,
				v6 ? sizeof a6 : sizeof a),
			 sizeof query);
	resolver_answer(server, taken().id, query, sizeof query);
	for (int i = 0; i < 500 && !has_answer(fd); i++)
		loop_run_once(loop, 10);
	assert_int_equal(recvfrom(fd, got, sizeof got, MSG_DONTWAIT,
				  v6 ? (struct sockaddr *)&from6 : (struct sockaddr *)&from4, &len),
			 sizeof query);
	assert_int_equal(v6 ? from6.sin6_port : from4.sin_port, htons(53));
	if (v6)
		assert_memory_equal(&from6.sin6_addr, &a6.sin6_addr, 16);
	else
		assert_int_equal(from4.sin_addr.s_addr, a.sin_addr.s_addr);
	close(fd);
}

static void leaves_the_port_to_containers(void **state)
{
	const char *dir = enter_cgroup();
	struct err e = { 0 };
	int udp, tcp, fd;
	uint8_t got[64];

	(void)state;
	if (!dir)
		skip();
	/* Somebody serves names by himself, on all addresses: before, and after. */
	udp = bound(SOCK_DGRAM, "0.0.0.0", 53);
	if (try_start(ADDRESS, 5000, dir, &e) < 0)
		fail_msg("%s", e.text);
	tcp = bound(SOCK_STREAM, "0.0.0.0", 53);
	fd = client(SOCK_DGRAM);
	ask(fd);
	resolver_answer(server, taken().id, query, sizeof query);
	assert_int_equal(receive(fd, got, sizeof got), sizeof query);
	close(fd);
	fd = client(SOCK_STREAM);
	ask_stream(fd);
	resolver_answer(server, taken().id, query, sizeof query);
	assert_int_equal(receive(fd, got, sizeof got), sizeof query + 2);
	close(fd);
	ask_unconnected(AF_INET);
	ask_unconnected(AF_INET6);
	/* Another address is the container's. */
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	assert_int_equal(connect(fd,
				 (struct sockaddr *)&(struct sockaddr_in){ .sin_family = AF_INET,
									   .sin_port = htons(53),
									   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) },
				 sizeof(struct sockaddr_in)),
			 0);
	ask(fd);
	assert_int_equal(receive(udp, got, sizeof got), sizeof query);
	close(fd);
	/* And so is ours once we have gone. */
	stop(NULL);
	fd = client(SOCK_DGRAM);
	ask(fd);
	assert_int_equal(receive(udp, got, sizeof got), sizeof query);
	close(fd);
	close(udp);
	close(tcp);
	leave_cgroup();
}

/* Where it cannot be, port 53 is ours, if it is free. */
static void takes_the_port_otherwise(void **state)
{
	struct err e = { 0 };
	uint8_t got[64];
	int fd = bound(SOCK_DGRAM, "0.0.0.0", 53);

	(void)state;
	assert_int_equal(try_start(ADDRESS, 5000, "/proc/self", &e), -EADDRINUSE);
	close(fd);
	e = (struct err){ 0 };
	assert_int_equal(try_start(ADDRESS, 5000, "/proc/self", &e), 0);
	fd = client(SOCK_DGRAM);
	ask(fd);
	resolver_answer(server, taken().id, query, sizeof query);
	assert_int_equal(receive(fd, got, sizeof got), sizeof query);
	close(fd);
}

static int loopback_up(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r;
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };

	r = ioctl(fd, SIOCSIFFLAGS, &ifr);
	close(fd);
	return r;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(answers_datagrams, stop),
		cmocka_unit_test_teardown(answers_streams, stop),
		cmocka_unit_test_teardown(tells_failure, stop),
		cmocka_unit_test_teardown(drops_what_is_no_query, stop),
		cmocka_unit_test_teardown(bounds_what_waits, stop),
		cmocka_unit_test_teardown(forgets_what_nobody_answers, stop),
		cmocka_unit_test_teardown(forgets_while_others_ask, stop),
		cmocka_unit_test_teardown(reads_some_at_a_time, stop),
		cmocka_unit_test_teardown(waits_for_descriptors, stop),
		cmocka_unit_test_teardown(serves_loopback_only, stop),
		cmocka_unit_test_teardown(leaves_the_port_to_containers, stop),
		cmocka_unit_test_teardown(takes_the_port_otherwise, stop),
	};
	int r;

	if (unshare(CLONE_NEWNET) < 0 || loopback_up() < 0) {
		fprintf(stderr, "no network namespace can be made here\n");
		return 77;
	}
	if (loop_new(&loop, NULL) < 0)
		return 1;
	r = cmocka_run_group_tests(tests, NULL, NULL);
	loop_free(loop);
	return r;
}
