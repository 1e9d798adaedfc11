/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's statistics in both of containerd's forms, from guests with either version of cgroups. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "proto/metrics_v1.pb-c.h"
#include "proto/metrics_v2.pb-c.h"
#include "task/any.h"
#include "task/stats.h"

/* One of everything, on the stack. */
struct answer {
	Grpc__StatsContainerResponse top;
	Grpc__CgroupStats cgroup;
	Grpc__CpuStats cpu;
	Grpc__CpuUsage usage;
	Grpc__ThrottlingData throttling;
	Grpc__MemoryStats memory;
	Grpc__MemoryData data, swap, kernel;
	Grpc__MemoryStats__StatsEntry entries[5], *entry_list[5];
	Grpc__PidsStats pids;
	Grpc__BlkioStats blkio;
	Grpc__BlkioStatsEntry io[4], *bytes[3], *ops[1];
	Grpc__HugetlbStats huge;
	Grpc__CgroupStats__HugetlbStatsEntry huge_entry, *huge_list[1];
	Grpc__NetworkStats net, *nets[1];
};

static void entry(struct answer *a, size_t i, const char *key, uint64_t value)
{
	grpc__memory_stats__stats_entry__init(&a->entries[i]);
	a->entries[i].key = (char *)key;
	a->entries[i].value = value;
	a->entry_list[i] = &a->entries[i];
}

static void io(struct answer *a, size_t i, uint64_t minor, const char *op, uint64_t value)
{
	grpc__blkio_stats_entry__init(&a->io[i]);
	a->io[i].major = 254;
	a->io[i].minor = minor;
	a->io[i].op = (char *)op;
	a->io[i].value = value;
}

static void fill_memory(struct answer *a)
{
	grpc__memory_stats__init(&a->memory);
	grpc__memory_data__init(&a->data);
	grpc__memory_data__init(&a->swap);
	grpc__memory_data__init(&a->kernel);
	a->data.usage = 1000;
	a->data.limit = 4000;
	a->data.failcnt = 9;
	a->data.max_usage = 1500;
	a->swap.usage = 1300; /* memory and swap */
	a->swap.limit = UINT64_MAX;
	a->kernel.usage = 7;
	a->memory.cache = 300;
	a->memory.usage = &a->data;
	a->memory.swap_usage = &a->swap;
	a->memory.kernel_usage = &a->kernel;
	a->memory.stats = a->entry_list;
	a->memory.n_stats = 5;
	a->cgroup.memory_stats = &a->memory;
}

static void fill_io(struct answer *a)
{
	grpc__blkio_stats__init(&a->blkio);
	io(a, 0, 1, "Read", 11);
	io(a, 1, 1, "Write", 12);
	io(a, 2, 2, "Read", 13);
	io(a, 3, 1, "Read", 3);
	for (int i = 0; i < 3; i++)
		a->bytes[i] = &a->io[i];
	a->ops[0] = &a->io[3];
	a->blkio.io_service_bytes_recursive = a->bytes;
	a->blkio.n_io_service_bytes_recursive = 3;
	a->blkio.io_serviced_recursive = a->ops;
	a->blkio.n_io_serviced_recursive = 1;
	a->cgroup.blkio_stats = &a->blkio;
}

