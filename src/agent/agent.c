// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "agent/coldplug.h"
#include "agent/debug_console.h"
#include "agent/forward.h"
#include "agent/log_stream.h"
#include "agent/storage.h"
#include "agent/uevent.h"
#include "base/fd.h"
#include "base/log.h"
#include "proto/empty.pb-c.h"

#define RETRY_MS 50 /* between looks for a device when no event comes */
/* For output of an exec that has ended to be read, and how many of a container may take longer. */
#define FORGET_MS  10000
#define UNREAD_MAX 64

struct waiter {
	struct list node;
	struct agent *agent;
	struct ttrpc_request *req;
	agent_try_fn fn;
	uint64_t deadline_ms;
};

/* ---- answering ---- */

void rpc_done(struct ttrpc_request *req)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	ttrpc_reply(req, &empty.base);
}

void rpc_fail(struct ttrpc_request *req, const struct err *e)
{
	log_info("request failed: %s", e->text);
	ttrpc_reply_error(req, ttrpc_code_from_errno(-e->code), "%s", e->text);
}

void rpc_result(struct ttrpc_request *req, int r, const struct err *e)
{
	if (r < 0)
		rpc_fail(req, e);
	else
		rpc_done(req);
}

/* ---- requests that wait for a device ---- */

static void waiter_free(struct waiter *w)
{
	list_remove(&w->node);
	free(w);
}

static void look_again(struct agent *a)
{
	struct list todo;
	struct waiter *w;

	/* Requests that begin to wait while others are tried go to the end of a.waiting and are not tried here. */
	list_init(&todo);
	while ((w = list_first(&a->waiting, struct waiter, node))) {
		list_remove(&w->node);
		list_append(&todo, &w->node);
	}
	while ((w = list_first(&todo, struct waiter, node))) {
		list_remove(&w->node);
		if (w->fn(a, w->req, clock_ms() >= w->deadline_ms))
			waiter_free(w);
		else
			list_append(&a->waiting, &w->node);
	}
	loop_timer_set(a->waiting_timer, list_empty(&a->waiting) ? UINT64_MAX : RETRY_MS);
}

static void on_waiting_timer(struct loop_source *s, void *userdata)
{
	(void)s;
	look_again(userdata);
}

static void on_uevent(const struct uevent *ev, void *userdata)
{
	struct agent *a = userdata;

	coldplug_event(a->coldplug, ev);
	if (!list_empty(&a->waiting) && strcmp(ev->action, "remove"))
		look_again(a);
}

static void on_waiter_closed(struct ttrpc_request *req, void *userdata)
{
	waiter_free(userdata);
	ttrpc_reply_error(req, TTRPC_CANCELLED, "the caller has gone");
}

void agent_wait_device(struct agent *a, struct ttrpc_request *req, agent_try_fn fn)
{
	struct waiter *w;

	if (fn(a, req, false))
		return;
	w = calloc(1, sizeof *w);
	if (!w) {
		fn(a, req, true);
		return;
	}
	w->agent = a;
	w->req = req;
	w->fn = fn;
	w->deadline_ms = clock_ms() + a->config.hotplug_timeout_ms;
	list_append(&a->waiting, &w->node);
	ttrpc_request_on_close(req, on_waiter_closed, w);
	loop_timer_set(a->waiting_timer, RETRY_MS);
}

/* ---- containers and processes ---- */

bool agent_id_valid(const char *id)
{
	size_t n = id ? strlen(id) : 0;

	if (n == 0 || n > 128 || !isalnum((unsigned char)id[0]))
		return false;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !strchr("_.-", id[i]))
			return false;
	return true;
}

int agent_find_container(struct agent *a, const char *id, struct agent_container **ret, struct err *e)
{
	struct agent_container *c;

	list_foreach (c, &a->containers, struct agent_container, node)
		if (str_eq(c->id, id)) {
			*ret = c;
			return 0;
		}
	return err_set(e, ERR_PROTOCOL, ENOENT, "there is no container \"%.128s\"", id ? id : "");
}

