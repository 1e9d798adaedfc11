/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See monitor.h. A connection reads one request, gets its answer (at once, or when a look at the pod is complete),
 * writes it and ends. A timer ends it whatever it does.
 */
#include "pod/monitor.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "codec/http.h"
#include "codec/json.h"
#include "pod/agent.h"
#include "pod/pod.h"
#include "pod/scrape.h"

#define LINE_MAX_BYTES 1024
#define BODY_MAX_BYTES (1u << 20) /* of packet filters with very many rules */
#define JSON_MAX_BYTES 4096
#define AGENT_PORT     1024
#define VOLUME_MS      2000
#define CONTINUE       "HTTP/1.1 100 Continue\r\n\r\n"
#define IPTABLES_MS    9000 /* our agent gives its program 8 seconds */
/* Bytes and inodes; a guest may say more. */
#define VOLUME_USAGES_MAX 8

struct connection {
	struct list node;
	struct pod_monitor *monitor;
	int fd;
	struct loop_source *io, *timer;
	struct http_parser parser;
	struct scrape *scrape;
	struct agent_call *call; /* to the guest, for the answer */
	struct buf out;
	bool answering;
};

struct pod_monitor {
	struct pod_monitor_params params;
	char *path;
	int listen_fd;
	struct loop_source *listener;
	struct list connections;
	unsigned n_connections;
	struct metrics_overhead overhead;
};

static void connection_free(struct connection *c)
{
	scrape_cancel(c->scrape);
	agent_call_cancel(c->call);
	loop_source_free(c->io);
	loop_source_free(c->timer);
	fd_close(&c->fd);
	http_parser_fini(&c->parser);
	buf_fini(&c->out);
	list_remove(&c->node);
	c->monitor->n_connections--;
	free(c);
}

/* ---- answers ---- */

static void answer(struct connection *c, unsigned status, const char *reason, const char *type, const char *body,
		   size_t len)
{
	c->answering = true;
	if (buf_printf(&c->out,
		       "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n", status,
		       reason, type, len) < 0 ||
	    buf_append(&c->out, body, len) < 0 || loop_io_set_events(c->io, EPOLLOUT) < 0)
		c->out.len = 0; /* on_io() then ends the connection */
}

static void answer_text(struct connection *c, unsigned status, const char *reason, const char *text)
{
	answer(c, status, reason, "text/plain; charset=utf-8", text, strlen(text));
}

static void answer_json(struct connection *c, struct json_object *top)
{
	_cleanup_free_ char *text = json_write(top, false);

	json_free(top);
	if (text)
		answer(c, 200, "OK", "application/json", text, strlen(text));
	else
		answer_text(c, 500, "Internal Server Error", "out of memory\n");
}

static void on_scraped(int result, const struct buf *text, void *userdata)
{
	struct connection *c = userdata;

	c->scrape = NULL;
	if (result < 0)
		answer_text(c, 500, "Internal Server Error", "the metrics are more than can be told\n");
	else
		answer(c, 200, "OK", "text/plain; version=0.0.4; charset=utf-8", text->data, text->len);
}

/* The answer comes later; until then only the connection's end is told. */
static void wait_for_answer(struct connection *c)
{
	c->answering = true;
	loop_io_set_events(c->io, 0);
}

static void get_metrics(struct connection *c, const struct http_message *m)
{
	struct pod_monitor *monitor = c->monitor;
	struct err e = { 0 };

	if (scrape_start(&monitor->params, &monitor->overhead, on_scraped, c, &c->scrape, &e) < 0) {
		answer_text(c, 500, "Internal Server Error", e.text);
		return;
	}
	wait_for_answer(c);
}

/* Kata's clients want URLs; our addresses are "vsock:CID" and "hvsock:PATH". */
static void get_agent_url(struct connection *c, const struct http_message *m)
{
	const struct vm *vm = pod_vm(c->monitor->params.pod);
	const char *rest = vm ? strchr(vm->agent_address, ':') : NULL;
	_cleanup_free_ char *url = NULL;

	if (!rest) {
		answer_text(c, 503, "Service Unavailable", "there is no VM\n");
		return;
	}
	url = str_printf("%.*s://%s:%d", (int)(rest - vm->agent_address), vm->agent_address, rest + 1, AGENT_PORT);
	answer_text(c, url ? 200 : 500, url ? "OK" : "Internal Server Error", url ? url : "");
}

