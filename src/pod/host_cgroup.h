/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox's cgroup on the host: the VMM, its helpers and the stand-ins live in it, so that what Kubernetes or
 * podman give the pod limits all of it. Works with cgroup v1 (each controller its own hierarchy), v2 and the hybrid of
 * both; what the host does not have is left out with a note, what was asked for and cannot be had is an error.
 *
 * Which limits of the spec mean the host, and which the guest:
 *   memory, CPU (shares, quota, cpuset), block I/O: the host. They bound what the pod takes from it, whoever in the pod
 *     takes it. (The guest has the memory and CPU limits of each container, too: that is the agent's.)
 *   pids: the guest. The limit counts the container's processes; on the host there are the VMM's threads, which a guest
 *     cannot multiply, and which a limit of a few would hit. A limit on the pod's parent group holds all the same.
 *   devices: the guest. The VMM opens what its driver needs (/dev/kvm, /dev/net/tun, disks).
 *   huge pages, network classes, realtime: the guest, or nobody.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "proto/agent.pb-c.h"
#include "sys/cpu_list.h"

struct host_cgroup;

/*
 * path: linux.cgroupsPath of the spec. "/kubepods/pod1/ID" is below the mount point of each hierarchy, as in runc;
 * "a/b" below the calling process's own group; "slice:prefix:name" is systemd's, of which the directories are made
 * without asking systemd (a note says so); "" is "/caisson/ID". Made where it is not there, in each hierarchy.
 * -EBUSY: it is there, and processes are in it or below it.
 * root: NULL; for tests a directory that stands for "/" (sys/cgroup_layout.h).
 */
int host_cgroup_new(const char *root, const char *path, const char *id, struct host_cgroup **ret, struct err *e);
/* What differs from what was asked for, one sentence each. */
const struct strv *host_cgroup_notes(const struct host_cgroup *cg);

/* Move a process with all its threads. Processes that it starts later are in the group, too. */
int host_cgroup_add(struct host_cgroup *cg, pid_t pid, struct err *e);

/*
 * Set what is given in resources (0 and "" are not) and means the host, but for the cpuset. overhead_mib: what memory
 * limits are raised by for the VMM itself when the limit is the container's own (podman); 0 for a pod's, whose limit
 * counts it already. resources: NULL does nothing.
 */
int host_cgroup_limit(struct host_cgroup *cg, const Grpc__LinuxResources *resources, uint64_t overhead_mib,
		      struct err *e);

/*
 * Confine what is in it to these CPUs and memory nodes. Empty: to what its parent has; NULL: as it is. On failure the
 * CPUs may have been set and the nodes not.
 */
int host_cgroup_cpuset(struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems, struct err *e);
/*
 * -EINVAL: none of these CPUs, or nodes, are there for it. cgroup v2 would then take them without a word, and confine
 * to nothing. Empty ones are fine.
 */
int host_cgroup_check_cpuset(const struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems,
			     struct err *e);

/* UINT64_MAX: no limit. 0: there is no such controller, or it does not tell. pids counts threads. */
struct host_cgroup_usage {
	uint64_t memory_bytes, memory_peak_bytes, memory_limit_bytes;
	uint64_t anon_bytes, file_bytes, inactive_file_bytes; /* of memory_bytes */
	uint64_t page_faults, major_page_faults;
	uint64_t cpu_ns, user_ns, system_ns;
	uint64_t pids, pids_limit;
};
int host_cgroup_usage(const struct host_cgroup *cg, struct host_cgroup_usage *ret, struct err *e);
/*
 * The smallest memory limit of the groups above it: what the pod as a whole may have whatever its own limit is.
 * UINT64_MAX: none.
 */
uint64_t host_cgroup_ceiling(const struct host_cgroup *cg);

/*
 * For clean-up after a killed owner: end what is left in it. The calling process leaves it before. 0, -ETIMEDOUT:
 * something does not end, or -EBUSY: it cannot be left, and then nothing is killed.
 */
int host_cgroup_kill(struct host_cgroup *cg);
/*
 * Remove it, and the ancestors that were made for it. The calling process leaves it before; others that are about to
 * end are waited for, a second at most, and then killed. NULL does nothing.
 */
void host_cgroup_free(struct host_cgroup *cg);
DEFINE_CLEANUP(struct host_cgroup *, host_cgroup_free)
/* Forget it without removing anything: for an object of host_cgroup_open() that was only looked at. */
void host_cgroup_close(struct host_cgroup *cg);

/* As text in one line that host_cgroup_open() takes in another process. Caller frees. NULL: no memory. */
char *host_cgroup_describe(const struct host_cgroup *cg);
int host_cgroup_open(const char *described, struct host_cgroup **ret, struct err *e);
