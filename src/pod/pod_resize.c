/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Dynamic sizing (static_sandbox_resource_mgmt = false): the VM begins as small as the configuration says, and gets
 * what its containers may use when they come, change and go. What the guest does not give back stays with it.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "pod/pod_internal.h"

static bool is_counted(const struct pod *pod, const struct pod_container *c)
{
	struct pod_process *p = pod_init_process(c);

	/* It only holds the pod's namespaces. */
	if (pod->role == POD_ROLE_SANDBOX && list_first(&pod->containers, struct pod_container, node) == c)
		return false;
	return p && p->status != POD_STOPPED;
}

static int demands(const struct pod *pod, struct sizing_demand **ret, size_t *ret_n)
{
	struct pod_container *c;
	size_t n = 0;

	list_foreach (c, &pod->containers, struct pod_container, node)
		n++;
	*ret = calloc(n + 1, sizeof **ret);
	if (!*ret)
		return -ENOMEM;
	*ret_n = 0;
	list_foreach (c, &pod->containers, struct pod_container, node)
		if (is_counted(pod, c))
			(*ret)[(*ret_n)++] = c->demand;
	return 0;
}

/* Is the VM also for containers that came into it, which do not count against the limit of the one that brought it? */
static bool has_others(const struct pod *pod)
{
	const struct pod_container *c;

	list_foreach (c, &pod->containers, const struct pod_container, node)
		if (!c->brought_vm && is_counted(pod, c))
			return true;
	return false;
}

static int resize_cpus(struct pod *pod, uint32_t want, struct err *e)
{
	uint32_t got = pod->now.vcpus;
	int r;

	if (want == pod->now.vcpus && !pod->cpus_doubtful)
		return 0;
	r = pod->params.driver->resize_vcpus(pod->sandbox->vm, want, &got, e);
	pod->cpus_doubtful = r < 0;
	if (r < 0)
		return r;
	if (got != want)
		log_debug("pod %s: %u CPUs instead of %u", pod->params.id, got, want);
	pod->now.vcpus = got;
	pod_pin_vcpus(pod);
	return 0;
}

static int resize_memory(struct pod *pod, uint64_t want, struct err *e)
{
	uint64_t got = pod->now.memory_mib;
	int r;

	if (want == pod->now.memory_mib && !pod->memory_doubtful)
		return 0;
	r = pod->params.driver->resize_memory(pod->sandbox->vm, want, &got, e);
	pod->memory_doubtful = r < 0;
	if (r < 0)
		return r;
	if (got != want)
		log_debug("pod %s: %llu MiB of memory instead of %llu", pod->params.id, (unsigned long long)got,
			  (unsigned long long)want);
	pod->now.memory_mib = got;
	return 0;
}

/* What has gone away is not online any more. */
static void note_less(struct pod *pod)
{
	if (pod->online.vcpus > pod->now.vcpus)
		pod->online.vcpus = pod->now.vcpus;
	if (pod->online.memory_mib > pod->now.memory_mib)
		pod->online.memory_mib = pod->now.memory_mib;
}

/* *ret_more: it has got more than it had. */
static int resize(struct pod *pod, bool *ret_more, struct err *e)
{
	_cleanup_free_ struct sizing_demand *list = NULL;
	struct sizing_now before = pod->now, want;
	struct sizing_request q;
	size_t n;
	int r;

	*ret_more = false;
	pod_sizing_request(pod, &q);
	if (q.fixed || !q.cpu_hotplug || !q.memory_hotplug || !pod->sandbox || pod->lost)
		return 0;
	if (demands(pod, &list, &n) < 0)
		return err_sys(e, ENOMEM, "cannot size the pod");
	sizing_of_containers(&q, &pod->size, list, n, &want);
	r = resize_cpus(pod, want.vcpus, e);
	if (r == 0)
		r = resize_memory(pod, want.memory_mib, e);
	note_less(pod);
	*ret_more = pod->now.vcpus > before.vcpus || pod->now.memory_mib > before.memory_mib;
	if (r == 0 && *ret_more && pod->role == POD_ROLE_SINGLE && has_others(pod))
		r = pod_follow_memory(pod, e);
	return r < 0 ? pod_explain(pod, r, e) : 0;
}

/* Has it what its guest has not taken into use? Also what came before, when something failed after it. */
static bool has_unused(const struct pod *pod)
{
	return pod->sandbox && !pod->lost &&
	       (pod->now.vcpus != pod->online.vcpus || pod->now.memory_mib != pod->online.memory_mib);
}

static int ask_guest(struct pod *pod, agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	int r = agent_online_cpu_mem_async(pod->sandbox->agent, true, pod->now.vcpus, false, fn, userdata, ret, e);

	if (r == 0)
		pod->online = pod->now;
	return r;
}

int pod_grow(struct pod *pod, agent_done_fn fn, void *userdata, struct agent_call **ret, struct err *e)
{
	bool more;
	int r = resize(pod, &more, e);

	if (r < 0 || !has_unused(pod))
		return r;
	r = ask_guest(pod, fn, userdata, ret, e);
	return r < 0 ? pod_explain(pod, r, e) : 1;
}

void pod_not_grown(struct pod *pod)
{
	pod->online = (struct sizing_now){ 0 };
}

void pod_shrink(struct pod *pod)
{
	struct err e = { 0 };
	bool more;
	int r = resize(pod, &more, &e);

	if (r == 0 && more)
		r = ask_guest(pod, NULL, NULL, NULL, &e);
	if (r < 0)
		log_warn("pod %s: %s", pod->params.id, e.text);
}

void pod_warn_of_size(const struct pod_container *c)
{
	const struct pod *pod = c->pod;
	struct sizing_request q;

	pod_sizing_request(pod, &q);
	if ((q.fixed || !q.memory_hotplug) && c->demand.memory_bytes > 0 &&
	    (uint64_t)c->demand.memory_bytes >> 20 > pod->now.memory_mib)
		log_warn("container %s may use %llu MiB of memory, and its virtual machine, which is that of %s, has "
			 "%llu "
			 "MiB: give that container a larger limit of memory, or set static_sandbox_resource_mgmt = "
			 "false",
			 c->id, (unsigned long long)c->demand.memory_bytes >> 20, pod->params.id,
			 (unsigned long long)pod->now.memory_mib);
}
