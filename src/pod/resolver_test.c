/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest asks, and a name server in the pod's network namespace, which is the test's. The guest's agent is a
 * ttrpc server in the same loop. Linked with --wrap: see codec/hurry.h.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "base/strv.h"
#include "codec/hurry.h"
#include "pod/resolv_conf.h"
#include "pod/resolver.h"
#include "proto/empty.pb-c.h"
#include "sys/netns.h"

#define ADDRESS "127.0.0.11"

static struct {
	struct loop *loop;
	struct ttrpc_server *server;
	struct agent *agent;
	struct resolver *resolver;
	int ns_fd;
	char path[64]; /* of the resolv.conf */
	/* the guest */
	struct ttrpc_request *next, *tell;
	char address[32];      /* that it was asked to listen on */
	unsigned asked, fails; /* fails: so many times */
	int refuses;           /* with this code; 0: not */
	bool keeps;            /* takes answers without a word */
	struct strv answers;   /* "ID: TEXT" */
} t;

/* ---- the guest's agent ---- */

static void on_gone(struct ttrpc_request *req, void *userdata)
{
	struct ttrpc_request **kept = userdata;

	if (*kept == req)
		*kept = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_next(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	t.asked++;
	snprintf(t.address, sizeof t.address, "%s", ((const Caisson__NextNameQuery *)m)->address);
	if (t.refuses) {
		ttrpc_reply_error(req, t.refuses, "what is caisson.Names?");
		return;
	}
	if (t.fails) {
		t.fails--;
		ttrpc_reply_error(req, TTRPC_ALREADY_EXISTS, "cannot serve names on port 53: address already in use");
		return;
	}
	if (t.next)
		ttrpc_reply_error(take_ptr(t.next), TTRPC_CANCELLED, "asked again");
	t.next = req;
	ttrpc_request_on_close(req, on_gone, &t.next);
}

static void fake_answer(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Caisson__NameAnswer *answer = (const Caisson__NameAnswer *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	strv_addf(&t.answers, "%u: %.*s (%zu)", (unsigned)answer->id,
		  (int)(answer->message.len < 40 ? answer->message.len : 40),
		  answer->message.len ? (const char *)answer->message.data : "", answer->message.len);
	if (t.keeps)
		ttrpc_request_on_close(req, on_gone, &t.tell);
	else
		ttrpc_reply(req, &empty.base);
}

static const struct ttrpc_method methods[] = {
	{ "Next", &caisson__next_name_query__descriptor, fake_next },
	{ "Answer", &caisson__name_answer__descriptor, fake_answer },
};
static const struct ttrpc_service services[] = { { "caisson.Names", methods, 2 } };

static void run_until_asked(void)
{
	for (int i = 0; i < 500 && !t.next; i++)
		loop_run_once(t.loop, 10);
	assert_non_null(t.next);
}

static void run_ms(unsigned ms)
{
	for (uint64_t end = clock_ms() + ms; clock_ms() < end;)
		loop_run_once(t.loop, 10);
}

/* A container of the guest's asks. */
static void ask_bytes(unsigned id, bool stream, const void *data, size_t len)
{
	Caisson__NameQuery q = CAISSON__NAME_QUERY__INIT;

	run_until_asked();
	q.id = id;
	q.stream = stream;
	q.message.data = (uint8_t *)data;
	q.message.len = len;
	ttrpc_reply(take_ptr(t.next), &q.base);
}

static void ask(unsigned id, bool stream, const char *text)
{
	ask_bytes(id, stream, text, strlen(text));
}

static void answer_is(const char *expected)
{
	for (int i = 0; i < 500 && !t.answers.len; i++)
		loop_run_once(t.loop, 10);
	assert_int_equal(t.answers.len, 1);
	assert_string_equal(t.answers.v[0], expected);
	strv_fini(&t.answers);
}

/* ---- the name server in the namespace ---- */

static int open_server(void *userdata)
{
	struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons(53) };
	int type = *(int *)userdata, one = 1, fd = socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	inet_pton(AF_INET, ADDRESS, &a.sin_addr);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || (type == SOCK_STREAM && listen(fd, 8) < 0))
		return -errno;
	return fd;
}

static int server(int type)
{
	int fd = netns_run(t.ns_fd, open_server, &type);

	assert_true(fd >= 0);
	return fd;
}

/* Wait for a query, which is to be that. */
static struct sockaddr_in heard(int fd, const char *text)
{
	struct sockaddr_in from = { 0 };
	socklen_t len = sizeof from;
	char got[256];
	ssize_t n = -1;

