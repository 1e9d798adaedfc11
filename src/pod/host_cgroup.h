/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sandbox's cgroup on the host: the VMM, its helpers and the stand-ins live in it, so that what Kubernetes or
 * podman give the pod limits all of it. Works with cgroup v1 (each controller its own hierarchy), v2 and the hybrid of
 * both; what the host does not have is left out with a note, what was asked for and cannot be had is an error.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "proto/agent.pb-c.h"

struct host_cgroup;

/*
 * path: linux.cgroupsPath of the spec ("/kubepods/pod1/ID", "slice:prefix:name", "": "/caisson/ID"). Made where it is
 * not there, in each hierarchy. root: NULL for /sys/fs/cgroup, or a directory made to look like it in tests.
 * overhead_mib: what a memory limit is raised by for the VMM itself when it is the container's own (podman), 0 for a
 * pod's, whose limit counts it already.
 */
int host_cgroup_new(const char *root, const char *path, const char *id, struct host_cgroup **ret, struct err *e);
/* Move a process with all its threads. */
int host_cgroup_add(struct host_cgroup *cg, pid_t pid, struct err *e);
int host_cgroup_limit(struct host_cgroup *cg, const Grpc__LinuxResources *resources, uint64_t overhead_mib,
		      struct err *e);
struct host_cgroup_usage {
	uint64_t memory_bytes, memory_peak_bytes, memory_limit_bytes;
	uint64_t cpu_ns, user_ns, system_ns;
	uint64_t pids;
};
int host_cgroup_usage(const struct host_cgroup *cg, struct host_cgroup_usage *ret, struct err *e);
/* For clean-up after a killed owner: end what is left in it. */
int host_cgroup_kill(struct host_cgroup *cg);
/* Remove it, and the ancestors that were made for it. NULL does nothing. */
void host_cgroup_free(struct host_cgroup *cg);
DEFINE_CLEANUP(struct host_cgroup *, host_cgroup_free)
/* As text that host_cgroup_open() takes in another process. Caller frees. */
char *host_cgroup_describe(const struct host_cgroup *cg);
int host_cgroup_open(const char *described, struct host_cgroup **ret, struct err *e);
