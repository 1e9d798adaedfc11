/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests: a hypervisor driver with no VM behind it, and an agent that is a ttrpc server in a thread. Both do what
 * `guest` says: note what they are asked, answer, refuse, be silent, talk nonsense, hang up, die.
 *
 * An agent's process runs until a signal ends it.
 */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "codec/ttrpc.h"
#include "hypervisor/driver.h"
#include "proto/agent.pb-c.h"
#include "proto/empty.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/names.pb-c.h"

/* HOLD: a CreateContainer, PauseContainer or RemoveContainer, until statistics are asked for. END_FIRST: a
 * StartContainer of what ends at once, with 7. */
enum act { ANSWER, REFUSE, NEVER, GARBAGE, NOISE, HANG_UP, DIE, DIE_SLOWLY, INTERRUPT, HOLD, END_FIRST };

#define FAKE_WAITS_MAX 32

static struct {
	char *agent_path;
	int interrupt_fd; /* written to for INTERRUPT */
	/* the agent */
	struct loop *agent_loop;
	struct loop_source *listener;
	struct ttrpc_server *server;
	pthread_t agent_thread;
	int listen_fd, connection; /* connection: a copy, to misbehave on */
	pthread_mutex_t lock;      /* of seen, while the agent's thread runs */
	struct strv seen;          /* what it was asked, one line each */
	_Atomic(const char *) at;  /* the method at which it acts */
	_Atomic(enum act) act;
	const char *words;     /* REFUSE with these; NULL: with its own */
	_Atomic bool immortal; /* signals end no process */
	int lie_status;        /* instead of how a process ended; 0: the truth */
	const char *feature;   /* that it tells of; NULL: none */
	const char *lie_oom;   /* told at once, again and again, to have no memory; NULL: nobody */
	unsigned oom_asked;
	/* WaitProcess and GetOOMEvent that are not answered yet */
	struct ttrpc_request *waits[FAKE_WAITS_MAX], *oom;
	_Atomic(struct ttrpc_request *) creation; /* held, or a pause, or a removal */
	struct ttrpc_request *held; /* the last ExecProcess, when it is never answered: until the process is killed */
	/* the driver */
	struct vm_capabilities can; /* nothing set: block, net_user, fs_sharing, net_passt */
	const char *fail_at;
	uint32_t vcpus_kept; /* that its VM does not give back */
	pid_t vcpu;          /* thread of the only one that it tells of */
	enum vm_address_kind address_kind;
	const char *address;
	int exit_fd; /* written to when the VM ends */
	void (*on_start)(void), (*on_stop)(void), (*on_free)(void);
	unsigned vms;
	struct strv devices; /* what was plugged and unplugged while it ran */
	bool keeps;          /* it lets go of nothing */
	bool running;
} guest = { .lock = PTHREAD_MUTEX_INITIALIZER };

static void fake_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fake_note(const char *fmt, ...)
{
	char line[2048];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof line, fmt, ap);
	va_end(ap);
	pthread_mutex_lock(&guest.lock);
	strv_add(&guest.seen, line);
	pthread_mutex_unlock(&guest.lock);
}

/* The first place from there on at which the line stands in what the agent was asked; SIZE_MAX: nowhere. */
static inline size_t fake_asked_at(const char *line, size_t from)
{
	size_t i;

	pthread_mutex_lock(&guest.lock);
	for (i = from; i < guest.seen.len; i++)
		if (str_eq(guest.seen.v[i], line))
			break;
	i = i < guest.seen.len ? i : SIZE_MAX;
	pthread_mutex_unlock(&guest.lock);
	return i;
}

static inline size_t fake_asked_so_far(void)
{
	size_t n;

	pthread_mutex_lock(&guest.lock);
	n = guest.seen.len;
	pthread_mutex_unlock(&guest.lock);
	return n;
}

/* ---- the fake agent ---- */

