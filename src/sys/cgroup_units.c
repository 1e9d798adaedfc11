/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroup_units.h. The conversions are those of runc and crun, which users' numbers come from. */
#include "sys/cgroup_units.h"

#include <errno.h>
#include <inttypes.h>

uint64_t cgroup_cpu_weight(uint64_t shares)
{
	if (!shares)
		return 0;
	shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
	return 1 + (shares - 2) * 9999 / 262142;
}

uint64_t cgroup_io_weight(uint32_t weight)
{
	if (!weight)
		return 0;
	weight = weight < 10 ? 10 : weight > 1000 ? 1000 : weight;
	return 1 + (uint64_t)(weight - 10) * 9999 / 990;
}

int cgroup_swap(int64_t memory_swap, int64_t memory, int64_t *ret, struct err *e)
{
	if (memory_swap == -1 || memory_swap == 0) {
		*ret = memory_swap;
		return 0;
	}
	if (memory <= 0)
		return err_set(e, ERR_CONFIG, EINVAL, "a swap limit needs a memory limit");
	if (memory_swap < memory)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "the memory+swap limit %" PRId64 " is below the memory limit %" PRId64, memory_swap,
			       memory);
	*ret = memory_swap - memory;
	return 0;
}
