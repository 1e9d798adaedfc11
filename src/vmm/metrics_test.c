/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "codec/json.h"
#include "vmm/fake_vmm.h"
#include "vmm/instance.h"

static char dir[] = "/tmp/caisson-vmm-XXXXXX";

static int make_dir(void **state)
{
	strcpy(dir, "/tmp/caisson-vmm-XXXXXX");
	return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
	return dir_remove(dir);
}

static int count_members(const char *key, struct json_object *value, void *userdata)
{
	++*(size_t *)userdata;
	return 0;
}

/* Lines are JSON, have every group, and count from the last line on. */
static void test_lines(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/metrics", dir), *text = NULL;
	_cleanup_json_ struct json_object *one = NULL, *two = NULL;
	struct metrics_body with = { .metrics_path = path, .emit_id = true };
	struct metrics m;
	struct err e = { 0 };
	uint64_t n = 9;
	char *end;
	size_t members = 0;

	metrics_init(&m, "my-vm");
	assert_int_equal(metrics_flush(&m, &e), 0); /* nowhere */
	assert_int_equal(metrics_configure(&m, &with, &e), 0);
	metrics_count(&m, METRIC_put_api_requests_drive_count);
	metrics_count(&m, METRIC_put_api_requests_drive_count);
	metrics_set(&m, METRIC_latencies_us_pause_vm, 5);
	assert_int_equal(metrics_flush(&m, &e), 0);
	assert_int_equal(metrics_flush(&m, &e), 0);
	metrics_fini(&m);

	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	end = strchr(text, '\n');
	assert_non_null(end);
	assert_int_equal(json_parse(text, (size_t)(end - text), 1 << 20, &one, &e), 0);
	assert_int_equal(json_parse(end + 1, strlen(end + 1), 1 << 20, &two, &e), 0);
	assert_string_equal(json_get_str(one, "id"), "my-vm");
	json_each(one, count_members, &members);
	assert_int_equal(members, 24);
	json_get_u64(json_get_object(one, "put_api_requests"), "drive_count", &n);
	assert_int_equal(n, 2);
	json_get_u64(json_get_object(two, "put_api_requests"), "drive_count", &n);
	assert_int_equal(n, 0);
	json_get_u64(json_get_object(two, "latencies_us"), "pause_vm", &n);
	assert_int_equal(n, 5);
	assert_non_null(json_get_object(json_get_object(one, "block"), "read_agg"));
}

/* Every counter that is counted is a key of the schema. */
static void test_schema_has_counters(void **state)
{
	_cleanup_buf_ struct buf out = { 0 };
	size_t found = 0;
	struct metrics m;

	metrics_init(&m, "x");
	for (size_t i = 1; i < METRICS_N; i++)
		m.value[i] = 7000 + i;
	assert_int_equal(metrics_print(&m, &out), 0);
	for (size_t i = 1; i < METRICS_N; i++) {
		char value[16];

		snprintf(value, sizeof value, ":%zu", 7000 + i);
		found += strstr(out.data, value) != NULL;
	}
	assert_int_equal(found, METRICS_N - 1);
	metrics_fini(&m);
}

static uint64_t number(const struct metrics *m, const char *group, const char *key)
{
	_cleanup_json_ struct json_object *line = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	uint64_t n = UINT64_MAX;

	assert_int_equal(metrics_print(m, &out), 0);
	assert_int_equal(json_parse(out.data, out.len, 1 << 20, &line, NULL), 0);
	json_get_u64(json_get_object(line, group), key, &n);
	return n;
}

static void count(struct metrics *m, const char *id, uint64_t value, const char *id2, uint64_t value2)
{
	struct metrics_counts c = { 0 };

	assert_int_equal(metrics_counts_add(&c, "block", id, "read_bytes", value), 0);
	assert_int_equal(metrics_counts_add(&c, "block", id, "read_count", 1), 0);
	assert_int_equal(metrics_counts_add(&c, "block", id2, "read_bytes", value2), 0);
	assert_int_equal(metrics_counts_add(&c, "vcpu", "0", "exit_io_in", value), 0);
	assert_int_equal(metrics_counts_add(&c, "vcpu", "1", "exit_io_in", value2), 0);
	metrics_set_counts(m, &c);
	assert_int_equal(c.len, 0);
}

/* Each device has an object, and all of a kind a sum; a line tells what has grown since the line before. */
static void test_devices(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/devices", dir);
	struct metrics_body with = { .metrics_path = path };
	struct metrics m;

	metrics_init(&m, "x");
	assert_int_equal(metrics_configure(&m, &with, NULL), 0);
	count(&m, "root", 10, "data", 5);
	assert_int_equal(number(&m, "block_root", "read_bytes"), 10);
	assert_int_equal(number(&m, "block_root", "read_count"), 1);
	assert_int_equal(number(&m, "block_root", "write_bytes"), 0);
	assert_int_equal(number(&m, "block_data", "read_bytes"), 5);
	assert_int_equal(number(&m, "block", "read_bytes"), 15);
	assert_int_equal(number(&m, "vcpu", "exit_io_in"), 15);
	assert_int_equal(number(&m, "vcpu_0", "exit_io_in"), UINT64_MAX);
	assert_int_equal(metrics_flush(&m, NULL), 0);
	/* One is another device than before, under the same id: it began at 0. */
	count(&m, "root", 17, "data", 3);
	assert_int_equal(number(&m, "block_root", "read_bytes"), 7);
	assert_int_equal(number(&m, "block_root", "read_count"), 0);
	assert_int_equal(number(&m, "block_data", "read_bytes"), 3);
	assert_int_equal(number(&m, "block", "read_bytes"), 10);
	assert_int_equal(metrics_flush(&m, NULL), 0);
	/* One is gone. */
	count(&m, "root", 17, "other", 0);
	assert_int_equal(number(&m, "block_data", "read_bytes"), UINT64_MAX);
	assert_int_equal(number(&m, "block", "read_bytes"), 0);
	metrics_fini(&m);
}