static void abandon(struct ttrpc_request *req, void *userdata)
{
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

/* An answer to every call that can be under way: a frame of good form (ttrpc: length, stream, type) with no message. */
static void fake_garbage(void)
{
	for (unsigned char stream = 1; stream < 64; stream += 2) {
		const unsigned char frame[14] = {
			0, 0, 0, 4, 0, 0, 0, stream, TTRPC_RESPONSE, 0, 0xff, 0xff, 0xff, 0xff
		};

		(void)!write(guest.connection, frame, sizeof frame);
	}
}

/* Note the request; what the test wants instead of an answer happens here: then false. */
static bool fake_asked(struct ttrpc_request *req, const char *method, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
static bool fake_asked(struct ttrpc_request *req, const char *method, const char *fmt, ...)
{
	static const unsigned char noise[64] = { 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4, 9, 9 };
	char data[1024];
	uint64_t one = 1;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(data, sizeof data, fmt, ap);
	va_end(ap);
	fake_note("%s%s%s", method, *data ? " " : "", data);
	if (guest.act == ANSWER || !str_eq(guest.at, method))
		return true;
	if (guest.act == REFUSE) {
		if (guest.words)
			ttrpc_reply_error(req, TTRPC_INTERNAL, "%s", guest.words);
		else
			ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "%s: not today\x1b[2J", method);
		return false;
	}
	ttrpc_request_on_close(req, abandon, NULL);
	if (guest.act == DIE)
		(void)!write(guest.exit_fd, &one, sizeof one);
	else if (guest.act == INTERRUPT)
		(void)!write(guest.interrupt_fd, &one, sizeof one);
	else if (guest.act == GARBAGE)
		fake_garbage();
	else if (guest.act == NOISE)
		(void)!write(guest.connection, noise, sizeof noise);
	else if (guest.act == HANG_UP || guest.act == DIE_SLOWLY)
		shutdown(guest.connection, SHUT_RDWR);
	if (guest.act == DIE_SLOWLY) {
		usleep(100000);
		(void)!write(guest.exit_fd, &one, sizeof one);
	}
	return false;
}

static void fake_empty(struct ttrpc_request *req)
{
	Google__Protobuf__Empty empty = GOOGLE__PROTOBUF__EMPTY__INIT;

	ttrpc_reply(req, &empty.base);
}

static void fake_check(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__HealthCheckResponse answer = GRPC__HEALTH_CHECK_RESPONSE__INIT;

	answer.status = GRPC__SERVING_STATUS__SERVING;
	if (fake_asked(req, "Check", "%s", ""))
		ttrpc_reply(req, &answer.base);
}

static void fake_date(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__SetGuestDateTimeRequest *q = (const Grpc__SetGuestDateTimeRequest *)m;

	if (fake_asked(req, "SetGuestDateTime", "%s", q->sec > 1600000000 && q->usec < 1000000 ? "now" : "wrong"))
		fake_empty(req);
}

static void note_storages(Grpc__Storage *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fake_note("  storage %s %s %s %s %s", list[i]->driver, list[i]->source, list[i]->fstype,
			  list[i]->mount_point, list[i]->n_options ? list[i]->options[0] : "-");
}

static void note_modules(Grpc__KernelModule *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		fake_note("  module %s, %zu: %s %s", list[i]->name, list[i]->n_parameters,
			  list[i]->n_parameters > 0 ? list[i]->parameters[0] : "-",
			  list[i]->n_parameters > 1 ? list[i]->parameters[1] : "-");
}

static void fake_sandbox(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__CreateSandboxRequest *q = (const Grpc__CreateSandboxRequest *)m;
	bool answer =
		fake_asked(req, "CreateSandbox", "%s %s dns=%s", q->sandbox_id, q->hostname, q->n_dns ? q->dns[0] : "");

	if (answer) {
		note_modules(q->kernel_modules, q->n_kernel_modules);
		note_storages(q->storages, q->n_storages);
		fake_empty(req);
	}
}

static void fake_interface(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Types__Interface *nic = ((const Grpc__UpdateInterfaceRequest *)m)->interface;
	bool has = nic->n_ipaddresses == 1;

	if (fake_asked(req, "UpdateInterface", "%s %s/%s mtu %llu%s", nic->name,
		       has ? nic->ipaddresses[0]->address : "-", has ? nic->ipaddresses[0]->mask : "-",
		       (unsigned long long)nic->mtu, strlen(nic->hwaddr) == 17 ? "" : " without MAC"))
		ttrpc_reply(req, &nic->base);
}

static void fake_routes(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__Routes *r = ((const Grpc__UpdateRoutesRequest *)m)->routes;

	if (fake_asked(req, "UpdateRoutes", "%zu \"%s\" via %s dev %s", r->n_routes, r->routes[0]->dest,
		       r->routes[0]->gateway, r->routes[0]->device))
		ttrpc_reply(req, &r->base);
}

static void fake_copy(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__CopyFileRequest *q = (const Grpc__CopyFileRequest *)m;

	if (fake_asked(req, "CopyFile", "%s %o", q->path, q->file_mode))
		fake_empty(req);
}

static void forget_wait(struct ttrpc_request *req, void *userdata);

static void fake_create(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__CreateContainerRequest *q = (const Grpc__CreateContainerRequest *)m;
	bool answer = fake_asked(req, "CreateContainer", "%s %s root=%s args=%s", q->container_id, q->exec_id,
				 q->oci->root->path, q->oci->process->args[0]);

	if (answer) {
		note_storages(q->storages, q->n_storages);
		for (size_t i = 0; i < q->oci->linux->n_namespaces; i++)
			if (!str_empty(q->oci->linux->namespaces[i]->path))
				fake_note("  %s namespace %s", q->oci->linux->namespaces[i]->type,
					  q->oci->linux->namespaces[i]->path);
		if (q->sandbox_pidns)
			fake_note("  shares processes");
		fake_empty(req);
	} else if (guest.act == HOLD) {
		guest.creation = req;
		ttrpc_request_on_close(req, forget_wait, NULL);
	}
}

static void fake_details(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__GuestDetailsResponse answer = GRPC__GUEST_DETAILS_RESPONSE__INIT;
	Grpc__AgentDetails details = GRPC__AGENT_DETAILS__INIT;
	char *features[] = { (char *)guest.feature };

	details.extra_features = features;
	details.n_extra_features = guest.feature ? 1 : 0;
	answer.agent_details = &details;
	ttrpc_reply(req, &answer.base);
}

static void fake_remove(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (fake_asked(req, "RemoveContainer", "%s", ((const Grpc__RemoveContainerRequest *)m)->container_id)) {
		fake_empty(req);
	} else if (guest.act == HOLD) {
		guest.creation = req;
		ttrpc_request_on_close(req, forget_wait, NULL);
	}
}

/* ---- processes ---- */

/* As the protocol has it: no exec id, or the container's, is its first process. */
static bool same_process(const char *id, const char *exec_id, const Grpc__WaitProcessRequest *q)
{
	const char *a = str_eq(exec_id, id) ? "" : exec_id, *b = str_eq(q->exec_id, q->container_id) ? "" : q->exec_id;

	return str_eq(id, q->container_id) && str_eq(a, b);
}

/* In the agent's thread. */
static void end_process(const char *id, const char *exec_id, int status)
{
	Grpc__WaitProcessResponse answer = GRPC__WAIT_PROCESS_RESPONSE__INIT;

	answer.status = status;
	for (size_t i = 0; i < FAKE_WAITS_MAX; i++) {
		struct ttrpc_request *req = guest.waits[i];

		if (!req || !same_process(id, exec_id, (const Grpc__WaitProcessRequest *)ttrpc_request_message(req)))
			continue;
		guest.waits[i] = NULL;
		ttrpc_reply(req, &answer.base);
	}
}

static void fake_start(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const char *id = ((const Grpc__StartContainerRequest *)m)->container_id;

	if (fake_asked(req, "StartContainer", "%s", id)) {
		fake_empty(req);
	} else if (guest.act == END_FIRST) {
		end_process(id, "", 7);
		fake_empty(req);
	}
}

static void forget_wait(struct ttrpc_request *req, void *userdata)
{
	for (size_t i = 0; i < FAKE_WAITS_MAX; i++)
		if (guest.waits[i] == req)
			guest.waits[i] = NULL;
	if (guest.oom == req)
		guest.oom = NULL;
	if (guest.held == req)
		guest.held = NULL;
	if (guest.creation == req)
		guest.creation = NULL;
	ttrpc_reply_error(req, TTRPC_CANCELLED, "gone");
}

static void fake_wait(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (!fake_asked(req, "WaitProcess", "%s %s", ((const Grpc__WaitProcessRequest *)m)->container_id,
			((const Grpc__WaitProcessRequest *)m)->exec_id))
		return;
	for (size_t i = 0; i < FAKE_WAITS_MAX; i++)
		if (!guest.waits[i]) {
			guest.waits[i] = req;
			ttrpc_request_on_close(req, forget_wait, NULL);
			return;
		}
	ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "too many wait");
}

