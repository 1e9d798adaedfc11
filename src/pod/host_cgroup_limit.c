/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The spec's limits as values of the files of cgroup v1 (the kernel's admin-guide/cgroup-v1/) and v2
 * (admin-guide/cgroup-v2.rst). What means the guest is not here: see host_cgroup.h.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "pod/host_cgroup_internal.h"
#include "sys/cgroup_units.h"

#define MIB            (1 << 20)
#define DEFAULT_PERIOD 100000 /* µs: the kernel's own */

static bool offers(const struct host_group *g, const char *at, const char *controller)
{
	_cleanup_free_ char *path = str_printf("%s%s/cgroup.controllers", g->mount_point, at), *text = NULL;
	char *rest, *word;

	if (!path || file_read(path, MIB, &text, NULL) < 0)
		return false;
	rest = text;
	while ((word = strsep(&rest, " \n")))
		if (str_eq(word, controller))
			return true;
	return false;
}

static bool has_processes(const struct host_group *g, const char *at)
{
	_cleanup_free_ char *path = str_printf("%s%s/cgroup.procs", g->mount_point, at), *text = NULL;

	return path && file_read(path, MIB, &text, NULL) == 0 && *text;
}

/* v2: which ancestor keeps the controller to itself, and why. */
static int explain_absent(const struct host_group *g, const char *controller, struct err *e)
{
	_cleanup_free_ char *at = strdup(g->path);
	char *slash;

	while (at && (slash = strrchr(at, '/'))) {
		*slash = '\0';
		if (offers(g, at, controller))
			return err_set(e, ERR_SYSTEM, EOPNOTSUPP, "cgroup %s does not hand controller %s down%s",
				       *at ? at : "/", controller,
				       has_processes(g, at)
					       ? ", because processes are in it (move them into a group below it)"
					       : "");
	}
	return err_set(e, ERR_SYSTEM, EOPNOTSUPP,
		       "this host has no cgroup v2 controller %s (kernel configuration or command line)", controller);
}

static bool has_file(const struct host_group *g, const char *file)
{
	return faccessat(g->dir_fd, file, F_OK, 0) == 0;
}

static int set(const struct host_group *g, const char *controller, const char *file, const char *value, struct err *e)
{
	int r = file_write_at(g->dir_fd, file, value, strlen(value));

	if (r == -ENOENT && g->v2)
		return explain_absent(g, controller, e);
	if (r == -ENOENT)
		return err_set(e, ERR_SYSTEM, EOPNOTSUPP, "the kernel has no %s in cgroup v1", file);
	return r < 0 ? err_sys(e, -r, "set %s of cgroup %s to \"%s\"", file, g->path, value) : 0;
}

/* below 0: no limit. */
static int set_number(const struct host_group *g, const char *controller, const char *file, int64_t value,
		      struct err *e)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	return set(g, controller, file, value >= 0 ? text : g->v2 ? "max" : "-1", e);
}

/* The group of a controller that is needed. */
static int need(const struct host_cgroup *cg, const char *controller, const char *what, const struct host_group **ret,
		struct err *e)
{
	*ret = host_cgroup_find(cg, controller);
	if (*ret)
		return 0;
	return err_set(e, ERR_SYSTEM, EOPNOTSUPP,
		       "%s was asked for, and there is no cgroup hierarchy with the controller %s here%s%s", what,
		       controller, cg->notes.len ? ": " : "", cg->notes.len ? cg->notes.v[cg->notes.len - 1] : "");
}

/* ---- memory ---- */

/* 0 and -1 keep their meaning. */
static int64_t raised(int64_t limit, uint64_t overhead_mib)
{
	int64_t sum;

	if (limit <= 0)
		return limit;
	if (overhead_mib > INT64_MAX / MIB || __builtin_add_overflow(limit, (int64_t)overhead_mib * MIB, &sum))
		return -1;
	return sum;
}

/* Each of the two limits is refused while it would cross the other: when growing, the sum goes first. */
static int memory_v1(const struct host_group *g, int64_t limit, int64_t with_swap, struct err *e)
{
	_cleanup_free_ char *now = NULL;
	uint64_t current = 0;
	bool growing;
	int r = 0;

	if (with_swap && has_file(g, "memory.memsw.limit_in_bytes") &&
	    file_read_at(g->dir_fd, "memory.memsw.limit_in_bytes", 64, &now, NULL) == 0) {
		now[strcspn(now, "\n")] = '\0';
		str_to_u64(now, 10, &current);
	}
	growing = with_swap < 0 || (with_swap > 0 && (uint64_t)with_swap > current);
	if (with_swap && growing)
		r = set_number(g, "memory", "memory.memsw.limit_in_bytes", with_swap, e);
	if (r == 0 && limit)
		r = set_number(g, "memory", "memory.limit_in_bytes", limit, e);
	if (r == 0 && with_swap && !growing)
		r = set_number(g, "memory", "memory.memsw.limit_in_bytes", with_swap, e);
	return r;
}