	for (int i = 0; i < 500 && n < 0; i++) {
		loop_run_once(t.loop, 10);
		n = recvfrom(fd, got, sizeof got, 0, (struct sockaddr *)&from, &len);
	}
	assert_int_equal(n, strlen(text));
	assert_memory_equal(got, text, strlen(text));
	return from;
}

static int accepted(int fd)
{
	int conn = -1;

	for (int i = 0; i < 500 && conn < 0; i++) {
		loop_run_once(t.loop, 10);
		conn = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	}
	assert_true(conn >= 0);
	return conn;
}

/* ---- containers ---- */

static void look(const char *text)
{
	Grpc__Spec spec = GRPC__SPEC__INIT;
	Grpc__Mount proc = GRPC__MOUNT__INIT, conf = GRPC__MOUNT__INIT, *mounts[] = { &proc, &conf };

	assert_int_equal(file_replace(t.path, text, strlen(text), 0644), 0);
	proc.type = proc.source = (char *)"proc";
	proc.destination = (char *)"/proc";
	conf.type = (char *)"bind";
	conf.source = t.path;
	conf.destination = (char *)"/etc/resolv.conf";
	spec.mounts = mounts;
	spec.n_mounts = 2;
	resolver_look(t.resolver, &spec);
}

#define CONF "search example.org\nnameserver " ADDRESS "\noptions ndots:0\n"

/* ---- the tests ---- */

static void finds_the_server(void **state)
{
	static const struct {
		const char *text, *address;
	} cases[] = {
		{ CONF, ADDRESS },
		{ "nameserver 10.0.0.1\nnameserver\t127.0.0.53 # here\n", "127.0.0.53" },
		{ "nameserver  127.255.0.1\r\nnameserver 127.0.0.2", "127.255.0.1" },
		{ "nameserver 127.0.0.1\n", NULL },
		{ "nameserver 127.0.0.1\nnameserver 127.0.0.2", "127.0.0.2" },
		{ "", NULL },
		{ "#nameserver 127.0.0.2\n ;\n nameserver 127.0.0.2\n", NULL },
		{ "nameservers 127.0.0.2\nnameserver127.0.0.2\nnameserver", NULL },
		{ "nameserver \n127.0.0.2\n", NULL },
		{ "nameserver 127.0.0.2.3\nnameserver 127.1\nnameserver ::1\nnameserver 128.0.0.1", NULL },
		{ "nameserver 127.0.0.00000000000000000000000000000000000000000000000002\n", NULL },
	};

	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		struct in_addr a;
		char text[32] = "";

		if (resolv_conf_loopback(cases[i].text, &a))
			inet_ntop(AF_INET, &a, text, sizeof text);
		assert_string_equal(text, cases[i].address ? cases[i].address : "");
	}
}

/* Opening a device can have effects, and the path may lead to one: it is not opened. */
static void opens_files_only(void **state)
{
	_cleanup_close_ int watch = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	struct inotify_event event;
	struct in_addr a;
	char link[80];

	assert_int_equal(mkfifo(t.path, 0600), 0);
	assert_true(inotify_add_watch(watch, t.path, IN_OPEN) >= 0);
	snprintf(link, sizeof link, "%s-link", t.path);
	assert_int_equal(symlink(t.path, link), 0);
	assert_int_equal(resolv_conf_read(link, &a), -EINVAL);
	assert_int_equal(read(watch, &event, sizeof event), -1);
	unlink(t.path);
	assert_int_equal(resolv_conf_read(link, &a), -ENOENT);
	assert_int_equal(file_replace(t.path, CONF, sizeof CONF - 1, 0644), 0);
	assert_int_equal(resolv_conf_read(link, &a), 1);
	unlink(link);
}

