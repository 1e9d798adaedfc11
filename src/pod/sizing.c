/* SPDX-License-Identifier: Apache-2.0 */
/* See sizing.h. All memory in MiB unless a name says bytes. */
#include "pod/sizing.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysinfo.h>

#include "base/strv.h"
#include "codec/json.h"
#include "oci/builder.h"
#include "sys/cpu_list.h"

#define MIB (1 << 20)
/* The kernel has 64 bytes for each page of 4 KiB. What SIZING_GUEST_KERNEL_MIB does not hold of that: above 2 GiB. */
#define PAGE_STRUCTS_FREE_MIB 2048
#define PAGE_STRUCTS_SHARE    64
/* The host's page tables for guest memory, twice (the process's and KVM's): 8 bytes for each page. */
#define PAGE_TABLES_SHARE 256

#define DEFAULT_PERIOD 100000 /* µs: the kernel's own, and what the guest's agent takes */

#define SHARES_OF_A_CPU 1024 /* kubelet's, of what is requested */

#define ANNOTATION "io.kubernetes.cri.sandbox-"
/* CRI-O's; the second one is that of its older versions. */
#define CRIO_RESOURCES     "pod-linux-resources.crio.io"
#define CRIO_RESOURCES_OLD "io.kubernetes.cri-o.PodLinuxResources"
#define CRIO_RESOURCES_MAX (64u << 10)

/* ---- what is asked for ---- */

uint32_t sizing_count_cpus(const char *list)
{
	struct cpu_list l;

	return cpu_list_parse(list, &l) < 0 ? 0 : cpu_list_count(&l);
}

static double cpus_of(int64_t quota, uint64_t period)
{
	return quota < 0 ? -1 : (double)quota / (double)(period ? period : DEFAULT_PERIOD);
}

/*
 * -1: without limit. To containers with CPUs of their own kubelet (since 1.33) gives no quota, nor to their pods, and
 * says that by -1; what such a container requests is its limit, and the sum of the requests is in the shares.
 */
static double cpus_of_pod(int64_t quota, int64_t period, int64_t shares)
{
	if (quota > 0 && period > 0)
		return cpus_of(quota, (uint64_t)period);
	return quota < 0 && shares >= SHARES_OF_A_CPU ? (double)shares / SHARES_OF_A_CPU : -1;
}

void sizing_from_resources(const Grpc__LinuxResources *resources, struct sizing_demand *ret)
{
	*ret = (struct sizing_demand){ 0 };
	if (resources && resources->memory)
		ret->memory_bytes = resources->memory->limit;
	if (resources && resources->cpu) {
		ret->cpus = cpus_of(resources->cpu->quota, resources->cpu->period);
		ret->cpuset = sizing_count_cpus(resources->cpu->cpus);
	}
}

/* -1: it is not there, or no number. */
static int annotation(const Grpc__Spec *spec, const char *name, int64_t *ret)
{
	for (size_t i = 0; spec && i < spec->n_annotations; i++) {
		const char *key = str_after(spec->annotations[i]->key, ANNOTATION);
		char *end;

		if (!key || strcmp(key, name) != 0 || str_empty(spec->annotations[i]->value))
			continue;
		errno = 0;
		*ret = strtoll(spec->annotations[i]->value, &end, 10);
		return *end || errno ? -1 : 0;
	}
	return -1;
}

/* CRI-O writes the whole of CRI's LinuxContainerResources, without what is 0; "null" where the kubelet told nothing. */
static bool from_crio(const Grpc__Spec *spec, struct sizing_demand *ret)
{
	const char *text = spec ? oci_spec_annotation(spec, CRIO_RESOURCES) : NULL;
	_cleanup_json_ struct json_object *o = NULL;
	int64_t quota = 0, period = 0, shares = 0, memory = 0;

	if (spec && !text)
		text = oci_spec_annotation(spec, CRIO_RESOURCES_OLD);
	if (!text || json_parse(text, strlen(text), CRIO_RESOURCES_MAX, &o, NULL) < 0 || !json_is_object(o))
		return false;
	json_get_i64(o, "cpu_quota", &quota);
	json_get_i64(o, "cpu_period", &period);
	json_get_i64(o, "cpu_shares", &shares);
	json_get_i64(o, "memory_limit_in_bytes", &memory);
	ret->cpus = cpus_of_pod(quota, period, shares);
	ret->memory_bytes = memory > 0 ? memory : -1;
	return true;
}

