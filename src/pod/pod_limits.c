/* SPDX-License-Identifier: Apache-2.0 */
/* What containers may use, and what they do use. */
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "pod/plan_spec.h"
#include "pod/pod_internal.h"

/* Who asks has other pods to ask, too. */
#define STATS_MS 10000

static struct pod_container *find_in_guest(struct pod *pod, const char *id, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);

	return c && pod_check_guest(pod, e) < 0 ? NULL : c;
}

/* An update says only what changes. */
static void merge_demand(struct sizing_demand *d, const struct sizing_demand *changed)
{
	if (changed->cpus != 0)
		d->cpus = changed->cpus;
	if (changed->memory_bytes)
		d->memory_bytes = changed->memory_bytes;
	if (changed->cpuset)
		d->cpuset = changed->cpuset;
}

static bool is_more(const struct sizing_demand *now, const struct sizing_demand *before)
{
	return now->cpus > before->cpus || now->memory_bytes > before->memory_bytes;
}

int pod_update(struct pod *pod, const char *id, const Grpc__LinuxResources *resources, struct err *e)
{
	struct err own = { 0 };
	struct pod_container *c = find_in_guest(pod, id, &own);
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxResources guests = *resources;
	struct sizing_demand before, changed;
	int r;

	if (!c) {
		if (e)
			*e = own;
		return -own.code;
	}
	before = c->demand;
	sizing_from_resources(resources, &changed);
	merge_demand(&c->demand, &changed);
	/* More room first, less of it last: at no time may the container use what is not there. */
	if (is_more(&c->demand, &before) && (r = pod_resize(pod, e)) < 0) {
		c->demand = before;
		pod_shrink(pod);
		return r;
	}
	/*
	 * As plan_spec() leaves them to the guest: CPUs and disks of the host have no meaning there. Nor have its
	 * numbers of devices, which the guest has replaced in the container's rules; containerd sends all of these with
	 * every update, and runc's changes none either.
	 */
	if (resources->cpu) {
		cpu = *resources->cpu;
		cpu.cpus = cpu.mems = (char *)protobuf_c_empty_string;
		guests.cpu = &cpu;
	}
	if (resources->n_devices)
		log_debug("container %s: %zu rules about devices are left out of an update", id, resources->n_devices);
	guests.devices = NULL;
	guests.n_devices = 0;
	guests.blockio = NULL;
	guests.network = NULL;
	r = agent_update_container(pod->sandbox->agent, id, &guests, e);
	if (r < 0) {
		c->demand = before;
		r = pod_explain(pod, r, e);
	}
	pod_shrink(pod);
	if (r < 0)
		return r;
	return pod->role == POD_ROLE_SINGLE ? pod_limit_cgroup(pod, resources, e) : 0;
}

int pod_stats(struct pod *pod, const char *id, pod_stats_fn fn, void *userdata, struct err *e)
{
	struct err own = { 0 };

	if (!find_in_guest(pod, id, &own)) {
		if (e)
			*e = own;
		return -own.code;
	}
	return agent_stats_async(pod->sandbox->agent, id, STATS_MS, fn, userdata, NULL, e);
}