static void get_stats(struct connection *c, const struct http_message *m)
{
	const struct pod_monitor_params *params = &c->monitor->params;
	struct json_object *top = json_object_make(), *list = json_array_make(), *o;
	struct pod_monitor_host host = { 0 };
	_cleanup_strv_ struct strv ids = { 0 };
	struct host_cgroup_usage u;

	json_set_str(top, "id", pod_id(params->pod));
	pod_containers(params->pod, &ids, NULL);
	for (size_t i = 0; i < ids.len; i++)
		json_add_str(list, ids.v[i]);
	json_set(top, "containers", list);
	if (params->host)
		params->host(&host, params->userdata);
	if (host.cgroup && host_cgroup_usage(host.cgroup, &u, NULL) == 0) {
		o = json_object_make();
		json_set_u64(o, "memory_bytes", u.memory_bytes);
		json_set_u64(o, "memory_peak_bytes", u.memory_peak_bytes);
		if (u.memory_limit_bytes != UINT64_MAX)
			json_set_u64(o, "memory_limit_bytes", u.memory_limit_bytes);
		json_set_u64(o, "cpu_ns", u.cpu_ns);
		json_set_u64(o, "cpu_user_ns", u.user_ns);
		json_set_u64(o, "cpu_system_ns", u.system_ns);
		json_set_u64(o, "threads", u.pids);
		json_set(top, "cgroup", o);
	}
	answer_json(c, top);
}

/* Kata's names and units: those of the agent's message. */
static void on_volume_stats(int result, const Grpc__VolumeStatsResponse *stats, const struct err *e, void *userdata)
{
	struct connection *c = userdata;
	struct json_object *top, *list, *condition;
	char message[256] = "";

	c->call = NULL;
	if (result < 0) {
		answer_text(c, 500, "Internal Server Error", e->text);
		return;
	}
	top = json_object_make();
	list = json_array_make();
	condition = json_object_make();
	for (size_t i = 0; i < stats->n_usage && i < VOLUME_USAGES_MAX; i++) {
		struct json_object *usage = json_object_make();

		json_set_u64(usage, "available", stats->usage[i]->available);
		json_set_u64(usage, "total", stats->usage[i]->total);
		json_set_u64(usage, "used", stats->usage[i]->used);
		json_set_u64(usage, "unit", stats->usage[i]->unit);
		json_add(list, usage);
	}
	json_set(top, "usage", list);
	json_set_bool(condition, "abnormal", stats->volume_condition && stats->volume_condition->abnormal);
	if (stats->volume_condition)
		snprintf(message, sizeof message, "%s", stats->volume_condition->message);
	json_set_str(condition, "message", message);
	json_set(top, "volume_condition", condition);
	answer_json(c, top);
}

static void get_volume_stats(struct connection *c, const struct http_message *m)
{
	struct pod *pod = c->monitor->params.pod;
	_cleanup_free_ char *volume = NULL;
	const char *place;
	struct err e = { 0 };

	if (http_query_value(m->target, "path", &volume) < 0) {
		answer_text(c, 400, "Bad Request", "say which volume: ?path=PATH\n");
		return;
	}
	place = pod_direct_volume(pod, volume);
	if (!place || !pod_agent(pod))
		answer_text(c, 404, "Not Found", "the pod has no such direct-assigned volume\n");
	else if (agent_get_volume_stats_async(pod_agent(pod), place, VOLUME_MS, on_volume_stats, c, &c->call, &e) < 0)
		answer_text(c, 500, "Internal Server Error", e.text);
	else
		wait_for_answer(c);
}

/* Of what has no answer but that it is done. */
static void on_done(int result, const struct err *e, void *userdata)
{
	struct connection *c = userdata;

	c->call = NULL;
	answer_text(c, result < 0 ? 500 : 200, result < 0 ? "Internal Server Error" : "OK", result < 0 ? e->text : "");
}