bool sizing_from_annotations(const Grpc__Spec *spec, struct sizing_demand *ret)
{
	int64_t quota, period, shares = 0, memory = 0;
	bool cpu = annotation(spec, "cpu-quota", &quota) == 0 && annotation(spec, "cpu-period", &period) == 0;
	bool mem = annotation(spec, "memory", &memory) == 0;

	*ret = (struct sizing_demand){ 0 };
	if (!cpu && !mem)
		return from_crio(spec, ret);
	/* containerd writes all of them, with 0 for what has no limit: no container has, or one of several has not. */
	if (cpu && annotation(spec, "cpu-shares", &shares) < 0)
		shares = 0;
	if (cpu)
		ret->cpus = cpus_of_pod(quota, period, shares);
	if (mem)
		ret->memory_bytes = memory > 0 ? memory : -1;
	return true;
}

void sizing_see_host(struct sizing_request *q)
{
	struct sysinfo host;

	sysinfo(&host);
	q->host_cpus = (uint32_t)get_nprocs();
	q->host_memory_mib = (uint64_t)host.totalram * host.mem_unit / MIB;
}

/* ---- CPUs ---- */

static uint32_t whole_cpus(double cpus, uint32_t host)
{
	return cpus < 0 ? host : cpus < 1 ? 1 : cpus >= UINT32_MAX ? UINT32_MAX : (uint32_t)ceil(cpus);
}

static uint32_t limit_of(uint32_t configured, uint32_t host)
{
	return configured && configured < host ? configured : host;
}

static int size_cpus(const struct sizing_request *q, bool grows, struct sizing *ret, struct strv *notes)
{
	const struct config_hypervisor *hv = q->hv;
	uint32_t most = limit_of(hv->default_maxvcpus, q->host_cpus);
	uint32_t want = whole_cpus(hv->default_vcpus, q->host_cpus);
	int r = 0;

	if (!grows && q->demand.cpus > 0)
		want = whole_cpus(q->demand.cpus + hv->overhead_vcpus, q->host_cpus);
	/* Those that it may not run on do nothing for it. */
	else if (!grows && q->demand.cpuset && q->demand.cpuset < want)
		want = q->demand.cpuset;
	if (want > q->host_cpus && notes)
		r = strv_addf(notes, "%u CPUs were asked for, this host has %u: the guest gets %u", want, q->host_cpus,
			      most);
	else if (want > most && notes)
		r = strv_addf(notes, "%u CPUs were asked for: default_maxvcpus allows %u", want, most);
	ret->vcpus = want < most ? want : most;
	ret->max_vcpus = grows || hv->default_maxvcpus ? most : ret->vcpus;
	if (ret->max_vcpus < ret->vcpus)
		ret->max_vcpus = ret->vcpus;
	return r;
}

/* ---- memory ---- */

/* A guest that has this much for containers. */
static uint64_t guest_around(const struct sizing_request *q, uint64_t containers_bytes)
{
	uint64_t mib = (containers_bytes + MIB - 1) / MIB;

	mib += SIZING_GUEST_KERNEL_MIB + q->hv->overhead_memory;
	return mib + (mib > PAGE_STRUCTS_FREE_MIB ? (mib - PAGE_STRUCTS_FREE_MIB) / PAGE_STRUCTS_SHARE : 0);
}

static uint64_t vmm_around(const struct sizing_request *q, uint64_t guest_mib)
{
	return q->vmm_mib + guest_mib / PAGE_TABLES_SHARE;
}

/* The largest guest that fits under the ceiling with its VMM; UINT64_MAX: there is no ceiling. */
static uint64_t guest_below_ceiling(const struct sizing_request *q)
{
	uint64_t mib = q->ceiling_bytes / MIB;

	if (q->ceiling_bytes == UINT64_MAX)
		return UINT64_MAX;
	if (mib <= q->vmm_mib)
		return 0;
	/* guest + guest / 256 <= room */
	return (mib - q->vmm_mib) * PAGE_TABLES_SHARE / (PAGE_TABLES_SHARE + 1);
}

/* See guest_below_ceiling(): a page table's share of so little is less than one. */
static uint64_t smallest_ceiling(const struct sizing_request *q)
{
	return vmm_around(q, SIZING_GUEST_MIN_MIB) + SIZING_GUEST_MIN_MIB + 1;
}

static int check_memory(const struct sizing_request *q, uint64_t want, uint64_t room, struct err *e)
{
	if (room < SIZING_GUEST_MIN_MIB)
		return err_set(e, ERR_CONFIG, ENOMEM,
			       "the pod's cgroup allows %" PRIu64 " MiB of memory, and a virtual machine needs %" PRIu64
			       " MiB at least, %d of them for the guest: raise the memory limit of the pod (podman pod "
			       "create --memory) or of its containers to that, or give its RuntimeClass a larger pod "
			       "overhead",
			       q->ceiling_bytes / MIB, smallest_ceiling(q), SIZING_GUEST_MIN_MIB);
	if (want < SIZING_GUEST_MIN_MIB)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "default_memory = %" PRIu64 " MiB is too little: a guest needs %d MiB at least", want,
			       SIZING_GUEST_MIN_MIB);
	if (want > q->host_memory_mib)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "the guest would need %" PRIu64 " MiB of memory, this host has %" PRIu64, want,
			       q->host_memory_mib);
	return 0;
}

