/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The agent's protocol speaks cgroup v1, but for the keys of its memory.stat, which are those of the guest's kernel: v1
 * names from an old guest, v2 names from ours. A key of the one stands for its like of the other where there is one.
 *
 * Messages are put together on the stack and in one block of memory for the lists (struct lists), then packed; strings
 * are borrowed from the answer.
 */
#include "task/stats.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "proto/metrics_v1.pb-c.h"
#include "proto/metrics_v2.pb-c.h"
#include "task/any.h"

/* Among the keys of memory.stat, from our agent: how many processes of the container had to die. */
#define OOM_KILL "oom_kill"

/* A hostile guest's lists are cut here: no host has more. */
#define ENTRIES_MAX 1024

/*
 * What the guest has not told. CRI-O does not look whether a part is there before it looks into it, so a guest that
 * leaves one out would end it: each part is there, if only with zeros.
 */
static const Grpc__CgroupStats no_cgroup = GRPC__CGROUP_STATS__INIT;
static const Grpc__CpuStats no_cpu = GRPC__CPU_STATS__INIT;
static const Grpc__MemoryStats no_memory = GRPC__MEMORY_STATS__INIT;

bool stats_host_is_v2(const char *root)
{
	struct statfs fs;

	return statfs(root, &fs) == 0 && (unsigned long)fs.f_type == CGROUP2_SUPER_MAGIC;
}

/* The value of a key of memory.stat, by its v2 or v1 name. */
static uint64_t memory_value(const Grpc__MemoryStats *m, const char *v2, const char *v1)
{
	uint64_t found = 0;

	for (size_t i = 0; i < m->n_stats; i++) {
		if (str_eq(m->stats[i]->key, v2))
			return m->stats[i]->value;
		if (v1 && str_eq(m->stats[i]->key, v1))
			found = m->stats[i]->value;
	}
	return found;
}

static size_t bounded(size_t n)
{
	return n < ENTRIES_MAX ? n : ENTRIES_MAX;
}

/*
 * The guest's words. protobuf-c takes any bytes for a string; containerd refuses a message with one that is not UTF-8,
 * and then tells nothing about all the other pods of the node either.
 */
static char *text(char *s)
{
	utf8_repair(s);
	return s;
}

/* ---- v1 ---- */

#define V1(name) Io__Containerd__Cgroups__V1__##name

struct v1 {
	V1(Metrics) top;
	V1(PidsStat) pids;
	V1(CPUStat) cpu;
	V1(CPUUsage) cpu_usage;
	V1(Throttle) throttling;
	V1(MemoryStat) memory;
	V1(MemoryEntry) usage, swap, kernel, kernel_tcp;
	V1(MemoryOomControl) oom;
	V1(BlkIOStat) blkio;
	V1(BlkIOEntry) * io;
	V1(BlkIOEntry) * *io_list;
	V1(NetworkStat) * network;
	V1(NetworkStat) * *network_list;
	V1(HugetlbStat) * hugetlb;
	V1(HugetlbStat) * *hugetlb_list;
};

static void v1_fini(struct v1 *s)
{
	free(s->io);
	free(s->io_list);
	free(s->network);
	free(s->network_list);
	free(s->hugetlb);
	free(s->hugetlb_list);
}

static void v1_cpu(struct v1 *s, const Grpc__CpuStats *from)
{
	io__containerd__cgroups__v1__cpustat__init(&s->cpu);
	io__containerd__cgroups__v1__cpuusage__init(&s->cpu_usage);
	io__containerd__cgroups__v1__throttle__init(&s->throttling);
	s->cpu.usage = &s->cpu_usage;
	s->cpu.throttling = &s->throttling;
	s->top.cpu = &s->cpu;
	if (from->cpu_usage) {
		s->cpu_usage.total = from->cpu_usage->total_usage;
		s->cpu_usage.kernel = from->cpu_usage->usage_in_kernelmode;
		s->cpu_usage.user = from->cpu_usage->usage_in_usermode;
		s->cpu_usage.n_per_cpu = bounded(from->cpu_usage->n_percpu_usage);
		s->cpu_usage.per_cpu = from->cpu_usage->percpu_usage;
	}
	if (from->throttling_data) {
		s->throttling.periods = from->throttling_data->periods;
		s->throttling.throttled_periods = from->throttling_data->throttled_periods;
		s->throttling.throttled_time = from->throttling_data->throttled_time;
	}
}

