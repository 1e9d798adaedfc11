/* SPDX-License-Identifier: Apache-2.0 */
/* The agent client against a fake agent in a thread of its own, which writes down what it is asked. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "codec/ttrpc.h"
#include "pod/agent.h"
#include "proto/empty.pb-c.h"
#include "proto/health.pb-c.h"

struct fake {
	struct loop *loop, *server_loop;
	struct ttrpc_server *server;
	struct agent *agent;
	pthread_t thread;
	struct strv seen;  /* one line per request */
	struct buf copied; /* data of CopyFile requests */
	int64_t timeout_ns;
	int serving;
	struct ttrpc_request *waiting;
};

static void reply_empty(struct ttrpc_request *req)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	ttrpc_reply(req, &empty.base);
}

static void fake_check(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__HealthCheckResponse answer = GRPC__HEALTH_CHECK_RESPONSE__INIT;
	struct fake *f = userdata;

	answer.status = (Grpc__ServingStatus)f->serving;
	ttrpc_reply(req, &answer.base);
}

static void fake_version(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__VersionCheckResponse answer = GRPC__VERSION_CHECK_RESPONSE__INIT;

	answer.agent_version = (char *)"4.1.0";
	ttrpc_reply(req, &answer.base);
}

static void fake_create(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	struct fake *f = userdata;

	f->timeout_ns = ttrpc_request_timeout_ns(req);
	ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no such file: /bin/nothing");
}

static void fake_signal(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__SignalProcessRequest *q = (const Grpc__SignalProcessRequest *)m;
	Grpc__WaitProcessResponse ended = GRPC__WAIT_PROCESS_RESPONSE__INIT;
	struct fake *f = userdata;

	strv_addf(&f->seen, "signal %s %s %u", q->container_id, q->exec_id, q->signal);
	ended.status = 128 + (int32_t)q->signal;
	reply_empty(req);
	if (f->waiting) {
		ttrpc_reply(take_ptr(f->waiting), &ended.base);
	}
}

