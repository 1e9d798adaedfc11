/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counters as one JSON object a line, in the closed schema that clients of the API know: every key is there, also
 * those that nothing counts and that are always 0 (the man page lists which are counted). A counter is what happened
 * since the last line; METRICS_STORE values stay. The API's are counted here; devices and vCPUs keep numbers that only
 * grow, which are handed in before a line (metrics_set_counts), and the line tells by how much they have grown.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "vmm/config.h"

/* What is counted: group, key. */
#define METRICS_COUNTED(X)                                                                                             \
	X(deprecated_api, deprecated_http_api_calls)                                                                   \
	X(get_api_requests, instance_info_count)                                                                       \
	X(get_api_requests, machine_cfg_count)                                                                         \
	X(get_api_requests, mmds_count)                                                                                \
	X(get_api_requests, vmm_version_count)                                                                         \
	X(get_api_requests, hotplug_memory_count)                                                                      \
	X(put_api_requests, actions_count)                                                                             \
	X(put_api_requests, actions_fails)                                                                             \
	X(put_api_requests, boot_source_count)                                                                         \
	X(put_api_requests, boot_source_fails)                                                                         \
	X(put_api_requests, cpu_cfg_count)                                                                             \
	X(put_api_requests, cpu_cfg_fails)                                                                             \
	X(put_api_requests, drive_count)                                                                               \
	X(put_api_requests, drive_fails)                                                                               \
	X(put_api_requests, hotplug_memory_count)                                                                      \
	X(put_api_requests, hotplug_memory_fails)                                                                      \
	X(put_api_requests, logger_count)                                                                              \
	X(put_api_requests, logger_fails)                                                                              \
	X(put_api_requests, machine_cfg_count)                                                                         \
	X(put_api_requests, machine_cfg_fails)                                                                         \
	X(put_api_requests, metrics_count)                                                                             \
	X(put_api_requests, metrics_fails)                                                                             \
	X(put_api_requests, mmds_count)                                                                                \
	X(put_api_requests, mmds_fails)                                                                                \
	X(put_api_requests, network_count)                                                                             \
	X(put_api_requests, network_fails)                                                                             \
	X(put_api_requests, pmem_count)                                                                                \
	X(put_api_requests, pmem_fails)                                                                                \
	X(put_api_requests, serial_count)                                                                              \
	X(put_api_requests, serial_fails)                                                                              \
	X(put_api_requests, vsock_count)                                                                               \
	X(put_api_requests, vsock_fails)                                                                               \
	X(patch_api_requests, drive_count)                                                                             \
	X(patch_api_requests, drive_fails)                                                                             \
	X(patch_api_requests, hotplug_memory_count)                                                                    \
	X(patch_api_requests, hotplug_memory_fails)                                                                    \
	X(patch_api_requests, machine_cfg_count)                                                                       \
	X(patch_api_requests, machine_cfg_fails)                                                                       \
	X(patch_api_requests, mmds_count)                                                                              \
	X(patch_api_requests, mmds_fails)                                                                              \
	X(patch_api_requests, network_count)                                                                           \
	X(patch_api_requests, network_fails)                                                                           \
	X(patch_api_requests, pmem_count)                                                                              \
	X(patch_api_requests, pmem_fails)                                                                              \
	X(logger, missed_metrics_count)                                                                                \
	X(logger, metrics_fails)                                                                                       \
	X(logger, missed_log_count)                                                                                    \
	X(api_server, process_startup_time_us)                                                                         \
	X(api_server, process_startup_time_cpu_us)                                                                     \
	X(latencies_us, full_create_snapshot)                                                                          \
	X(latencies_us, diff_create_snapshot)                                                                          \
	X(latencies_us, load_snapshot)                                                                                 \
	X(latencies_us, pause_vm)                                                                                      \
	X(latencies_us, resume_vm)                                                                                     \
	X(latencies_us, vmm_full_create_snapshot)                                                                      \
	X(latencies_us, vmm_diff_create_snapshot)                                                                      \
	X(latencies_us, vmm_load_snapshot)                                                                             \
	X(latencies_us, vmm_pause_vm)                                                                                  \
	X(latencies_us, vmm_resume_vm)

enum metric {
	METRIC_NONE,
#define X(group, key) METRIC_##group##_##key,
	METRICS_COUNTED(X)
#undef X
		METRICS_N,
};
/* From here on values are not reset by a flush. */
#define METRICS_STORE METRIC_api_server_process_startup_time_us

/* What a device or a vCPU has done since it was made. */
struct metrics_count {
	const char *group, *key;    /* of the schema; they outlive this */
	char id[CONFIG_ID_MAX + 1]; /* of the device or vCPU */
	uint64_t value;
};

struct metrics_counts {
	struct metrics_count *item;
	size_t len;
};

/* 0 or -ENOMEM. An id that is too long is cut. */
int metrics_counts_add(struct metrics_counts *c, const char *group, const char *id, const char *key, uint64_t value);
void metrics_counts_fini(struct metrics_counts *c);

struct metrics {
	int fd;         /* -1: not configured, and nothing is ever written */
	const char *id; /* of the microVM; printed if emit_id */
	bool emit_id;
	struct strv properties; /* names and values in turn */
	uint64_t value[METRICS_N];
	struct metrics_counts now, told; /* of devices and vCPUs: as they are, and as they were at the last line */
};

void metrics_init(struct metrics *m, const char *id);
void metrics_fini(struct metrics *m);

/* Open the file and take the settings over. Only once. */
int metrics_configure(struct metrics *m, struct metrics_body *with, struct err *e);

static inline void metrics_count(struct metrics *m, enum metric what)
{
	m->value[what]++;
}
static inline void metrics_set(struct metrics *m, enum metric what, uint64_t value)
{
	m->value[what] = value;
}

/* Take over what was counted until now (its items move in) as what the next line is about. */
void metrics_set_counts(struct metrics *m, struct metrics_counts *counts);

/* Write a line. Without a file: 0. */
int metrics_flush(struct metrics *m, struct err *e);
/* The line itself, without its end. 0 or -ENOMEM. */
int metrics_print(const struct metrics *m, struct buf *out);
