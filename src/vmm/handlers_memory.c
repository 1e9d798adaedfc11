/* SPDX-License-Identifier: Apache-2.0 */
/* Memory that comes and goes: the balloon, and hot-pluggable memory (virtio-mem). */
#include "vmm/handlers.h"

#define MIB  (1024 * 1024ull)
#define PAGE 4096u

static const char no_device[] = "Failed perform action on device: Device not found";

/* ---- balloon ---- */

HANDLER(put_balloon)
{
	struct err e = { 0 };

	if (config_set_balloon(&i->config, body, &e) < 0)
		answer_err(a, "Balloon config error", &e);
}

HANDLER(get_balloon)
{
	if (i->config.doc.has_balloon)
		answer_data_done(a, body_print(&balloon_table, &i->config.doc.balloon, answer_data(a)));
	else if (i->unknown)
		answer_fault(a, "Internal VMM error: " CONFIGURATION_UNKNOWN);
	else if (i->vm)
		answer_fault(a, "Internal VMM error: %s", no_device);
	else
		answer_fault(a, "Balloon config error: No balloon device found.");
}

HANDLER(patch_balloon)
{
	const struct balloon_update *u = body;
	struct err e = { 0 };

	if (!i->config.doc.has_balloon && !i->unknown)
		answer_fault(a, "Balloon update error: %s", no_device);
	else if (!i->unknown && u->amount_mib > i->config.doc.machine_config.mem_size_mib)
		answer_fault(a, "Balloon update error: Balloon: Requested memory should be less than %lluMiB",
			     (unsigned long long)u->amount_mib);
	else if (vmm_set_balloon(i->vm, u->amount_mib * MIB, &e) < 0)
		answer_err(a, "Balloon update error", &e);
	else
		i->config.doc.balloon.amount_mib = u->amount_mib;
}

HANDLER(patch_balloon_stats)
{
	const struct balloon_stats_update *u = body;
	struct balloon *b = &i->config.doc.balloon;
	struct err e = { 0 };

	if (!i->config.doc.has_balloon && !i->unknown)
		answer_fault(a, "Balloon update error: %s", no_device);
	else if (!i->unknown && !u->stats_polling_interval_s != !b->stats_polling_interval_s)
		answer_fault(a, "Balloon update error: Balloon: Statistics cannot be enabled/disabled after "
				"activation.");
	else if (i->unknown || u->stats_polling_interval_s != b->stats_polling_interval_s) {
		if (vmm_set_balloon_interval(i->vm, (uint32_t)u->stats_polling_interval_s, &e) < 0)
			answer_err(a, "Balloon update error", &e);
		else
			b->stats_polling_interval_s = u->stats_polling_interval_s;
	}
}

/* In the order of the statistics' tags, VirtIO 1.2 §5.5.6.4; the last six came with Linux 6.12. */
static const char *const stat_names[] = {
	"swap_in",          "swap_out",    "major_faults",        "minor_faults",     "free_memory", "total_memory",
	"available_memory", "disk_caches", "hugetlb_allocations", "hugetlb_failures", "oom_kill",    "alloc_stall",
	"async_scan",       "direct_scan", "async_reclaim",       "direct_reclaim",
};

HANDLER(get_balloon_stats)
{
	struct vmm_balloon_stats s;
	struct err e = { 0 };
	struct buf *out;
	int r;

	if (!i->config.doc.has_balloon && !i->unknown) {
		answer_fault(a, "Internal VMM error: %s", no_device);
		return;
	}
	if (!i->unknown && !i->config.doc.balloon.stats_polling_interval_s) {
		answer_fault(a, "Internal VMM error: Balloon: Received stats query when stats are disabled.");
		return;
	}
	if (vmm_balloon_stats(i->vm, &s, &e) < 0) {
		answer_err(a, "Internal VMM error", &e);
		return;
	}
	out = answer_data(a);
	r = buf_printf(out, "{\"target_pages\":%llu,\"actual_pages\":%llu,\"target_mib\":%llu,\"actual_mib\":%llu",
		       (unsigned long long)(s.target / PAGE), (unsigned long long)(s.actual / PAGE),
		       (unsigned long long)(s.target / MIB), (unsigned long long)(s.actual / MIB));
	for (size_t n = 0; n < sizeof stat_names / sizeof stat_names[0] && r == 0; n++)
		if (s.valid & 1u << n)
			r = buf_printf(out, ",\"%s\":%llu", stat_names[n], (unsigned long long)s.value[n]);
	answer_data_done(a, r < 0 ? r : buf_puts(out, "}"));
}

/* ---- hot-pluggable memory ---- */

HANDLER(put_memory_hotplug)
{
	struct err e = { 0 };

	if (config_set_memory_hotplug(&i->config, body, &e) < 0)
		answer_err(a, "Memory hotplug config error", &e);
}

HANDLER(get_memory_hotplug)
{
	const struct memory_hotplug *m = &i->config.doc.memory_hotplug;
	struct vmm_memory_status s;
	struct err e = { 0 };

	if (!i->config.doc.has_memory_hotplug && !i->unknown) {
		answer_fault(a, "Internal VMM error: %s", no_device);
		return;
	}
	if (vmm_memory_status(i->vm, &s, &e) < 0) {
		answer_err(a, "Internal VMM error", &e);
		return;
	}
	answer_data_done(a, buf_printf(answer_data(a),
				       "{\"block_size_mib\":%llu,\"total_size_mib\":%llu,\"slot_size_mib\":%llu,"
				       "\"plugged_size_mib\":%llu,\"requested_size_mib\":%llu}",
				       (unsigned long long)(s.block / MIB), (unsigned long long)(s.max / MIB),
				       (unsigned long long)m->slot_size_mib, (unsigned long long)(s.plugged / MIB),
				       (unsigned long long)(s.requested / MIB)));
}

HANDLER(patch_memory_hotplug)
{
	const struct memory_hotplug_update *u = body;
	const struct memory_hotplug *m = &i->config.doc.memory_hotplug;
	struct err e = { 0 };

	if (!i->config.doc.has_memory_hotplug && !i->unknown)
		answer_fault(a, "Memory hotplug update error: %s", no_device);
	else if (!i->unknown &&
		 (u->requested_size_mib > m->total_size_mib || u->requested_size_mib % m->block_size_mib))
		answer_fault(a,
			     "Memory hotplug update error: Failed to create memory hotplug device: Size %llu is "
			     "invalid: it must be a multiple of block size and less than the total size",
			     (unsigned long long)(u->requested_size_mib * MIB));
	else if (vmm_set_memory(i->vm, u->requested_size_mib * MIB, &e) < 0)
		answer_err(a, "Memory hotplug update error", &e);
}
