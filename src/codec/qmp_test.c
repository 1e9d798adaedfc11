/* SPDX-License-Identifier: Apache-2.0 */
/* The client against a fake monitor: a scripted thread at the other end of a socketpair. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "codec/qmp.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": [\"oob\"]}}\r\n"

/* One step of the fake: wait for a request line (unless first), then write `say`; NULL ends the script. */
struct fake_monitor {
	const char *const *script;
	int fd;
	int got_fd; /* a descriptor that came with a request */
	char last_request[512];
	pthread_t thread;
};

static void read_request(struct fake_monitor *f)
{
	size_t n = 0;
	char c = 0;

	while (c != '\n' && n + 1 < sizeof f->last_request) {
		char control[CMSG_SPACE(sizeof(int))];
		struct iovec iov = { .iov_base = &c, .iov_len = 1 };
		struct msghdr m = {
			.msg_iov = &iov, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control
		};

		if (recvmsg(f->fd, &m, MSG_CMSG_CLOEXEC) != 1)
			return;
		if (m.msg_controllen && CMSG_FIRSTHDR(&m))
			memcpy(&f->got_fd, CMSG_DATA(CMSG_FIRSTHDR(&m)), sizeof(int));
		f->last_request[n++] = c;
	}
	f->last_request[n] = 0;
}

static void *fake_run(void *arg)
{
	struct fake_monitor *f = arg;
	sigset_t pipe_signal;

	/* The client may close in the middle of the script. Its own writes, in the other thread, must not need this. */
	sigemptyset(&pipe_signal);
	sigaddset(&pipe_signal, SIGPIPE);
	pthread_sigmask(SIG_BLOCK, &pipe_signal, NULL);
	for (size_t i = 0; f->script[i]; i++) {
		if (i > 0)
			read_request(f);
		if (fd_write_full(f->fd, f->script[i], strlen(f->script[i])) < 0)
			break;
	}
	fd_close(&f->fd);
	return NULL;
}

static char seen[256];

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	const char *reason = json_get_str(data, "reason");

	strcat(strcat(strcat(seen, event), reason ? ":" : ""), reason ? reason : "");
	strcat(seen, " ");
}

static struct qmp *start(struct fake_monitor *f, const char *const *script)
{
	struct qmp *q = NULL;
	int s[2];

	*f = (struct fake_monitor){ .script = script, .got_fd = -1 };
	seen[0] = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	f->fd = s[1];
	assert_int_equal(qmp_new(s[0], on_event, NULL, &q), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, fake_run, f), 0);
	return q;
}

static void finish(struct fake_monitor *f, struct qmp *q)
{
	qmp_free(q);
	pthread_join(f->thread, NULL);
	fd_close(&f->got_fd);
}

static uint64_t soon(void)
{
	return clock_ms() + 5000;
}

static void test_session(void **state)
{
	static const char *const script[] = {
		GREETING,
		"{\"return\": {}, \"id\": \"1\"}\r\n",
		"{\"event\":\"STOP\"}\r\n{\"return\":{},\"id\":\"99\"}\r\n{\"return\":{\"status\":\"paused\"},\"id\":"
		"\"2\"}"
		"\r\n",
		"{\"id\":\"3\",\"error\":{\"class\":\"DeviceNotFound\",\"desc\":\"Device 'x' not found\"}}\r\n",
		"{\"return\":{},\"id\":\"4\"}\r\n"
		"{\"event\":\"SHUTDOWN\",\"data\":{\"guest\":true,\"reason\":\"guest-reset\"}}\r\n",
		NULL
	};
	_cleanup_json_ struct json_object *ret = NULL, *args = json_object_make();
	struct fake_monitor f;
	struct qmp *q = start(&f, script);
	struct err e = { 0 };
	struct stat sent, got;

	assert_int_equal(qmp_handshake(q, soon(), &e), 0);
	assert_int_equal(qmp_execute(q, "query-status", NULL, -1, soon(), &ret, &e), 0);
	assert_string_equal(json_get_str(ret, "status"), "paused"); /* not the stray answer before it */
	assert_string_equal(seen, "STOP ");
	json_set_str(args, "id", "x");
	assert_int_equal(qmp_execute(q, "device_del", take_ptr(args), -1, soon(), NULL, &e), -ENODEV);
	assert_string_equal(e.text, "device_del was refused: Device 'x' not found");
	assert_int_equal(qmp_execute(q, "getfd", NULL, 0, soon(), NULL, &e), 0);
	while (qmp_dispatch(q) == 0)
		usleep(1000);
	assert_string_equal(seen, "STOP SHUTDOWN:guest-reset ");
	assert_int_equal(fstat(0, &sent), 0);
	assert_int_equal(fstat(f.got_fd, &got), 0);
	assert_true(sent.st_ino == got.st_ino && sent.st_dev == got.st_dev);
	assert_string_equal(f.last_request, "{\"execute\":\"getfd\",\"id\":\"4\"}\n");
	finish(&f, q);
}

