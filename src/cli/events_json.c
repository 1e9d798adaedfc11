/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/events_json.h"

#include <errno.h>
#include <stdint.h>

#include "codec/json.h"
#include "codec/pb.h"
#include "proto/metrics_v1.pb-c.h"
#include "proto/metrics_v2.pb-c.h"
#include "task/any.h"

/* What both forms tell. */
struct figures {
	uint64_t cpu_ns, user_ns, system_ns, periods, throttled_periods, throttled_ns;
	uint64_t memory, memory_max, memory_limit, memory_failcnt, cache, swap, swap_limit;
	uint64_t pids, pids_limit;
	uint64_t oom_kills;
};

static void from_v1(const Io__Containerd__Cgroups__V1__Metrics *m, struct figures *f)
{
	if (m->cpu && m->cpu->usage) {
		f->cpu_ns = m->cpu->usage->total;
		f->user_ns = m->cpu->usage->user;
		f->system_ns = m->cpu->usage->kernel;
	}
	if (m->cpu && m->cpu->throttling) {
		f->periods = m->cpu->throttling->periods;
		f->throttled_periods = m->cpu->throttling->throttled_periods;
		f->throttled_ns = m->cpu->throttling->throttled_time;
	}
	if (m->memory && m->memory->usage) {
		f->memory = m->memory->usage->usage;
		f->memory_max = m->memory->usage->max;
		f->memory_limit = m->memory->usage->limit;
		f->memory_failcnt = m->memory->usage->failcnt;
	}
	if (m->memory && m->memory->swap) {
		f->swap = m->memory->swap->usage;
		f->swap_limit = m->memory->swap->limit;
	}
	if (m->memory)
		f->cache = m->memory->cache;
	if (m->pids) {
		f->pids = m->pids->current;
		f->pids_limit = m->pids->limit;
	}
	if (m->memory_oom_control)
		f->oom_kills = m->memory_oom_control->oom_kill;
}

static void from_v2(const Io__Containerd__Cgroups__V2__Metrics *m, struct figures *f)
{
	if (m->cpu) {
		f->cpu_ns = m->cpu->usage_usec * 1000;
		f->user_ns = m->cpu->user_usec * 1000;
		f->system_ns = m->cpu->system_usec * 1000;
		f->periods = m->cpu->nr_periods;
		f->throttled_periods = m->cpu->nr_throttled;
		f->throttled_ns = m->cpu->throttled_usec * 1000;
	}
	if (m->memory) {
		f->memory = m->memory->usage;
		f->memory_limit = m->memory->usage_limit;
		f->cache = m->memory->file;
		f->swap = m->memory->swap_usage;
		f->swap_limit = m->memory->swap_limit;
	}
	if (m->pids) {
		f->pids = m->pids->current;
		f->pids_limit = m->pids->limit;
	}
	if (m->memory_events)
		f->oom_kills = m->memory_events->oom_kill;
}

static struct json_object *cpu_json(const struct figures *f)
{
	struct json_object *cpu = json_object_make(), *usage = json_object_make(), *throttling = json_object_make();

	json_set_u64(usage, "total", f->cpu_ns);
	json_set_u64(usage, "kernel", f->system_ns);
	json_set_u64(usage, "user", f->user_ns);
	json_set(cpu, "usage", usage);
	json_set_u64(throttling, "periods", f->periods);
	json_set_u64(throttling, "throttledPeriods", f->throttled_periods);
	json_set_u64(throttling, "throttledTime", f->throttled_ns);
	json_set(cpu, "throttling", throttling);
	return cpu;
}

static struct json_object *entry_json(uint64_t limit, uint64_t usage, uint64_t max, uint64_t failcnt)
{
	struct json_object *o = json_object_make();

	json_set_u64(o, "limit", limit);
	json_set_u64(o, "usage", usage);
	json_set_u64(o, "max", max);
	json_set_u64(o, "failcnt", failcnt);
	return o;
}

static struct json_object *data_json(const struct figures *f)
{
	struct json_object *data = json_object_make(), *memory = json_object_make(), *pids = json_object_make();

	json_set(data, "cpu", cpu_json(f));
	json_set_u64(memory, "cache", f->cache);
	json_set(memory, "usage", entry_json(f->memory_limit, f->memory, f->memory_max, f->memory_failcnt));
	json_set(memory, "swap", entry_json(f->swap_limit, f->swap, 0, 0));
	json_set(data, "memory", memory);
	json_set_u64(pids, "current", f->pids);
	json_set_u64(pids, "limit", f->pids_limit);
	json_set(data, "pids", pids);
	return data;
}

int events_stats_json(const char *id, const Google__Protobuf__Any *stats, char **ret, uint64_t *ret_oom_kills,
		      struct err *e)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	bool v1 = any_is_message(stats, &io__containerd__cgroups__v1__metrics__descriptor);
	size_t budget = PB_BUDGET_DEFAULT;
	struct figures f = { 0 };
	int r;

	if (!v1 && !any_is_message(stats, &io__containerd__cgroups__v2__metrics__descriptor))
		return err_set(e, ERR_PROTOCOL, EPROTO, "the statistics of %s are of no known form", id);
	r = pb_unpack(v1 ? &io__containerd__cgroups__v1__metrics__descriptor
			 : &io__containerd__cgroups__v2__metrics__descriptor,
		      stats->value.data, stats->value.len, &budget, &m);
	if (r < 0)
		return err_sys(e, -r, "the statistics of %s cannot be read", id);
	if (v1)
		from_v1((const Io__Containerd__Cgroups__V1__Metrics *)m, &f);
	else
		from_v2((const Io__Containerd__Cgroups__V2__Metrics *)m, &f);
	json_set_str(o, "type", "stats");
	json_set_str(o, "id", id);
	json_set(o, "data", data_json(&f));
	*ret_oom_kills = f.oom_kills;
	*ret = json_write(o, false);
	return *ret ? 0 : err_sys(e, ENOMEM, "cannot print the statistics of %s", id);
}
