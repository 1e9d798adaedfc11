/* SPDX-License-Identifier: Apache-2.0 */
/* Each source of metrics, and what becomes of its numbers. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"
#include "pod/metrics.h"

static char proc[] = "/tmp/caisson-metrics-XXXXXX";

static int make_proc(void **state)
{
	return mkdtemp(proc) ? 0 : -1;
}

static int remove_proc(void **state)
{
	return dir_remove(proc);
}

static char *written(const struct prom *p)
{
	struct buf out = { 0 };

	assert_int_equal(prom_write(p, &out), 0);
	return out.data ? out.data : strdup("");
}

static void assert_line(const char *text, const char *line)
{
	_cleanup_free_ char *whole = str_printf("\n%s\n", line), *all = str_printf("\n%s", text);

	if (!strstr(all, whole))
		fail_msg("no line \"%s\" in\n%s", line, text);
}

static void put(const char *name, const char *text)
{
	_cleanup_free_ char *path = str_printf("%s/%s", proc, name), *dir = strdup(path);

	*strrchr(dir, '/') = '\0';
	assert_int_equal(dir_make(dir, 0755), 0);
	assert_int_equal(file_replace(path, text, strlen(text), 0644), 0);
}

static void of_process(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	_cleanup_free_ char *text = NULL;
	char line[128];

	put("stat", "cpu 1 2\nbtime 1700000000\n");
	/* a name that looks like more fields */
	put("42/stat", "42 (evil) R 1 2) S 1 42 42 0 -1 4194560 100 0 0 0 200 300 4 5 20 0 7 0 1000 8192 3 "
		       "18446744073709551615 1\n");
	put("42/status", "Name:\tVmRSS: 9 kB\nVmRSS:\t     12 kB\nHugetlbPages:\t0 kB\nvoluntary_ctxt_switches:\t77\n"
			 "Threads:\t7\n");
	put("42/io", "rchar: 1\nread_bytes: 2\ncancelled_write_bytes: 3\nother: 4\n");
	put("42/limits",
	    "Limit Soft Hard Units\nMax open files            1024                 4096                 files\n");
	put("42/net/dev", "Inter-|   Receive  |  Transmit\n face |bytes packets|bytes packets\n"
			  "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\nshort: 1 2\n");
	put("42/fd/0", "");
	put("42/fd/1", "");
	metrics_of_process(p, proc, "kata_shim", "Runtime", 42, METRICS_NETDEV | METRICS_TOTALS);
	metrics_of_process(p, proc, "kata_hypervisor", "Hypervisor", 42, METRICS_PROCESS);
	metrics_of_process(p, proc, "kata_virtiofsd", "File server", 43, METRICS_PROCESS); /* it is gone */
	text = written(p);
	assert_line(text, "kata_shim_threads 7");
	assert_line(text, "kata_shim_fds 2");
	assert_line(text, "kata_shim_proc_stat{item=\"utime\"} 200");
	assert_line(text, "kata_shim_proc_stat{item=\"cstime\"} 5");
	assert_line(text, "kata_shim_proc_status{item=\"vmrss\"} 12288");
	assert_line(text, "kata_shim_proc_status{item=\"voluntary_ctxt_switches\"} 77");
	assert_line(text, "kata_shim_io_stat{item=\"readbytes\"} 2");
	assert_line(text, "kata_shim_io_stat{item=\"cancelledwritebytes\"} 3");
	assert_line(text, "kata_shim_netdev{interface=\"eth0\",item=\"recv_bytes\"} 1");
	assert_line(text, "kata_shim_netdev{interface=\"eth0\",item=\"sent_compressed\"} 16");
	assert_line(text, "kata_shim_process_max_fds 1024");
	assert_line(text, "kata_shim_process_virtual_memory_bytes 8192");
	snprintf(line, sizeof(line), "kata_shim_process_resident_memory_bytes %ld", 3 * sysconf(_SC_PAGESIZE));
	assert_line(text, line);
	assert_line(text, "# TYPE kata_shim_process_cpu_seconds_total counter");
	snprintf(line, sizeof(line), "kata_shim_process_cpu_seconds_total %ld", 500 / sysconf(_SC_CLK_TCK));
	assert_line(text, line);
	assert_line(text, "kata_hypervisor_threads 7");
	assert_null(strstr(text, "kata_hypervisor_netdev"));
	assert_null(strstr(text, "kata_hypervisor_process"));
	assert_null(strstr(text, "kata_virtiofsd"));
	assert_null(strstr(text, "other"));
}

/* This process, as it really is. */
static void of_ourselves(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	_cleanup_free_ char *text = NULL;

	metrics_of_process(p, "/proc", "kata_shim", "Runtime", getpid(), METRICS_NETDEV | METRICS_TOTALS);
	text = written(p);
	assert_line(text, "kata_shim_threads 1");
	assert_non_null(strstr(text, "\nkata_shim_proc_status{item=\"vmrss\"} "));
	assert_non_null(strstr(text, "\nkata_shim_netdev{interface=\"lo\",item=\"recv_bytes\"} "));
	assert_non_null(strstr(text, "\nkata_shim_process_start_time_seconds 1"));
}

static void of_agent(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };

	assert_int_equal(metrics_of_agent(p, "kata_guest_tasks{item=\"cur\"} 5\nkata_shim_threads 999\n", &e), 0);
	assert_int_equal(metrics_of_agent(p, "fine 1\nnot fine\n", &e), -EPROTO);
	text = written(p);
	assert_line(text, "kata_guest_tasks{item=\"cur\"} 5");
	assert_line(text, "kata_agent_kata_shim_threads 999");
	assert_null(strstr(text, "fine"));
}

