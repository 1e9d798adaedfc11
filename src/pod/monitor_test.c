/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The monitor's socket in front of a fake pod, whose agent is a ttrpc server in a thread: what a scrape brings, what
 * happens when the guest lies or is silent, and what clients can do to it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/entries.h"
#include "base/fd.h"
#include "base/unix_socket.h"
#include "codec/ttrpc.h"
#include "pod/agent.h"
#include "pod/monitor.h"
#include "pod/pod.h"
#include "proto/empty.pb-c.h"

/* ---- the pod ---- */

struct pod {
	struct loop *loop, *agent_loop;
	struct agent *agent;
	struct ttrpc_server *server;
	pthread_t agent_thread, loop_thread;
	struct vm vm;
	struct pod_monitor *monitor;
	char dir[64], path[96];
	const char *agent_text; /* NULL: the agent keeps the request */
	struct ttrpc_request *kept;
	struct buf rules; /* of the packet filter */
};

static const struct hypervisor_driver fake_driver = { .name = "fake" };

const char *pod_id(const struct pod *pod)
{
	return "sandbox1";
}

int pod_containers(struct pod *pod, struct strv *ret, struct err *e)
{
	return strv_add(ret, "c1") < 0 || strv_add(ret, "gone") < 0 ? -ENOMEM : 0;
}

struct vm *pod_vm(struct pod *pod)
{
	return &pod->vm;
}

struct agent *pod_agent(struct pod *pod)
{
	return pod->agent;
}

const char *pod_direct_volume(const struct pod *pod, const char *volume)
{
	return str_eq(volume, "/vol ume") ? "/guest/volume" : str_eq(volume, "/broken") ? "/guest/broken" : NULL;
}

int pod_resize_direct_volume(struct pod *pod, const char *volume, struct err *e)
{
	return pod_direct_volume(pod, volume) ? 0 : err_set(e, ERR_CONFIG, ENOENT, "no volume %s", volume);
}

static void on_close(struct ttrpc_request *req, void *userdata)
{
	((struct pod *)userdata)->kept = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_metrics(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__Metrics answer = GRPC__METRICS__INIT;
	struct pod *pod = userdata;

	if (!pod->agent_text) {
		pod->kept = req;
		ttrpc_request_on_close(req, on_close, pod);
		return;
	}
	answer.metrics = (char *)pod->agent_text;
	ttrpc_reply(req, &answer.base);
}

static void fake_stats(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__StatsContainerResponse answer = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Grpc__CgroupStats cg = GRPC__CGROUP_STATS__INIT;
	Grpc__PidsStats pids = GRPC__PIDS_STATS__INIT;

	if (str_eq(((const Grpc__StatsContainerRequest *)m)->container_id, "gone")) {
		ttrpc_reply_error(req, TTRPC_NOT_FOUND, "no such container");
		return;
	}
	pids.current = 11;
	cg.pids_stats = &pids;
	answer.cgroup_stats = &cg;
	ttrpc_reply(req, &answer.base);
}

static void fake_volume(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__VolumeStatsResponse answer = GRPC__VOLUME_STATS_RESPONSE__INIT;
	Grpc__VolumeUsage bytes = GRPC__VOLUME_USAGE__INIT, *usage = &bytes;

	if (!str_eq(((const Grpc__VolumeStatsRequest *)m)->volume_guest_path, "/guest/volume")) {
		ttrpc_reply_error(req, TTRPC_INTERNAL, "input/output error");
		return;
	}
	bytes.total = 100;
	bytes.available = 60;
	bytes.used = 40;
	bytes.unit = GRPC__UNIT__BYTES;
	answer.usage = &usage;
	answer.n_usage = 1;
	ttrpc_reply(req, &answer.base);
}

static void fake_resize(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__ResizeVolumeRequest *q = (const Grpc__ResizeVolumeRequest *)m;
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	if (str_eq(q->volume_guest_path, "/guest/volume") && q->size == 4096)
		ttrpc_reply(req, &empty.base);
	else
		ttrpc_reply_error(req, TTRPC_INTERNAL, "it cannot become smaller");
}

/* The rules of IPv6 are its own; those that begin with "bad" are not taken. */
static void fake_get_iptables(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__GetIPTablesResponse answer = GRPC__GET_IPTABLES_RESPONSE__INIT;
	const struct pod *pod = userdata;

	if (((const Grpc__GetIPTablesRequest *)m)->is_ipv6) {
		ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED, "the guest has no program ip6tables-save");
		return;
	}
	answer.data.data = (uint8_t *)pod->rules.data;
	answer.data.len = pod->rules.len;
	ttrpc_reply(req, &answer.base);
}

