/* SPDX-License-Identifier: Apache-2.0 */
/* container_stats(): cgroup v2 files as the protocol's statistics, which speak cgroup v1. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/container_internal.h"
#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "sys/cgroup_dir.h"

#define ENTRIES_MAX 1024

/* Zero-filled, as protobuf-c's own allocator gives it to free_unpacked(). */
#define NEW_MESSAGE(type, init)                                                                                        \
	({                                                                                                             \
		type *new_m_ = calloc(1, sizeof(type));                                                                \
		if (new_m_)                                                                                            \
			init(new_m_);                                                                                  \
		new_m_;                                                                                                \
	})

static uint64_t number(const struct cgroup *cg, const char *file)
{
	uint64_t v;

	return cgroup_read_u64(cg, file, &v) < 0 ? 0 : v;
}

static int fill_cpu(const struct cgroup *cg, Grpc__CgroupStats *s)
{
	Grpc__CpuStats *cpu = s->cpu_stats = NEW_MESSAGE(Grpc__CpuStats, grpc__cpu_stats__init);
	Grpc__CpuUsage *usage;
	Grpc__ThrottlingData *held;

	if (!cpu)
		return -ENOMEM;
	cpu->cpu_usage = NEW_MESSAGE(Grpc__CpuUsage, grpc__cpu_usage__init);
	cpu->throttling_data = NEW_MESSAGE(Grpc__ThrottlingData, grpc__throttling_data__init);
	if (!cpu->cpu_usage || !cpu->throttling_data)
		return -ENOMEM;
	usage = cpu->cpu_usage;
	held = cpu->throttling_data;
	cgroup_read_keys(cg, "cpu.stat",
			 (const struct cgroup_key[]){ { "usage_usec", &usage->total_usage },
						      { "user_usec", &usage->usage_in_usermode },
						      { "system_usec", &usage->usage_in_kernelmode },
						      { "nr_periods", &held->periods },
						      { "nr_throttled", &held->throttled_periods },
						      { "throttled_usec", &held->throttled_time } },
			 6);
	/* Microseconds there, nanoseconds here. */
	usage->total_usage *= 1000;
	usage->usage_in_usermode *= 1000;
	usage->usage_in_kernelmode *= 1000;
	held->throttled_time *= 1000;
	return 0;
}

static int add_memory_entry(Grpc__MemoryStats *m, const char *key, uint64_t value)
{
	Grpc__MemoryStats__StatsEntry *entry =
		NEW_MESSAGE(Grpc__MemoryStats__StatsEntry, grpc__memory_stats__stats_entry__init);

	if (!entry)
		return -ENOMEM;
	m->stats[m->n_stats++] = entry;
	entry->value = value;
	entry->key = strdup(key);
	return entry->key ? 0 : -ENOMEM;
}

static int fill_memory_details(const struct cgroup *cg, Grpc__MemoryStats *m)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = 0;

	if (cgroup_read(cg, "memory.stat", &text) < 0)
		return 0;
	m->stats = calloc(ENTRIES_MAX, sizeof(*m->stats));
	if (!m->stats)
		return -ENOMEM;
	rest = text;
	while (r == 0 && m->n_stats < ENTRIES_MAX && (line = strsep(&rest, "\n"))) {
		char *value = strchr(line, ' ');
		uint64_t v;

		if (!value)
			continue;
		*value++ = '\0';
		if (str_to_u64(value, 10, &v) == 0)
			r = add_memory_entry(m, line, v);
	}
	/* The protocol has no place for it, and no kernel a key of that name in memory.stat. */
	if (r == 0 && m->n_stats < ENTRIES_MAX)
		r = add_memory_entry(m, "oom_kill", cgroup_read_key(cg, "memory.events", "oom_kill"));
	return r;
}

static int fill_memory(const struct cgroup *cg, Grpc__CgroupStats *s)
{
	Grpc__MemoryStats *m = s->memory_stats = NEW_MESSAGE(Grpc__MemoryStats, grpc__memory_stats__init);

	if (!m)
		return -ENOMEM;
	m->usage = NEW_MESSAGE(Grpc__MemoryData, grpc__memory_data__init);
	m->swap_usage = NEW_MESSAGE(Grpc__MemoryData, grpc__memory_data__init);
	m->kernel_usage = NEW_MESSAGE(Grpc__MemoryData, grpc__memory_data__init);
	if (!m->usage || !m->swap_usage || !m->kernel_usage)
		return -ENOMEM;
	m->use_hierarchy = true;
	m->cache = cgroup_read_key(cg, "memory.stat", "file");
	m->usage->usage = number(cg, "memory.current");
	m->usage->max_usage = number(cg, "memory.peak");
	m->usage->limit = number(cg, "memory.max");
	m->usage->failcnt = cgroup_read_key(cg, "memory.events", "max");
	/* v1 counted memory and swap together (memsw). */
	m->swap_usage->usage = number(cg, "memory.swap.current") + m->usage->usage;
	m->swap_usage->limit = number(cg, "memory.swap.max");
	if (m->swap_usage->limit != UINT64_MAX && m->usage->limit != UINT64_MAX)
		m->swap_usage->limit += m->usage->limit;
	m->kernel_usage->usage = cgroup_read_key(cg, "memory.stat", "kernel");
	return fill_memory_details(cg, m);
}

