/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/resources.h"

#include <stddef.h>
#include <string.h>
#include <strings.h>

#define AT(type, member)  .at = offsetof(struct type, member)
#define HAS(type, member) .has = offsetof(struct type, member)
#define TABLE(var, type, title, ...)                                                                                   \
	const struct body_table var = { .name = (title),                                                               \
					.fields = var##_fields,                                                        \
					.n_fields = sizeof var##_fields / sizeof var##_fields[0],                      \
					.size = sizeof(struct type),                                                   \
					__VA_ARGS__ }

/* ---- rate limits ---- */

static const struct body_field bucket_table_fields[] = {
	{ "size", BODY_U64, BODY_REQUIRED, AT(bucket, size) },
	{ "one_time_burst", BODY_U64, BODY_OPTIONAL, AT(bucket, one_time_burst), HAS(bucket, has_burst) },
	{ "refill_time", BODY_U64, BODY_REQUIRED, AT(bucket, refill_time) },
};
static TABLE(bucket_table, bucket, "TokenBucketConfig", .lax = true);

static const struct body_field limiter_table_fields[] = {
	{ "bandwidth", BODY_OBJECT, BODY_OPTIONAL, AT(limiter, bandwidth), HAS(limiter, has_bandwidth),
	  .table = &bucket_table },
	{ "ops", BODY_OBJECT, BODY_OPTIONAL, AT(limiter, ops), HAS(limiter, has_ops), .table = &bucket_table },
};
static TABLE(limiter_table, limiter, "RateLimiterConfig");

#define LIMITER(type, member)                                                                                          \
	{                                                                                                              \
#member, BODY_OBJECT, BODY_OPTIONAL, AT(type, member), HAS(type, has_##member),                        \
			.table = &limiter_table                                                                        \
	}

/* ---- machine and kernel ---- */

#if defined(__x86_64__)
static const char *const cpu_template_names[] = { "C3", "T2", "T2S", "None", "T2CL", "T2A", NULL };
#else
static const char *const cpu_template_names[] = { "V1N1", "None", NULL };
#endif
static const char *const huge_pages_names[] = { "None", "Transparent", "2M", NULL };

static void init_machine(void *target)
{
	struct machine *m = target;

	m->vcpu_count = 1;
	m->mem_size_mib = 128;
}

static const struct body_field machine_table_fields[] = {
	{ "vcpu_count", BODY_U8, BODY_REQUIRED, AT(machine, vcpu_count), HAS(machine, has_vcpu_count) },
	{ "mem_size_mib", BODY_USIZE, BODY_REQUIRED, AT(machine, mem_size_mib), HAS(machine, has_mem_size_mib) },
	{ "smt", BODY_BOOL, BODY_DEFAULT, AT(machine, smt), HAS(machine, has_smt) },
	{ "cpu_template", BODY_ENUM, BODY_SILENT, AT(machine, cpu_template), HAS(machine, has_cpu_template),
	  .variants = cpu_template_names },
	{ "track_dirty_pages", BODY_BOOL, BODY_DEFAULT, AT(machine, track_dirty_pages),
	  HAS(machine, has_track_dirty_pages) },
	{ "huge_pages", BODY_ENUM, BODY_DEFAULT, AT(machine, huge_pages), HAS(machine, has_huge_pages),
	  .variants = huge_pages_names },
};
TABLE(machine_table, machine, "MachineConfig", .init = init_machine);

static const struct body_field machine_update_table_fields[] = {
	{ "vcpu_count", BODY_U8, BODY_OPTIONAL, AT(machine, vcpu_count), HAS(machine, has_vcpu_count) },
	{ "mem_size_mib", BODY_USIZE, BODY_OPTIONAL, AT(machine, mem_size_mib), HAS(machine, has_mem_size_mib) },
	{ "smt", BODY_BOOL, BODY_OPTIONAL, AT(machine, smt), HAS(machine, has_smt) },
	{ "cpu_template", BODY_ENUM, BODY_OPTIONAL, AT(machine, cpu_template), HAS(machine, has_cpu_template),
	  .variants = cpu_template_names },
	{ "track_dirty_pages", BODY_BOOL, BODY_OPTIONAL, AT(machine, track_dirty_pages),
	  HAS(machine, has_track_dirty_pages) },
	{ "huge_pages", BODY_ENUM, BODY_OPTIONAL, AT(machine, huge_pages), HAS(machine, has_huge_pages),
	  .variants = huge_pages_names },
};
TABLE(machine_update_table, machine, "MachineConfigUpdate");

