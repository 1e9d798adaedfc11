/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which CPUs and memory nodes of the host a pod uses: linux.resources.cpu.cpus and .mems of its containers, as
 * kubelet's static CPU manager and its memory manager hand them out, with a container's creation and whenever they
 * change. In the guest these numbers mean nothing, and its agent is not told them (plan_spec(), pod_update()). They are
 * for the VM: the pod's cgroup, with the VMM and its helpers in it, has the union of what the containers have, as with
 * Kata's runtime.
 *
 * A container that has no set adds nothing to it, as with Kata. A set keeps the pod off CPUs that are promised to
 * others, and one container's silence would break that for all of the VM; what is lost by it is what nobody promised
 * to that container. A pod's sandbox (pause) has none as a rule. Where no container has one, the pod may use all that
 * the groups above it may.
 *
 * Those that have ended do not count: kubelet keeps them for their logs, and tells only the others what has changed.
 * While none that has a set lives, and one will come again, everything stays as it is.
 *
 * Who has come into another container's VM (pod_join.h) changes nothing on the host, as with all limits: there the set
 * is that of the container that brought the VM.
 */
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/log.h"
#include "pod/pod_internal.h"

static int read_list(const char *key, const char *text, struct cpu_list *ret, struct err *e)
{
	if (str_empty(text) || cpu_list_parse(text, ret) == 0)
		return 0;
	return err_set(e, ERR_CONFIG, EINVAL,
		       "linux.resources.cpu.%s is \"%.100s\": that is no list of numbers below %d, such as \"0-3,8\"",
		       key, text, CPU_LIST_MAX);
}

int pod_read_cpuset(const Grpc__LinuxResources *resources, struct pod_cpuset *ret, struct err *e)
{
	const Grpc__LinuxCPU *cpu = resources ? resources->cpu : NULL;
	struct pod_cpuset set = *ret;
	int r = cpu ? read_list("cpus", cpu->cpus, &set.cpus, e) : 0;

	if (r == 0 && cpu)
		r = read_list("mems", cpu->mems, &set.mems, e);
	if (r == 0)
		*ret = set;
	return r;
}

/* ---- the cgroup ---- */

static bool counts(const struct pod *pod, const struct pod_container *c)
{
	return pod->role != POD_ROLE_SINGLE || c->brought_vm;
}

static bool has_set(const struct pod_container *c)
{
	return !cpu_list_is_empty(&c->cpuset.cpus) || !cpu_list_is_empty(&c->cpuset.mems);
}

static bool lives(const struct pod_container *c)
{
	const struct pod_process *p = pod_init_process(c);

	return p && p->status != POD_STOPPED;
}

/* False: it stays as it is. */
static bool wanted(const struct pod *pod, struct pod_cpuset *ret)
{
	bool any = false, ended = false, living = false;
	struct pod_container *c;

	*ret = (struct pod_cpuset){ 0 };
	list_foreach (c, &pod->containers, struct pod_container, node) {
		if (!counts(pod, c))
			continue;
		any = true;
		if (!has_set(c))
			continue;
		if (!lives(c)) {
			ended = true;
			continue;
		}
		living = true;
		cpu_list_add(&ret->cpus, &c->cpuset.cpus);
		cpu_list_add(&ret->mems, &c->cpuset.mems);
	}
	return any && (living || !ended);
}

static int follow(struct pod *pod, struct err *e)
{
	const struct cpu_list *cpus, *mems;
	struct pod_cpuset want;
	int r;

	if (!pod->cgroup || !wanted(pod, &want))
		return 0;
	cpus = cpu_list_equal(&want.cpus, &pod->cpuset.cpus) ? NULL : &want.cpus;
	mems = cpu_list_equal(&want.mems, &pod->cpuset.mems) ? NULL : &want.mems;
	if (!cpus && !mems)
		return 0;
	r = host_cgroup_cpuset(pod->cgroup, cpus, mems, e);
	if (r < 0 && cpus && mems)
		(void)host_cgroup_cpuset(pod->cgroup, &pod->cpuset.cpus, NULL, NULL);
	if (r == 0)
		pod->cpuset = want;
	/* The kernel has given all threads all of the CPUs, also when they are what they were. */
	if (cpus)
		pod_pin_vcpus(pod);
	return r;
}

int pod_apply_cpuset(struct pod_container *c, struct err *e)
{
	struct pod *pod = c->pod;
	int r = pod->cgroup && counts(pod, c)
			? host_cgroup_check_cpuset(pod->cgroup, &c->cpuset.cpus, &c->cpuset.mems, e)
			: 0;

	return r < 0 ? r : follow(pod, e);
}

void pod_follow_cpuset(struct pod *pod)
{
	struct err e = { 0 };

	if (follow(pod, &e) < 0)
		log_warn("pod %s: %s", pod->params.id, e.text);
}

/* ---- vCPUs ---- */

static int bind_thread(pid_t tid, const struct cpu_list *cpus)
{
	return sched_setaffinity(tid, sizeof cpus->bits, (const cpu_set_t *)cpus->bits) < 0 ? -errno : 0;
}

/* Anywhere in the cgroup's set: the kernel leaves out what is not in it. */
static void unpin(const struct vm_process_info *info)
{
	struct cpu_list all;

	memset(&all, 0xff, sizeof all);
	for (size_t i = 0; i < info->n_vcpus; i++)
		if (info->vcpu_tids[i] > 0)
			(void)bind_thread(info->vcpu_tids[i], &all);
}

static int pin(const struct pod *pod, const struct vm_process_info *info, struct err *e)
{
	int cpu = -1;

	for (size_t i = 0; i < info->n_vcpus; i++) {
		struct cpu_list one = { 0 };
		int r;

		cpu = cpu_list_next(&pod->cpuset.cpus, (unsigned)(cpu + 1));
		cpu_list_set(&one, (unsigned)cpu);
		r = info->vcpu_tids[i] > 0 ? bind_thread(info->vcpu_tids[i], &one) : -ESRCH;
		if (r < 0)
			return err_sys(e, -r, "cannot pin virtual CPU %zu to CPU %d", i, cpu);
	}
	return 0;
}

/* One to one, or not at all: enable_vcpus_pinning of the configuration, as Kata has it. */
void pod_pin_vcpus(struct pod *pod)
{
	unsigned cpus = cpu_list_count(&pod->cpuset.cpus);
	bool fits = cpus && cpus == pod->now.vcpus;
	struct vm_process_info info = { 0 };
	struct err e = { 0 };
	int r;

	if (!pod->params.config->runtime.enable_vcpus_pinning || !pod->params.driver->info || !pod->sandbox ||
	    pod->lost)
		return;
	if (!fits && cpus)
		log_info("pod %s: virtual CPUs are not pinned: there are %u, and the pod has %u CPUs", pod->params.id,
			 pod->now.vcpus, cpus);
	if (!fits && !pod->pinned)
		return;
	r = pod->params.driver->info(pod->sandbox->vm, &info, &e);
	if (r == 0 && fits && info.n_vcpus != cpus)
		r = err_set(&e, ERR_HYPERVISOR, EAGAIN, "%zu threads of %u virtual CPUs are known", info.n_vcpus, cpus);
	if (r == 0 && fits)
		r = pin(pod, &info, &e);
	if (r < 0)
		log_warn("pod %s: virtual CPUs are not pinned: %s", pod->params.id, e.text);
	pod->pinned = r == 0 && fits;
	if (!pod->pinned)
		unpin(&info);
}