static void fill(struct answer *a)
{
	memset(a, 0, sizeof *a);
	grpc__stats_container_response__init(&a->top);
	grpc__cgroup_stats__init(&a->cgroup);
	a->top.cgroup_stats = &a->cgroup;
	grpc__cpu_stats__init(&a->cpu);
	grpc__cpu_usage__init(&a->usage);
	grpc__throttling_data__init(&a->throttling);
	a->usage.total_usage = 5000000;
	a->usage.usage_in_kernelmode = 2000000;
	a->usage.usage_in_usermode = 3000000;
	a->throttling.throttled_time = 9000;
	a->cpu.cpu_usage = &a->usage;
	a->cpu.throttling_data = &a->throttling;
	a->cgroup.cpu_stats = &a->cpu;
	grpc__pids_stats__init(&a->pids);
	a->pids.current = 4;
	a->pids.limit = 100;
	a->cgroup.pids_stats = &a->pids;
	grpc__hugetlb_stats__init(&a->huge);
	grpc__cgroup_stats__hugetlb_stats_entry__init(&a->huge_entry);
	a->huge.usage = 2048;
	a->huge_entry.key = (char *)"2MB";
	a->huge_entry.value = &a->huge;
	a->huge_list[0] = &a->huge_entry;
	a->cgroup.hugetlb_stats = a->huge_list;
	a->cgroup.n_hugetlb_stats = 1;
	grpc__network_stats__init(&a->net);
	a->net.name = (char *)"eth0";
	a->net.rx_bytes = 77;
	a->nets[0] = &a->net;
	a->top.network_stats = a->nets;
	a->top.n_network_stats = 1;
	fill_memory(a);
	fill_io(a);
	entry(a, 0, "anon", 600);
	entry(a, 1, "inactive_file", 200);
	entry(a, 2, "file_mapped", 50);
	entry(a, 3, "file", 300);
	entry(a, 4, "oom_kill", 2);
}

static void test_v1(void **state)
{
	_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Io__Containerd__Cgroups__V1__Metrics *m;
	struct answer a;

	fill(&a);
	assert_int_equal(stats_pack(&a.top, false, &any), 0);
	assert_string_equal(any.type_url, "io.containerd.cgroups.v1.Metrics");
	m = io__containerd__cgroups__v1__metrics__unpack(NULL, any.value.len, any.value.data);
	assert_int_equal(m->cpu->usage->total, 5000000);
	assert_int_equal(m->cpu->throttling->throttled_time, 9000);
	assert_int_equal(m->pids->current, 4);
	assert_int_equal(m->memory->usage->usage, 1000);
	assert_int_equal(m->memory->usage->limit, 4000);
	assert_int_equal(m->memory->hierarchical_memory_limit, 4000);
	assert_int_equal(m->memory->swap->usage, 1300);
	assert_int_equal(m->memory->kernel->usage, 7);
	assert_int_equal(m->memory->total_inactive_file, 200); /* Kubernetes' working set is usage less this */
	assert_int_equal(m->memory->rss, 600);
	assert_int_equal(m->memory->mapped_file, 50);
	assert_int_equal(m->memory->cache, 300);
	assert_int_equal(m->memory_oom_control->oom_kill, 2);
	assert_int_equal(m->blkio->n_io_service_bytes_recursive, 3);
	assert_string_equal(m->blkio->io_service_bytes_recursive[1]->op, "Write");
	assert_int_equal(m->blkio->io_service_bytes_recursive[2]->minor, 2);
	assert_int_equal(m->blkio->io_serviced_recursive[0]->value, 3);
	assert_string_equal(m->hugetlb[0]->pagesize, "2MB");
	assert_string_equal(m->network[0]->name, "eth0");
	assert_int_equal(m->network[0]->rx_bytes, 77);
	io__containerd__cgroups__v1__metrics__free_unpacked(m, NULL);
}