static V1(MemoryEntry) * v1_entry(V1(MemoryEntry) * to, const Grpc__MemoryData *from)
{
	io__containerd__cgroups__v1__memory_entry__init(to);
	if (from) {
		to->limit = from->limit;
		to->usage = from->usage;
		to->max = from->max_usage;
		to->failcnt = from->failcnt;
	}
	return to;
}

static void v1_memory(struct v1 *s, const Grpc__MemoryStats *from)
{
	V1(MemoryStat) *m = &s->memory;

	io__containerd__cgroups__v1__memory_stat__init(m);
	m->cache = m->total_cache = from->cache;
	m->rss = m->total_rss = memory_value(from, "anon", "rss");
	m->rss_huge = m->total_rss_huge = memory_value(from, "anon_thp", "rss_huge");
	m->mapped_file = m->total_mapped_file = memory_value(from, "file_mapped", "mapped_file");
	m->dirty = m->total_dirty = memory_value(from, "file_dirty", "dirty");
	m->writeback = m->total_writeback = memory_value(from, "file_writeback", "writeback");
	m->pg_fault = m->total_pg_fault = memory_value(from, "pgfault", NULL);
	m->pg_maj_fault = m->total_pg_maj_fault = memory_value(from, "pgmajfault", NULL);
	m->inactive_anon = m->total_inactive_anon = memory_value(from, "inactive_anon", NULL);
	m->active_anon = m->total_active_anon = memory_value(from, "active_anon", NULL);
	m->inactive_file = m->total_inactive_file = memory_value(from, "inactive_file", NULL);
	m->active_file = m->total_active_file = memory_value(from, "active_file", NULL);
	m->unevictable = m->total_unevictable = memory_value(from, "unevictable", NULL);
	m->usage = v1_entry(&s->usage, from->usage);
	m->hierarchical_memory_limit = m->usage->limit;
	m->swap = v1_entry(&s->swap, from->swap_usage);
	m->hierarchical_swap_limit = m->swap->limit;
	m->kernel = v1_entry(&s->kernel, from->kernel_usage);
	m->kernel_tcp = v1_entry(&s->kernel_tcp, NULL);
	s->top.memory = m;
	io__containerd__cgroups__v1__memory_oom_control__init(&s->oom);
	s->oom.oom_kill = memory_value(from, OOM_KILL, NULL);
	s->top.memory_oom_control = &s->oom;
}

static void v1_io_list(struct v1 *s, size_t *at, Grpc__BlkioStatsEntry *const *from, size_t n, V1(BlkIOEntry) * **ret,
		       size_t *ret_n)
{
	*ret = s->io_list + *at;
	*ret_n = bounded(n);
	for (size_t i = 0; i < *ret_n; i++, ++*at) {
		V1(BlkIOEntry) *to = s->io_list[*at] = &s->io[*at];

		io__containerd__cgroups__v1__blk_ioentry__init(to);
		to->op = text(from[i]->op);
		to->major = from[i]->major;
		to->minor = from[i]->minor;
		to->value = from[i]->value;
	}
}

static int v1_io(struct v1 *s, const Grpc__BlkioStats *from)
{
	size_t at = 0, total = bounded(from->n_io_service_bytes_recursive) + bounded(from->n_io_serviced_recursive);

	s->io = calloc(total + 1, sizeof *s->io);
	s->io_list = calloc(total + 1, sizeof *s->io_list);
	if (!s->io || !s->io_list)
		return -ENOMEM;
	io__containerd__cgroups__v1__blk_iostat__init(&s->blkio);
	v1_io_list(s, &at, from->io_service_bytes_recursive, from->n_io_service_bytes_recursive,
		   &s->blkio.io_service_bytes_recursive, &s->blkio.n_io_service_bytes_recursive);
	v1_io_list(s, &at, from->io_serviced_recursive, from->n_io_serviced_recursive, &s->blkio.io_serviced_recursive,
		   &s->blkio.n_io_serviced_recursive);
	s->top.blkio = &s->blkio;
	return 0;
}

static int v1_network(struct v1 *s, const Grpc__StatsContainerResponse *from)
{
	size_t n = bounded(from->n_network_stats);

	s->network = calloc(n + 1, sizeof *s->network);
	s->network_list = calloc(n + 1, sizeof *s->network_list);
	if (!s->network || !s->network_list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const Grpc__NetworkStats *f = from->network_stats[i];
		V1(NetworkStat) *to = s->network_list[i] = &s->network[i];

		io__containerd__cgroups__v1__network_stat__init(to);
		to->name = text(f->name);
		to->rx_bytes = f->rx_bytes;
		to->rx_packets = f->rx_packets;
		to->rx_errors = f->rx_errors;
		to->rx_dropped = f->rx_dropped;
		to->tx_bytes = f->tx_bytes;
		to->tx_packets = f->tx_packets;
		to->tx_errors = f->tx_errors;
		to->tx_dropped = f->tx_dropped;
	}
	s->top.network = s->network_list;
	s->top.n_network = n;
	return 0;
}

