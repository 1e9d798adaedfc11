/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "vmm/logger.h"
#include "vmm/probe.h"

/* Keys that stand for four numbers: the spread of a time. */
#define AGGREGATE "_agg"

static const struct {
	const char *group, *key;
} counted[METRICS_N] = {
#define X(g, k) [METRIC_##g##_##k] = { #g, #k },
	METRICS_COUNTED(X)
#undef X
};

/* Groups of the schema and their keys. A name that ends in '*' is there once for each device, too. */
static const struct group {
	const char *name, *keys;
} schema[] = {
	{ "api_server", "process_startup_time_us process_startup_time_cpu_us" },
	{ "balloon", "activate_fails inflate_count stats_updates_count stats_update_fails deflate_count event_fails "
		     "free_page_report_count free_page_report_freed free_page_report_fails free_page_hint_count "
		     "free_page_hint_freed free_page_hint_fails" },
	{ "block*", "activate_fails cfg_fails no_avail_buffer event_fails execute_fails invalid_reqs_count flush_count "
		    "queue_event_count rate_limiter_event_count update_count update_fails read_bytes write_bytes "
		    "read_count write_count read_agg write_agg rate_limiter_throttled_events "
		    "io_engine_throttled_events remaining_reqs_count" },
	{ "deprecated_api", "deprecated_http_api_calls" },
	{ "get_api_requests", "instance_info_count machine_cfg_count mmds_count vmm_version_count "
			      "hotplug_memory_count" },
	{ "i8042", "error_count missed_read_count missed_write_count read_count reset_count write_count" },
	{ "latencies_us", "full_create_snapshot diff_create_snapshot load_snapshot pause_vm resume_vm "
			  "vmm_full_create_snapshot vmm_diff_create_snapshot vmm_load_snapshot vmm_pause_vm "
			  "vmm_resume_vm" },
	{ "logger", "missed_metrics_count metrics_fails missed_log_count rate_limited_log_count" },
	{ "mmds", "rx_accepted rx_accepted_err rx_accepted_unusual rx_bad_eth rx_invalid_token rx_no_token rx_count "
		  "tx_bytes tx_count tx_errors tx_frames connections_created connections_destroyed" },
	{ "net*", "activate_fails cfg_fails no_rx_avail_buffer no_tx_avail_buffer event_fails rx_queue_event_count "
		  "rx_event_rate_limiter_count rx_rate_limiter_throttled rx_tap_event_count rx_bytes_count "
		  "rx_packets_count rx_fails rx_count tap_read_fails tap_write_fails tap_write_agg tx_bytes_count "
		  "tx_malformed_frames tx_fails tx_count tx_packets_count tx_queue_event_count "
		  "tx_rate_limiter_event_count tx_rate_limiter_throttled tx_spoofed_mac_count "
		  "tx_remaining_reqs_count" },
	{ "patch_api_requests", "drive_count drive_fails network_count network_fails machine_cfg_count "
				"machine_cfg_fails mmds_count mmds_fails hotplug_memory_count hotplug_memory_fails "
				"pmem_count pmem_fails" },
	{ "put_api_requests", "actions_count actions_fails boot_source_count boot_source_fails drive_count drive_fails "
			      "logger_count logger_fails machine_cfg_count machine_cfg_fails cpu_cfg_count "
			      "cpu_cfg_fails metrics_count metrics_fails network_count network_fails mmds_count "
			      "mmds_fails vsock_count vsock_fails pmem_count pmem_fails serial_count serial_fails "
			      "hotplug_memory_count hotplug_memory_fails" },
#if !defined(__x86_64__)
	{ "rtc", "error_count missed_read_count missed_write_count" },
#endif
	{ "seccomp", "num_faults" },
	{ "vcpu", "exit_io_in exit_io_out exit_mmio_read exit_mmio_write failures kvmclock_ctrl_fails exit_io_in_agg "
		  "exit_io_out_agg exit_mmio_read_agg exit_mmio_write_agg" },
	{ "vmm", "panic_count" },
	{ "uart", "error_count flush_count missed_read_count missed_write_count read_count write_count "
		  "rate_limiter_dropped_bytes" },
	{ "signals", "sigbus sigsegv sigxfsz sigxcpu sigpipe sighup sigill" },
	{ "vsock", "activate_fails cfg_fails rx_queue_event_fails tx_queue_event_fails ev_queue_event_fails "
		   "muxer_event_fails conn_event_fails rx_queue_event_count tx_queue_event_count rx_bytes_count "
		   "tx_bytes_count rx_packets_count tx_packets_count conns_added conns_killed conns_removed "
		   "killq_resync tx_flush_fails tx_write_fails rx_read_fails" },
	{ "entropy", "activate_fails entropy_event_fails entropy_event_count entropy_bytes host_rng_fails "
		     "entropy_rate_limiter_throttled rate_limiter_event_count" },
	{ "pmem*", "activate_fails cfg_fails event_fails queue_event_count rate_limiter_throttled_events "
		   "rate_limiter_event_count" },
	{ "interrupts", "triggers config_updates" },
	{ "memory_hotplug", "activate_fails queue_event_fails queue_event_count plug_count plug_bytes plug_fails "
			    "plug_agg unplug_count unplug_bytes unplug_fails unplug_discard_fails unplug_agg "
			    "state_count state_fails state_agg unplug_all_count unplug_all_fails unplug_all_agg" },
};