static int memory_v2(const struct host_group *g, int64_t limit, int64_t swap, bool have_swap, struct err *e)
{
	int r = 0;

	/* Without swap accounting there is no swap to limit to nothing. */
	if (have_swap && (swap > 0 || has_file(g, "memory.swap.max")))
		r = set_number(g, "memory", "memory.swap.max", swap, e);
	if (r == 0 && limit)
		r = set_number(g, "memory", "memory.max", limit, e);
	return r;
}

static int limit_memory(const struct host_cgroup *cg, const Grpc__LinuxMemory *m, uint64_t overhead_mib, struct err *e)
{
	const struct host_group *g;
	int64_t swap = 0, limit;
	int r;

	if (!m || (!m->limit && !m->swap && !m->reservation))
		return 0;
	r = cgroup_swap(m->swap, m->limit, &swap, e);
	if (r < 0 || (r = need(cg, "memory", "a memory limit", &g, e)) < 0)
		return r;
	limit = raised(m->limit, overhead_mib);
	r = g->v2 ? memory_v2(g, limit, swap, m->swap, e) : memory_v1(g, limit, raised(m->swap, overhead_mib), e);
	if (r == 0 && m->reservation)
		r = set_number(g, "memory", g->v2 ? "memory.low" : "memory.soft_limit_in_bytes",
			       raised(m->reservation, overhead_mib), e);
	return r;
}

/* ---- CPU ---- */

static int cpu_bandwidth_v1(const struct host_group *g, int64_t quota, uint64_t period, struct err *e)
{
	bool period_later = false;
	int r = 0;

	/* A new period with the old quota may be more than an ancestor allows: then the quota goes first. */
	if (period) {
		r = set_number(g, "cpu", "cpu.cfs_period_us", (int64_t)period, quota ? NULL : e);
		period_later = r < 0 && quota;
	}
	if (quota && (r == 0 || period_later))
		r = set_number(g, "cpu", "cpu.cfs_quota_us", quota, e);
	if (r == 0 && period_later)
		r = set_number(g, "cpu", "cpu.cfs_period_us", (int64_t)period, e);
	return r;
}

static int cpu_bandwidth_v2(const struct host_group *g, int64_t quota, uint64_t period, struct err *e)
{
	char text[64];

	period = period ? period : DEFAULT_PERIOD;
	if (quota > 0)
		snprintf(text, sizeof(text), "%" PRId64 " %" PRIu64, quota, period);
	else
		snprintf(text, sizeof(text), "max %" PRIu64, period);
	return set(g, "cpu", "cpu.max", text, e);
}

static int limit_cpu_time(const struct host_cgroup *cg, const Grpc__LinuxCPU *c, struct err *e)
{
	const struct host_group *g;
	int r = need(cg, "cpu", "a CPU limit", &g, e);

	if (r == 0 && c->shares)
		r = g->v2 ? set_number(g, "cpu", "cpu.weight", (int64_t)cgroup_cpu_weight(c->shares), e)
			  : set_number(g, "cpu", "cpu.shares", (int64_t)c->shares, e);
	if (r == 0 && (c->quota || c->period))
		r = g->v2 ? cpu_bandwidth_v2(g, c->quota, c->period, e) : cpu_bandwidth_v1(g, c->quota, c->period, e);
	return r;
}

/* ---- CPUs and memory nodes ---- */