static int v1_hugetlb(struct v1 *s, const Grpc__CgroupStats *from)
{
	size_t n = bounded(from->n_hugetlb_stats);

	s->hugetlb = calloc(n + 1, sizeof *s->hugetlb);
	s->hugetlb_list = calloc(n + 1, sizeof *s->hugetlb_list);
	if (!s->hugetlb || !s->hugetlb_list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const Grpc__CgroupStats__HugetlbStatsEntry *f = from->hugetlb_stats[i];
		V1(HugetlbStat) *to = s->hugetlb_list[i] = &s->hugetlb[i];

		io__containerd__cgroups__v1__hugetlb_stat__init(to);
		to->pagesize = text(f->key);
		if (f->value) {
			to->usage = f->value->usage;
			to->max = f->value->max_usage;
			to->failcnt = f->value->failcnt;
		}
	}
	s->top.hugetlb = s->hugetlb_list;
	s->top.n_hugetlb = n;
	return 0;
}

static int v1_fill(struct v1 *s, const Grpc__StatsContainerResponse *from)
{
	const Grpc__CgroupStats *cg = from->cgroup_stats ? from->cgroup_stats : &no_cgroup;
	int r = v1_network(s, from);

	if (r < 0)
		return r;
	io__containerd__cgroups__v1__pids_stat__init(&s->pids);
	s->top.pids = &s->pids;
	if (cg->pids_stats) {
		s->pids.current = cg->pids_stats->current;
		s->pids.limit = cg->pids_stats->limit;
	}
	v1_cpu(s, cg->cpu_stats ? cg->cpu_stats : &no_cpu);
	v1_memory(s, cg->memory_stats ? cg->memory_stats : &no_memory);
	r = v1_hugetlb(s, cg);
	return r == 0 && cg->blkio_stats ? v1_io(s, cg->blkio_stats) : r;
}

static int pack_v1(const Grpc__StatsContainerResponse *from, Google__Protobuf__Any *ret)
{
	struct v1 s = { 0 };
	int r;

	io__containerd__cgroups__v1__metrics__init(&s.top);
	r = v1_fill(&s, from);
	if (r == 0)
		r = any_pack(&s.top.base, ret);
	v1_fini(&s);
	return r;
}

/* ---- v2 ---- */

#define V2(name) Io__Containerd__Cgroups__V2__##name

struct v2 {
	V2(Metrics) top;
	V2(PidsStat) pids;
	V2(CPUStat) cpu;
	V2(MemoryStat) memory;
	V2(MemoryEvents) events;
	V2(IOStat) io;
	V2(IOEntry) * entries;
	V2(IOEntry) * *entry_list;
	V2(HugeTlbStat) * hugetlb;
	V2(HugeTlbStat) * *hugetlb_list;
};

static void v2_fini(struct v2 *s)
{
	free(s->entries);
	free(s->entry_list);
	free(s->hugetlb);
	free(s->hugetlb_list);
}

static void v2_cpu(struct v2 *s, const Grpc__CpuStats *from)
{
	io__containerd__cgroups__v2__cpustat__init(&s->cpu);
	if (from->cpu_usage) {
		s->cpu.usage_usec = from->cpu_usage->total_usage / 1000;
		s->cpu.user_usec = from->cpu_usage->usage_in_usermode / 1000;
		s->cpu.system_usec = from->cpu_usage->usage_in_kernelmode / 1000;
	}
	if (from->throttling_data) {
		s->cpu.nr_periods = from->throttling_data->periods;
		s->cpu.nr_throttled = from->throttling_data->throttled_periods;
		s->cpu.throttled_usec = from->throttling_data->throttled_time / 1000;
	}
	s->top.cpu = &s->cpu;
}

/* v1 counts memory and swap together, v2 swap alone; "no limit" stays that. */
static uint64_t swap_alone(uint64_t both, uint64_t memory)
{
	return both == UINT64_MAX ? both : both > memory ? both - memory : 0;
}