/* Kata's Go runtime has capitals, its Rust runtime the names of the agent's request. */
static void post_volume_resize(struct connection *c, const struct http_message *m)
{
	struct pod *pod = c->monitor->params.pod;
	_cleanup_json_ struct json_object *o = NULL;
	const char *volume;
	struct err e = { 0 };
	uint64_t size;
	int r;

	if (json_parse(m->body, m->body_len, JSON_MAX_BYTES, &o, NULL) < 0)
		o = NULL;
	volume = json_get_str(o, "VolumePath");
	if (!volume)
		volume = json_get_str(o, "volume_guest_path");
	if (!volume || (json_get_u64(o, "Size", &size) < 0 && json_get_u64(o, "size", &size) < 0)) {
		answer_text(c, 400, "Bad Request", "say {\"VolumePath\": PATH, \"Size\": BYTES}\n");
		return;
	}
	r = pod_resize_direct_volume(pod, volume, &e);
	if (r == 0)
		r = agent_resize_volume_async(pod_agent(pod), pod_direct_volume(pod, volume), size, on_done, c,
					      &c->call, &e);
	if (r == 0)
		wait_for_answer(c);
	else if (r == -ENOENT)
		answer_text(c, 404, "Not Found", e.text);
	else
		answer_text(c, 500, "Internal Server Error", e.text);
}

static void on_iptables(int result, const void *rules, size_t n, const struct err *e, void *userdata)
{
	struct connection *c = userdata;

	c->call = NULL;
	if (result < 0)
		answer_text(c, 500, "Internal Server Error", e->text);
	else
		answer(c, 200, "OK", "text/plain; charset=utf-8", n ? rules : "", n);
}

static void use_iptables(struct connection *c, const struct http_message *m, bool ipv6)
{
	struct agent *agent = pod_agent(c->monitor->params.pod);
	struct err e = { 0 };
	int r;

	if (!agent) {
		answer_text(c, 503, "Service Unavailable", "there is no VM\n");
		return;
	}
	/* Kata answers with nothing then, though its agent may say something. */
	if (str_eq(m->method, "PUT"))
		r = agent_set_iptables_async(agent, ipv6, m->body, m->body_len, IPTABLES_MS, on_done, c, &c->call, &e);
	else
		r = agent_get_iptables_async(agent, ipv6, IPTABLES_MS, on_iptables, c, &c->call, &e);
	if (r < 0)
		answer_text(c, 500, "Internal Server Error", e.text);
	else
		wait_for_answer(c);
}

static void use_iptables_v4(struct connection *c, const struct http_message *m)
{
	use_iptables(c, m, false);
}

static void use_iptables_v6(struct connection *c, const struct http_message *m)
{
	use_iptables(c, m, true);
}

static const struct route {
	const char *target;
	const char *methods[2];
	void (*fn)(struct connection *c, const struct http_message *m);
} routes[] = {
	{ "/metrics", { "GET" }, get_metrics },
	{ "/agent-url", { "GET" }, get_agent_url },
	{ "/sandbox/stats", { "GET" }, get_stats },
	{ "/direct-volume/stats", { "GET", "POST" }, get_volume_stats }, /* POST: Kata's Rust tools */
	{ "/direct-volume/resize", { "POST" }, post_volume_resize },
	{ "/iptables", { "GET", "PUT" }, use_iptables_v4 },
	{ "/ip6tables", { "GET", "PUT" }, use_iptables_v6 },
};

static void route(struct connection *c, const struct http_message *m)
{
	size_t n = strcspn(m->target, "?");

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++) {
		const struct route *r = &routes[i];
		char text[64];

		if (strlen(r->target) != n || strncmp(r->target, m->target, n) != 0)
			continue;
		if (str_eq(r->methods[0], m->method) || str_eq(r->methods[1], m->method)) {
			r->fn(c, m);
			return;
		}
		snprintf(text, sizeof text, "%s is for %s%s%s\n", r->target, r->methods[0],
			 r->methods[1] ? " and " : "", r->methods[1] ? r->methods[1] : "");
		answer_text(c, 405, "Method Not Allowed", text);
		return;
	}
	answer_text(c, 404, "Not Found",
		    "there are /metrics, /agent-url, /sandbox/stats, /direct-volume/stats, /direct-volume/resize, "
		    "/iptables and /ip6tables\n");
}