static int fill_pids(const struct cgroup *cg, Grpc__CgroupStats *s)
{
	uint64_t limit = number(cg, "pids.max");

	s->pids_stats = NEW_MESSAGE(Grpc__PidsStats, grpc__pids_stats__init);
	if (!s->pids_stats)
		return -ENOMEM;
	s->pids_stats->current = number(cg, "pids.current");
	s->pids_stats->limit = limit == UINT64_MAX ? 0 : limit; /* 0 is "none" */
	return 0;
}

static int add_io(Grpc__BlkioStatsEntry **list, size_t *n, unsigned major, unsigned minor, const char *op,
		  uint64_t value)
{
	Grpc__BlkioStatsEntry *entry = NEW_MESSAGE(Grpc__BlkioStatsEntry, grpc__blkio_stats_entry__init);

	if (!entry)
		return -ENOMEM;
	list[(*n)++] = entry;
	entry->major = major;
	entry->minor = minor;
	entry->value = value;
	entry->op = strdup(op);
	return entry->op ? 0 : -ENOMEM;
}

/* "8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=5 dios=6" */
static int add_io_line(Grpc__BlkioStats *b, char *line)
{
	static const struct {
		const char *key, *op;
		bool bytes;
	} keys[] = { { "rbytes=", "Read", true }, { "wbytes=", "Write", true }, { "dbytes=", "Discard", true },
		     { "rios=", "Read", false },  { "wios=", "Write", false },  { "dios=", "Discard", false } };
	unsigned major, minor;
	char *word;
	int r = 0;

	if (sscanf(line, "%u:%u", &major, &minor) != 2)
		return 0;
	while (r == 0 && (word = strsep(&line, " ")))
		for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]) && r == 0; i++) {
			const char *v = str_after(word, keys[i].key);
			uint64_t value;

			if (!v || str_to_u64(v, 10, &value) < 0)
				continue;
			if (keys[i].bytes && b->n_io_service_bytes_recursive < ENTRIES_MAX)
				r = add_io(b->io_service_bytes_recursive, &b->n_io_service_bytes_recursive, major,
					   minor, keys[i].op, value);
			else if (!keys[i].bytes && b->n_io_serviced_recursive < ENTRIES_MAX)
				r = add_io(b->io_serviced_recursive, &b->n_io_serviced_recursive, major, minor,
					   keys[i].op, value);
		}
	return r;
}

static int fill_io(const struct cgroup *cg, Grpc__CgroupStats *s)
{
	Grpc__BlkioStats *b = s->blkio_stats = NEW_MESSAGE(Grpc__BlkioStats, grpc__blkio_stats__init);
	_cleanup_free_ char *text = NULL;
	char *rest, *line;
	int r = 0;

	if (!b)
		return -ENOMEM;
	if (cgroup_read(cg, "io.stat", &text) < 0)
		return 0;
	b->io_service_bytes_recursive = calloc(ENTRIES_MAX, sizeof(void *));
	b->io_serviced_recursive = calloc(ENTRIES_MAX, sizeof(void *));
	if (!b->io_service_bytes_recursive || !b->io_serviced_recursive)
		return -ENOMEM;
	rest = text;
	while (r == 0 && (line = strsep(&rest, "\n")))
		r = add_io_line(b, line);
	return r;
}