static const struct body_field boot_source_table_fields[] = {
	{ "kernel_image_path", BODY_STRING, BODY_REQUIRED, AT(boot_source, kernel_image_path) },
	{ "initrd_path", BODY_STRING, BODY_OPTIONAL, AT(boot_source, initrd_path) },
	{ "boot_args", BODY_STRING, BODY_OPTIONAL, AT(boot_source, boot_args) },
};
TABLE(boot_source_table, boot_source, "BootSourceConfig");

/* ---- devices ---- */

static const char *const cache_type_names[] = { "Unsafe", "Writeback", NULL };
static const char *const io_engine_names[] = { "Async", "Sync", NULL };

static void init_drive(void *target)
{
	((struct drive *)target)->io_engine = IO_ENGINE_SYNC;
}

static const struct body_field drive_table_fields[] = {
	{ "drive_id", BODY_STRING, BODY_REQUIRED, AT(drive, drive_id) },
	{ "partuuid", BODY_STRING, BODY_OPTIONAL, AT(drive, partuuid) },
	{ "is_root_device", BODY_BOOL, BODY_REQUIRED, AT(drive, is_root_device) },
	{ "cache_type", BODY_ENUM, BODY_DEFAULT, AT(drive, cache_type), .variants = cache_type_names },
	{ "is_read_only", BODY_BOOL, BODY_OPTIONAL, AT(drive, is_read_only), HAS(drive, has_is_read_only) },
	{ "path_on_host", BODY_STRING, BODY_OPTIONAL, AT(drive, path_on_host) },
	LIMITER(drive, rate_limiter),
	{ "io_engine", BODY_ENUM, BODY_OPTIONAL, AT(drive, io_engine), HAS(drive, has_io_engine),
	  .variants = io_engine_names },
	{ "socket", BODY_STRING, BODY_OPTIONAL, AT(drive, socket) },
};
TABLE(drive_table, drive, "BlockDeviceConfig", .init = init_drive);

static const struct body_field drive_update_table_fields[] = {
	{ "drive_id", BODY_STRING, BODY_REQUIRED, AT(drive, drive_id) },
	{ "path_on_host", BODY_STRING, BODY_OPTIONAL, AT(drive, path_on_host) },
	LIMITER(drive, rate_limiter),
};
TABLE(drive_update_table, drive, "BlockDeviceUpdateConfig");

static const struct body_field pmem_table_fields[] = {
	{ "id", BODY_STRING, BODY_REQUIRED, AT(pmem, id) },
	{ "path_on_host", BODY_STRING, BODY_REQUIRED, AT(pmem, path_on_host) },
	{ "root_device", BODY_BOOL, BODY_DEFAULT, AT(pmem, root_device) },
	{ "read_only", BODY_BOOL, BODY_DEFAULT, AT(pmem, read_only) },
	LIMITER(pmem, rate_limiter),
};
TABLE(pmem_table, pmem, "PmemConfig");

static const struct body_field pmem_update_table_fields[] = {
	{ "id", BODY_STRING, BODY_REQUIRED, AT(pmem, id) },
	LIMITER(pmem, rate_limiter),
};
TABLE(pmem_update_table, pmem, "PmemDeviceUpdateConfig");

/* Six groups of two hexadecimal digits. */
static const char *check_mac(const char *text)
{
	size_t n = strlen(text);

	for (size_t i = 0; i < n; i++)
		if (i % 3 == 2 ? text[i] != ':' : !strchr("0123456789abcdefABCDEF", text[i]))
			n = 0;
	return n == 17 ? NULL : "The provided MAC address is invalid.";
}