static uint64_t whole_pages(const struct sizing_request *q, uint64_t mib)
{
	return q->hv->enable_hugepages ? mib & ~UINT64_C(1) : mib;
}

static int size_memory(const struct sizing_request *q, bool grows, struct sizing *ret, struct strv *notes,
		       struct err *e)
{
	const struct config_hypervisor *hv = q->hv;
	uint64_t room = guest_below_ceiling(q), want = hv->default_memory, most;
	bool asked = !grows && q->demand.memory_bytes > 0;
	int r;

	if (asked)
		want = guest_around(q, (uint64_t)q->demand.memory_bytes);
	/* Nobody tells what the pod asks for, but its cgroup has a limit: all that it may have. */
	else if (!grows && q->demand.memory_bytes == 0 && room != UINT64_MAX)
		want = room;
	r = check_memory(q, want < room ? want : room, room, e);
	if (r < 0)
		return r;
	if (want > room) {
		if (notes && strv_addf(notes,
				       "%s would be %" PRIu64 " MiB of memory; the pod's cgroup allows %" PRIu64
				       ", the VMM included: the guest gets %" PRIu64,
				       asked ? "the pod's limits with the guest's kernel" : "default_memory", want,
				       q->ceiling_bytes / MIB, room) < 0)
			return err_sys(e, ENOMEM, "size of the VM");
		want = room;
	}
	ret->memory_mib = whole_pages(q, want);
	most = hv->default_maxmemory ? hv->default_maxmemory : grows ? q->host_memory_mib : 0;
	most = most > q->host_memory_mib ? q->host_memory_mib : most;
	most = most < room ? most : room;
	ret->max_memory_mib = most > ret->memory_mib ? whole_pages(q, most) : ret->memory_mib;
	return 0;
}

/* What of guest and VMM the containers' own limit does not hold. */
static uint64_t overhead(const struct sizing_request *q, const struct sizing *s)
{
	uint64_t all = s->memory_mib + s->vmm_mib, containers;

	if (q->demand.memory_bytes <= 0)
		return 0;
	containers = (uint64_t)q->demand.memory_bytes / MIB;
	return all > containers ? all - containers : 0;
}

int sizing_of_vm(const struct sizing_request *q, struct sizing *ret, struct strv *notes, struct err *e)
{
	bool grows = !q->fixed && q->cpu_hotplug && q->memory_hotplug;
	struct sizing s = { 0 };
	int r = 0;

	if (!q->fixed && !grows && notes)
		r = strv_add(notes,
			     "static_sandbox_resource_mgmt = false has no effect: this hypervisor cannot add CPUs "
			     "and memory to a VM that runs; it is sized before it starts");
	if (r < 0 || size_cpus(q, grows, &s, notes) < 0)
		return err_sys(e, ENOMEM, "size of the VM");
	r = size_memory(q, grows, &s, notes, e);
	if (r < 0)
		return r;
	s.vmm_mib = vmm_around(q, s.memory_mib);
	s.overhead_mib = overhead(q, &s);
	*ret = s;
	return 0;
}

/* ---- while it runs ---- */

void sizing_of_containers(const struct sizing_request *q, const struct sizing *start,
			  const struct sizing_demand *containers, size_t n, struct sizing_now *ret)
{
	bool cpus_unlimited = false, memory_unlimited = false;
	uint64_t bytes = 0, mib, cpus;
	double sum = 0;

	for (size_t i = 0; i < n; i++) {
		if (containers[i].cpus > 0)
			sum += containers[i].cpus;
		/* Without limit, but with CPUs of its own: see cpus_of_pod(). */
		else if (containers[i].cpus < 0 && containers[i].cpuset)
			sum += containers[i].cpuset;
		else
			cpus_unlimited = true;
		if (containers[i].memory_bytes <= 0)
			memory_unlimited = true;
		else if (__builtin_add_overflow(bytes, (uint64_t)containers[i].memory_bytes, &bytes))
			bytes = (uint64_t)INT64_MAX;
	}
	cpus = n ? whole_cpus(sum + q->hv->overhead_vcpus, q->host_cpus) : 0;
	cpus += cpus_unlimited ? start->vcpus : 0;
	mib = guest_around(q, bytes > INT64_MAX ? (uint64_t)INT64_MAX : bytes);
	mib += memory_unlimited ? start->memory_mib : 0;
	cpus = cpus < start->vcpus ? start->vcpus : cpus;
	mib = mib < start->memory_mib ? start->memory_mib : mib;
	ret->vcpus = cpus > start->max_vcpus ? start->max_vcpus : (uint32_t)cpus;
	ret->memory_mib = mib > start->max_memory_mib ? start->max_memory_mib : whole_pages(q, mib);
}
