/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What requests and the configuration file carry: one structure and one table (body.h) for each object. Members stand
 * in the order in which they are told to clients. has_x: x was given.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "vmm/body.h"

struct bucket {
	uint64_t size, one_time_burst, refill_time;
	bool has_burst;
};

struct limiter {
	struct bucket bandwidth, ops;
	bool has_bandwidth, has_ops;
};

enum cpu_template { /* of the names in resources.c only this one means something to us */
#if defined(__x86_64__)
		    CPU_TEMPLATE_NONE = 3,
#else
		    CPU_TEMPLATE_NONE = 1,
#endif
};
enum huge_pages { HUGE_PAGES_NONE, HUGE_PAGES_TRANSPARENT, HUGE_PAGES_2M };

struct machine {
	uint64_t vcpu_count, mem_size_mib;
	unsigned cpu_template, huge_pages;
	bool smt, track_dirty_pages;
	bool has_vcpu_count, has_mem_size_mib, has_smt, has_cpu_template, has_track_dirty_pages, has_huge_pages;
};

struct boot_source {
	char *kernel_image_path, *initrd_path, *boot_args;
};

enum cache_type { CACHE_UNSAFE, CACHE_WRITEBACK };
enum io_engine { IO_ENGINE_ASYNC, IO_ENGINE_SYNC };

struct drive {
	char *drive_id, *partuuid, *path_on_host, *socket;
	bool is_root_device, is_read_only, has_is_read_only, has_rate_limiter, has_io_engine;
	unsigned cache_type, io_engine;
	struct limiter rate_limiter;
};

struct pmem {
	char *id, *path_on_host;
	bool root_device, read_only, has_rate_limiter;
	struct limiter rate_limiter;
};

struct network_interface {
	char *iface_id, *host_dev_name, *guest_mac;
	uint64_t mtu;
	struct limiter rx_rate_limiter, tx_rate_limiter;
	bool has_mtu, has_rx_rate_limiter, has_tx_rate_limiter;
};

struct vsock {
	char *vsock_id, *uds_path;
	uint64_t guest_cid;
};

struct entropy {
	struct limiter rate_limiter;
	bool has_rate_limiter;
};

struct serial {
	char *serial_out_path;
	struct bucket rate_limiter;
	bool has_rate_limiter;
};

struct balloon {
	uint64_t amount_mib, stats_polling_interval_s;
	bool deflate_on_oom, free_page_hinting, free_page_reporting;
};

struct balloon_update {
	uint64_t amount_mib;
};

struct balloon_stats_update {
	uint64_t stats_polling_interval_s;
};

struct memory_hotplug {
	uint64_t total_size_mib, block_size_mib, slot_size_mib;
};

struct memory_hotplug_update {
	uint64_t requested_size_mib;
};

struct logger_body {
	char *log_path, *level, *module;
	bool show_level, show_log_origin, has_show_level, has_show_log_origin;
};

struct metrics_body {
	char *metrics_path;
	bool emit_id, has_properties;
	struct strv properties;
};

enum action_type { ACTION_FLUSH_METRICS, ACTION_INSTANCE_START, ACTION_SEND_CTRL_ALT_DEL };
struct action {
	unsigned action_type;
};

enum vm_state_wanted { VM_PAUSED, VM_RESUMED };
struct vm_update {
	unsigned state;
};

enum snapshot_type { SNAPSHOT_DIFF, SNAPSHOT_FULL };
struct snapshot_create {
	unsigned snapshot_type;
	char *snapshot_path, *mem_file_path;
};

enum mem_backend_type { MEM_BACKEND_FILE, MEM_BACKEND_UFFD };
struct mem_backend {
	char *backend_path;
	unsigned backend_type;
};

struct network_override {
	char *iface_id, *host_dev_name;
};

struct vsock_override {
	char *uds_path;
};

enum snapshot_huge_pages {
	SNAPSHOT_PAGES_SNAPSHOT,
	SNAPSHOT_PAGES_NONE,
	SNAPSHOT_PAGES_TRANSPARENT,
	SNAPSHOT_PAGES_2M
};
struct snapshot_load {
	char *snapshot_path, *mem_file_path;
	struct mem_backend mem_backend;
	struct vsock_override vsock_override;
	struct body_list network_overrides; /* struct network_override */
	unsigned huge_pages;
	bool enable_diff_snapshots, track_dirty_pages, resume_vm, clock_realtime, has_mem_backend, has_vsock_override;
};

/* The whole configuration: --config-file, and the answer to GET /vm/config. */
struct document {
	struct balloon balloon;
	struct body_list drives;
	struct boot_source boot_source;
	struct logger_body logger;
	struct machine machine_config;
	struct metrics_body metrics;
	struct body_list network_interfaces;
	struct vsock vsock;
	struct entropy entropy;
	struct body_list pmem;
	struct memory_hotplug memory_hotplug;
	bool has_balloon, has_boot_source, has_cpu_config, has_logger, has_machine_config, has_metrics, has_mmds_config,
		has_vsock, has_entropy, has_memory_hotplug;
};

/* Updates of drives, interfaces and pmem use the structure of the device, with fewer members. */
extern const struct body_table machine_table, machine_update_table, boot_source_table, drive_table, drive_update_table,
	pmem_table, pmem_update_table, network_interface_table, network_interface_update_table, vsock_table,
	entropy_table, serial_table, balloon_table, balloon_update_table, balloon_stats_update_table,
	memory_hotplug_table, memory_hotplug_update_table, logger_table, metrics_table, action_table, vm_update_table,
	snapshot_create_table, snapshot_load_table, network_override_table, document_table;