static void fake_set_iptables(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__SetIPTablesResponse answer = GRPC__SET_IPTABLES_RESPONSE__INIT;
	const Grpc__SetIPTablesRequest *q = (const Grpc__SetIPTablesRequest *)m;
	struct pod *pod = userdata;

	if (q->data.len >= 3 && memcmp(q->data.data, "bad", 3) == 0) {
		ttrpc_reply_error(req, TTRPC_INTERNAL, "iptables-restore: exit status 2: line 1 failed");
		return;
	}
	pod->rules.len = 0;
	buf_puts(&pod->rules, q->is_ipv6 ? "six:" : "four:");
	buf_append(&pod->rules, q->data.data, q->data.len);
	answer.data.data = (uint8_t *)"words";
	answer.data.len = 5;
	ttrpc_reply(req, &answer.base);
}

static void *run_loop(void *loop)
{
	loop_run(loop);
	return NULL;
}

static void start(struct pod *pod, bool with_agent)
{
	static const struct ttrpc_method methods[] = {
		{ "GetMetrics", &grpc__get_metrics_request__descriptor, fake_metrics },
		{ "StatsContainer", &grpc__stats_container_request__descriptor, fake_stats },
		{ "GetVolumeStats", &grpc__volume_stats_request__descriptor, fake_volume },
		{ "ResizeVolume", &grpc__resize_volume_request__descriptor, fake_resize },
		{ "GetIPTables", &grpc__get_iptables_request__descriptor, fake_get_iptables },
		{ "SetIPTables", &grpc__set_iptables_request__descriptor, fake_set_iptables },
	};
	static const struct ttrpc_service service = { "grpc.AgentService", methods, sizeof methods / sizeof *methods };
	struct pod_monitor_params params = { 0 };
	struct err e = { 0 };
	int sv[2];

	pod->vm.driver = &fake_driver;
	snprintf(pod->vm.agent_address, sizeof(pod->vm.agent_address), "hvsock:/run/x/vsock.sock");
	snprintf(pod->dir, sizeof(pod->dir), "/tmp/caisson-monitor-XXXXXX");
	assert_non_null(mkdtemp(pod->dir));
	snprintf(pod->path, sizeof(pod->path), "%s/%s", pod->dir, MONITOR_SOCKET);
	assert_int_equal(loop_new(&pod->loop, NULL), 0);
	if (with_agent) {
		assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sv), 0);
		assert_int_equal(loop_new(&pod->agent_loop, NULL), 0);
		assert_int_equal(ttrpc_server_new(pod->agent_loop, -1, &service, 1, pod, &pod->server, NULL), 0);
		assert_int_equal(ttrpc_server_add(pod->server, sv[0], NULL), 0);
		assert_int_equal(agent_new(pod->loop, sv[1], -1, NULL, &pod->agent, NULL), 0);
		assert_int_equal(pthread_create(&pod->agent_thread, NULL, run_loop, pod->agent_loop), 0);
	}
	params.loop = pod->loop;
	params.path = pod->path;
	params.pod = pod;
	assert_int_equal(pod_monitor_start(&params, &pod->monitor, &e), 0);
	assert_int_equal(pthread_create(&pod->loop_thread, NULL, run_loop, pod->loop), 0);
}

