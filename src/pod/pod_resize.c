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

static int resize_cpus(struct pod *pod, uint32_t want, struct err *e)
{
	uint32_t got = pod->now.vcpus;
	int r;

	if (want == pod->now.vcpus)
		return 0;
	r = pod->params.driver->resize_vcpus(pod->sandbox->vm, want, &got, e);
	if (r < 0)
		return r;
	if (got != want)
		log_debug("pod %s: %u CPUs instead of %u", pod->params.id, got, want);
	pod->now.vcpus = got;
	return 0;
}

static int resize_memory(struct pod *pod, uint64_t want, struct err *e)
{
	uint64_t got = pod->now.memory_mib;
	int r;

	if (want == pod->now.memory_mib)
		return 0;
	r = pod->params.driver->resize_memory(pod->sandbox->vm, want, &got, e);
	if (r < 0)
		return r;
	if (got != want)
		log_debug("pod %s: %llu MiB of memory instead of %llu", pod->params.id, (unsigned long long)got,
			  (unsigned long long)want);
	pod->now.memory_mib = got;
	return 0;
}

int pod_resize(struct pod *pod, struct err *e)
{
	_cleanup_free_ struct sizing_demand *list = NULL;
	struct sizing_now before = pod->now, want;
	struct sizing_request q;
	size_t n;
	int r;

	pod_sizing_request(pod, &q);
	if (q.fixed || !q.cpu_hotplug || !q.memory_hotplug || !pod->sandbox || pod->lost)
		return 0;
	if (demands(pod, &list, &n) < 0)
		return err_sys(e, ENOMEM, "cannot size the pod");
	sizing_of_containers(&q, &pod->size, list, n, &want);
	if ((r = resize_cpus(pod, want.vcpus, e)) < 0 || (r = resize_memory(pod, want.memory_mib, e)) < 0)
		return pod_explain(pod, r, e);
	if (pod->now.vcpus <= before.vcpus && pod->now.memory_mib <= before.memory_mib)
		return 0;
	if (pod->role == POD_ROLE_SINGLE && n > 1 && (r = pod_follow_memory(pod, e)) < 0)
		return r;
	r = agent_online_cpu_mem(pod->sandbox->agent, true, pod->now.vcpus, false, e);
	return r < 0 ? pod_explain(pod, r, e) : 0;
}

void pod_shrink(struct pod *pod)
{
	struct err e = { 0 };

	if (pod_resize(pod, &e) < 0)
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