static const struct body_field network_interface_table_fields[] = {
	{ "iface_id", BODY_STRING, BODY_REQUIRED, AT(network_interface, iface_id) },
	{ "host_dev_name", BODY_STRING, BODY_REQUIRED, AT(network_interface, host_dev_name) },
	{ "guest_mac", BODY_STRING, BODY_OPTIONAL, AT(network_interface, guest_mac), .check = check_mac },
	{ "mtu", BODY_U16, BODY_OPTIONAL, AT(network_interface, mtu), HAS(network_interface, has_mtu) },
	LIMITER(network_interface, rx_rate_limiter),
	LIMITER(network_interface, tx_rate_limiter),
};
TABLE(network_interface_table, network_interface, "NetworkInterfaceConfig");

static const struct body_field network_interface_update_table_fields[] = {
	{ "iface_id", BODY_STRING, BODY_REQUIRED, AT(network_interface, iface_id) },
	LIMITER(network_interface, rx_rate_limiter),
	LIMITER(network_interface, tx_rate_limiter),
};
TABLE(network_interface_update_table, network_interface, "NetworkInterfaceUpdateConfig");

static const struct body_field vsock_table_fields[] = {
	{ "vsock_id", BODY_STRING, BODY_SILENT, AT(vsock, vsock_id) },
	{ "guest_cid", BODY_U32, BODY_REQUIRED, AT(vsock, guest_cid) },
	{ "uds_path", BODY_STRING, BODY_REQUIRED, AT(vsock, uds_path) },
};
TABLE(vsock_table, vsock, "VsockDeviceConfig");

static const struct body_field entropy_table_fields[] = { LIMITER(entropy, rate_limiter) };
TABLE(entropy_table, entropy, "EntropyDeviceConfig");

static const struct body_field serial_table_fields[] = {
	{ "serial_out_path", BODY_PATH, BODY_OPTIONAL, AT(serial, serial_out_path) },
	{ "rate_limiter", BODY_OBJECT, BODY_OPTIONAL, AT(serial, rate_limiter), HAS(serial, has_rate_limiter),
	  .table = &bucket_table },
};
TABLE(serial_table, serial, "SerialConfig");

/* ---- memory that comes and goes ---- */

static const struct body_field balloon_table_fields[] = {
	{ "amount_mib", BODY_U32, BODY_REQUIRED, AT(balloon, amount_mib) },
	{ "deflate_on_oom", BODY_BOOL, BODY_REQUIRED, AT(balloon, deflate_on_oom) },
	{ "stats_polling_interval_s", BODY_U16, BODY_DEFAULT, AT(balloon, stats_polling_interval_s) },
	{ "free_page_hinting", BODY_BOOL, BODY_DEFAULT, AT(balloon, free_page_hinting) },
	{ "free_page_reporting", BODY_BOOL, BODY_DEFAULT, AT(balloon, free_page_reporting) },
};
TABLE(balloon_table, balloon, "BalloonDeviceConfig");

static const struct body_field balloon_update_table_fields[] = {
	{ "amount_mib", BODY_U32, BODY_REQUIRED, AT(balloon_update, amount_mib) },
};
TABLE(balloon_update_table, balloon_update, "BalloonUpdateConfig");

static const struct body_field balloon_stats_update_table_fields[] = {
	{ "stats_polling_interval_s", BODY_U16, BODY_REQUIRED, AT(balloon_stats_update, stats_polling_interval_s) },
};
TABLE(balloon_stats_update_table, balloon_stats_update, "BalloonUpdateStatsConfig");

static void init_memory_hotplug(void *target)
{
	struct memory_hotplug *m = target;

	m->block_size_mib = 2;
	m->slot_size_mib = 128;
}

static const struct body_field memory_hotplug_table_fields[] = {
	{ "total_size_mib", BODY_U32, BODY_REQUIRED, AT(memory_hotplug, total_size_mib) },
	{ "block_size_mib", BODY_U32, BODY_DEFAULT, AT(memory_hotplug, block_size_mib) },
	{ "slot_size_mib", BODY_U32, BODY_DEFAULT, AT(memory_hotplug, slot_size_mib) },
};
TABLE(memory_hotplug_table, memory_hotplug, "MemoryHotplugConfig", .init = init_memory_hotplug);

