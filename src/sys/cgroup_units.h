/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of the OCI runtime spec, which speaks cgroup v1, in the units of cgroup v2. */
#pragma once

#include <stdint.h>

#include "base/err.h"

/* cpu.shares 2..262144 → cpu.weight 1..10000, 0 → 0. */
uint64_t cgroup_cpu_weight(uint64_t shares);
/* blkio weight 10..1000 → io.weight 1..10000. */
uint64_t cgroup_io_weight(uint32_t weight);
/*
 * v1 memory+swap limit → v2 swap limit: -1 is unlimited, 0 not given. -EINVAL with a message where it contradicts the
 * memory limit.
 */
int cgroup_swap(int64_t memory_swap, int64_t memory, int64_t *ret, struct err *e);
