/* SPDX-License-Identifier: Apache-2.0 */
/* See metrics.h. What a process's /proc tells is in metrics_process.c. */
#include "pod/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SECOND 1e9

/* Numbers without a limit are not told: "no limit" is no number of bytes. */
static void gauge(struct prom *p, const char *name, const char *help, const char *container, uint64_t value)
{
	const struct prom_label label = { "container_id", container };

	prom_add(p, name, PROM_GAUGE, help, &label, container ? 1 : 0, (double)value);
}

int metrics_of_agent(struct prom *p, const char *text, struct err *e)
{
	static const char *const keep[] = { "kata_agent_", "kata_guest_", NULL };
	const struct prom_read how = { .keep = keep, .prefix = "kata_agent_", .guest = true };

	return prom_read(p, text, strlen(text), &how, e);
}

/* ---- the host's account ---- */

void metrics_of_cgroup(struct prom *p, const struct host_cgroup_usage *u)
{
	static const char cpu[] = "CPU time of the sandbox's cgroup on the host: VMM, helpers, runtime.";

	gauge(p, "caisson_sandbox_memory_bytes", "Memory charged to the sandbox's cgroup on the host.", NULL,
	      u->memory_bytes);
	if (u->memory_peak_bytes)
		gauge(p, "caisson_sandbox_memory_peak_bytes", "The most memory that it was ever charged.", NULL,
		      u->memory_peak_bytes);
	if (u->memory_limit_bytes && u->memory_limit_bytes != UINT64_MAX)
		gauge(p, "caisson_sandbox_memory_limit_bytes", "Its own memory limit; absent: none.", NULL,
		      u->memory_limit_bytes);
	prom_add(p, "caisson_sandbox_cpu_seconds_total", PROM_COUNTER, cpu, &(struct prom_label){ "mode", "user" }, 1,
		 (double)u->user_ns / SECOND);
	prom_add(p, "caisson_sandbox_cpu_seconds_total", PROM_COUNTER, cpu, &(struct prom_label){ "mode", "system" }, 1,
		 (double)u->system_ns / SECOND);
	if (u->pids)
		gauge(p, "caisson_sandbox_threads", "Processes and threads in it.", NULL, u->pids);
}

void metrics_of_overhead(struct prom *p, struct metrics_overhead *o, const struct host_cgroup_usage *host,
			 uint64_t guest_memory_bytes, uint64_t guest_cpu_ns, uint64_t now_us)
{
	double percent;

	prom_add(p, "kata_shim_pod_overhead_memory_in_bytes", PROM_GAUGE,
		 "Pod overhead for memory resources in bytes: the sandbox's cgroup without what its containers use.",
		 NULL, 0, (double)host->memory_bytes - (double)guest_memory_bytes);
	if (o->at_us && now_us > o->at_us && guest_cpu_ns >= o->guest_cpu_ns) {
		percent = ((double)host->cpu_ns - (double)o->host_cpu_ns - (double)(guest_cpu_ns - o->guest_cpu_ns)) /
			  ((double)(now_us - o->at_us) * 1000) * 100;
		prom_add(p, "kata_shim_pod_overhead_cpu", PROM_GAUGE,
			 "Pod overhead for CPU resources in percent, since the metrics were asked for last.", NULL, 0,
			 percent);
	}
	*o = (struct metrics_overhead){ now_us, host->cpu_ns, guest_cpu_ns };
}

/* ---- the guest's account ---- */

static void container_cpu(struct prom *p, const char *id, const Grpc__CpuStats *c)
{
	static const char cpu[] = "CPU time of the container, as the guest accounts it.";
	struct prom_label labels[] = { { "container_id", id }, { "mode", "user" } };

	if (c && c->cpu_usage) {
		prom_add(p, "caisson_container_cpu_seconds_total", PROM_COUNTER, cpu, labels, 2,
			 (double)c->cpu_usage->usage_in_usermode / SECOND);
		labels[1].value = "system";
		prom_add(p, "caisson_container_cpu_seconds_total", PROM_COUNTER, cpu, labels, 2,
			 (double)c->cpu_usage->usage_in_kernelmode / SECOND);
	}
	if (!c || !c->throttling_data)
		return;
	prom_add(p, "caisson_container_cpu_periods_total", PROM_COUNTER, "Periods of its CPU quota.", labels, 1,
		 (double)c->throttling_data->periods);
	prom_add(p, "caisson_container_cpu_throttled_periods_total", PROM_COUNTER, "Those in which it was held back.",
		 labels, 1, (double)c->throttling_data->throttled_periods);
	prom_add(p, "caisson_container_cpu_throttled_seconds_total", PROM_COUNTER, "How long it was held back.", labels,
		 1, (double)c->throttling_data->throttled_time / SECOND);
}

