/* SPDX-License-Identifier: Apache-2.0 */
/* The spec's resource limits, which speak cgroup v1, as values of cgroup v2 files. OCI runtime spec 1.1 "Control
 * groups". */
#pragma once

#include "base/err.h"
#include "proto/oci.pb-c.h"
#include "sys/cgroup.h"

/* What is not given (0 in the protocol) stays as it is. linux_spec: its devices are allowed too; may be NULL. */
int resources_apply(struct cgroup *cg, const Grpc__LinuxResources *res, const Grpc__Linux *linux_spec, struct err *e);

/* cpu.shares 2..262144 → cpu.weight 1..10000, 0 → 0. */
uint64_t resources_cpu_weight(uint64_t shares);
/* blkio weight 10..1000 → io.weight 1..10000. */
uint64_t resources_io_weight(uint32_t weight);
/*
 * v1 memory+swap limit → v2 swap limit: -1 is unlimited, 0 not given. -EINVAL with a message where it contradicts the
 * memory limit.
 */
int resources_swap(int64_t memory_swap, int64_t memory, int64_t *ret, struct err *e);
