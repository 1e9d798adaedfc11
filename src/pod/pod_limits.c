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

	return c && (pod_check_created(c, e) < 0 || pod_check_guest(pod, e) < 0) ? NULL : c;
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

/* Less room last. */
static void on_update_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_ask *ask = userdata;
	struct pod_container *c = ask->container;
	struct err e = *answer;

	ask->call = NULL;
	c->updating = false;
	if (result < 0) {
		c->demand = ask->before;
		c->cpuset = ask->cpuset_before;
		result = pod_explain(c->pod, result, &e);
	}
	pod_shrink(c->pod);
	pod_follow_cpuset(c->pod);
	/* The pod's group is that of the container that brought the VM. */
	if (result == 0 && c->pod->role == POD_ROLE_SINGLE && c->brought_vm)
		result = pod_limit_cgroup(c->pod, ask->resources, &e);
	pod_ask_done(ask, result, &e);
}

static int ask_guest(struct pod_ask *ask, struct err *e)
{
	struct pod_container *c = ask->container;
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxResources guests = *ask->resources;

	/*
	 * As plan_spec() leaves them to the guest: CPUs and disks of the host have no meaning there. Nor have its
	 * numbers of devices, which the guest has replaced in the container's rules; containerd sends all of these with
	 * every update, and runc's changes none either.
	 */
	if (guests.cpu) {
		cpu = *guests.cpu;
		cpu.cpus = cpu.mems = (char *)protobuf_c_empty_string;
		guests.cpu = &cpu;
	}
	if (guests.n_devices)
		log_debug("container %s: %zu rules about devices are left out of an update", c->id, guests.n_devices);
	guests.devices = NULL;
	guests.n_devices = 0;
	guests.blockio = NULL;
	guests.network = NULL;
	return agent_update_container_async(c->pod->sandbox->agent, c->id, &guests, on_update_answer, ask, &ask->call,
					    e);
}

static int check_update(struct pod *pod, const char *id, struct pod_container **ret, struct err *e)
{
	*ret = find_in_guest(pod, id, e);
	if (!*ret)
		return -e->code;
	return (*ret)->updating ? err_set(e, ERR_CONFIG, EBUSY, "container %s is being updated", id) : 0;
}

/* More room first: at no time may the container use what is not there. */
static void on_room(int result, const struct err *answer, void *userdata)
{
	struct pod_ask *ask = userdata;
	struct err e = *answer;

	ask->call = NULL;
	if (result < 0)
		pod_not_grown(ask->container->pod);
	else
		result = ask_guest(ask, &e);
	if (result < 0)
		on_update_answer(result, &e, ask);
}

/* That of the host comes first: what cannot be had there is refused before anything has changed. */
static int change_cpuset(struct pod_container *c, const Grpc__LinuxResources *resources, struct err *e)
{
	struct pod_cpuset before = c->cpuset;
	int r = pod_read_cpuset(resources, &c->cpuset, e);

	if (r == 0)
		r = pod_apply_cpuset(c, e);
	if (r < 0)
		c->cpuset = before;
	return r;
}

void pod_update(struct pod *pod, const char *id, Grpc__LinuxResources *resources, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	struct sizing_demand changed;
	struct pod_container *c;
	struct pod_ask *ask;
	int r = check_update(pod, id, &c, &e);

	ask = r < 0 ? NULL : pod_ask_new(c, fn, userdata);
	if (!ask) {
		grpc__linux_resources__free_unpacked(resources, NULL);
		if (r < 0)
			fn(r, &e, userdata);
		return;
	}
	ask->resources = resources;
	ask->before = c->demand;
	ask->cpuset_before = c->cpuset;
	r = change_cpuset(c, resources, &e);
	if (r < 0) {
		pod_ask_done(ask, r, &e);
		return;
	}
	c->updating = true;
	sizing_from_resources(resources, &changed);
	merge_demand(&c->demand, &changed);
	if (is_more(&c->demand, &ask->before))
		r = pod_grow(pod, on_room, ask, &ask->call, &e);
	if (r <= 0)
		on_room(r, &e, ask);
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

int pod_usage(const struct pod *pod, struct host_cgroup_usage *ret, struct err *e)
{
	return pod->cgroup ? host_cgroup_usage(pod->cgroup, ret, e)
			   : err_set(e, ERR_SYSTEM, EOPNOTSUPP, "usage of the pod: it has no cgroup");
}