static void asks_by_datagrams(void **state)
{
	int fd = server(SOCK_DGRAM);
	struct sockaddr_in from, second;

	look(CONF);
	run_until_asked();
	assert_string_equal(t.address, ADDRESS);
	ask(1, false, "where is db?");
	from = heard(fd, "where is db?");
	/* The next one does not wait for its answer, and has another port. */
	ask(2, false, "where is web?");
	second = heard(fd, "where is web?");
	assert_int_not_equal(from.sin_port, second.sin_port);
	assert_int_equal(sendto(fd, "there", 5, 0, (struct sockaddr *)&second, sizeof second), 5);
	answer_is("2: there (5)");
	assert_int_equal(sendto(fd, "here", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
	answer_is("1: here (4)");
	/* The server is another one. */
	close(fd);
	fd = server(SOCK_DGRAM);
	ask(3, false, "and now?");
	from = heard(fd, "and now?");
	assert_int_equal(sendto(fd, "here", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
	answer_is("3: here (4)");
	close(fd);
}

static void asks_by_streams(void **state)
{
	static const char question[] = "\0\14where is db?";
	_cleanup_free_ char *large = calloc(1, 65537);
	int fd = server(SOCK_STREAM), conn;
	char got[32];
	ssize_t n = -1;

	look(CONF);
	ask(1, true, "where is db?");
	conn = accepted(fd);
	for (int i = 0; i < 500 && n < 0; i++) {
		loop_run_once(t.loop, 10);
		n = recv(conn, got, sizeof got, 0);
	}
	assert_int_equal(n, sizeof question - 1);
	assert_memory_equal(got, question, sizeof question - 1);
	memcpy(large, "\377\377here", 6);
	assert_int_equal(send(conn, large, 1, 0), 1);
	run_ms(20);
	for (size_t sent = 1; sent < 65537;) {
		n = send(conn, large + sent, 65537 - sent, 0);
		sent += n > 0 ? (size_t)n : 0;
		loop_run_once(t.loop, 1);
	}
	answer_is("1: here (65535)");
	close(conn);
	close(fd);
}

static void tells_that_nobody_answers(void **state)
{
	int fd, conn;

	look(CONF);
	ask(1, false, "where is db?");
	answer_is("1:  (0)");
	ask(2, true, "where is db?");
	answer_is("2:  (0)");
	/* It hangs up within its answer. */
	fd = server(SOCK_STREAM);
	ask(3, true, "where is db?");
	conn = accepted(fd);
	assert_int_equal(send(conn, "\0\7here", 6, 0), 6);
	run_ms(50);
	close(conn);
	answer_is("3:  (0)");
	close(fd);
}

/* ---- a hostile guest ---- */

/* So many at a time, and the next one is fetched when there is room. */
static void bounds_what_is_under_way(void **state)
{
	int fd = server(SOCK_DGRAM);
	struct sockaddr_in from;

	look(CONF);
	for (unsigned i = 0; i < RESOLVER_LOOKUPS_MAX; i++) {
		ask(i, i % 2, "where is db?");
		run_ms(1);
	}
	/* Of those by TCP the guest was told at once that nobody listens. */
	for (unsigned i = 0; i < RESOLVER_LOOKUPS_MAX / 2; i++)
		ask(100 + i, false, "where is db?");
	run_ms(100);
	assert_null(t.next);
	strv_fini(&t.answers);
	from = heard(fd, "where is db?");
	assert_int_equal(sendto(fd, "here", 4, 0, (struct sockaddr *)&from, sizeof from), 4);
	answer_is("0: here (4)");
	run_until_asked();
	close(fd);
}

/* A guest that takes answers without a word has no more of them under way than others. */
static void bounds_what_is_not_taken(void **state)
{
	t.keeps = true;
	look(CONF);
	for (unsigned i = 0; i < RESOLVER_LOOKUPS_MAX; i++)
		ask(i, false, "where is db?");
	run_ms(100);
	assert_null(t.next);
	assert_int_equal(t.answers.len, RESOLVER_LOOKUPS_MAX);
}

static void gives_up_in_time(void **state)
{
	int fd = server(SOCK_STREAM), udp = server(SOCK_DGRAM), conn;
	char got[32];

	hurry = true;
	look(CONF);
	for (unsigned i = 0; i < RESOLVER_LOOKUPS_MAX - 1; i++)
		ask(i, false, "where is db?");
	ask(1000, true, "where is db?");
	conn = accepted(fd);
	run_until_asked();
	run_ms(RESOLVER_TIMEOUT_MS / 100 + 50);
	hurry = false;
	assert_int_equal(t.answers.len, 0);
	while (recv(conn, got, sizeof got, 0) > 0)
		;
	assert_int_equal(recv(conn, got, sizeof got, 0), 0);
	close(conn);
	close(fd);
	close(udp);
}

static void refuses_what_is_no_message(void **state)
{
	_cleanup_free_ char *large = calloc(1, 1 << 20);
	int fd = server(SOCK_DGRAM);
	char got[8];

	look(CONF);
	ask_bytes(1, false, large, 1 << 20);
	answer_is("1:  (0)");
	ask_bytes(2, true, large, 65536);
	answer_is("2:  (0)");
	/* More than a datagram can have. */
	ask_bytes(3, false, large, 65535);
	answer_is("3:  (0)");
	assert_int_equal(recv(fd, got, sizeof got, 0), -1);
	close(fd);
}

/* An agent of somebody else: it is not asked again and again. */
static void leaves_other_agents_alone(void **state)
{
	/* The second one is how Kata's says that it does not know a service. */
	for (size_t i = 0; i < 2; i++) {
		t.refuses = i ? TTRPC_INVALID_ARGUMENT : TTRPC_UNIMPLEMENTED;
		hurry = true;
		look(i ? "nameserver 127.0.0.12\n" : CONF);
		run_ms(50);
		resolver_network_changed(t.resolver);
		run_ms(50);
		hurry = false;
		assert_int_equal(t.asked, i + 1);
	}
}

/* What an agent cannot now it may later: it is asked again, ever more seldom. */
static void asks_again_what_failed(void **state)
{
	hurry = true;
	t.fails = 4;
	look(CONF);
	run_until_asked();
	assert_int_equal(t.asked, 5);
	ask(1, false, "where is db?");
	answer_is("1:  (0)");
	hurry = false;
	/* It begins with a second again. */
	run_until_asked();
	t.fails = UINT32_MAX;
	t.asked = 0;
	ask(2, false, "where is web?");
	answer_is("2:  (0)");
	look(CONF);
	run_ms(500);
	assert_int_equal(t.asked, 1);
	for (uint64_t end = clock_ms() + 1500; clock_ms() < end && t.asked < 2;)
		loop_run_once(t.loop, 10);
	assert_int_equal(t.asked, 2);
	run_ms(1200);
	assert_int_equal(t.asked, 2);
}

/* ---- when ---- */

static void looks_again(void **state)
{
	hurry = true;
	look("nameserver 10.0.0.1\n");
	resolver_network_changed(t.resolver);
	run_ms(20);
	assert_int_equal(t.asked, 0);
	/* docker writes it in place, and a little later than the interface comes. */
	assert_int_equal(file_replace(t.path, CONF, strlen(CONF), 0644), 0);
	run_until_asked();
	assert_string_equal(t.address, ADDRESS);
	/* Another address: nobody is asked for the first one any more. */
	look("nameserver 127.0.0.12\n");
	for (int i = 0; i < 500 && t.asked < 2; i++)
		loop_run_once(t.loop, 10);
	assert_string_equal(t.address, "127.0.0.12");
	unlink(t.path);
	resolver_network_changed(t.resolver);
	run_ms(200);
	assert_int_equal(t.asked, 2);
	hurry = false;
}

static void is_not_for_the_host(void **state)
{
	_cleanup_close_ int own = netns_open("/proc/thread-self/ns/net");
	struct resolver *r = t.resolver;
	struct err e = { 0 };

	assert_int_equal(resolver_new(t.loop, t.agent, own, &r, &e), 0);
	assert_null(r);
	resolver_look(NULL, NULL);
	resolver_network_changed(NULL);
	resolver_free(NULL);
}

/* ---- set-up ---- */

static int make_namespace(void)
{
	struct ifreq ifr = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	_cleanup_close_ int own = netns_open("/proc/thread-self/ns/net"), fd = -1;
	int ns;

	if (own < 0 || unshare(CLONE_NEWNET) < 0)
		return -1;
	ns = netns_open("/proc/thread-self/ns/net");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	return ioctl(fd, SIOCSIFFLAGS, &ifr) < 0 || setns(own, CLONE_NEWNET) < 0 ? -1 : ns;
}

static int set_up(void **state)
{
	struct err e = { 0 };
	int sv[2];

	memset(&t, 0, sizeof t);
	t.ns_fd = make_namespace();
	if (t.ns_fd < 0)
		skip();
	snprintf(t.path, sizeof t.path, "/tmp/caisson-resolver-test-%d", (int)getpid());
	assert_int_equal(loop_new(&t.loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ttrpc_server_new(t.loop, -1, services, 1, NULL, &t.server, NULL), 0);
	assert_int_equal(ttrpc_server_add(t.server, sv[0], NULL), 0);
	assert_int_equal(agent_new(t.loop, sv[1], -1, NULL, &t.agent, NULL), 0);
	if (resolver_new(t.loop, t.agent, t.ns_fd, &t.resolver, &e) < 0)
		fail_msg("%s", e.text);
	return 0;
}

static int tear_down(void **state)
{
	resolver_free(t.resolver);
	agent_free(t.agent);
	ttrpc_server_free(t.server);
	loop_free(t.loop);
	strv_fini(&t.answers);
	close(t.ns_fd);
	unlink(t.path);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_the_server),
		TEST(opens_files_only),
		TEST(asks_by_datagrams),
		TEST(asks_by_streams),
		TEST(tells_that_nobody_answers),
		TEST(bounds_what_is_under_way),
		TEST(bounds_what_is_not_taken),
		TEST(gives_up_in_time),
		TEST(refuses_what_is_no_message),
		TEST(leaves_other_agents_alone),
		TEST(asks_again_what_failed),
		TEST(looks_again),
		TEST(is_not_for_the_host),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