static void fake_get_oom(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__OOMEvent event = GRPC__OOMEVENT__INIT;

	guest.oom_asked++;
	if (guest.lie_oom) {
		event.container_id = (char *)guest.lie_oom;
		ttrpc_reply(req, &event.base);
		return;
	}
	guest.oom = req;
	ttrpc_request_on_close(req, forget_wait, NULL);
}

static void fake_exec(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__ExecProcessRequest *q = (const Grpc__ExecProcessRequest *)m;

	if (fake_asked(req, "ExecProcess", "%s %s %s%s%s%s", q->container_id, q->exec_id, q->process->args[0],
		       q->process->terminal ? " terminal" : "", q->process->selinuxlabel,
		       q->process->apparmorprofile)) {
		fake_empty(req);
	} else if (guest.act == NEVER) {
		guest.held = req;
		ttrpc_request_on_close(req, forget_wait, NULL);
	}
}

static void kill_held(const char *exec_id)
{
	struct ttrpc_request *req = guest.held;

	if (!req || !str_eq(((const Grpc__ExecProcessRequest *)ttrpc_request_message(req))->exec_id, exec_id))
		return;
	guest.held = NULL;
	ttrpc_reply_error(req, TTRPC_INTERNAL, "the new process died before it was ready");
}

static void fake_signal(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__SignalProcessRequest *q = (const Grpc__SignalProcessRequest *)m;
	_cleanup_free_ char *id = strdup(q->container_id), *exec_id = strdup(q->exec_id);
	int signo = (int)q->signal;

	if (!fake_asked(req, "SignalProcess", "%s %s %u", id, exec_id, q->signal))
		return;
	fake_empty(req);
	if (!guest.immortal && (signo == SIGKILL || signo == SIGTERM))
		end_process(id, exec_id, guest.lie_status ? guest.lie_status : 128 + signo);
	if (!guest.immortal && signo == SIGKILL)
		kill_held(exec_id);
}