static void expect_handshake(const char *const *script, int code)
{
	struct fake_monitor f;
	struct qmp *q = start(&f, script);
	struct err e = { 0 };

	assert_int_equal(qmp_handshake(q, soon(), &e), code);
	assert_true(err_is_set(&e));
	/* Broken for good, and at once. */
	assert_int_equal(qmp_execute(q, "quit", NULL, -1, clock_ms(), NULL, &e), code);
	finish(&f, q);
}

static void test_broken_peers(void **state)
{
	static const char *const closes[] = { "", NULL };
	static const char *const half[] = { "{\"QMP\": {\"ver", NULL };
	static const char *const garbage[] = { "SSH-2.0-OpenSSH_9.2\r\n", NULL };
	static const char *const list[] = { "[]\n", NULL };
	static const char *const no_return[] = { GREETING, "{\"id\":\"1\"}\n", NULL };
	static const char *const ends[] = { GREETING, "", NULL };

	expect_handshake(closes, -EPIPE);
	expect_handshake(half, -EPIPE);
	expect_handshake(garbage, -EPROTO);
	expect_handshake(list, -EPROTO);
	expect_handshake(no_return, -EPROTO);
	expect_handshake(ends, -EPIPE);
}

static void test_endless_line(void **state)
{
	_cleanup_free_ char *line = malloc(QMP_LINE_MAX + 65536);
	const char *script[] = { line, NULL };

	memset(line, '[', QMP_LINE_MAX + 65535);
	line[QMP_LINE_MAX + 65535] = 0;
	expect_handshake(script, -EPROTO);
}

static void test_silence(void **state)
{
	struct err e = { 0 };
	struct qmp *q;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	assert_int_equal(qmp_new(s[0], NULL, NULL, &q), 0);
	assert_int_equal(qmp_handshake(q, clock_ms() + 30, &e), -ETIMEDOUT);
	assert_int_equal(e.domain, ERR_LIMIT);
	/* Late but well: the late answer to a request that was given up does not confuse the next one. */
	assert_int_equal(fd_write_full(s[1], GREETING, strlen(GREETING)), 0);
	assert_int_equal(qmp_execute(q, "cont", NULL, -1, clock_ms() + 10, NULL, &e), -ETIMEDOUT);
	dprintf(s[1], "{\"return\":\"late\",\"id\":\"1\"}\n{\"return\":\"right\",\"id\":\"2\"}\n");
	{
		_cleanup_json_ struct json_object *ret = NULL;

		assert_int_equal(qmp_execute(q, "stop", NULL, -1, soon(), &ret, &e), 0);
		assert_string_equal(json_str(ret), "right");
	}
	qmp_free(q);
	close(s[1]);
}

struct chatter {
	int fd;
	uint64_t until_ms;
};

/* Each event is followed by another one: there is always something to read. */
static void on_chatter(const char *event, struct json_object *data, void *userdata)
{
	const struct chatter *c = userdata;

	if (clock_ms() < c->until_ms)
		dprintf(c->fd, "{\"event\":\"NIC_RX_FILTER_CHANGED\"}\n");
}

static void test_endless_events(void **state)
{
	struct chatter c = { .until_ms = clock_ms() + 3000 };
	struct err e = { 0 };
	struct qmp *q;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s), 0);
	c.fd = s[1];
	assert_int_equal(qmp_new(s[0], on_chatter, &c, &q), 0);
	on_chatter(NULL, NULL, &c);
	assert_int_equal(qmp_execute(q, "query-status", NULL, -1, clock_ms() + 30, NULL, &e), -ETIMEDOUT);
	assert_true(clock_ms() < c.until_ms);
	qmp_free(q);
	close(s[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_session),        cmocka_unit_test(test_broken_peers),
		cmocka_unit_test(test_endless_line),   cmocka_unit_test(test_silence),
		cmocka_unit_test(test_endless_events),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