static const struct body_field memory_hotplug_update_table_fields[] = {
	{ "requested_size_mib", BODY_U32, BODY_REQUIRED, AT(memory_hotplug_update, requested_size_mib) },
};
TABLE(memory_hotplug_update_table, memory_hotplug_update, "MemoryHotplugSizeUpdate");

/* ---- the monitor's own output ---- */

static const char *check_level(const char *text)
{
	static const char *const names[] = { "off", "trace", "debug", "info", "warn", "warning", "error" };

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (!strcasecmp(text, names[i]))
			return NULL;
	return "Invalid LevelFilter";
}

static const struct body_field logger_table_fields[] = {
	{ "log_path", BODY_PATH, BODY_OPTIONAL, AT(logger_body, log_path) },
	{ "level", BODY_STRING, BODY_OPTIONAL, AT(logger_body, level), .check = check_level },
	{ "show_level", BODY_BOOL, BODY_OPTIONAL, AT(logger_body, show_level), HAS(logger_body, has_show_level) },
	{ "show_log_origin", BODY_BOOL, BODY_OPTIONAL, AT(logger_body, show_log_origin),
	  HAS(logger_body, has_show_log_origin) },
	{ "module", BODY_STRING, BODY_OPTIONAL, AT(logger_body, module) },
};
TABLE(logger_table, logger_body, "LoggerConfig");

static const struct body_field metrics_table_fields[] = {
	{ "metrics_path", BODY_PATH, BODY_REQUIRED, AT(metrics_body, metrics_path) },
	{ "emit_id", BODY_BOOL, BODY_DEFAULT, AT(metrics_body, emit_id) },
	{ "properties", BODY_MAP, BODY_OPTIONAL, AT(metrics_body, properties), HAS(metrics_body, has_properties) },
};
TABLE(metrics_table, metrics_body, "MetricsConfig", .lax = true);

/* ---- what is done to a VM ---- */

static const char *const action_names[] = { "FlushMetrics", "InstanceStart", "SendCtrlAltDel", NULL };
static const char *const state_names[] = { "Paused", "Resumed", NULL };
static const char *const snapshot_type_names[] = { "Diff", "Full", NULL };
static const char *const mem_backend_names[] = { "File", "Uffd", NULL };
static const char *const snapshot_pages_names[] = { "Snapshot", "None", "Transparent", "2M", NULL };

static const struct body_field action_table_fields[] = {
	{ "action_type", BODY_ENUM, BODY_REQUIRED, AT(action, action_type), .variants = action_names },
};
TABLE(action_table, action, "ActionBody");

static const struct body_field vm_update_table_fields[] = {
	{ "state", BODY_ENUM, BODY_REQUIRED, AT(vm_update, state), .variants = state_names },
};
TABLE(vm_update_table, vm_update, "Vm");

static void init_snapshot_create(void *target)
{
	((struct snapshot_create *)target)->snapshot_type = SNAPSHOT_FULL;
}

static const struct body_field snapshot_create_table_fields[] = {
	{ "snapshot_type", BODY_ENUM, BODY_DEFAULT, AT(snapshot_create, snapshot_type),
	  .variants = snapshot_type_names },
	{ "snapshot_path", BODY_PATH, BODY_REQUIRED, AT(snapshot_create, snapshot_path) },
	{ "mem_file_path", BODY_PATH, BODY_REQUIRED, AT(snapshot_create, mem_file_path) },
};
TABLE(snapshot_create_table, snapshot_create, "CreateSnapshotParams", .init = init_snapshot_create);

static const struct body_field mem_backend_table_fields[] = {
	{ "backend_path", BODY_PATH, BODY_REQUIRED, AT(mem_backend, backend_path) },
	{ "backend_type", BODY_ENUM, BODY_REQUIRED, AT(mem_backend, backend_type), .variants = mem_backend_names },
};
static TABLE(mem_backend_table, mem_backend, "MemBackendConfig");

