/* SPDX-License-Identifier: Apache-2.0 */
/* What containers may use, and what they do use. */
#include <errno.h>
#include <stdlib.h>

#include "pod/plan_spec.h"
#include "pod/pod_internal.h"

static struct pod_container *find_in_guest(struct pod *pod, const char *id, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);

	return c && pod_check_guest(pod, e) < 0 ? NULL : c;
}

int pod_update(struct pod *pod, const char *id, const Grpc__LinuxResources *resources, struct err *e)
{
	struct err own = { 0 };
	struct pod_container *c = find_in_guest(pod, id, &own);
	Grpc__LinuxCPU cpu = GRPC__LINUX_CPU__INIT;
	Grpc__LinuxResources guests = *resources;
	int r;

	if (!c) {
		if (e)
			*e = own;
		return -own.code;
	}
	/* As plan_spec() leaves them to the guest: CPUs and disks of the host have no meaning there. */
	if (resources->cpu) {
		cpu = *resources->cpu;
		cpu.cpus = cpu.mems = (char *)protobuf_c_empty_string;
		guests.cpu = &cpu;
	}
	guests.blockio = NULL;
	guests.network = NULL;
	r = agent_update_container(pod->sandbox->agent, id, &guests, e);
	if (r < 0)
		return pod_explain(pod, r, e);
	return pod->role == POD_ROLE_SINGLE ? pod_limit_cgroup(pod, resources, e) : 0;
}

int pod_stats(struct pod *pod, const char *id, Grpc__StatsContainerResponse **ret, struct err *e)
{
	struct err own = { 0 };
	int r;

	if (!find_in_guest(pod, id, &own)) {
		if (e)
			*e = own;
		return -own.code;
	}
	r = agent_stats(pod->sandbox->agent, id, ret, e);
	return r < 0 ? pod_explain(pod, r, e) : 0;
}