static void test_v2(void **state)
{
	_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Io__Containerd__Cgroups__V2__Metrics *m;
	struct answer a;

	fill(&a);
	assert_int_equal(stats_pack(&a.top, true, &any), 0);
	assert_string_equal(any.type_url, "io.containerd.cgroups.v2.Metrics");
	m = io__containerd__cgroups__v2__metrics__unpack(NULL, any.value.len, any.value.data);
	assert_int_equal(m->cpu->usage_usec, 5000);
	assert_int_equal(m->cpu->system_usec, 2000);
	assert_int_equal(m->cpu->throttled_usec, 9);
	assert_int_equal(m->memory->usage, 1000);
	assert_int_equal(m->memory->usage_limit, 4000);
	assert_int_equal(m->memory->swap_usage, 300);
	assert_true(m->memory->swap_limit == UINT64_MAX);
	assert_int_equal(m->memory->anon, 600);
	assert_int_equal(m->memory->inactive_file, 200);
	assert_int_equal(m->memory_events->max, 9);
	assert_int_equal(m->memory_events->oom_kill, 2);
	assert_int_equal(m->io->n_usage, 2);
	assert_int_equal(m->io->usage[0]->rbytes, 11);
	assert_int_equal(m->io->usage[0]->wbytes, 12);
	assert_int_equal(m->io->usage[0]->rios, 3);
	assert_int_equal(m->io->usage[1]->minor, 2);
	assert_int_equal(m->io->usage[1]->rbytes, 13);
	assert_int_equal(m->hugetlb[0]->current, 2048);
	io__containerd__cgroups__v2__metrics__free_unpacked(m, NULL);
}

/* A pod, as the host accounts it. */
static void test_usage(void **state)
{
	const struct host_cgroup_usage u = { .memory_bytes = 1000,
					     .memory_peak_bytes = 2000,
					     .memory_limit_bytes = UINT64_MAX,
					     .anon_bytes = 600,
					     .file_bytes = 300,
					     .inactive_file_bytes = 200,
					     .page_faults = 9,
					     .major_page_faults = 8,
					     .cpu_ns = 5000000,
					     .user_ns = 3000000,
					     .system_ns = 2000000,
					     .pids = 21,
					     .pids_limit = 100 };
	_cleanup_any_ Google__Protobuf__Any v1 = GOOGLE__PROTOBUF__ANY__INIT, v2 = GOOGLE__PROTOBUF__ANY__INIT;
	Io__Containerd__Cgroups__V1__Metrics *m1;
	Io__Containerd__Cgroups__V2__Metrics *m2;

	assert_int_equal(stats_pack_usage(&u, false, &v1), 0);
	m1 = io__containerd__cgroups__v1__metrics__unpack(NULL, v1.value.len, v1.value.data);
	assert_int_equal(m1->cpu->usage->total, 5000000);
	assert_int_equal(m1->cpu->usage->kernel, 2000000);
	assert_int_equal(m1->memory->usage->usage, 1000);
	assert_int_equal(m1->memory->usage->max, 2000);
	assert_true(m1->memory->usage->limit == UINT64_MAX);
	assert_int_equal(m1->memory->total_inactive_file, 200);
	assert_int_equal(m1->memory->total_rss, 600);
	assert_int_equal(m1->memory->total_cache, 300);
	assert_int_equal(m1->memory->pg_maj_fault, 8);
	assert_int_equal(m1->pids->current, 21);
	assert_int_equal(m1->pids->limit, 100);
	io__containerd__cgroups__v1__metrics__free_unpacked(m1, NULL);
	assert_int_equal(stats_pack_usage(&u, true, &v2), 0);
	m2 = io__containerd__cgroups__v2__metrics__unpack(NULL, v2.value.len, v2.value.data);
	assert_int_equal(m2->cpu->usage_usec, 5000);
	assert_int_equal(m2->cpu->user_usec, 3000);
	assert_int_equal(m2->memory->usage, 1000);
	assert_true(m2->memory->usage_limit == UINT64_MAX);
	assert_int_equal(m2->memory->anon, 600);
	assert_int_equal(m2->memory->file, 300);
	assert_int_equal(m2->memory->inactive_file, 200);
	assert_int_equal(m2->memory->pgfault, 9);
	assert_int_equal(m2->pids->current, 21);
	io__containerd__cgroups__v2__metrics__free_unpacked(m2, NULL);
}