void metrics_init(struct metrics *m, const char *id)
{
	*m = (struct metrics){ .fd = -1, .id = id };
}

void metrics_fini(struct metrics *m)
{
	fd_close(&m->fd);
	strv_fini(&m->properties);
	metrics_counts_fini(&m->now);
	metrics_counts_fini(&m->told);
}

/* ---- what others count ---- */

int metrics_counts_add(struct metrics_counts *c, const char *group, const char *id, const char *key, uint64_t value)
{
	struct metrics_count *item;

	/* Grown to the next power of two. */
	if (!(c->len & (c->len - 1))) {
		item = reallocarray(c->item, c->len ? 2 * c->len : 1, sizeof *item);
		if (!item)
			return -ENOMEM;
		c->item = item;
	}
	item = &c->item[c->len++];
	*item = (struct metrics_count){ .group = group, .key = key, .value = value };
	snprintf(item->id, sizeof item->id, "%s", id);
	return 0;
}

void metrics_counts_fini(struct metrics_counts *c)
{
	free(c->item);
	*c = (struct metrics_counts){ 0 };
}

void metrics_set_counts(struct metrics *m, struct metrics_counts *counts)
{
	metrics_counts_fini(&m->now);
	m->now = *counts;
	*counts = (struct metrics_counts){ 0 };
}

/* What has been added since the last line. A device that is there again has begun at 0. */
static uint64_t growth(const struct metrics *m, const struct metrics_count *now)
{
	for (size_t i = 0; i < m->told.len; i++) {
		const struct metrics_count *then = &m->told.item[i];

		if (!strcmp(then->group, now->group) && !strcmp(then->key, now->key) && !strcmp(then->id, now->id))
			return now->value >= then->value ? now->value - then->value : now->value;
	}
	return now->value;
}

static bool is_key(const char *name, const char *key, size_t len)
{
	return strlen(name) == len && !strncmp(name, key, len);
}

/* The sum over all devices, or of this one. */
static uint64_t growth_of(const struct metrics *m, const char *group, const char *device, const char *key, size_t len)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < m->now.len; i++) {
		const struct metrics_count *c = &m->now.item[i];

		if (is_key(c->group, group, strcspn(group, "*")) && is_key(c->key, key, len) &&
		    (!device || !strcmp(c->id, device)))
			sum += growth(m, c);
	}
	return sum;
}

int metrics_configure(struct metrics *m, struct metrics_body *with, struct err *e)
{
	static const char what[] = "Cannot initialize the metrics system due to bad user input";
	char text[OS_ERROR_MAX];
	int fd = logger_open(with->metrics_path);

	if (fd < 0)
		return err_set(e, ERR_CONFIG, -fd, "%s: %s", what, os_error(-fd, text));
	if (m->fd >= 0) {
		close(fd);
		return err_set(e, ERR_CONFIG, EEXIST, "%s: Reinitialization of metrics not allowed.", what);
	}
	m->fd = fd;
	m->emit_id = with->emit_id;
	m->properties = with->properties;
	with->properties = (struct strv){ 0 };
	return 0;
}

/* ---- printing ---- */

static uint64_t value_of(const struct metrics *m, const char *group, const char *device, const char *key, size_t len)
{
	for (size_t i = 1; i < METRICS_N; i++)
		if (!strcmp(counted[i].group, group) && is_key(counted[i].key, key, len))
			return m->value[i];
	return growth_of(m, group, device, key, len);
}