static void stop(struct pod *pod)
{
	loop_quit(pod->loop, 0);
	pthread_join(pod->loop_thread, NULL);
	pod_monitor_stop(pod->monitor);
	assert_int_equal(access(pod->path, F_OK), -1);
	agent_free(pod->agent);
	if (pod->agent_loop) {
		loop_quit(pod->agent_loop, 0);
		pthread_join(pod->agent_thread, NULL);
		ttrpc_server_free(pod->server);
		loop_free(pod->agent_loop);
	}
	loop_free(pod->loop);
	buf_fini(&pod->rules);
	rmdir(pod->dir);
}

/* ---- */

static void assert_has(const struct buf *text, const char *line)
{
	if (!strstr(text->data, line))
		fail_msg("no \"%s\" in\n%s", line, text->data);
}

static void scrape(void **state)
{
	struct pod pod = { .agent_text = "kata_guest_load{item=\"load1\"} 0.5\n" };
	_cleanup_buf_ struct buf text = { 0 };
	struct err e = { 0 };

	start(&pod, true);
	assert_int_equal(pod_monitor_get(pod.path, "/metrics", 60000, &text, &e), 0);
	assert_has(&text, "caisson_info{version=\"" CAISSON_VERSION "\",hypervisor=\"fake\"} 1\n");
	assert_has(&text, "\nkata_shim_threads ");
	assert_has(&text, "\nkata_guest_load{item=\"load1\"} 0.5\n");
	assert_has(&text, "\ncaisson_agent_up 1\n");
	assert_has(&text, "\ncaisson_container_pids{container_id=\"c1\"} 11\n");
	assert_null(strstr(text.data, "\"gone\""));
	stop(&pod);
}

static void guest_that_lies(void **state)
{
	struct pod pod = { .agent_text = "caisson_info 1\n\x1b[2J\n" };
	_cleanup_buf_ struct buf text = { 0 };

	start(&pod, true);
	assert_int_equal(pod_monitor_get(pod.path, "/metrics", 60000, &text, NULL), 0);
	assert_has(&text, "\ncaisson_agent_up 0\n");
	assert_has(&text, "\ncaisson_container_pids{container_id=\"c1\"} 11\n");
	stop(&pod);
}

