/* SPDX-License-Identifier: Apache-2.0 */
/* Snapshots: made of a paused VM, loaded into a process that has configured nothing else. */
#include "base/fd.h"
#include "vmm/handlers.h"

HANDLER(create_snapshot)
{
	const struct snapshot_create *c = body;
	_cleanup_buf_ struct buf note = { 0 };
	bool diff = c->snapshot_type == SNAPSHOT_DIFF;
	struct vmm_snapshot snapshot = {
		.state_path = c->snapshot_path,
		.memory_path = c->mem_file_path,
		.diff = diff,
	};
	uint64_t before = clock_us(), took;
	struct err e = { 0 };

	/* Who loads it shall be able to tell what it is. */
	if (!i->unknown && config_print(&i->config, &note) < 0) {
		answer_fault(a, "Create snapshot error: out of memory");
		return;
	}
	snapshot.note = note.data;
	if (vmm_snapshot(i->vm, &snapshot, &e) < 0) {
		answer_err(a, "Create snapshot error", &e);
		return;
	}
	took = clock_us() - before;
	metrics_set(&i->metrics,
		    diff ? METRIC_latencies_us_diff_create_snapshot : METRIC_latencies_us_full_create_snapshot, took);
	metrics_set(&i->metrics,
		    diff ? METRIC_latencies_us_vmm_diff_create_snapshot : METRIC_latencies_us_vmm_full_create_snapshot,
		    took);
	say(&i->logger, LOGGER_INFO, "'create %s snapshot' API request took %llu us.", diff ? "diff" : "full",
	    (unsigned long long)took);
}

bool check_snapshot_load(struct instance *i, void *body, struct answer *a)
{
	const struct snapshot_load *l = body;

	if (l->has_mem_backend == (l->mem_file_path != NULL)) {
		answer_fault(
			a, "An error occurred when deserializing the json body of a request: %s.",
			l->mem_file_path
				? "too many fields: either `mem_backend` or `mem_file_path` exclusively is required"
				: "missing field: either `mem_backend` or `mem_file_path` is required");
		return false;
	}
	if (l->mem_file_path || l->enable_diff_snapshots)
		deprecated(i, a, "PUT /snapshot/load: mem_file_path and enable_diff_snapshots fields are deprecated.");
	return true;
}

HANDLER(load_snapshot)
{
	const struct snapshot_load *l = body;
	uint64_t before = clock_us(), took;
	struct err e = { 0 };

	if (i->boot_path) {
		answer_fault(a, "Load snapshot error: Loading a microVM snapshot not allowed after configuring "
				"boot-specific resources.");
		return;
	}
	if (l->huge_pages != SNAPSHOT_PAGES_SNAPSHOT && l->huge_pages != SNAPSHOT_PAGES_NONE) {
		answer_fault(a, "Load snapshot error: huge_pages is not supported by this version.");
		return;
	}
	if (instance_load(i, l, &e) < 0) {
		answer_err(a, "Load snapshot error", &e);
		return;
	}
	took = clock_us() - before;
	metrics_set(&i->metrics, METRIC_latencies_us_load_snapshot, took);
	metrics_set(&i->metrics, METRIC_latencies_us_vmm_load_snapshot, took);
	say(&i->logger, LOGGER_INFO, "'load snapshot' API request took %llu us.", (unsigned long long)took);
}
