/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod's metrics, source by source, put into a set of codec/prometheus.h. Names are Kata's where they mean the same
 * (kata_shim_*, kata_hypervisor_*, kata_virtiofsd_*, kata_agent_*, kata_guest_*), caisson_* where Kata has none;
 * docs/metrics.md has all of them.
 *
 * Kata's families of /proc are gauges with the label "item", whatever the value is, and so they are here.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "codec/prometheus.h"
#include "hypervisor/driver.h"
#include "pod/host_cgroup.h"
#include "proto/agent.pb-c.h"

/* What of a process's /proc is told. */
enum metrics_process_parts {
	METRICS_PROCESS = 0, /* threads, descriptors, stat, status, io */
	METRICS_NETDEV = 1,  /* the interfaces of its network namespace */
	METRICS_TOTALS = 2,  /* process_*, as every program of Prometheus' own libraries has them */
};

/*
 * prefix: "kata_shim" …; who: for the help texts. A process that is gone adds nothing. proc: "/proc"; another one in
 * tests.
 */
void metrics_of_process(struct prom *p, const char *proc, const char *prefix, const char *who, pid_t pid,
			unsigned parts);

/*
 * The text of the agent's GetMetrics: hostile, read strictly. What is not kata_agent_* or kata_guest_* gets
 * "kata_agent_" in front, so that a guest cannot speak for the host. All or nothing.
 */
int metrics_of_agent(struct prom *p, const char *text, struct err *e);

/* caisson_sandbox_*: what the host accounts. */
void metrics_of_cgroup(struct prom *p, const struct host_cgroup_usage *usage);
/* caisson_container_*: what the guest accounts. id: ours. */
void metrics_of_container(struct prom *p, const char *id, const Grpc__StatsContainerResponse *stats);
/* caisson_vmm_*: vCPUs, and what the VMM itself counts. */
void metrics_of_vm(struct prom *p, struct vm *vm);

/*
 * What the pod costs above what its containers use: kata_shim_pod_overhead_*. CPU needs two looks; the first time there
 * is none. guest_*: sums over the containers.
 */
struct metrics_overhead {
	uint64_t at_us, host_cpu_ns, guest_cpu_ns; /* of the look before; 0: there was none */
};
void metrics_of_overhead(struct prom *p, struct metrics_overhead *o, const struct host_cgroup_usage *host,
			 uint64_t guest_memory_bytes, uint64_t guest_cpu_ns, uint64_t now_us);
