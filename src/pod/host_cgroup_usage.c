/* SPDX-License-Identifier: Apache-2.0 */
/* What the group takes from the host, as the kernel accounts it. */
#include <errno.h>
#include <stdlib.h>

#include "pod/host_cgroup_internal.h"
#include "sys/cgroup_dir.h"

/* cgroup v1: no limit is the largest multiple of a page; the smallest page is 4 KiB, the largest 64 KiB. */
#define V1_NO_LIMIT ((uint64_t)INT64_MAX - 0xffff)

/* 0 when the file is not there. "max" is UINT64_MAX. */
static uint64_t number_at(int dir_fd, const char *file)
{
	uint64_t value;

	return cgroup_dir_u64(dir_fd, file, &value) < 0 ? 0 : value;
}

static uint64_t number(const struct host_group *g, const char *file)
{
	return g ? number_at(g->dir_fd, file) : 0;
}

static const char *memory_limit_file(const struct host_group *g)
{
	return g->v2 ? "memory.max" : "memory.limit_in_bytes";
}

static void memory(const struct host_cgroup *cg, struct host_cgroup_usage *u)
{
	const struct host_group *g = host_cgroup_find(cg, "memory");
	bool v2 = g && g->v2;
	const struct cgroup_key stat[] = {
		{ v2 ? "anon" : "total_rss", &u->anon_bytes },
		{ v2 ? "file" : "total_cache", &u->file_bytes },
		{ v2 ? "inactive_file" : "total_inactive_file", &u->inactive_file_bytes },
		{ v2 ? "pgfault" : "total_pgfault", &u->page_faults },
		{ v2 ? "pgmajfault" : "total_pgmajfault", &u->major_page_faults },
	};

	if (!g)
		return;
	u->memory_bytes = number(g, g->v2 ? "memory.current" : "memory.usage_in_bytes");
	u->memory_peak_bytes = number(g, g->v2 ? "memory.peak" : "memory.max_usage_in_bytes"); /* v2: Linux 5.19 */
	u->memory_limit_bytes = number(g, memory_limit_file(g));
	if (!g->v2 && u->memory_limit_bytes >= V1_NO_LIMIT)
		u->memory_limit_bytes = UINT64_MAX;
	cgroup_dir_keys(g->dir_fd, "memory.stat", stat, sizeof stat / sizeof *stat);
}

static void cpu(const struct host_cgroup *cg, struct host_cgroup_usage *u)
{
	const struct cgroup_key stat[] = {
		{ "usage_usec", &u->cpu_ns },
		{ "user_usec", &u->user_ns },
		{ "system_usec", &u->system_ns },
	};
	const struct host_group *g = host_cgroup_find(cg, "cpuacct");

	if (g) {
		u->cpu_ns = number(g, "cpuacct.usage");
		u->user_ns = number(g, "cpuacct.usage_user");
		u->system_ns = number(g, "cpuacct.usage_sys");
		return;
	}
	/* v2 tells this much without any controller. */
	for (size_t i = 0; i < cg->n_groups; i++) {
		g = &cg->groups[i];
		if (!g->v2)
			continue;
		cgroup_dir_keys(g->dir_fd, "cpu.stat", stat, sizeof stat / sizeof *stat);
		/* Microseconds there. */
		u->cpu_ns *= 1000;
		u->user_ns *= 1000;
		u->system_ns *= 1000;
	}
}

int host_cgroup_usage(const struct host_cgroup *cg, struct host_cgroup_usage *ret, struct err *e)
{
	*ret = (struct host_cgroup_usage){ 0 };
	if (!cg->n_groups)
		return err_set(e, ERR_SYSTEM, EOPNOTSUPP, "usage of the pod: there are no cgroups here");
	memory(cg, ret);
	cpu(cg, ret);
	ret->pids = number(host_cgroup_find(cg, "pids"), "pids.current");
	ret->pids_limit = number(host_cgroup_find(cg, "pids"), "pids.max");
	return 0;
}

uint64_t host_cgroup_ceiling(const struct host_cgroup *cg)
{
	const struct host_group *g = host_cgroup_find(cg, "memory");
	_cleanup_free_ char *at = g ? strdup(g->path) : NULL;
	uint64_t least = UINT64_MAX;
	char *slash;

	while (at && (slash = strrchr(at, '/'))) {
		_cleanup_free_ char *file = NULL;
		uint64_t limit;

		*slash = '\0';
		file = str_printf("%s%s%s", *at ? at + 1 : "", *at ? "/" : "", memory_limit_file(g));
		limit = file ? number_at(g->root_fd, file) : 0;
		if (limit && limit < least)
			least = limit;
	}
	return least >= V1_NO_LIMIT ? UINT64_MAX : least;
}