static void container_memory(struct prom *p, const char *id, const Grpc__MemoryStats *m)
{
	if (!m)
		return;
	if (m->usage) {
		gauge(p, "caisson_container_memory_bytes", "Memory of the container, as the guest accounts it.", id,
		      m->usage->usage);
		gauge(p, "caisson_container_memory_peak_bytes", "The most that it ever had.", id, m->usage->max_usage);
		if (m->usage->limit && m->usage->limit < INT64_MAX - 0xffff)
			gauge(p, "caisson_container_memory_limit_bytes", "Its limit; absent: none.", id,
			      m->usage->limit);
		prom_add(p, "caisson_container_memory_failures_total", PROM_COUNTER, "How often its limit stopped it.",
			 &(struct prom_label){ "container_id", id }, 1, (double)m->usage->failcnt);
	}
	gauge(p, "caisson_container_memory_cache_bytes", "Page cache among its memory.", id, m->cache);
	if (m->swap_usage)
		gauge(p, "caisson_container_swap_bytes", "Its swap.", id, m->swap_usage->usage);
}

/* op is the guest's word: anything. */
static void container_io(struct prom *p, const char *id, const Grpc__BlkioStats *b)
{
	for (size_t i = 0; b && i < b->n_io_service_bytes_recursive && i < 256; i++) {
		const Grpc__BlkioStatsEntry *entry = b->io_service_bytes_recursive[i];
		char device[48];
		const struct prom_label labels[] = { { "container_id", id },
						     { "device", device },
						     { "op", entry->op } };

		snprintf(device, sizeof(device), "%llu:%llu", (unsigned long long)entry->major,
			 (unsigned long long)entry->minor);
		if (strlen(entry->op) <= 16)
			prom_add(p, "caisson_container_io_bytes_total", PROM_COUNTER,
				 "Bytes of block I/O by device of the guest and operation.", labels, 3,
				 (double)entry->value);
	}
}

void metrics_of_container(struct prom *p, const char *id, const Grpc__StatsContainerResponse *stats)
{
	const Grpc__CgroupStats *s = stats->cgroup_stats;

	if (!s)
		return;
	container_cpu(p, id, s->cpu_stats);
	container_memory(p, id, s->memory_stats);
	container_io(p, id, s->blkio_stats);
	if (!s->pids_stats)
		return;
	gauge(p, "caisson_container_pids", "Its processes and threads.", id, s->pids_stats->current);
	if (s->pids_stats->limit && s->pids_stats->limit < INT64_MAX)
		gauge(p, "caisson_container_pids_limit", "How many it may have; absent: any.", id,
		      s->pids_stats->limit);
}

/* ---- the VM ---- */

static void counter(const char *kind, const char *id, const char *name, uint64_t value, void *userdata)
{
	const struct prom_label labels[] = { { "kind", kind }, { "id", id }, { "counter", name } };

	prom_add(userdata, "caisson_vmm_events_total", PROM_COUNTER,
		 "What a device or vCPU of the VM has done, as its VMM counts.", labels, 3, (double)value);
}

void metrics_of_vm(struct prom *p, struct vm *vm)
{
	struct vm_process_info info = { 0 };

	if (vm->driver->info && vm->driver->info(vm, &info, NULL) == 0)
		gauge(p, "caisson_vmm_vcpus", "Virtual CPUs that have a thread.", NULL, info.n_vcpus);
	if (vm->config)
		gauge(p, "caisson_vmm_boot_memory_bytes", "Guest memory at boot.", NULL, vm->config->memory_mib << 20);
	if (vm->driver->counters)
		vm->driver->counters(vm, counter, p, NULL);
}
