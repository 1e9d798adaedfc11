/* SPDX-License-Identifier: Apache-2.0 */
/* The microVM as a whole: what it is, how it is made, started, paused. */
#include <string.h>

#include "base/fd.h"
#include "vmm/handlers.h"

HANDLER(get_instance)
{
	struct buf *out = answer_data(a);
	int r = buf_puts(out, "{\"id\":");

	if (r == 0)
		r = body_print_string(out, i->id);
	if (r == 0)
		r = buf_printf(out, ",\"state\":\"%s\",\"vmm_version\":\"%s\",\"app_name\":\"Firecracker\"}",
			       instance_state(i), API_VERSION);
	answer_data_done(a, r);
}

HANDLER(get_version)
{
	answer_data_done(a, buf_printf(answer_data(a), "{\"firecracker_version\":\"%s\"}", API_VERSION));
}

static bool is_known(struct instance *i, struct answer *a)
{
	if (i->unknown)
		answer_fault(a, CONFIGURATION_UNKNOWN);
	return !i->unknown;
}

HANDLER(get_config)
{
	if (is_known(i, a))
		answer_data_done(a, config_print(&i->config, answer_data(a)));
}

HANDLER(get_machine)
{
	if (is_known(i, a))
		answer_data_done(a, body_print(&machine_table, &i->config.doc.machine_config, answer_data(a)));
}

/* A PUT speaks about all members, whether it gives them or not; only the template may stay. */
bool check_machine(struct instance *i, void *body, struct answer *a)
{
	struct machine *m = body;

	m->has_smt = m->has_track_dirty_pages = m->has_huge_pages = true;
	if (m->has_cpu_template)
		deprecated(i, a, "PUT /machine-config: cpu_template field is deprecated.");
	return true;
}

bool check_machine_update(struct instance *i, void *body, struct answer *a)
{
	const struct machine *m = body;

	if (!m->has_vcpu_count && !m->has_mem_size_mib && !m->has_smt && !m->has_cpu_template &&
	    !m->has_track_dirty_pages && !m->has_huge_pages) {
		answer_fault(a, "Empty PATCH request.");
		return false;
	}
	if (m->has_cpu_template)
		deprecated(i, a, "PATCH /machine-config: cpu_template field is deprecated.");
	return true;
}

HANDLER(put_machine)
{
	struct err e = { 0 };

	if (config_update_machine(&i->config, body, &e) < 0)
		answer_err(a, "Machine config error", &e);
}

HANDLER(put_boot_source)
{
	struct err e = { 0 };

	if (config_set_boot_source(&i->config, body, &e) < 0)
		answer_err(a, "Boot source error", &e);
}

HANDLER(put_serial)
{
	struct err e = { 0 };

	if (config_set_serial(&i->config, body, &e) < 0)
		answer_err(a, "Serial config error", &e);
}

static void start(struct instance *i, struct answer *a)
{
	struct err e = { 0 };

	if (i->vm)
		not_after_start(a);
	else if (instance_start(i, &e) < 0)
		answer_err(a, "Start microvm error", &e);
}

HANDLER(put_action)
{
	const struct action *action = body;
	struct err e = { 0 };

	if (action->action_type == ACTION_INSTANCE_START) {
		start(i, a);
	} else if (!i->vm) {
		not_before_start(a);
	} else if (action->action_type == ACTION_FLUSH_METRICS) {
		if (instance_flush_metrics(i, &e) < 0)
			answer_err(a, "Internal VMM error", &e);
	} else if (vmm_ctrl_alt_del(i->vm, &e) < 0) {
		answer_err(a, "Internal VMM error", &e);
	}
}

HANDLER(patch_vm)
{
	const struct vm_update *u = body;
	bool pause = u->state == VM_PAUSED;
	uint64_t before = clock_us(), took;
	struct err e = { 0 };

	if ((pause ? instance_pause(i, &e) : instance_resume(i, &e)) < 0) {
		answer_err(a, "Internal VMM error", &e);
		return;
	}
	took = clock_us() - before;
	metrics_set(&i->metrics, pause ? METRIC_latencies_us_pause_vm : METRIC_latencies_us_resume_vm, took);
	metrics_set(&i->metrics, pause ? METRIC_latencies_us_vmm_pause_vm : METRIC_latencies_us_vmm_resume_vm, took);
	say(&i->logger, LOGGER_INFO, "'%s vm' API request took %llu us.", pause ? "pause" : "resume",
	    (unsigned long long)took);
}