int agent_find_process(struct agent *a, const char *id, const char *exec_id, struct agent_process **ret, struct err *e)
{
	struct agent_container *c;
	struct agent_process *p;
	int r = agent_find_container(a, id, &c, e);

	if (r < 0)
		return r;
	if (!exec_id || str_eq(exec_id, c->id))
		exec_id = "";
	list_foreach (p, &c->processes, struct agent_process, node)
		if (str_eq(p->exec_id, exec_id)) {
			*ret = p;
			return 0;
		}
	return err_set(e, ERR_PROTOCOL, ENOENT, "container %s has no process \"%.128s\"", c->id, exec_id);
}

int agent_process_new(struct agent_container *c, const char *exec_id, struct process *process,
		      struct agent_process **ret, struct err *e)
{
	struct agent_process *p = calloc(1, sizeof *p);

	if (p)
		p->exec_id = strdup(exec_id);
	if (!p || !p->exec_id) {
		free(p);
		return err_sys(e, ENOMEM, "cannot keep track of a process");
	}
	p->container = c;
	p->process = process;
	list_init(&p->ops);
	list_append(&c->processes, &p->node);
	c->n_processes++;
	if (ret)
		*ret = p;
	return 0;
}

void agent_process_free(struct agent_process *p)
{
	if (!p)
		return;
	stream_ops_end(p);
	loop_source_free(p->forget_timer);
	list_remove(&p->node);
	p->container->n_processes--;
	free(p->exec_id);
	free(p);
}

static void forget(struct agent_process *p)
{
	struct container *c = p->container->c;
	struct process *process = p->process;

	agent_process_free(p);
	container_forget_process(c, process);
}

static bool has_output(int fd)
{
	int n = 0;

	return fd >= 0 && ioctl(fd, FIONREAD, &n) == 0 && n > 0;
}

static size_t count_ended(const struct agent_container *c)
{
	struct agent_process *p;
	size_t n = 0;

	list_foreach (p, &c->processes, struct agent_process, node)
		n += p->forget_timer != NULL;
	return n;
}

/* Somebody on the host may be slow to read. Processes that the host has forgotten must not fill the guest. */
static void on_forget_timer(struct loop_source *s, void *userdata)
{
	struct agent_process *p = userdata;

	if ((has_output(process_stdout_fd(p->process)) || has_output(process_stderr_fd(p->process))) &&
	    count_ended(p->container) <= UNREAD_MAX)
		loop_timer_set(s, FORGET_MS);
	else
		forget(p);
}

void agent_process_settle(struct agent_process *p)
{
	/* Init stays until RemoveContainer: its status may be asked for again. */
	if (!*p->exec_id || !p->waited || !process_exited(p->process) || p->forget_timer)
		return;
	/*
	 * Its output may still be read. A timer, also when all was read: we may be called from a callback of the
	 * process that is to be freed.
	 */
	loop_add_timer(p->container->agent->loop, p->out_ended && p->err_ended ? 0 : FORGET_MS, on_forget_timer, p,
		       &p->forget_timer);
}

void agent_end_beside(struct agent_container *c)
{
	struct agent_container *other;

	list_foreach (other, &c->agent->containers, struct agent_container, node)
		if (other != c && other->c && c->c)
			container_end_beside(other->c, c->c);
}

void agent_container_free(struct agent_container *c)
{
	struct agent_process *p;

	/* Requests that end with it may want it freed, too. */
	if (!c || c->ending)
		return;
	c->ending = true;
	list_foreach (p, &c->processes, struct agent_process, node)
		agent_process_free(p);
	agent_end_beside(c);
	if (c->c)
		container_free(c->c);
	storages_release(c->agent, &c->storages);
	if (c->bundle && dir_remove(c->bundle) < 0)
		log_warn("cannot remove %s", c->bundle);
	if (!list_empty(&c->node)) {
		list_remove(&c->node);
		c->agent->n_containers--;
	}
	strv_fini(&c->storages);
	free(c->id);
	free(c->bundle);
	free(c);
}