static void v2_memory(struct v2 *s, const Grpc__MemoryStats *from)
{
	V2(MemoryStat) *m = &s->memory;
	const struct {
		uint64_t *to;
		const char *v2, *v1;
	} keys[] = {
		{ &m->anon, "anon", "rss" },
		{ &m->file, "file", "cache" },
		{ &m->kernel_stack, "kernel_stack", NULL },
		{ &m->slab, "slab", NULL },
		{ &m->sock, "sock", NULL },
		{ &m->shmem, "shmem", NULL },
		{ &m->file_mapped, "file_mapped", "mapped_file" },
		{ &m->file_dirty, "file_dirty", "dirty" },
		{ &m->file_writeback, "file_writeback", "writeback" },
		{ &m->anon_thp, "anon_thp", "rss_huge" },
		{ &m->inactive_anon, "inactive_anon", NULL },
		{ &m->active_anon, "active_anon", NULL },
		{ &m->inactive_file, "inactive_file", NULL },
		{ &m->active_file, "active_file", NULL },
		{ &m->unevictable, "unevictable", NULL },
		{ &m->slab_reclaimable, "slab_reclaimable", NULL },
		{ &m->slab_unreclaimable, "slab_unreclaimable", NULL },
		{ &m->pgfault, "pgfault", NULL },
		{ &m->pgmajfault, "pgmajfault", NULL },
		{ &m->pgrefill, "pgrefill", NULL },
		{ &m->pgscan, "pgscan", NULL },
		{ &m->pgsteal, "pgsteal", NULL },
		{ &m->pgactivate, "pgactivate", NULL },
		{ &m->pgdeactivate, "pgdeactivate", NULL },
		{ &m->pglazyfree, "pglazyfree", NULL },
		{ &m->pglazyfreed, "pglazyfreed", NULL },
		{ &m->thp_fault_alloc, "thp_fault_alloc", NULL },
		{ &m->thp_collapse_alloc, "thp_collapse_alloc", NULL },
	};

	io__containerd__cgroups__v2__memory_stat__init(m);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		*keys[i].to = memory_value(from, keys[i].v2, keys[i].v1);
	if (from->usage) {
		m->usage = from->usage->usage;
		m->usage_limit = from->usage->limit;
	}
	if (from->swap_usage) {
		m->swap_usage = swap_alone(from->swap_usage->usage, m->usage);
		m->swap_limit = swap_alone(from->swap_usage->limit, m->usage_limit);
	}
	s->top.memory = m;
	io__containerd__cgroups__v2__memory_events__init(&s->events);
	s->events.max = from->usage ? from->usage->failcnt : 0;
	s->events.oom_kill = memory_value(from, OOM_KILL, NULL);
	s->top.memory_events = &s->events;
}

/* The line of a device, made when it is not there yet. NULL: the table is full. */
static V2(IOEntry) * v2_device(struct v2 *s, uint64_t major, uint64_t minor)
{
	size_t i;

	for (i = 0; i < s->io.n_usage; i++)
		if (s->entries[i].major == major && s->entries[i].minor == minor)
			return &s->entries[i];
	if (i == ENTRIES_MAX)
		return NULL;
	io__containerd__cgroups__v2__ioentry__init(&s->entries[i]);
	s->entries[i].major = major;
	s->entries[i].minor = minor;
	s->entry_list[i] = &s->entries[i];
	s->io.n_usage++;
	return &s->entries[i];
}

static void v2_io_list(struct v2 *s, Grpc__BlkioStatsEntry *const *from, size_t n, bool bytes)
{
	for (size_t i = 0; i < bounded(n); i++) {
		V2(IOEntry) *to = v2_device(s, from[i]->major, from[i]->minor);

		if (to && str_eq(from[i]->op, "Read"))
			*(bytes ? &to->rbytes : &to->rios) = from[i]->value;
		else if (to && str_eq(from[i]->op, "Write"))
			*(bytes ? &to->wbytes : &to->wios) = from[i]->value;
	}
}

static int v2_io(struct v2 *s, const Grpc__BlkioStats *from)
{
	s->entries = calloc(ENTRIES_MAX, sizeof *s->entries);
	s->entry_list = calloc(ENTRIES_MAX, sizeof *s->entry_list);
	if (!s->entries || !s->entry_list)
		return -ENOMEM;
	io__containerd__cgroups__v2__iostat__init(&s->io);
	v2_io_list(s, from->io_service_bytes_recursive, from->n_io_service_bytes_recursive, true);
	v2_io_list(s, from->io_serviced_recursive, from->n_io_serviced_recursive, false);
	s->io.usage = s->entry_list;
	s->top.io = &s->io;
	return 0;
}