static void fake_update(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__UpdateContainerRequest *q = (const Grpc__UpdateContainerRequest *)m;
	const Grpc__LinuxResources *r = q->resources;

	if (fake_asked(req, "UpdateContainer", "%s memory %lld quota %lld cpus \"%s\"%s%s", q->container_id,
		       r->memory ? (long long)r->memory->limit : 0, r->cpu ? (long long)r->cpu->quota : 0,
		       r->cpu ? r->cpu->cpus : "", r->n_devices ? " devices" : "", r->blockio ? " io" : ""))
		fake_empty(req);
}

static void fake_stats(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	Grpc__StatsContainerResponse answer = GRPC__STATS_CONTAINER_RESPONSE__INIT;

	if (fake_asked(req, "StatsContainer", "%s", ((const Grpc__StatsContainerRequest *)m)->container_id))
		ttrpc_reply(req, &answer.base);
	if (guest.creation) {
		fake_empty(guest.creation);
		guest.creation = NULL;
	}
}

static void fake_pause(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (fake_asked(req, "PauseContainer", "%s", ((const Grpc__PauseContainerRequest *)m)->container_id)) {
		fake_empty(req);
	} else if (guest.act == HOLD) {
		guest.creation = req;
		ttrpc_request_on_close(req, forget_wait, NULL);
	}
}

