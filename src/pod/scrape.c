/* SPDX-License-Identifier: Apache-2.0 */
/* See scrape.h. */
#include "pod/scrape.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/agent.h"
#include "pod/pod.h"

#define PROC "/proc"

/* A container whose numbers the guest was asked for. */
struct question {
	struct scrape *scrape;
	char *id;
	struct agent_call *call;
};

struct scrape {
	const struct pod_monitor_params *params;
	struct metrics_overhead *overhead;
	scrape_done_fn fn;
	void *userdata;
	struct prom *set;
	struct question *questions;
	size_t n_questions, pending;
	struct agent_call *agent_call;
	struct loop_source *nothing_pending;
	uint64_t guest_memory, guest_cpu_ns; /* sums over the containers */
};

static void scrape_free(struct scrape *s)
{
	for (size_t i = 0; i < s->n_questions; i++)
		free(s->questions[i].id);
	free(s->questions);
	loop_source_free(s->nothing_pending);
	prom_free(s->set);
	free(s);
}

void scrape_cancel(struct scrape *s)
{
	if (!s)
		return;
	agent_call_cancel(s->agent_call);
	for (size_t i = 0; i < s->n_questions; i++)
		agent_call_cancel(s->questions[i].call);
	scrape_free(s);
}

/* ---- what the host knows ---- */

static void host_side(struct scrape *s)
{
	struct vm *vm = pod_vm(s->params->pod);
	struct vm_process_info info = { 0 };
	const struct prom_label about[] = { { "version", CAISSON_VERSION },
					    { "hypervisor", vm ? vm->driver->name : "" } };
	struct pod_monitor_host host = { 0 };

	if (s->params->host)
		s->params->host(&host, s->params->userdata);
	prom_add(s->set, "caisson_info", PROM_GAUGE, "Version of the runtime and name of the hypervisor.", about, 2, 1);
	metrics_of_process(s->set, PROC, "kata_shim", "Runtime", getpid(), METRICS_NETDEV | METRICS_TOTALS);
	if (vm && vm->driver->info && vm->driver->info(vm, &info, NULL) == 0 && info.vmm_pid > 0)
		metrics_of_process(s->set, PROC, "kata_hypervisor", "Hypervisor", info.vmm_pid, METRICS_NETDEV);
	if (host.file_server > 0)
		metrics_of_process(s->set, PROC, "kata_virtiofsd", "File server", host.file_server, METRICS_PROCESS);
	if (vm)
		metrics_of_vm(s->set, vm);
}

static void cgroup_side(struct scrape *s)
{
	struct pod_monitor_host host = { 0 };
	struct host_cgroup_usage usage;

	if (s->params->host)
		s->params->host(&host, s->params->userdata);
	if (!host.cgroup || host_cgroup_usage(host.cgroup, &usage, NULL) < 0)
		return;
	metrics_of_cgroup(s->set, &usage);
	metrics_of_overhead(s->set, s->overhead, &usage, s->guest_memory, s->guest_cpu_ns, clock_us());
}

static void finish(struct scrape *s)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r;

	cgroup_side(s);
	r = prom_write(s->set, &text);
	s->fn(r, r < 0 ? NULL : &text, s->userdata);
	scrape_free(s);
}

/* ---- what the guest says ---- */

static void answered(struct scrape *s)
{
	if (--s->pending == 0)
		finish(s);
}

static void on_agent(int result, const char *text, const struct err *e, void *userdata)
{
	struct scrape *s = userdata;
	struct err why = { 0 };

	s->agent_call = NULL;
	if (result == 0)
		result = metrics_of_agent(s->set, text, &why);
	if (result < 0)
		log_debug("%s", why.text[0] ? why.text : e->text);
	prom_add(s->set, "caisson_agent_up", PROM_GAUGE, "Whether the guest's agent told its metrics in time.", NULL, 0,
		 result == 0);
	answered(s);
}

static void on_stats(int result, const Grpc__StatsContainerResponse *stats, const struct err *e, void *userdata)
{
	struct question *q = userdata;
	const Grpc__CgroupStats *c = result == 0 ? stats->cgroup_stats : NULL;

	q->call = NULL;
	if (result < 0)
		log_debug("%s", e->text); /* one that is not started yet, or has ended */
	else
		metrics_of_container(q->scrape->set, q->id, stats);
	if (c && c->memory_stats && c->memory_stats->usage)
		q->scrape->guest_memory += c->memory_stats->usage->usage;
	if (c && c->cpu_stats && c->cpu_stats->cpu_usage)
		q->scrape->guest_cpu_ns += c->cpu_stats->cpu_usage->total_usage;
	answered(q->scrape);
}

static int ask_guest(struct scrape *s, struct err *e)
{
	struct agent *agent = pod_agent(s->params->pod);
	_cleanup_strv_ struct strv ids = { 0 };
	int r;

	if (!agent)
		return 0;
	r = pod_containers(s->params->pod, &ids, e);
	if (r < 0)
		return r;
	s->questions = calloc(ids.len + 1, sizeof(*s->questions));
	if (!s->questions)
		return err_sys(e, ENOMEM, "metrics");
	for (size_t i = 0; i < ids.len; i++) {
		struct question *q = &s->questions[i];

		q->scrape = s;
		q->id = take_ptr(ids.v[i]);
		s->n_questions++;
		if (agent_stats_async(agent, q->id, SCRAPE_GUEST_MS, on_stats, q, &q->call, NULL) == 0)
			s->pending++;
	}
	if (agent_get_metrics_async(agent, SCRAPE_GUEST_MS, on_agent, s, &s->agent_call, NULL) == 0)
		s->pending++;
	return 0;
}

static void on_nothing_pending(struct loop_source *source, void *userdata)
{
	finish(userdata);
}

int scrape_start(const struct pod_monitor_params *params, struct metrics_overhead *overhead, scrape_done_fn fn,
		 void *userdata, struct scrape **ret, struct err *e)
{
	struct scrape *s = calloc(1, sizeof(*s));
	int r = 0;

	if (!s || !(s->set = prom_new())) {
		free(s);
		return err_sys(e, ENOMEM, "metrics");
	}
	s->params = params;
	s->overhead = overhead;
	s->fn = fn;
	s->userdata = userdata;
	host_side(s);
	r = ask_guest(s, e);
	if (r == 0 && !s->pending)
		r = loop_add_timer(params->loop, 0, on_nothing_pending, s, &s->nothing_pending);
	if (r < 0) {
		scrape_cancel(s);
		return r;
	}
	*ret = s;
	return 0;
}