static int v2_hugetlb(struct v2 *s, const Grpc__CgroupStats *from)
{
	size_t n = bounded(from->n_hugetlb_stats);

	s->hugetlb = calloc(n + 1, sizeof *s->hugetlb);
	s->hugetlb_list = calloc(n + 1, sizeof *s->hugetlb_list);
	if (!s->hugetlb || !s->hugetlb_list)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++) {
		const Grpc__CgroupStats__HugetlbStatsEntry *f = from->hugetlb_stats[i];
		V2(HugeTlbStat) *to = s->hugetlb_list[i] = &s->hugetlb[i];

		io__containerd__cgroups__v2__huge_tlb_stat__init(to);
		to->pagesize = text(f->key);
		if (f->value) {
			to->current = f->value->usage;
			to->max = f->value->max_usage;
		}
	}
	s->top.hugetlb = s->hugetlb_list;
	s->top.n_hugetlb = n;
	return 0;
}

static int v2_fill(struct v2 *s, const Grpc__CgroupStats *cg)
{
	int r;

	io__containerd__cgroups__v2__pids_stat__init(&s->pids);
	s->top.pids = &s->pids;
	if (cg->pids_stats) {
		s->pids.current = cg->pids_stats->current;
		s->pids.limit = cg->pids_stats->limit;
	}
	v2_cpu(s, cg->cpu_stats ? cg->cpu_stats : &no_cpu);
	v2_memory(s, cg->memory_stats ? cg->memory_stats : &no_memory);
	r = v2_hugetlb(s, cg);
	return r == 0 && cg->blkio_stats ? v2_io(s, cg->blkio_stats) : r;
}

static int pack_v2(const Grpc__StatsContainerResponse *from, Google__Protobuf__Any *ret)
{
	struct v2 s = { 0 };
	int r;

	io__containerd__cgroups__v2__metrics__init(&s.top);
	r = v2_fill(&s, from->cgroup_stats ? from->cgroup_stats : &no_cgroup);
	if (r == 0)
		r = any_pack(&s.top.base, ret);
	v2_fini(&s);
	return r;
}

int stats_pack(const Grpc__StatsContainerResponse *from, bool v2, Google__Protobuf__Any *ret)
{
	return v2 ? pack_v2(from, ret) : pack_v1(from, ret);
}

/* ---- a pod ---- */

/* Both forms are made of what an agent says, so that this is what one would say. */
int stats_pack_usage(const struct host_cgroup_usage *u, bool v2, Google__Protobuf__Any *ret)
{
	const struct {
		const char *key;
		uint64_t value;
	} stats[] = { { "anon", u->anon_bytes },
		      { "file", u->file_bytes },
		      { "inactive_file", u->inactive_file_bytes },
		      { "pgfault", u->page_faults },
		      { "pgmajfault", u->major_page_faults } };
	Grpc__StatsContainerResponse top = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Grpc__CgroupStats cg = GRPC__CGROUP_STATS__INIT;
	Grpc__CpuStats cpu = GRPC__CPU_STATS__INIT;
	Grpc__CpuUsage cpu_usage = GRPC__CPU_USAGE__INIT;
	Grpc__MemoryStats memory = GRPC__MEMORY_STATS__INIT;
	Grpc__MemoryData data = GRPC__MEMORY_DATA__INIT;
	Grpc__MemoryStats__StatsEntry entries[sizeof stats / sizeof *stats], *list[sizeof stats / sizeof *stats];
	Grpc__PidsStats pids = GRPC__PIDS_STATS__INIT;

	for (size_t i = 0; i < sizeof stats / sizeof *stats; i++) {
		grpc__memory_stats__stats_entry__init(&entries[i]);
		entries[i].key = (char *)stats[i].key;
		entries[i].value = stats[i].value;
		list[i] = &entries[i];
	}
	cpu_usage.total_usage = u->cpu_ns;
	cpu_usage.usage_in_usermode = u->user_ns;
	cpu_usage.usage_in_kernelmode = u->system_ns;
	cpu.cpu_usage = &cpu_usage;
	data.usage = u->memory_bytes;
	data.max_usage = u->memory_peak_bytes;
	data.limit = u->memory_limit_bytes;
	memory.usage = &data;
	memory.cache = u->file_bytes;
	memory.stats = list;
	memory.n_stats = sizeof stats / sizeof *stats;
	pids.current = u->pids;
	pids.limit = u->pids_limit;
	cg.cpu_stats = &cpu;
	cg.memory_stats = &memory;
	cg.pids_stats = &pids;
	top.cgroup_stats = &cg;
	return stats_pack(&top, v2, ret);
}