/* From the library, under its ids, to the keys that clients know. */
static void test_library(void **state)
{
	static const struct vmm_count counts[] = {
		{ "block", "drive-a", "read_bytes", 1 },      { "net", "net-eth0", "rx_bytes_count", 2 },
		{ "pmem", "pmem-p", "queue_event_count", 3 }, { "vsock", "vsock", "conns_added", 4 },
		{ "rng", "rng", "entropy_bytes", 5 },         { "balloon", "balloon", "inflate_count", 6 },
		{ "memory", "memory", "plug_count", 7 },      { "vcpu", "0", "exit_mmio_read", 8 },
		{ "vcpu", "1", "exit_mmio_read", 9 },         { "console", "c", "nothing", 10 },
	};
	static const struct {
		const char *group, *key;
		uint64_t value;
	} expected[] = {
		{ "block", "read_bytes", 1 },       { "block_a", "read_bytes", 1 },
		{ "net", "rx_bytes_count", 2 },     { "net_eth0", "rx_bytes_count", 2 },
		{ "pmem", "queue_event_count", 3 }, { "pmem_p", "queue_event_count", 3 },
		{ "vsock", "conns_added", 4 },      { "entropy", "entropy_bytes", 5 },
		{ "balloon", "inflate_count", 6 },  { "memory_hotplug", "plug_count", 7 },
		{ "vcpu", "exit_mmio_read", 17 },
	};
	_cleanup_free_ char *path = str_printf("%s/library", dir), *text = NULL;
	_cleanup_json_ struct json_object *line = NULL;
	struct metrics_body with = { .metrics_path = path };
	const struct vmm_restore restore = { .state_path = "" };
	struct instance i;

	instance_init(&i, "x");
	assert_int_equal(metrics_configure(&i.metrics, &with, NULL), 0);
	assert_int_equal(vmm_restore(&restore, &i.vm, NULL), 0);
	fake_vmm_set_stats(counts, sizeof counts / sizeof *counts);
	assert_int_equal(instance_flush_metrics(&i, NULL), 0);
	fake_vmm_set_stats(NULL, 0);
	instance_fini(&i);
	assert_int_equal(file_read(path, 1 << 20, &text, NULL), 0);
	assert_int_equal(json_parse(text, strlen(text), 1 << 20, &line, NULL), 0);
	for (size_t n = 0; n < sizeof expected / sizeof *expected; n++) {
		uint64_t value = 0;

		json_get_u64(json_get_object(line, expected[n].group), expected[n].key, &value);
		assert_int_equal(value, expected[n].value);
	}
}

/* A FIFO that nobody reads neither blocks nor fails until it is full; then lines are lost and counted. */
static void test_fifo(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/fifo", dir);
	struct metrics_body with = { .metrics_path = path };
	struct metrics m;
	int r = 0;

	assert_int_equal(mkfifo(path, 0600), 0);
	metrics_init(&m, "x");
	assert_int_equal(metrics_configure(&m, &with, NULL), 0);
	for (int i = 0; i < 1000 && r == 0; i++)
		r = metrics_flush(&m, NULL);
	assert_true(r < 0);
	assert_int_equal(m.value[METRIC_logger_missed_metrics_count], 1);
	metrics_fini(&m);
}

static void test_logger(void **state)
{
	_cleanup_free_ char *path = str_printf("%s/log", dir), *text = NULL;
	struct logger_body with = { .log_path = path,
				    .level = (char[]){ "warning" },
				    .show_level = true,
				    .has_show_level = true,
				    .show_log_origin = true,
				    .has_show_log_origin = true };
	struct logger l;
	int year;

	logger_init(&l, "my-vm");
	assert_int_equal(logger_update(&l, &with, NULL), 0);
	say(&l, LOGGER_INFO, "not this");
	logger_write(&l, LOGGER_WARN, "a.c", 7, "but %s", "this");
	/* A level that is not given is Info again; the file stays. */
	assert_int_equal(logger_update(&l, &(struct logger_body){ .module = (char[]){ "other" } }, NULL), 0);
	assert_int_equal(l.level, LOGGER_INFO);
	say(&l, LOGGER_ERROR, "another module only");
	logger_fini(&l);

	assert_int_equal(file_read(path, 4096, &text, NULL), 0);
	assert_int_equal(sscanf(text, "%4d-", &year), 1);
	assert_int_equal(strlen("2023-06-16T07:45:41.767987318"), strcspn(text, " "));
	assert_string_equal(strchr(text, ' '), " [my-vm:main:WARN:a.c:7] but this\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_lines),   cmocka_unit_test(test_schema_has_counters),
		cmocka_unit_test(test_devices), cmocka_unit_test(test_fifo),
		cmocka_unit_test(test_logger),  cmocka_unit_test(test_library),
	};

	return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