static void fake_resume(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (fake_asked(req, "ResumeContainer", "%s", ((const Grpc__ResumeContainerRequest *)m)->container_id))
		fake_empty(req);
}

static void fake_resize(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__TtyWinResizeRequest *q = (const Grpc__TtyWinResizeRequest *)m;

	if (fake_asked(req, "TtyWinResize", "%s %s %ux%u", q->container_id, q->exec_id, q->column, q->row))
		fake_empty(req);
}

static void fake_online(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	const Grpc__OnlineCPUMemRequest *q = (const Grpc__OnlineCPUMemRequest *)m;

	if (fake_asked(req, "OnlineCPUMem", "%u", q->nb_cpus))
		fake_empty(req);
}

static void fake_neighbours(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (fake_asked(req, "AddARPNeighbors", "%s", ""))
		fake_empty(req);
}

static void fake_destroy(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	if (fake_asked(req, "DestroySandbox", "%s", ""))
		fake_empty(req);
}

static const struct ttrpc_method agent_methods[] = {
	{ "SetGuestDateTime", &grpc__set_guest_date_time_request__descriptor, fake_date },
	{ "CreateSandbox", &grpc__create_sandbox_request__descriptor, fake_sandbox },
	{ "UpdateInterface", &grpc__update_interface_request__descriptor, fake_interface },
	{ "UpdateRoutes", &grpc__update_routes_request__descriptor, fake_routes },
	{ "CopyFile", &grpc__copy_file_request__descriptor, fake_copy },
	{ "CreateContainer", &grpc__create_container_request__descriptor, fake_create },
	{ "StartContainer", &grpc__start_container_request__descriptor, fake_start },
	{ "RemoveContainer", &grpc__remove_container_request__descriptor, fake_remove },
	{ "DestroySandbox", &grpc__destroy_sandbox_request__descriptor, fake_destroy },
	{ "GetGuestDetails", &grpc__guest_details_request__descriptor, fake_details },
	{ "WaitProcess", &grpc__wait_process_request__descriptor, fake_wait },
	{ "GetOOMEvent", &grpc__get_oomevent_request__descriptor, fake_get_oom },
	{ "ExecProcess", &grpc__exec_process_request__descriptor, fake_exec },
	{ "SignalProcess", &grpc__signal_process_request__descriptor, fake_signal },
	{ "UpdateContainer", &grpc__update_container_request__descriptor, fake_update },
	{ "StatsContainer", &grpc__stats_container_request__descriptor, fake_stats },
	{ "PauseContainer", &grpc__pause_container_request__descriptor, fake_pause },
	{ "ResumeContainer", &grpc__resume_container_request__descriptor, fake_resume },
	{ "TtyWinResize", &grpc__tty_win_resize_request__descriptor, fake_resize },
	{ "OnlineCPUMem", &grpc__online_cpumem_request__descriptor, fake_online },
	{ "AddARPNeighbors", &grpc__add_arpneighbors_request__descriptor, fake_neighbours },
};
/* No container asks for a name. */
static void fake_next_name(struct ttrpc_request *req, const ProtobufCMessage *m, void *userdata)
{
	fake_note("Next %s", ((const Caisson__NextNameQuery *)m)->address);
	ttrpc_request_on_close(req, abandon, NULL);
}

static const struct ttrpc_method names_methods[] = { { "Next", &caisson__next_name_query__descriptor,
						       fake_next_name } };