static void fake_gone(struct ttrpc_request *req, void *userdata)
{
	((struct fake *)userdata)->waiting = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_wait(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	struct fake *f = userdata;

	f->waiting = req;
	ttrpc_request_on_close(req, fake_gone, f);
}

static void fake_remove(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	struct fake *f = userdata;

	strv_addf(&f->seen, "remove %u", ((const Grpc__RemoveContainerRequest *)m)->timeout);
	f->timeout_ns = ttrpc_request_timeout_ns(req);
	reply_empty(req);
}

static void fake_stdin(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__WriteStreamResponse answer = GRPC__WRITE_STREAM_RESPONSE__INIT;

	answer.len = 1000; /* more than was sent: a hostile guest */
	ttrpc_reply(req, &answer.base);
}

static void fake_oom(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__OOMEvent answer = GRPC__OOMEVENT__INIT;

	answer.container_id = (char *)"c9";
	ttrpc_reply(req, &answer.base);
}

static void fake_routes(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__UpdateRoutesRequest *q = (const Grpc__UpdateRoutesRequest *)m;
	struct fake *f = userdata;

	for (size_t i = 0; i < q->routes->n_routes; i++)
		strv_addf(&f->seen, "route %s via %s", q->routes->routes[i]->dest, q->routes->routes[i]->gateway);
	ttrpc_reply(req, &q->routes->base);
}

static void fake_copy(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__CopyFileRequest *q = (const Grpc__CopyFileRequest *)m;
	struct fake *f = userdata;

	strv_addf(&f->seen, "%s %o %lld+%zu/%lld", q->path, q->file_mode, (long long)q->offset, q->data.len,
		  (long long)q->file_size);
	buf_append(&f->copied, q->data.data, q->data.len);
	reply_empty(req);
}

static const struct ttrpc_method agent_methods[] = {
	{ "CreateContainer", &grpc__create_container_request__descriptor, fake_create },
	{ "SignalProcess", &grpc__signal_process_request__descriptor, fake_signal },
	{ "WaitProcess", &grpc__wait_process_request__descriptor, fake_wait },
	{ "RemoveContainer", &grpc__remove_container_request__descriptor, fake_remove },
	{ "WriteStdin", &grpc__write_stream_request__descriptor, fake_stdin },
	{ "GetOOMEvent", &grpc__get_oomevent_request__descriptor, fake_oom },
	{ "UpdateRoutes", &grpc__update_routes_request__descriptor, fake_routes },
	{ "CopyFile", &grpc__copy_file_request__descriptor, fake_copy },
};
static const struct ttrpc_method health_methods[] = {
	{ "Check", &grpc__check_request__descriptor, fake_check },
	{ "Version", &grpc__check_request__descriptor, fake_version },
};
static const struct ttrpc_service services[] = {
	{ "grpc.AgentService", agent_methods, sizeof agent_methods / sizeof *agent_methods },
	{ "grpc.Health", health_methods, sizeof health_methods / sizeof *health_methods },
};

static void *serve(void *userdata)
{
	loop_run(((struct fake *)userdata)->server_loop);
	return NULL;
}

static void fake_start(struct fake *f, const struct config_agent *config)
{
	int sv[2];

	*f = (struct fake){ .serving = GRPC__SERVING_STATUS__SERVING };
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	assert_int_equal(loop_new(&f->server_loop, NULL), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
	assert_int_equal(ttrpc_server_new(f->server_loop, -1, services, 2, f, &f->server, NULL), 0);
	assert_int_equal(ttrpc_server_add(f->server, sv[0], NULL), 0);
	assert_int_equal(agent_new(f->loop, sv[1], -1, config, &f->agent, NULL), 0);
	assert_int_equal(pthread_create(&f->thread, NULL, serve, f), 0);
}

static void fake_stop(struct fake *f)
{
	loop_quit(f->server_loop, 0);
	pthread_join(f->thread, NULL);
	agent_free(f->agent);
	ttrpc_server_free(f->server);
	loop_free(f->server_loop);
	loop_free(f->loop);
	strv_fini(&f->seen);
	buf_fini(&f->copied);
}

static void test_health(void **state)
{
	struct err e = { 0 };
	struct fake f;
	char *version;

	fake_start(&f, NULL);
	assert_int_equal(agent_check(f.agent, &e), 0);
	assert_int_equal(agent_version(f.agent, &version, &e), 0);
	assert_string_equal(version, "4.1.0");
	free(version);
	f.serving = GRPC__SERVING_STATUS__NOT_SERVING;
	assert_int_equal(agent_check(f.agent, &e), -EAGAIN);
	fake_stop(&f);
}

static void test_errors_and_timeouts(void **state)
{
	const struct config_agent config = { .create_container_timeout = 7 };
	Grpc__CreateContainerRequest q = GRPC__CREATE_CONTAINER_REQUEST__INIT;
	struct err e = { 0 };
	size_t n;
	struct fake f;

	fake_start(&f, &config);
	q.container_id = (char *)"c1";
	assert_int_equal(agent_create_container(f.agent, &q, &e), -ENOENT);
	assert_string_equal(e.text, "guest agent: CreateContainer c1: no such file: /bin/nothing");
	assert_int_equal(e.domain, ERR_GUEST);
	assert_int_equal(f.timeout_ns, 7000000000);
	assert_int_equal(agent_remove_container(f.agent, "c1", 10, &e), 0);
	assert_int_equal(f.timeout_ns, 70000000000);
	assert_string_equal(f.seen.v[0], "remove 10");
	/* A method that this agent does not know. */
	assert_int_equal(agent_tty_resize(f.agent, "c1", "", 1, 1, &e), -ENOSYS);
	assert_int_equal(agent_write_stdin(f.agent, "c1", "", "abc", 3, &n, &e), -EPROTO);
	assert_int_equal(agent_tty_resize(f.agent, "c1", "", 1, 1, NULL), -ENOSYS);
	fake_stop(&f);
}

struct outcome {
	int calls, result, status;
	char text[256];
};

static void on_wait(int result, int status, const struct err *e, void *userdata)
{
	struct outcome *o = userdata;

	o->calls++;
	o->result = result;
	o->status = status;
	snprintf(o->text, sizeof o->text, "%s", e->text);
}

static void on_oom(int result, const char *container_id, const struct err *e, void *userdata)
{
	struct outcome *o = userdata;

	o->calls++;
	snprintf(o->text, sizeof o->text, "%s", container_id);
}

static void on_write(int result, size_t written, const struct err *e, void *userdata)
{
	struct outcome *o = userdata;

	o->calls++;
	o->result = result;
}

static void run_until(struct fake *f, const int *calls)
{
	while (!*calls)
		assert_int_equal(loop_run_once(f->loop, 10000), 0);
}

static void test_async(void **state)
{
	struct outcome wait = { 0 }, oom = { 0 }, write = { 0 }, left = { 0 }, cancelled = { 0 };
	struct agent_call *call;
	struct fake f;

	fake_start(&f, NULL);
	assert_int_equal(agent_wait_async(f.agent, "c1", "", on_wait, &wait, NULL, NULL), 0);
	assert_int_equal(agent_get_oom_event_async(f.agent, on_oom, &oom, NULL, NULL), 0);
	assert_int_equal(agent_write_stdin_async(f.agent, "c1", "", "abc", 3, on_write, &write, NULL, NULL), 0);
	assert_int_equal(agent_signal_async(f.agent, "c1", "x", 15, NULL, NULL, NULL, NULL), 0);
	run_until(&f, &wait.calls);
	run_until(&f, &oom.calls);
	run_until(&f, &write.calls);
	assert_int_equal(wait.result, 0);
	assert_int_equal(wait.status, 143);
	assert_string_equal(oom.text, "c9");
	assert_int_equal(write.result, -EPROTO);
	assert_string_equal(f.seen.v[0], "signal c1 x 15");
	/* One is cancelled, one is outstanding when the agent is freed. */
	assert_int_equal(agent_wait_async(f.agent, "c1", "", on_wait, &cancelled, &call, NULL), 0);
	agent_call_cancel(call);
	assert_int_equal(agent_wait_async(f.agent, "c2", "", on_wait, &left, NULL, NULL), 0);
	agent_free(take_ptr(f.agent));
	assert_int_equal(cancelled.calls, 0);
	assert_int_equal(left.result, -ECANCELED);
	assert_string_equal(left.text, "guest agent: WaitProcess c2: the connection is closed");
	fake_stop(&f);
}

static void test_routes(void **state)
{
	Types__Route one = TYPES__ROUTE__INIT, two = TYPES__ROUTE__INIT, *routes[] = { &one, &two };
	struct fake f;

	fake_start(&f, NULL);
	one.gateway = (char *)"10.0.2.2";
	two.dest = (char *)"10.1.0.0/16";
	assert_int_equal(agent_update_routes(f.agent, routes, 2, NULL), 0);
	assert_string_equal(f.seen.v[0], "route  via 10.0.2.2");
	assert_string_equal(f.seen.v[1], "route 10.1.0.0/16 via ");
	fake_stop(&f);
}

static bool seen(const struct fake *f, const char *line)
{
	return strv_contains(&f->seen, line);
}

static void test_copy_tree(void **state)
{
	char dir[] = "/tmp/agent-test-XXXXXX", path[256];
	char *big = malloc(2500000);
	struct err e = { 0 };
	struct fake f;

	fake_start(&f, NULL);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(chmod(dir, 0750), 0);
	snprintf(path, sizeof path, "%s/sub", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(chmod(path, 0755), 0);
	snprintf(path, sizeof path, "%s/sub/empty", dir);
	assert_int_equal(file_replace(path, "", 0, 0600), 0);
	snprintf(path, sizeof path, "%s/link", dir);
	assert_int_equal(symlink("/nowhere/else", path), 0);
	snprintf(path, sizeof path, "%s/pipe", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	log_set_level(LOG_LEVEL_ERROR);
	assert_int_equal(agent_copy_path(f.agent, dir, "/g", &e), 0);
	log_set_level(LOG_LEVEL_INFO);
	assert_int_equal(f.seen.len, 4);
	assert_string_equal(f.seen.v[0], "/g 40750 0+0/0");
	assert_true(seen(&f, "/g/sub 40755 0+0/0"));
	assert_true(seen(&f, "/g/sub/empty 100600 0+0/0"));
	assert_true(seen(&f, "/g/link 120777 0+13/13"));
	assert_int_equal(f.copied.len, 13);
	assert_string_equal(f.copied.data, "/nowhere/else");
	/* In pieces of 1 MiB; a link is followed where it is what was asked for. */
	strv_fini(&f.seen);
	f.copied.len = 0;
	memset(big, 'b', 2500000);
	snprintf(path, sizeof path, "%s/sub/empty", dir);
	assert_int_equal(file_replace(path, big, 2500000, 0644), 0);
	snprintf(path, sizeof path, "%s/link", dir);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(symlink("sub/empty", path), 0);
	assert_int_equal(agent_copy_path(f.agent, path, "/h", &e), 0);
	assert_int_equal(f.seen.len, 3);
	assert_string_equal(f.seen.v[0], "/h 100644 0+1048576/2500000");
	assert_string_equal(f.seen.v[1], "/h 100644 1048576+1048576/2500000");
	assert_string_equal(f.seen.v[2], "/h 100644 2097152+402848/2500000");
	assert_int_equal(f.copied.len, 2500000);
	assert_memory_equal(f.copied.data, big, 2500000);
	/* What cannot be copied says so. */
	snprintf(path, sizeof path, "%s/pipe", dir);
	assert_int_equal(agent_copy_path(f.agent, path, "/h", &e), -EINVAL);
	snprintf(path, sizeof path, "%s/none", dir);
	assert_int_equal(agent_copy_path(f.agent, path, "/h", &e), -ENOENT);
	assert_int_equal(dir_remove(dir), 0);
	free(big);
	fake_stop(&f);
}

static void test_copy_limits(void **state)
{
	char dir[] = "/tmp/agent-test-XXXXXX";
	struct buf path = { 0 };
	struct err e = { 0 };
	struct fake f;
	int fd;

	fake_start(&f, NULL);
	assert_non_null(mkdtemp(dir));
	assert_int_equal(buf_puts(&path, dir), 0);
	for (unsigned i = 0; i < AGENT_COPY_DEPTH; i++)
		assert_int_equal(buf_puts(&path, "/d"), 0);
	assert_int_equal(dir_make(path.data, 0700), 0);
	assert_int_equal(agent_copy_path(f.agent, dir, "/g", &e), -EFBIG);
	assert_int_equal(e.domain, ERR_LIMIT);
	/* A sparse file over the limit is refused before a byte of it is read. */
	path.len = 0;
	assert_int_equal(buf_printf(&path, "%s/big", dir), 0);
	fd = open(path.data, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	assert_int_equal(ftruncate(fd, (off_t)AGENT_COPY_BYTES + 1), 0);
	close(fd);
	strv_fini(&f.seen);
	assert_int_equal(agent_copy_path(f.agent, path.data, "/g", &e), -EFBIG);
	assert_int_equal(f.seen.len, 0);
	assert_int_equal(dir_remove(dir), 0);
	buf_fini(&path);
	fake_stop(&f);
}

static void test_copy_data(void **state)
{
	struct fake f;

	fake_start(&f, NULL);
	assert_int_equal(agent_copy_data(f.agent, "hosts\n", 6, "/g/hosts", 0644, NULL), 0);
	assert_int_equal(agent_copy_data(f.agent, NULL, 0, "/g/nothing", 0600, NULL), 0);
	assert_string_equal(f.seen.v[0], "/g/hosts 100644 0+6/6");
	assert_string_equal(f.seen.v[1], "/g/nothing 100600 0+0/0");
	assert_string_equal(f.copied.data, "hosts\n");
	fake_stop(&f);
}

static void on_copied(int result, const struct err *e, void *userdata)
{
	struct outcome *o = userdata;

	o->calls++;
	o->result = result;
	snprintf(o->text, sizeof o->text, "%s", e->text);
}

/* The same from the loop; given up in the middle, nothing of the tree is open any more. */
static void test_copy_async(void **state)
{
	struct outcome data = { 0 }, tree = { 0 }, gone = { 0 }, cancelled = { 0 };
	char dir[] = "/tmp/agent-test-XXXXXX", path[256];
	struct agent_copy *copy;
	struct err e = { 0 };
	unsigned fds;
	struct fake f;

	fake_start(&f, NULL);
	assert_int_equal(agent_copy_data_async(f.agent, "hosts\n", 6, "/g/hosts", 0644, on_copied, &data, &copy, NULL),
			 0);
	run_until(&f, &data.calls);
	assert_int_equal(data.result, 0);
	assert_string_equal(f.seen.v[0], "/g/hosts 100644 0+6/6");
	strv_fini(&f.seen);
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof path, "%s/sub", dir);
	assert_int_equal(mkdir(path, 0755), 0);
	assert_int_equal(chmod(path, 0755), 0);
	snprintf(path, sizeof path, "%s/sub/file", dir);
	assert_int_equal(file_replace(path, "x", 1, 0600), 0);
	fds = count_fds();
	assert_int_equal(agent_copy_path_async(f.agent, dir, "/g", on_copied, &tree, &copy, NULL), 0);
	run_until(&f, &tree.calls);
	assert_int_equal(tree.result, 0);
	assert_int_equal(f.seen.len, 3);
	assert_string_equal(f.seen.v[1], "/g/sub 40755 0+0/0");
	assert_string_equal(f.seen.v[2], "/g/sub/file 100600 0+1/1");
	assert_int_equal(agent_copy_path_async(f.agent, dir, "/g", on_copied, &cancelled, &copy, NULL), 0);
	assert_true(count_fds() > fds);
	agent_copy_cancel(copy);
	assert_int_equal(count_fds(), fds);
	snprintf(path, sizeof path, "%s/none", dir);
	assert_int_equal(agent_copy_path_async(f.agent, path, "/g", on_copied, &gone, &copy, &e), -ENOENT);
	assert_int_equal(agent_copy_path_async(f.agent, dir, "/g", on_copied, &gone, &copy, NULL), 0);
	agent_free(take_ptr(f.agent));
	assert_int_equal(gone.result, -ECANCELED);
	assert_int_equal(cancelled.calls, 0);
	assert_int_equal(dir_remove(dir), 0);
	fake_stop(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_health),    cmocka_unit_test(test_errors_and_timeouts),
		cmocka_unit_test(test_async),     cmocka_unit_test(test_routes),
		cmocka_unit_test(test_copy_tree), cmocka_unit_test(test_copy_limits),
		cmocka_unit_test(test_copy_data), cmocka_unit_test(test_copy_async),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
