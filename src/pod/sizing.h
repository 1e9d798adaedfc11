/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How large a pod's VM, or that of a single container, is: a pure function of what it asks for, the configuration, and
 * the host.
 *
 * Static sizing (static_sandbox_resource_mgmt = true, the default): the VM has its size before it starts, from the
 * limits of the whole pod, which CRI tells with the sandbox (containerd since 1.6 and CRI-O, in annotations), or else
 * from the limit of the pod's cgroup, or else from default_vcpus and default_memory. Dynamic sizing: it starts with the
 * defaults and grows with its containers, where the hypervisor can do that.
 *
 * One rule stands above all: the VM never outgrows its cgroup. Guest memory and what the VMM takes beside it stay below
 * the memory limit that holds both, because a guest that may use more than its cgroup is killed by the host, with all
 * of its containers, at a moment that nobody can explain. A guest that runs into its own end of memory kills one
 * process and says so.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "proto/agent.pb-c.h"

/* The smallest guest that boots a distribution's kernel with its modules and leaves something for the container. */
#define SIZING_GUEST_MIN_MIB 96
/* What the guest's kernel, page tables and agent take beside the containers' limits, in a guest of at most 2 GiB. */
#define SIZING_GUEST_KERNEL_MIB 96

/* What is asked for. 0: not said; below 0: said to be without limit. */
struct sizing_demand {
	double cpus;
	int64_t memory_bytes;
	uint32_t cpuset; /* number of CPUs it is confined to */
};

/* Of a container, or of a sandbox whose limits are its own. NULL: nothing. */
void sizing_from_resources(const Grpc__LinuxResources *resources, struct sizing_demand *ret);
/*
 * Of a pod, from its sandbox's annotations io.kubernetes.cri.sandbox-{cpu-quota,cpu-period,cpu-shares,memory}, or
 * CRI-O's pod-linux-resources. False: they are not there (an old engine), or are no numbers. spec: may be NULL.
 */
bool sizing_from_annotations(const Grpc__Spec *spec, struct sizing_demand *ret);

struct sizing_request {
	const struct config_hypervisor *hv;
	bool fixed;                  /* static_sandbox_resource_mgmt */
	struct sizing_demand demand; /* of the pod, or of the single container */
	/*
	 * The memory limit of the cgroup that the pod lives in and that is not the pod's own to set
	 * (host_cgroup_ceiling()); UINT64_MAX: none.
	 */
	uint64_t ceiling_bytes;
	uint32_t vmm_mib; /* what the VMM and its helpers take beside guest memory (hypervisor_driver.vmm_memory_mib) */
	bool cpu_hotplug, memory_hotplug; /* what the hypervisor can do */
	uint32_t host_cpus;
	uint64_t host_memory_mib;
};

/* Fill in the CPUs and the memory that this host has. */
void sizing_see_host(struct sizing_request *q);

struct sizing {
	uint32_t vcpus, max_vcpus;
	uint64_t memory_mib, max_memory_mib;
	/*
	 * What a memory limit that was meant for the containers alone is raised by on the host: host_cgroup_limit(). So
	 * much is the VM's and the VMM's own.
	 */
	uint64_t overhead_mib;
	uint64_t vmm_mib; /* what the VMM takes beside a guest of memory_mib */
};

/* notes: what differs from what was asked for, one sentence each; may be NULL. */
int sizing_of_vm(const struct sizing_request *q, struct sizing *ret, struct strv *notes, struct err *e);

/*
 * Dynamic sizing: what the VM should have now, with these containers (those that ended left out): their limits, or the
 * CPUs of their own, and the defaults once if any of them is without either; never below the defaults, never above what
 * it started with as maximum. A container that merely holds the pod's namespaces (pause) is not to be counted.
 */
struct sizing_now {
	uint32_t vcpus;
	uint64_t memory_mib;
};
void sizing_of_containers(const struct sizing_request *q, const struct sizing *start,
			  const struct sizing_demand *containers, size_t n, struct sizing_now *ret);

/* How many CPUs a list such as "0-3,8" names; 0: none, or no such list. */
uint32_t sizing_count_cpus(const char *list);