static const struct ttrpc_method health_methods[] = { { "Check", &grpc__check_request__descriptor, fake_check } };
static const struct ttrpc_service services[] = {
	{ "grpc.AgentService", agent_methods, sizeof agent_methods / sizeof *agent_methods },
	{ "grpc.Health", health_methods, 1 },
	{ "caisson.Names", names_methods, 1 },
};

/* The hybrid vsock protocol: CONNECT PORT, OK PORT. */
static void fake_accept(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	int c = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
	uint64_t one = 1;
	char line[32];

	if (c < 0)
		return;
	if (str_eq(guest.at, "connect") && guest.act == REFUSE) {
		close(c);
		return;
	}
	if (recv(c, line, sizeof line, 0) != 13 || memcmp(line, "CONNECT 1024\n", 13)) {
		close(c);
		return;
	}
	if (str_eq(guest.at, "connect") && guest.act != ANSWER) {
		if (guest.act == DIE)
			(void)!write(guest.exit_fd, &one, sizeof one);
		else if (guest.act == INTERRUPT)
			(void)!write(guest.interrupt_fd, &one, sizeof one);
		else if (guest.act == GARBAGE)
			(void)!write(c, "\xff\xfe\n", 3);
		guest.connection = c;
		return;
	}
	(void)!write(c, "OK 7\n", 5);
	fd_close(&guest.connection);
	guest.connection = fcntl(c, F_DUPFD_CLOEXEC, 3);
	ttrpc_server_add(guest.server, c, NULL);
}

static void *fake_serve(void *userdata)
{
	loop_run(guest.agent_loop);
	return NULL;
}

static void agent_start(void)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };

	guest.connection = -1;
	snprintf(a.sun_path, sizeof a.sun_path, "%s", guest.agent_path);
	guest.listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(guest.listen_fd, (struct sockaddr *)&a, sizeof a), 0);
	assert_int_equal(listen(guest.listen_fd, 4), 0);
	assert_int_equal(loop_new(&guest.agent_loop, NULL), 0);
	assert_int_equal(ttrpc_server_new(guest.agent_loop, -1, services, sizeof services / sizeof *services, NULL,
					  &guest.server, NULL),
			 0);
	assert_int_equal(loop_add_io(guest.agent_loop, guest.listen_fd, EPOLLIN, fake_accept, NULL, &guest.listener),
			 0);
	assert_int_equal(pthread_create(&guest.agent_thread, NULL, fake_serve, NULL), 0);
}

static void agent_stop(void)
{
	loop_quit(guest.agent_loop, 0);
	pthread_join(guest.agent_thread, NULL);
	loop_source_free(guest.listener);
	fd_close(&guest.listen_fd);
	fd_close(&guest.connection);
	ttrpc_server_free(guest.server);
	loop_free(guest.agent_loop);
	unlink(guest.agent_path);
}

/* ---- the fake driver ---- */

static const struct hypervisor_driver fake_driver;

static int fake_fail(const char *where, struct err *e)
{
	return str_eq(guest.fail_at, where) ? err_set(e, ERR_HYPERVISOR, EIO, "the fake VM refuses to %s", where) : 0;
}

static void fake_capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	*ret = guest.can;
}

static int fake_describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
			 struct err *e)
{
	return 0;
}

static int fake_prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct vm *vm;

	if (fake_fail("prepare", e) < 0)
		return -e->code;
	vm = calloc(1, sizeof *vm);
	if (!vm)
		return err_sys(e, ENOMEM, "cannot make the fake VM");
	vm->driver = &fake_driver;
	vm->config = c;
	vm->exit_fd = vm->interrupt_fd = -1;
	snprintf(vm->agent_address, sizeof vm->agent_address, "hvsock:%s", guest.agent_path);
	guest.vms++;
	*ret = vm;
	return 0;
}