static void of_cgroup(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	struct host_cgroup_usage u = { .memory_bytes = 300,
				       .memory_peak_bytes = 400,
				       .memory_limit_bytes = UINT64_MAX,
				       .cpu_ns = 3000000000,
				       .user_ns = 2000000000,
				       .system_ns = 1000000000,
				       .pids = 8 };
	struct metrics_overhead o = { 0 };
	_cleanup_free_ char *first = NULL, *second = NULL;

	metrics_of_cgroup(p, &u);
	metrics_of_overhead(p, &o, &u, 100, 1000000000, 5000000);
	first = written(p);
	assert_line(first, "caisson_sandbox_memory_bytes 300");
	assert_line(first, "caisson_sandbox_cpu_seconds_total{mode=\"user\"} 2");
	assert_line(first, "caisson_sandbox_threads 8");
	assert_line(first, "kata_shim_pod_overhead_memory_in_bytes 200");
	assert_null(strstr(first, "limit_bytes"));
	assert_null(strstr(first, "overhead_cpu"));
	/* one second later: the host counts half a second more, a quarter of it the containers' */
	u.cpu_ns += 500000000;
	metrics_of_overhead(p, &o, &u, 100, 1125000000, 6000000);
	second = written(p);
	assert_line(second, "kata_shim_pod_overhead_cpu 37.5");
}

static void of_container(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	Grpc__StatsContainerResponse stats = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Grpc__CgroupStats cg = GRPC__CGROUP_STATS__INIT;
	Grpc__CpuStats cpu = GRPC__CPU_STATS__INIT;
	Grpc__CpuUsage usage = GRPC__CPU_USAGE__INIT;
	Grpc__ThrottlingData throttling = GRPC__THROTTLING_DATA__INIT;
	Grpc__MemoryStats memory = GRPC__MEMORY_STATS__INIT;
	Grpc__MemoryData data = GRPC__MEMORY_DATA__INIT;
	Grpc__PidsStats pids = GRPC__PIDS_STATS__INIT;
	Grpc__BlkioStats blkio = GRPC__BLKIO_STATS__INIT;
	Grpc__BlkioStatsEntry entries[] = { GRPC__BLKIO_STATS_ENTRY__INIT, GRPC__BLKIO_STATS_ENTRY__INIT };
	Grpc__BlkioStatsEntry *list[] = { &entries[0], &entries[1] };
	_cleanup_free_ char *text = NULL;

	metrics_of_container(p, "c1", &stats); /* an agent that says nothing */
	stats.cgroup_stats = &cg;
	metrics_of_container(p, "c1", &stats);
	usage.usage_in_usermode = 1500000000;
	throttling.throttled_time = 250000000;
	cpu.cpu_usage = &usage;
	cpu.throttling_data = &throttling;
	data.usage = 123;
	data.limit = UINT64_MAX;
	memory.usage = &data;
	pids.current = 4;
	pids.limit = 10;
	entries[0].major = 254;
	entries[0].op = (char *)"re\"ad";
	entries[0].value = 99;
	entries[1].op = (char *)"a word that no kernel has for it";
	blkio.io_service_bytes_recursive = list;
	blkio.n_io_service_bytes_recursive = 2;
	cg.cpu_stats = &cpu;
	cg.memory_stats = &memory;
	cg.pids_stats = &pids;
	cg.blkio_stats = &blkio;
	metrics_of_container(p, "c1", &stats);
	text = written(p);
	assert_line(text, "caisson_container_cpu_seconds_total{container_id=\"c1\",mode=\"user\"} 1.5");
	assert_line(text, "caisson_container_cpu_throttled_seconds_total{container_id=\"c1\"} 0.25");
	assert_line(text, "caisson_container_memory_bytes{container_id=\"c1\"} 123");
	assert_line(text, "caisson_container_pids{container_id=\"c1\"} 4");
	assert_line(text, "caisson_container_pids_limit{container_id=\"c1\"} 10");
	assert_line(text, "caisson_container_io_bytes_total{container_id=\"c1\",device=\"254:0\",op=\"re\\\"ad\"} 99");
	assert_null(strstr(text, "memory_limit"));
	assert_null(strstr(text, "no kernel"));
}

static int fake_info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	*ret = (struct vm_process_info){ .vmm_pid = 1, .n_vcpus = 3 };
	return 0;
}

static int fake_counters(struct vm *vm, vm_counter_fn fn, void *userdata, struct err *e)
{
	fn("block", "rootfs", "read_bytes", 4096, userdata);
	fn("vcpu", "0", "exit_mmio", 5, userdata);
	return 0;
}

static void of_vm(void **state)
{
	_cleanup_prom_ struct prom *p = prom_new();
	const struct hypervisor_driver driver = { .name = "x", .info = fake_info, .counters = fake_counters },
				       silent = { 0 };
	const struct vm_config config = { .memory_mib = 2 };
	struct vm vm = { .driver = &silent };
	_cleanup_free_ char *text = NULL;

	metrics_of_vm(p, &vm);
	vm.driver = &driver;
	vm.config = &config;
	metrics_of_vm(p, &vm);
	text = written(p);
	assert_line(text, "caisson_vmm_vcpus 3");
	assert_line(text, "caisson_vmm_boot_memory_bytes 2097152");
	assert_line(text, "caisson_vmm_events_total{kind=\"block\",id=\"rootfs\",counter=\"read_bytes\"} 4096");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(of_process), cmocka_unit_test(of_ourselves), cmocka_unit_test(of_agent),
		cmocka_unit_test(of_cgroup),  cmocka_unit_test(of_container), cmocka_unit_test(of_vm),
	};

	return cmocka_run_group_tests(tests, make_proc, remove_proc);
}