static int fill_hugetlb(const struct cgroup *cg, Grpc__CgroupStats *s)
{
	_cleanup_closedir_ DIR *d = opendir("/sys/kernel/mm/hugepages");
	struct dirent *de;

	while (d && (de = readdir(d))) {
		const char *size = str_after(de->d_name, "hugepages-");
		unsigned long long kb = size ? strtoull(size, NULL, 10) : 0;
		Grpc__CgroupStats__HugetlbStatsEntry *entry;
		char name[24], file[64];
		uint64_t usage;
		void *grown;

		if (kb == 0)
			continue;
		/* As the cgroup files have it: 64KB, 2MB, 1GB. */
		if (kb >= 1 << 20)
			snprintf(name, sizeof name, "%lluGB", kb >> 20);
		else
			snprintf(name, sizeof name, "%llu%s", kb >= 1024 ? kb >> 10 : kb, kb >= 1024 ? "MB" : "KB");
		snprintf(file, sizeof file, "hugetlb.%s.current", name);
		if (cgroup_read_u64(cg, file, &usage) < 0)
			continue;
		grown = reallocarray(s->hugetlb_stats, s->n_hugetlb_stats + 1, sizeof(*s->hugetlb_stats));
		if (!grown)
			return -ENOMEM;
		s->hugetlb_stats = grown;
		entry = NEW_MESSAGE(Grpc__CgroupStats__HugetlbStatsEntry,
				    grpc__cgroup_stats__hugetlb_stats_entry__init);
		if (!entry)
			return -ENOMEM;
		s->hugetlb_stats[s->n_hugetlb_stats++] = entry;
		entry->key = strdup(name);
		entry->value = NEW_MESSAGE(Grpc__HugetlbStats, grpc__hugetlb_stats__init);
		if (!entry->key || !entry->value)
			return -ENOMEM;
		entry->value->usage = usage;
		snprintf(file, sizeof file, "hugetlb.%s.events", name);
		entry->value->failcnt = cgroup_read_key(cg, file, "max");
	}
	return 0;
}

/* "  eth0: RX-BYTES PACKETS ERRORS DROPPED FIFO FRAME COMPRESSED MULTICAST TX-BYTES PACKETS ERRORS DROPPED …" */
static int add_interface(Grpc__StatsContainerResponse *ret, const char *line)
{
	Grpc__NetworkStats n = GRPC__NETWORK_STATS__INIT, *entry;
	const char *colon = strrchr(line, ':');
	size_t len;

	line += strspn(line, " ");
	if (!colon || sscanf(colon + 1,
			     "%" SCNu64 " %" SCNu64 " %" SCNu64 " %" SCNu64 " %*u %*u %*u %*u %" SCNu64 " %" SCNu64
			     " %" SCNu64 " %" SCNu64,
			     &n.rx_bytes, &n.rx_packets, &n.rx_errors, &n.rx_dropped, &n.tx_bytes, &n.tx_packets,
			     &n.tx_errors, &n.tx_dropped) != 8)
		return 0; /* a headline */
	len = (size_t)(colon - line);
	if (len == 2 && !memcmp(line, "lo", 2))
		return 0;
	entry = malloc(sizeof(*entry));
	if (!entry)
		return -ENOMEM;
	*entry = n;
	entry->name = strndup(line, len);
	if (!entry->name) {
		free(entry);
		return -ENOMEM;
	}
	ret->network_stats[ret->n_network_stats++] = entry;
	return 0;
}

/* Of the container's network namespace, which is the guest's but for special cases. */
static int fill_network(const struct container *c, Grpc__StatsContainerResponse *ret)
{
	_cleanup_free_ char *text = NULL;
	char path[40], *rest, *line;
	int r = 0;

	snprintf(path, sizeof path, "/proc/%d/net/dev", c->init->pid);
	if (c->init->exited || file_read(path, 1 << 20, &text, NULL) < 0)
		if (file_read("/proc/net/dev", 1 << 20, &text, NULL) < 0)
			return 0;
	ret->network_stats = calloc(ENTRIES_MAX, sizeof(*ret->network_stats));
	if (!ret->network_stats)
		return -ENOMEM;
	rest = text;
	while (r == 0 && ret->n_network_stats < ENTRIES_MAX && (line = strsep(&rest, "\n")))
		r = add_interface(ret, line);
	return r;
}

int container_stats(struct container *c, Grpc__StatsContainerResponse *ret, struct err *e)
{
	Grpc__CgroupStats *s = ret->cgroup_stats = NEW_MESSAGE(Grpc__CgroupStats, grpc__cgroup_stats__init);
	int r = s ? 0 : -ENOMEM;

	if (r == 0)
		r = fill_cpu(c->cgroup, s);
	if (r == 0)
		r = fill_memory(c->cgroup, s);
	if (r == 0)
		r = fill_pids(c->cgroup, s);
	if (r == 0)
		r = fill_io(c->cgroup, s);
	if (r == 0)
		r = fill_hugetlb(c->cgroup, s);
	if (r == 0)
		r = fill_network(c, ret);
	return r < 0 ? err_sys(e, -r, "statistics of container %s", c->id) : 0;
}