/* ---- the agent itself ---- */

/* port 0: the address's own. Another port of a Unix address is the socket PATH_PORT. */
static int listen_port(const struct sock_addr *address, uint32_t port, struct err *e)
{
	struct sock_addr a = *address;
	int fd;

	if (port && a.kind == SOCK_ADDR_VSOCK)
		a.port = port;
	else if (port && snprintf(a.path, sizeof a.path, "%s_%u", address->path, port) >= (int)sizeof a.path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG, "socket path %s is too long", address->path);
	fd = sock_addr_listen(&a, e);
	if (fd >= 0)
		fd_set_nonblock(fd, true);
	return fd;
}

/* None of these is worth failing for. */
static void start_streams(struct agent *a)
{
	struct err e = { 0 };
	int fd;

	if (a->config.log_port) {
		fd = listen_port(&a->config.address, a->config.log_port, &e);
		if (fd < 0 || log_stream_new(a->loop, fd, &a->log_stream, &e) < 0)
			log_warn("no log stream: %s", e.text);
	}
	if (a->config.debug_console) {
		fd = listen_port(&a->config.address, a->config.debug_console_port, &e);
		if (fd < 0 || debug_console_new(a->loop, a->reaper, fd, &a->console, &e) < 0)
			log_warn("no debug console: %s", e.text);
	}
	if (a->config.forward_port) {
		fd = listen_port(&a->config.address, a->config.forward_port, &e);
		if (fd < 0 || forward_new(a->loop, fd, &a->forward, &e) < 0)
			log_warn("no port forwarding: %s", e.text);
	}
}

int agent_new(const struct agent_config *config, bool is_init, struct loop *loop, struct agent **ret, struct err *e)
{
	struct agent *a = calloc(1, sizeof *a);
	int r, fd = -1;

	if (!a)
		return err_sys(e, ENOMEM, "cannot start the agent");
	a->config = *config;
	a->is_init = is_init;
	a->loop = loop;
	a->sandbox.uts_ns_fd = a->sandbox.ipc_ns_fd = a->sandbox.pid_ns_fd = -1;
	list_init(&a->containers);
	list_init(&a->storages);
	list_init(&a->waiting);
	list_init(&a->oom_waiters);
	list_init(&a->iptables);
	r = reaper_new(loop, &a->reaper, e);
	if (r == 0)
		r = loop_add_timer(loop, UINT64_MAX, on_waiting_timer, a, &a->waiting_timer);
	if (r == 0)
		r = uevent_monitor_new(loop, on_uevent, a, &a->uevents, e);
	if (r == 0)
		r = fd = listen_port(&config->address, 0, e);
	if (r > 0)
		r = 0;
	if (r == 0)
		r = ttrpc_server_new(loop, fd, agent_services, agent_n_services, a, &a->server, e);
	if (r < 0) {
		agent_free(a);
		return err_is_set(e) ? r : err_sys(e, -r, "cannot start the agent");
	}
	log_debug("listening after %llu ms", (unsigned long long)((clock_us() - config->started_us) / 1000));
	/* From here on the host is heard, and waits: drivers come after that. */
	if (is_init && coldplug_new(loop, &a->coldplug, e) < 0) {
		log_warn("%s", e->text);
		*e = (struct err){ 0 };
	}
	start_streams(a);
	*ret = a;
	return 0;
}

void agent_free(struct agent *a)
{
	struct waiter *w;

	if (!a)
		return;
	sandbox_destroy(a);
	list_foreach (w, &a->waiting, struct waiter, node) {
		ttrpc_reply_error(w->req, TTRPC_UNAVAILABLE, "the agent is ending");
		waiter_free(w);
	}
	oom_waiters_end(a);
	iptables_end(a);
	ttrpc_server_free(a->server);
	debug_console_free(a->console);
	forward_free(a->forward);
	uevent_monitor_free(a->uevents);
	coldplug_free(a->coldplug);
	loop_source_free(a->waiting_timer);
	reaper_free(a->reaper);
	log_stream_free(a->log_stream);
	free(a);
}