static const struct body_field network_override_table_fields[] = {
	{ "iface_id", BODY_STRING, BODY_REQUIRED, AT(network_override, iface_id) },
	{ "host_dev_name", BODY_STRING, BODY_REQUIRED, AT(network_override, host_dev_name) },
};
TABLE(network_override_table, network_override, "NetworkOverride", .lax = true);

static const struct body_field vsock_override_table_fields[] = {
	{ "uds_path", BODY_STRING, BODY_REQUIRED, AT(vsock_override, uds_path) },
};
static TABLE(vsock_override_table, vsock_override, "VsockOverride", .lax = true);

static const struct body_field snapshot_load_table_fields[] = {
	{ "snapshot_path", BODY_PATH, BODY_REQUIRED, AT(snapshot_load, snapshot_path) },
	{ "mem_file_path", BODY_PATH, BODY_OPTIONAL, AT(snapshot_load, mem_file_path) },
	{ "mem_backend", BODY_OBJECT, BODY_OPTIONAL, AT(snapshot_load, mem_backend),
	  HAS(snapshot_load, has_mem_backend), .table = &mem_backend_table },
	{ "enable_diff_snapshots", BODY_BOOL, BODY_DEFAULT, AT(snapshot_load, enable_diff_snapshots) },
	{ "track_dirty_pages", BODY_BOOL, BODY_DEFAULT, AT(snapshot_load, track_dirty_pages) },
	{ "resume_vm", BODY_BOOL, BODY_DEFAULT, AT(snapshot_load, resume_vm) },
	{ "network_overrides", BODY_LIST, BODY_DEFAULT, AT(snapshot_load, network_overrides),
	  .table = &network_override_table },
	{ "vsock_override", BODY_OBJECT, BODY_OPTIONAL, AT(snapshot_load, vsock_override),
	  HAS(snapshot_load, has_vsock_override), .table = &vsock_override_table },
	{ "clock_realtime", BODY_BOOL, BODY_DEFAULT, AT(snapshot_load, clock_realtime) },
	{ "huge_pages", BODY_ENUM, BODY_DEFAULT, AT(snapshot_load, huge_pages), .variants = snapshot_pages_names },
};
TABLE(snapshot_load_table, snapshot_load, "LoadSnapshotConfig");

/* ---- everything at once ---- */

static void init_document(void *target)
{
	struct document *d = target;

	init_machine(&d->machine_config);
	init_memory_hotplug(&d->memory_hotplug);
}

#define PART(key, member, part)                                                                                        \
	{                                                                                                              \
		key, BODY_OBJECT, BODY_OPTIONAL, AT(document, member), HAS(document, has_##member), .table = &(part)   \
	}

static const struct body_field document_table_fields[] = {
	PART("balloon", balloon, balloon_table),
	{ "drives", BODY_LIST, BODY_REQUIRED, AT(document, drives), .table = &drive_table },
	{ "boot-source", BODY_OBJECT, BODY_REQUIRED, AT(document, boot_source), HAS(document, has_boot_source),
	  .table = &boot_source_table },
	{ "cpu-config", BODY_ANY, BODY_OPTIONAL, HAS(document, has_cpu_config) },
	PART("logger", logger, logger_table),
	PART("machine-config", machine_config, machine_table),
	PART("metrics", metrics, metrics_table),
	{ "mmds-config", BODY_ANY, BODY_OPTIONAL, HAS(document, has_mmds_config) },
	{ "network-interfaces", BODY_LIST, BODY_DEFAULT, AT(document, network_interfaces),
	  .table = &network_interface_table },
	PART("vsock", vsock, vsock_table),
	PART("entropy", entropy, entropy_table),
	{ "pmem", BODY_LIST, BODY_DEFAULT, AT(document, pmem), .table = &pmem_table },
	PART("memory-hotplug", memory_hotplug, memory_hotplug_table),
};
TABLE(document_table, document, "VmmConfig", .lax = true, .init = init_document);