/* ---- connections ---- */

/* False: it is over. */
static bool read_request(struct connection *c)
{
	const struct http_message *m;
	struct err e = { 0 };
	char data[2048];
	ssize_t n = recv(c->fd, data, sizeof(data), MSG_DONTWAIT);
	int r;

	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	if (n == 0 || http_parser_feed(&c->parser, data, (size_t)n) < 0)
		return false;
	r = http_parser_next(&c->parser, &m, &e);
	if (r < 0)
		answer_text(c, 400, "Bad Request", e.text);
	else if (r > 0)
		route(c, m);
	else if (http_parser_wants_continue(&c->parser))
		(void)send(c->fd, CONTINUE, strlen(CONTINUE), MSG_DONTWAIT | MSG_NOSIGNAL);
	return true;
}

/* False: it is over. */
static bool write_answer(struct connection *c)
{
	ssize_t n;

	if (!c->out.len)
		return false;
	n = send(c->fd, c->out.data, c->out.len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR;
	buf_consume(&c->out, (size_t)n);
	return c->out.len > 0;
}

static void on_io(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct connection *c = userdata;
	bool goes_on;

	if (!c->answering)
		goes_on = read_request(c);
	else if (c->scrape || c->call)
		goes_on = false; /* muted: only an end is told */
	else
		goes_on = !(revents & EPOLLERR) && write_answer(c);
	if (!goes_on)
		connection_free(c);
}

static void on_time(struct loop_source *s, void *userdata)
{
	connection_free(userdata);
}

static void on_connect(struct loop_source *s, int listen_fd, uint32_t revents, void *userdata)
{
	struct pod_monitor *m = userdata;
	int fd = accept4(listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct connection *c;

	if (fd < 0)
		return;
	c = m->n_connections < MONITOR_CONNECTIONS_MAX ? calloc(1, sizeof(*c)) : NULL;
	if (!c) {
		close(fd);
		return;
	}
	c->monitor = m;
	c->fd = fd;
	http_parser_init(&c->parser, HTTP_REQUEST, LINE_MAX_BYTES, BODY_MAX_BYTES);
	list_append(&m->connections, &c->node);
	m->n_connections++;
	if (loop_add_io(m->params.loop, fd, EPOLLIN, on_io, c, &c->io) < 0 ||
	    loop_add_timer(m->params.loop, MONITOR_TIME_MS, on_time, c, &c->timer) < 0)
		connection_free(c);
}

int pod_monitor_start(const struct pod_monitor_params *params, struct pod_monitor **ret, struct err *e)
{
	struct pod_monitor *m = calloc(1, sizeof(*m));
	int r;

	if (!m)
		return err_sys(e, ENOMEM, "monitor of the pod");
	m->params = *params;
	m->listen_fd = -1;
	list_init(&m->connections);
	r = unix_listen(params->path, 0600, &m->listen_fd, e);
	if (r == 0) {
		m->params.path = m->path = strdup(params->path);
		r = m->path ? loop_add_io(params->loop, m->listen_fd, EPOLLIN, on_connect, m, &m->listener) : -ENOMEM;
		if (r < 0)
			err_sys(e, -r, "serve %s", params->path);
		if (!m->path)
			unlink(params->path);
	}
	if (r < 0) {
		err_wrap(e, "monitor of the pod");
		pod_monitor_stop(m);
		return r;
	}
	*ret = m;
	return 0;
}

void pod_monitor_stop(struct pod_monitor *m)
{
	struct connection *c;

	if (!m)
		return;
	list_foreach (c, &m->connections, struct connection, node)
		connection_free(c);
	loop_source_free(m->listener);
	fd_close(&m->listen_fd);
	if (m->path)
		unlink(m->path);
	free(m->path);
	free(m);
}
