/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of a pod: its parts that touch the host (stand-ins, streams, hooks, network, cgroup) noted instead of done.
 * Each can be made to fail by its name. Stand-ins are real processes, because clients look at them.
 */
#pragma once

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "pod/forward.h"
#include "pod/hooks.h"
#include "pod/host_cgroup.h"
#include "pod/io.h"
#include "pod/network.h"
#include "pod/standin.h"

static struct {
	struct strv seen;    /* one line each */
	const char *fail_at; /* the function that fails */
	bool hold_output;    /* streams are not at their end until fake_output_done() */
	bool full;           /* who should read them does not */
	bool own_network;    /* stand-ins have one: else it is the test's */
	unsigned cgroups, networks, streams;
	uint64_t ceiling;
	struct pod_streams *last;
	struct pod_nic nic;
	uint64_t mtu; /* of the network's interface, when it is looked at again; 0: as it was */
} host;

static int fake_step(struct err *e, const char *where, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static int fake_step(struct err *e, const char *where, const char *fmt, ...)
{
	char data[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(data, sizeof data, fmt, ap);
	va_end(ap);
	strv_addf(&host.seen, "%s%s%s", where, *data ? " " : "", data);
	return str_eq(host.fail_at, where) ? err_set(e, ERR_SYSTEM, EIO, "the fake host refuses: %s", where) : 0;
}

/* ---- port forwarding ---- */

int pod_forward_new(struct loop *loop, int ns_fd, const char *agent_address, struct pod_forward **ret, struct err *e)
{
	if (fake_step(e, "forward", "to %.7s", agent_address) < 0)
		return -e->code;
	*ret = malloc(1);
	return 0;
}

void pod_forward_free(struct pod_forward *f)
{
	if (f)
		fake_step(NULL, "forward no more", "%s", "");
	free(f);
}

/* ---- stand-ins ---- */

int standin_start(const struct standin_params *params, pid_t *ret_pid, int *ret_fd, struct err *e)
{
	int pair[2];
	pid_t pid;

	if (fake_step(e, "standin", "%s%s", params->name, params->new_netns ? " in a new network" : "") < 0)
		return -e->code;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "cannot make a stand-in");
	pid = fork();
	if (pid == 0) {
		unsigned char status = 255;

		close(pair[0]);
		if (host.own_network && (unshare(CLONE_NEWNET) < 0 || write(pair[1], &status, 1) != 1))
			_exit(254);
		_exit(read(pair[1], &status, 1) == 1 ? status : 255);
	}
	close(pair[1]);
	if (host.own_network && fd_read_full(pair[0], (char[1]){ 0 }, 1) < 0)
		return err_sys(e, EIO, "cannot give a stand-in a network of its own");
	*ret_pid = pid;
	*ret_fd = pair[0];
	return 0;
}

/* "r": that cannot be written; "-": that is the guest's own. */
void standin_show(int fd, int root_mount, const struct standin_bind *binds, size_t n)
{
	char line[1024] = "";
	size_t used = 0;

	for (size_t i = 0; i < n && used < sizeof line; i++)
		used += (size_t)snprintf(line + used, sizeof line - used, " %s%s", binds[i].target,
					 !binds[i].source    ? "-"
					 : binds[i].readonly ? "r"
							     : "");
	strv_addf(&host.seen, "show%s", line);
}

int standin_end(int fd, int status)
{
	unsigned char byte = (unsigned char)status;

	return send(fd, &byte, 1, MSG_NOSIGNAL) == 1 ? 0 : -errno;
}

enum standin_word standin_read(int fd, int *ret_signo)
{
	unsigned char byte;
	ssize_t n = recv(fd, &byte, 1, MSG_DONTWAIT);

	return n == 0 ? STANDIN_GONE : STANDIN_NOTHING;
}

/* ---- streams ---- */

struct pod_streams {
	struct pod_streams_params params;
	struct loop_source *timer;
};

int pod_streams_open(const struct pod_streams_params *params, struct pod_streams **ret, struct err *e)
{
	struct pod_streams *s;

	if (fake_step(e, "streams", "%s %s out=%s", params->container_id, params->exec_id, params->io->out) < 0)
		return -e->code;
	s = calloc(1, sizeof *s);
	if (!s)
		return err_sys(e, ENOMEM, "cannot open the streams");
	s->params = *params;
	host.streams++;
	host.last = s;
	*ret = s;
	return 0;
}

static void fake_output_done(struct loop_source *source, void *userdata)
{
	struct pod_streams *s = userdata;
	struct err none = { 0 };

	s->params.done(0, &none, s->params.userdata);
}

int pod_streams_start(struct pod_streams *s, struct agent *agent, struct err *e)
{
	int r = fake_step(e, "pump", "%s %s", s->params.container_id, s->params.exec_id);

	if (r == 0 && !host.hold_output)
		r = loop_add_timer(s->params.loop, 0, fake_output_done, s, &s->timer);
	return r;
}

int pod_streams_close_stdin(struct pod_streams *s, struct err *e)
{
	return fake_step(e, "close stdin", "%s %s", s->params.container_id, s->params.exec_id);
}

uint64_t pod_streams_since_full_ms(const struct pod_streams *s)
{
	return host.full ? 0 : UINT64_MAX;
}

int pod_streams_terminal(const struct pod_streams *s)
{
	return -1;
}

int pod_streams_window(const struct pod_streams *s)
{
	(void)s;
	return -1;
}

void pod_streams_hang_up(struct pod_streams *s)
{
	strv_addf(&host.seen, "hang up %s %s", s->params.container_id, s->params.exec_id);
}

void pod_streams_free(struct pod_streams *s)
{
	if (!s)
		return;
	host.streams--;
	if (host.last == s)
		host.last = NULL;
	loop_source_free(s->timer);
	free(s);
}

/* ---- hooks ---- */

int hooks_run(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state, const char *netns,
	      struct err *e)
{
	return fake_step(e, kind, "%s %s %s pid=%s%s%s", hooks[0]->path, state->id, state->status,
			 state->pid > 0 ? "yes" : "no", netns ? " in the network" : "",
			 state->cwd && str_endswith(state->cwd, "/rootfs") ? " in the root" : "");
}

void hooks_run_all(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state)
{
	struct err e = { 0 };

	for (size_t i = 0; i < n; i++)
		(void)hooks_run(hooks + i, 1, kind, state, NULL, &e);
}

/* ---- network ---- */

int pod_network_model(const struct config_runtime *runtime, enum pod_network_model *ret, struct err *e)
{
	*ret = POD_NETWORK_TCFILTER;
	return fake_step(e, "model", "%s", "");
}

int pod_network_scan(const char *netns, enum pod_network_model model, struct pod_network **ret, struct err *e)
{
	struct pod_network *n;

	if (fake_step(e, "scan", "%s", access(netns, F_OK) == 0 ? "" : "nothing") < 0)
		return -e->code;
	n = calloc(1, sizeof *n);
	if (!n)
		return err_sys(e, ENOMEM, "cannot scan");
	n->netns = strdup(netns);
	n->n_endpoints = 1;
	n->interfaces = calloc(1, sizeof(Types__Interface *));
	n->interfaces[0] = malloc(sizeof(Types__Interface));
	types__interface__init(n->interfaces[0]);
	n->interfaces[0]->name = strdup("eth0");
	n->interfaces[0]->hwaddr = strdup("02:00:00:00:00:01");
	n->interfaces[0]->mtu = 1400;
	n->n_interfaces = 1;
	host.networks++;
	*ret = n;
	return 0;
}

int pod_network_attach(struct pod_network *n, const struct vm_capabilities *can, unsigned queues, struct err *e)
{
	return fake_step(e, "attach", "%u", queues);
}

int pod_network_device(struct pod_network *n, size_t endpoint, struct vm_device **ret, struct err *e)
{
	struct vm_device *d;

	if (fake_step(e, "nic", "%zu", endpoint) < 0)
		return -e->code;
	d = calloc(1, sizeof *d);
	if (!d)
		return err_sys(e, ENOMEM, "cannot make a NIC");
	d->kind = VM_DEVICE_NET;
	d->id = strdup("nic0");
	*ret = d;
	return 0;
}

bool pod_network_is_attached(const struct pod_network *n)
{
	return true;
}

int pod_network_rescan(struct pod_network *n, size_t *ret_first_new, struct err *e)
{
	*ret_first_new = n->n_endpoints;
	if (host.mtu)
		n->interfaces[0]->mtu = host.mtu;
	return fake_step(e, "rescan", "%s", "");
}

int pod_network_watch(struct pod_network *n, int *ret_fd, struct err *e)
{
	*ret_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	return 0;
}

void pod_network_detach_from(struct pod_network *n, size_t first)
{
}

void pod_network_forget_unattached(struct pod_network *n)
{
}

struct pod_nic *pod_network_nic(struct pod_network *n, size_t endpoint)
{
	return &host.nic;
}

int pod_network_return(struct pod_network *n, size_t endpoint, struct err *e)
{
	return 0;
}

void pod_network_remove(struct pod_network *n, size_t endpoint)
{
}

const char *pod_network_tap(const struct pod_network *n, size_t endpoint)
{
	return "tap0";
}

const char *pod_network_link(const struct pod_network *n, size_t endpoint)
{
	return n->interfaces[endpoint]->name;
}

void pod_network_free(struct pod_network *n)
{
	if (!n)
		return;
	fake_step(NULL, "detach", "%s", "");
	host.networks--;
	free(host.nic.told.data);
	host.nic = (struct pod_nic){ 0 };
	types__interface__free_unpacked(n->interfaces[0], NULL);
	free(n->interfaces);
	free(n->netns);
	free(n);
}

/* ---- cgroup ---- */

struct host_cgroup {
	char *path;
};

int host_cgroup_new(const char *root, const char *path, const char *id, struct host_cgroup **ret, struct err *e)
{
	struct host_cgroup *cg;

	if (fake_step(e, "cgroup", "%s", path) < 0)
		return -e->code;
	cg = calloc(1, sizeof *cg);
	if (!cg)
		return err_sys(e, ENOMEM, "cannot make a cgroup");
	cg->path = strdup(path);
	host.cgroups++;
	*ret = cg;
	return 0;
}

int host_cgroup_add(struct host_cgroup *cg, pid_t pid, struct err *e)
{
	return fake_step(e, "into", "%s %s", cg->path, pid == getpid() ? "owner" : "stand-in");
}

int host_cgroup_limit(struct host_cgroup *cg, const Grpc__LinuxResources *resources, uint64_t overhead_mib,
		      struct err *e)
{
	return fake_step(e, "limit", "%s %lld +%llu", cg->path,
			 resources->memory ? (long long)resources->memory->limit : 0LL,
			 (unsigned long long)overhead_mib);
}

int host_cgroup_check_cpuset(const struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems,
			     struct err *e)
{
	return str_eq(host.fail_at, "check cpuset") ? fake_step(e, "check cpuset", "%s", cg->path) : 0;
}

/* "-": as it is. */
int host_cgroup_cpuset(struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems, struct err *e)
{
	_cleanup_free_ char *c = cpus ? cpu_list_format(cpus) : NULL, *m = mems ? cpu_list_format(mems) : NULL;

	return fake_step(e, "cpuset", "%s \"%s\" nodes \"%s\"", cg->path, c ? c : "-", m ? m : "-");
}

uint64_t host_cgroup_ceiling(const struct host_cgroup *cg)
{
	return host.ceiling;
}

const struct strv *host_cgroup_notes(const struct host_cgroup *cg)
{
	static const struct strv none;

	return &none;
}

int host_cgroup_usage(const struct host_cgroup *cg, struct host_cgroup_usage *ret, struct err *e)
{
	return err_set(e, ERR_SYSTEM, EOPNOTSUPP, "there are no cgroups here");
}

int host_cgroup_kill(struct host_cgroup *cg)
{
	return fake_step(NULL, "kill cgroup", "%s", cg->path);
}

void host_cgroup_free(struct host_cgroup *cg)
{
	if (!cg)
		return;
	fake_step(NULL, "remove cgroup", "%s", cg->path);
	host.cgroups--;
	free(cg->path);
	free(cg);
}

char *host_cgroup_describe(const struct host_cgroup *cg)
{
	return strdup(cg->path);
}

int host_cgroup_open(const char *described, struct host_cgroup **ret, struct err *e)
{
	return host_cgroup_new(NULL, described, "", ret, e);
}

static void fake_host_init(void)
{
	memset(&host, 0, sizeof host);
	host.ceiling = UINT64_MAX;
}

static void fake_host_fini(void)
{
	strv_fini(&host.seen);
}