static int fake_add_device(struct vm *vm, struct vm_device *d, struct err *e)
{
	if (fake_fail("add", e) < 0)
		return -e->code;
	if (guest.running && str_eq(guest.fail_at, "plug"))
		return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "the fake VM does not answer");
	if (guest.running)
		strv_addf(&guest.devices, "add %s %s", d->id, d->kind == VM_DEVICE_BLOCK ? d->u.block.path : "");
	if (d->kind == VM_DEVICE_BLOCK) {
		d->address_kind = guest.address_kind;
		snprintf(d->address, sizeof d->address, "%s", guest.address);
	}
	return 0;
}

static int fake_start_vm(struct vm *vm, struct err *e)
{
	uint64_t one = 1;

	if (fake_fail("start", e) < 0)
		return -e->code;
	if (guest.on_start)
		guest.on_start();
	vm->exit_fd = guest.exit_fd;
	guest.running = true;
	if (str_eq(guest.at, "boot") && guest.act == DIE)
		(void)!write(guest.exit_fd, &one, sizeof one);
	if (str_eq(guest.at, "boot") && guest.act == INTERRUPT)
		(void)!write(guest.interrupt_fd, &one, sizeof one);
	return 0;
}

static int fake_explain(struct vm *vm, struct err *e)
{
	return err_set(e, ERR_GUEST, ENOTCONN, "the fake guest panicked");
}

static int fake_remove_device(struct vm *vm, const char *id, struct err *e)
{
	strv_addf(&guest.devices, "remove %s%s", id, guest.keeps && vm->unplug_ms > 1 ? " and wait" : "");
	return guest.keeps ? err_set(e, ERR_GUEST, EBUSY, "the fake guest keeps %s", id) : 0;
}

static int fake_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	if (fake_fail("vcpus", e) < 0)
		return -e->code;
	strv_addf(&guest.devices, "vcpus %u", vcpus);
	*ret = guest.vcpus_kept > vcpus ? guest.vcpus_kept : vcpus;
	return 0;
}

static int fake_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	if (fake_fail("memory", e) < 0)
		return -e->code;
	strv_addf(&guest.devices, "memory %llu", (unsigned long long)mib);
	*ret = mib;
	return 0;
}

static int fake_info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	*ret = (struct vm_process_info){ .vmm_pid = getpid(), .vcpu_tids = { guest.vcpu }, .n_vcpus = 1 };
	return fake_fail("info", e);
}

static int fake_stop(struct vm *vm, int grace_ms, struct err *e)
{
	uint64_t one = 1;

	if (guest.on_stop)
		guest.on_stop();
	(void)!write(guest.exit_fd, &one, sizeof one);
	return 0;
}

static void fake_free(struct vm *vm)
{
	guest.vms--;
	guest.running = false;
	if (guest.on_free)
		guest.on_free();
	free(vm);
}

static const struct hypervisor_driver fake_driver = {
	.name = "fake",
	.capabilities = fake_capabilities,
	.describe = fake_describe,
	.prepare = fake_prepare,
	.add_device = fake_add_device,
	.remove_device = fake_remove_device,
	.resize_vcpus = fake_resize_vcpus,
	.resize_memory = fake_resize_memory,
	.info = fake_info,
	.start = fake_start_vm,
	.stop = fake_stop,
	.explain_exit = fake_explain,
	.free = fake_free,
};

/* ---- life of the fakes ---- */

static void fake_guest_init(const char *dir)
{
	memset(&guest, 0, sizeof guest);
	guest.agent_path = str_printf("%s/agent.sock", dir);
	guest.address = "02/01";
	guest.address_kind = VM_ADDRESS_PCI;
	guest.exit_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	guest.interrupt_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	guest.can = (struct vm_capabilities){ .block = true, .net_user = true, .fs_sharing = true, .net_passt = true };
}

static void fake_guest_fini(void)
{
	strv_fini(&guest.seen);
	strv_fini(&guest.devices);
	fd_close(&guest.exit_fd);
	fd_close(&guest.interrupt_fd);
	free(guest.agent_path);
}