static bool is_aggregate(const char *key, size_t len)
{
	return len > strlen(AGGREGATE) && !strncmp(key + len - strlen(AGGREGATE), AGGREGATE, strlen(AGGREGATE));
}

/* ,"name":{…}. name: that of the group, or of one device of it. */
static int print_group(const struct metrics *m, const struct group *g, const char *name, size_t name_len,
		       const char *device, struct buf *out)
{
	int r = buf_printf(out, ",\"%.*s%s%s\":{", (int)name_len, name, device ? "_" : "", device ? device : "");

	for (const char *key = g->keys, *end; *key && r == 0; key = *end ? end + 1 : end) {
		int len;

		end = strchrnul(key, ' ');
		len = (int)(end - key);
		r = buf_printf(out, "%s\"%.*s\":", key == g->keys ? "" : ",", len, key);
		if (r == 0 && is_aggregate(key, (size_t)len))
			r = buf_puts(out, "{\"min_us\":0,\"max_us\":0,\"sum_us\":0}");
		else if (r == 0)
			r = buf_printf(out, "%llu", (unsigned long long)value_of(m, g->name, device, key, (size_t)len));
	}
	return r < 0 ? r : buf_puts(out, "}");
}

/* The devices of a group; the numbers of one stand together. */
static int print_devices(const struct metrics *m, const struct group *g, size_t name_len, struct buf *out)
{
	const char *last = "";
	int r = 0;

	for (size_t i = 0; i < m->now.len && r == 0; i++) {
		const struct metrics_count *c = &m->now.item[i];

		if (!is_key(c->group, g->name, name_len) || !strcmp(c->id, last))
			continue;
		last = c->id;
		r = print_group(m, g, g->name, name_len, c->id, out);
	}
	return r;
}

static int print_header(const struct metrics *m, struct buf *out)
{
	struct timespec now;
	int r;

	clock_gettime(CLOCK_REALTIME, &now);
	r = buf_printf(out, "{\"utc_timestamp_ms\":%llu",
		       (unsigned long long)now.tv_sec * 1000 + (unsigned long long)now.tv_nsec / 1000000);
	if (r == 0 && m->emit_id) {
		r = buf_puts(out, ",\"id\":");
		if (r == 0)
			r = body_print_string(out, m->id);
	}
	if (r < 0 || !m->properties.len)
		return r;
	r = buf_puts(out, ",\"properties\":{");
	for (size_t i = 0; i < m->properties.len && r == 0; i++) {
		if (i)
			r = buf_puts(out, i % 2 ? ":" : ",");
		if (r == 0)
			r = body_print_string(out, m->properties.v[i]);
	}
	return r < 0 ? r : buf_puts(out, "}");
}

int metrics_print(const struct metrics *m, struct buf *out)
{
	int r = print_header(m, out);

	for (size_t i = 0; i < sizeof schema / sizeof schema[0] && r == 0; i++) {
		size_t len = strcspn(schema[i].name, "*");

		r = print_group(m, &schema[i], schema[i].name, len, NULL, out);
		if (r == 0 && schema[i].name[len])
			r = print_devices(m, &schema[i], len, out);
	}
	return r < 0 ? r : buf_puts(out, "}");
}

int metrics_flush(struct metrics *m, struct err *e)
{
	_cleanup_buf_ struct buf line = { 0 };
	char text[OS_ERROR_MAX];
	ssize_t n;

	if (m->fd < 0)
		return 0;
	if (metrics_print(m, &line) < 0 || buf_puts(&line, "\n") < 0) {
		m->value[METRIC_logger_metrics_fails]++;
		return err_sys(e, ENOMEM, "Metrics error");
	}
	n = write(m->fd, line.data, line.len);
	if (n != (ssize_t)line.len) {
		int code = n < 0 ? errno : EAGAIN;

		m->value[METRIC_logger_missed_metrics_count]++;
		return err_set(e, ERR_SYSTEM, code, "Metrics error: Failed to write metrics: %s", os_error(code, text));
	}
	memset(m->value, 0, sizeof m->value[0] * METRICS_STORE);
	metrics_counts_fini(&m->told);
	m->told = m->now;
	m->now = (struct metrics_counts){ 0 };
	return 0;
}