/* The owner's loop goes on meanwhile, and the rest is told in the end. */
static void guest_that_is_silent(void **state)
{
	struct pod pod = { 0 };
	_cleanup_buf_ struct buf text = { 0 }, other = { 0 };
	_cleanup_close_ int fd = -1;
	static const char request[] = "GET /metrics HTTP/1.1\r\n\r\n";

	start(&pod, true);
	assert_int_equal(unix_connect(pod.path, &fd), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	assert_int_equal(pod_monitor_get(pod.path, "/agent-url", 60000, &other, NULL), 0);
	assert_int_equal(pod_monitor_get(pod.path, "/metrics", 60000, &text, NULL), 0);
	assert_has(&text, "\ncaisson_agent_up 0\n");
	/* a client that goes while the guest is asked */
	fd_close(&fd);
	assert_int_equal(unix_connect(pod.path, &fd), 0);
	assert_int_equal(write(fd, request, strlen(request)), strlen(request));
	stop(&pod);
}

static void before_the_vm_runs(void **state)
{
	struct pod pod = { 0 };
	_cleanup_buf_ struct buf text = { 0 };

	start(&pod, false);
	assert_int_equal(pod_monitor_get(pod.path, "/metrics", 60000, &text, NULL), 0);
	assert_has(&text, "\nkata_shim_threads ");
	assert_null(strstr(text.data, "agent_up"));
	stop(&pod);
}

static void other_endpoints(void **state)
{
	struct pod pod = { 0 };
	_cleanup_buf_ struct buf url = { 0 }, stats = { 0 }, none = { 0 };
	struct err e = { 0 };

	start(&pod, false);
	assert_int_equal(pod_monitor_get(pod.path, "/agent-url", 60000, &url, &e), 0);
	assert_string_equal(url.data, "hvsock:///run/x/vsock.sock:1024");
	assert_int_equal(pod_monitor_get(pod.path, "/sandbox/stats?x=1", 60000, &stats, &e), 0);
	assert_string_equal(stats.data, "{\"id\":\"sandbox1\",\"containers\":[\"c1\",\"gone\"]}");
	assert_int_equal(pod_monitor_get(pod.path, "/metric", 60000, &none, &e), -EREMOTEIO);
	assert_non_null(strstr(e.text, "status 404"));
	stop(&pod);
	assert_int_equal(pod_monitor_get(pod.path, "/metrics", 60000, &none, &e), -ENOENT);
}

/* One request as it is; the answer up to the end of the connection. */
static void ask(struct pod *pod, const char *request, struct buf *ret)
{
	_cleanup_close_ int fd = -1;
	char data[1024];
	ssize_t n;

	assert_int_equal(unix_connect(pod->path, &fd), 0);
	fd_set_nonblock(fd, false);
	ret->len = 0;
	assert_int_equal(buf_puts(ret, ""), 0);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while ((n = recv(fd, data, sizeof(data), 0)) > 0)
		assert_int_equal(buf_append(ret, data, (size_t)n), 0);
}

static void direct_volume(void **state)
{
	struct pod pod = { 0 };
	_cleanup_buf_ struct buf text = { 0 };

	start(&pod, true);
	ask(&pod, "GET /direct-volume/stats?path=%2Fvol%20ume HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 200 ");
	assert_has(&text, "{\"usage\":[{\"available\":60,\"total\":100,\"used\":40,\"unit\":1}],"
			  "\"volume_condition\":{\"abnormal\":false,\"message\":\"\"}}");
	ask(&pod, "POST /direct-volume/stats?path=/vol+ume HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 200 ");
	ask(&pod, "GET /direct-volume/stats?path=/other HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 404 ");
	ask(&pod, "GET /direct-volume/stats HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 400 ");
	ask(&pod, "GET /direct-volume/stats?path=/broken HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 500 ");
	assert_has(&text, "input/output error");
	stop(&pod);
}

static void direct_volume_grows(void **state)
{
	static const struct {
		const char *body, *answer, *says;
	} tests[] = {
		{ "{\"VolumePath\":\"/vol ume\",\"Size\":4096}", "HTTP/1.1 200 ", "" },
		{ "{\"volume_guest_path\":\"/vol ume\",\"size\":4096}", "HTTP/1.1 200 ", "" },
		{ "{\"VolumePath\":\"/vol ume\",\"Size\":1}", "HTTP/1.1 500 ", "it cannot become smaller" },
		{ "{\"VolumePath\":\"/other\",\"Size\":4096}", "HTTP/1.1 404 ", "no volume /other" },
		{ "{\"VolumePath\":\"/vol ume\"}", "HTTP/1.1 400 ", "BYTES" },
		{ "{\"Size\":4096", "HTTP/1.1 400 ", "BYTES" },
		{ "", "HTTP/1.1 400 ", "BYTES" },
	};
	struct pod pod = { 0 };

	start(&pod, true);
	for (size_t i = 0; i < sizeof tests / sizeof *tests; i++) {
		_cleanup_free_ char *request =
			str_printf("POST /direct-volume/resize HTTP/1.1\r\nContent-Length: %zu\r\n\r\n%s",
				   strlen(tests[i].body), tests[i].body);
		_cleanup_buf_ struct buf text = { 0 };

		ask(&pod, request, &text);
		assert_has(&text, tests[i].answer);
		assert_has(&text, tests[i].says);
	}
	stop(&pod);
}

static void iptables(void **state)
{
	_cleanup_free_ char *many = malloc(500001), *request = NULL;
	_cleanup_buf_ struct buf text = { 0 };
	struct pod pod = { 0 };

	start(&pod, true);
	ask(&pod, "PUT /iptables HTTP/1.1\r\nContent-Length: 9\r\n\r\n*filter\n\n", &text);
	assert_has(&text, "HTTP/1.1 200 ");
	/* As Kata's shim, which does not pass on what the guest says. */
	assert_has(&text, "Content-Length: 0\r\n");
	ask(&pod, "GET /iptables HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "\r\n\r\nfour:*filter\n\n");
	ask(&pod, "PUT /ip6tables HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 200 ");
	ask(&pod, "GET /iptables HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "\r\n\r\nsix:");
	ask(&pod, "PUT /iptables HTTP/1.1\r\nContent-Length: 3\r\n\r\nbad", &text);
	assert_has(&text, "HTTP/1.1 500 ");
	assert_has(&text, "iptables-restore: exit status 2: line 1 failed");
	ask(&pod, "GET /ip6tables HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 500 ");
	assert_has(&text, "the guest has no program ip6tables-save");
	ask(&pod, "POST /iptables HTTP/1.1\r\nContent-Length: 0\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 405 ");
	assert_has(&text, "/iptables is for GET and PUT\n");
	/* More than one message of the socket holds, from a client that waits to be asked for it. */
	memset(many, 'x', 500000);
	many[500000] = '\0';
	request =
		str_printf("PUT /iptables HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 500000\r\n\r\n%s", many);
	ask(&pod, request, &text);
	assert_has(&text, "HTTP/1.1 200 ");
	ask(&pod, "GET /iptables HTTP/1.1\r\n\r\n", &text);
	assert_true(text.len > 500005);
	stop(&pod);
}

static void iptables_without_a_vm(void **state)
{
	_cleanup_buf_ struct buf text = { 0 };
	struct pod pod = { 0 };

	start(&pod, false);
	ask(&pod, "GET /iptables HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 503 ");
	stop(&pod);
}

static void clients(void **state)
{
	struct pod pod = { 0 };
	_cleanup_buf_ struct buf text = { 0 };
	unsigned before;
	int fds[MONITOR_CONNECTIONS_MAX];
	char byte;

	start(&pod, false);
	before = count_entries("/proc/self/fd");
	ask(&pod, "PUT /metrics HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 405 ");
	assert_has(&text, "/metrics is for GET\n");
	ask(&pod, "GE /metrics HTTP/1.1\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 405 ");
	ask(&pod, "POST /agent-url HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", &text);
	assert_has(&text, "HTTP/1.1 405 ");
	ask(&pod, "POST /direct-volume/resize HTTP/1.1\r\nContent-Length: 1048577\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 400 ");
	ask(&pod, "nonsense\r\n\r\n", &text);
	assert_has(&text, "HTTP/1.1 400 ");
	/* as many that say nothing as there may be; one more is shown the door */
	for (unsigned i = 0; i < MONITOR_CONNECTIONS_MAX; i++)
		assert_int_equal(unix_connect(pod.path, &fds[i]), 0);
	{
		_cleanup_close_ int fd = -1;

		assert_int_equal(unix_connect(pod.path, &fd), 0);
		fd_set_nonblock(fd, false);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
	}
	for (unsigned i = 0; i < MONITOR_CONNECTIONS_MAX; i++)
		close(fds[i]);
	/* they are gone once this is answered: sockets are served in the order of the events */
	do
		text.len = 0;
	while (pod_monitor_get(pod.path, "/agent-url", 60000, &text, NULL) < 0);
	stop(&pod);
	assert_true(count_entries("/proc/self/fd") <= before);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scrape),
		cmocka_unit_test(guest_that_lies),
		cmocka_unit_test(guest_that_is_silent),
		cmocka_unit_test(before_the_vm_runs),
		cmocka_unit_test(other_endpoints),
		cmocka_unit_test(direct_volume),
		cmocka_unit_test(direct_volume_grows),
		cmocka_unit_test(iptables),
		cmocka_unit_test(iptables_without_a_vm),
		cmocka_unit_test(clients),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