/* An old guest with cgroup v1. */
static void test_v1_guest(void **state)
{
	_cleanup_any_ Google__Protobuf__Any any = GOOGLE__PROTOBUF__ANY__INIT;
	Io__Containerd__Cgroups__V2__Metrics *m;
	struct answer a;

	fill(&a);
	entry(&a, 0, "rss", 610);
	entry(&a, 2, "mapped_file", 51);
	entry(&a, 3, "cache", 310);
	assert_int_equal(stats_pack(&a.top, true, &any), 0);
	m = io__containerd__cgroups__v2__metrics__unpack(NULL, any.value.len, any.value.data);
	assert_int_equal(m->memory->anon, 610);
	assert_int_equal(m->memory->file_mapped, 51);
	assert_int_equal(m->memory->file, 310);
	io__containerd__cgroups__v2__metrics__free_unpacked(m, NULL);
}

/* What cannot be in a message's string. */
static void test_bytes_that_are_no_text(void **state)
{
	_cleanup_any_ Google__Protobuf__Any v1 = GOOGLE__PROTOBUF__ANY__INIT, v2 = GOOGLE__PROTOBUF__ANY__INIT;
	Io__Containerd__Cgroups__V1__Metrics *m1;
	Io__Containerd__Cgroups__V2__Metrics *m2;
	char op[] = "R\xff", name[] = "\xed\xa0\x80", key[] = "2MB\xc3";
	struct answer a;

	fill(&a);
	a.io[0].op = op;
	a.io[1].op = (char *)"Schreib\xc3\xb6";
	a.net.name = name;
	a.huge_entry.key = key;
	assert_int_equal(stats_pack(&a.top, false, &v1), 0);
	m1 = io__containerd__cgroups__v1__metrics__unpack(NULL, v1.value.len, v1.value.data);
	assert_string_equal(m1->blkio->io_service_bytes_recursive[0]->op, "R?");
	assert_string_equal(m1->blkio->io_service_bytes_recursive[1]->op, a.io[1].op);
	assert_string_equal(m1->network[0]->name, "???");
	assert_string_equal(m1->hugetlb[0]->pagesize, "2MB?");
	io__containerd__cgroups__v1__metrics__free_unpacked(m1, NULL);
	assert_int_equal(stats_pack(&a.top, true, &v2), 0);
	m2 = io__containerd__cgroups__v2__metrics__unpack(NULL, v2.value.len, v2.value.data);
	assert_string_equal(m2->hugetlb[0]->pagesize, "2MB?");
	io__containerd__cgroups__v2__metrics__free_unpacked(m2, NULL);
}

/* Zeros, but each part that CRI-O looks into without asking whether it is there. */
static void test_nothing(void **state)
{
	_cleanup_any_ Google__Protobuf__Any v1 = GOOGLE__PROTOBUF__ANY__INIT, v2 = GOOGLE__PROTOBUF__ANY__INIT;
	Grpc__StatsContainerResponse none = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Io__Containerd__Cgroups__V1__Metrics *m1;
	Io__Containerd__Cgroups__V2__Metrics *m2;

	assert_int_equal(stats_pack(&none, false, &v1), 0);
	m1 = io__containerd__cgroups__v1__metrics__unpack(NULL, v1.value.len, v1.value.data);
	assert_true(m1->pids && m1->cpu->usage && m1->cpu->throttling);
	assert_true(m1->memory_oom_control != NULL);
	assert_true(m1->memory->usage && m1->memory->swap && m1->memory->kernel && m1->memory->kernel_tcp);
	io__containerd__cgroups__v1__metrics__free_unpacked(m1, NULL);
	assert_int_equal(stats_pack(&none, true, &v2), 0);
	m2 = io__containerd__cgroups__v2__metrics__unpack(NULL, v2.value.len, v2.value.data);
	assert_true(m2->pids && m2->cpu && m2->memory && m2->memory_events);
	io__containerd__cgroups__v2__metrics__free_unpacked(m2, NULL);
	assert_false(stats_host_is_v2("/"));
	assert_false(stats_host_is_v2("/not/there"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_v1),
		cmocka_unit_test(test_v2),
		cmocka_unit_test(test_usage),
		cmocka_unit_test(test_v1_guest),
		cmocka_unit_test(test_bytes_that_are_no_text),
		cmocka_unit_test(test_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