/* What the group's parent really has. False: it does not tell. */
static bool parent_has(const struct host_group *g, const char *file, struct cpu_list *ret)
{
	_cleanup_free_ char *path = str_printf("../%s%s", file, g->v2 ? ".effective" : ""), *text = NULL;

	if (!path || file_read_at(g->dir_fd, path, MIB, &text, NULL) < 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return cpu_list_parse(text, ret) == 0 && !cpu_list_is_empty(ret);
}

/* Everything that the parent has. */
static int set_all(const struct host_group *g, const char *file, struct err *e)
{
	_cleanup_free_ char *text = NULL;
	struct cpu_list has;

	/* In v2 that is an empty list, which is refused while there are processes, as it always is in v1. */
	if (g->v2 && set(g, "cpuset", file, "\n", NULL) == 0)
		return 0;
	if (!parent_has(g, file, &has))
		return 0;
	text = cpu_list_format(&has);
	return text ? set(g, "cpuset", file, text, e) : err_sys(e, ENOMEM, "set %s of cgroup %s", file, g->path);
}

static int set_list(const struct host_group *g, const char *file, const struct cpu_list *want, struct err *e)
{
	_cleanup_free_ char *text = NULL, *there = NULL;
	struct cpu_list has;
	int r;

	if (cpu_list_is_empty(want))
		return set_all(g, file, e);
	text = cpu_list_format(want);
	if (!text)
		return err_sys(e, ENOMEM, "set %s of cgroup %s", file, g->path);
	r = set(g, "cpuset", file, text, e);
	if (r < 0 && parent_has(g, file, &has) && (there = cpu_list_format(&has)))
		err_append(e, "; its parent has %s", there);
	return r;
}

int host_cgroup_cpuset(struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems, struct err *e)
{
	bool asked = (cpus && !cpu_list_is_empty(cpus)) || (mems && !cpu_list_is_empty(mems));
	const struct host_group *g;
	int r = need(cg, "cpuset", "a set of CPUs or memory nodes", &g, asked ? e : NULL);

	if (r < 0)
		return asked ? r : 0;
	if (cpus)
		r = set_list(g, "cpuset.cpus", cpus, e);
	if (r == 0 && mems)
		r = set_list(g, "cpuset.mems", mems, e);
	return r;
}

static int check_list(const struct host_group *g, const char *file, const char *what, const struct cpu_list *want,
		      struct err *e)
{
	_cleanup_free_ char *asked = NULL, *there = NULL;
	struct cpu_list has;

	if (cpu_list_is_empty(want) || !parent_has(g, file, &has) || cpu_list_meet(want, &has))
		return 0;
	asked = cpu_list_format(want);
	there = cpu_list_format(&has);
	return err_set(e, ERR_CONFIG, EINVAL, "%s %s were asked for, and cgroup %s can have %s", what,
		       asked ? asked : "?", g->path, there ? there : "others");
}

int host_cgroup_check_cpuset(const struct host_cgroup *cg, const struct cpu_list *cpus, const struct cpu_list *mems,
			     struct err *e)
{
	const struct host_group *g = host_cgroup_find(cg, "cpuset");
	int r = g ? check_list(g, "cpuset.cpus", "CPUs", cpus, e) : 0;

	return r < 0 || !g ? r : check_list(g, "cpuset.mems", "memory nodes", mems, e);
}

/* ---- block I/O ---- */

static int throttle(const struct host_group *g, const char *file_v1, const char *key_v2,
		    Grpc__LinuxThrottleDevice *const *d, size_t n, struct err *e)
{
	char text[96];
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		if (!g->v2)
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %" PRIu64, d[i]->major, d[i]->minor,
				 d[i]->rate);
		else if (d[i]->rate)
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=%" PRIu64, d[i]->major, d[i]->minor,
				 key_v2, d[i]->rate);
		else
			snprintf(text, sizeof(text), "%" PRId64 ":%" PRId64 " %s=max", d[i]->major, d[i]->minor,
				 key_v2);
		r = set(g, "io", g->v2 ? "io.max" : file_v1, text, e);
	}
	return r;
}

/* The weight is relative to others': where the I/O scheduler has none, nothing is lost. */
static int io_weight(const struct host_group *g, uint32_t weight, struct err *e)
{
	static const char *const v1[] = { "blkio.bfq.weight", "blkio.weight" };

	if (g->v2 && has_file(g, "io.bfq.weight"))
		return set_number(g, "io", "io.bfq.weight", weight, e);
	if (g->v2)
		return set_number(g, "io", "io.weight", (int64_t)cgroup_io_weight(weight), e);
	for (size_t i = 0; i < sizeof(v1) / sizeof(v1[0]); i++)
		if (has_file(g, v1[i]))
			return set_number(g, "blkio", v1[i], weight, e);
	return 0;
}

static int limit_io(const struct host_cgroup *cg, const Grpc__LinuxBlockIO *b, struct err *e)
{
	const struct host_group *g;
	int r;

	if (!b || (!b->weight && !b->n_throttlereadbpsdevice && !b->n_throttlewritebpsdevice &&
		   !b->n_throttlereadiopsdevice && !b->n_throttlewriteiopsdevice))
		return 0;
	g = host_cgroup_find(cg, "blkio");
	r = g ? 0 : need(cg, "io", "a block I/O limit", &g, e);
	if (r == 0 && b->weight)
		r = io_weight(g, b->weight, e);
	if (r == 0)
		r = throttle(g, "blkio.throttle.read_bps_device", "rbps", b->throttlereadbpsdevice,
			     b->n_throttlereadbpsdevice, e);
	if (r == 0)
		r = throttle(g, "blkio.throttle.write_bps_device", "wbps", b->throttlewritebpsdevice,
			     b->n_throttlewritebpsdevice, e);
	if (r == 0)
		r = throttle(g, "blkio.throttle.read_iops_device", "riops", b->throttlereadiopsdevice,
			     b->n_throttlereadiopsdevice, e);
	if (r == 0)
		r = throttle(g, "blkio.throttle.write_iops_device", "wiops", b->throttlewriteiopsdevice,
			     b->n_throttlewriteiopsdevice, e);
	return r;
}

int host_cgroup_limit(struct host_cgroup *cg, const Grpc__LinuxResources *resources, uint64_t overhead_mib,
		      struct err *e)
{
	const Grpc__LinuxCPU *c = resources ? resources->cpu : NULL;
	int r;

	if (!resources)
		return 0;
	r = limit_memory(cg, resources->memory, overhead_mib, e);
	if (r == 0 && c && (c->shares || c->quota || c->period))
		r = limit_cpu_time(cg, c, e);
	if (r == 0)
		r = limit_io(cg, resources->blockio, e);
	return r;
}
