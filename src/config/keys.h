/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of Kata's configuration files, once: the fields of the structures in config.h are made from these lists.
 * X(TYPE, name): TYPE is one of BOOL U32 U64 F64 STR LIST; name is the key as the files spell it.
 * Defaults, aliases, which hypervisor knows a key and what it means are in keys.c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* clang-format off */
#define CONFIG_HYPERVISOR_KEYS(X) \
	X(STR, path) \
	X(STR, kernel) \
	X(STR, image) \
	X(STR, machine_type) \
	X(STR, rootfs_type) \
	X(BOOL, rootless) \
	X(LIST, enable_annotations) \
	X(LIST, valid_hypervisor_paths) \
	X(STR, kernel_params) \
	X(STR, kernel_verity_params) \
	X(STR, firmware) \
	X(STR, firmware_volume) \
	X(STR, machine_accelerators) \
	X(STR, cpu_features) \
	X(STR, cpu_template) \
	X(F64, default_vcpus) \
	X(U32, default_maxvcpus) \
	X(U32, default_bridges) \
	X(U32, default_memory) \
	X(U32, memory_slots) \
	X(U64, default_maxmemory) \
	X(U64, memory_offset) \
	X(BOOL, enable_virtio_mem) \
	X(BOOL, disable_block_device_use) \
	X(STR, shared_fs) \
	X(STR, virtio_fs_daemon) \
	X(LIST, valid_virtio_fs_daemon_paths) \
	X(U32, virtio_fs_cache_size) \
	X(U32, virtio_fs_queue_size) \
	X(LIST, virtio_fs_extra_args) \
	X(STR, virtio_fs_cache) \
	X(STR, block_device_driver) \
	X(STR, block_device_aio) \
	X(BOOL, block_device_cache_set) \
	X(BOOL, block_device_cache_direct) \
	X(BOOL, block_device_cache_noflush) \
	X(U32, block_device_logical_sector_size) \
	X(U32, block_device_physical_sector_size) \
	X(BOOL, enable_iothreads) \
	X(U32, indep_iothreads) \
	X(BOOL, enable_mem_prealloc) \
	X(BOOL, reclaim_guest_freed_memory) \
	X(BOOL, enable_hugepages) \
	X(BOOL, enable_vhost_user_store) \
	X(STR, vhost_user_store_path) \
	X(BOOL, enable_iommu) \
	X(BOOL, enable_iommu_platform) \
	X(BOOL, enable_numa) \
	X(LIST, numa_mapping) \
	X(LIST, valid_vhost_user_store_paths) \
	X(U32, vhost_user_reconnect_timeout_sec) \
	X(LIST, pflashes) \
	X(BOOL, enable_debug) \
	X(STR, extra_monitor_socket) \
	X(BOOL, disable_nesting_checks) \
	X(U32, msize_9p) \
	X(BOOL, disable_image_nvdimm) \
	X(STR, hot_plug_vfio) \
	X(STR, cold_plug_vfio) \
	X(U32, pcie_root_port) \
	X(BOOL, disable_vhost_net) \
	X(STR, entropy_source) \
	X(LIST, valid_entropy_sources) \
	X(STR, guest_hook_path) \
	X(U64, rx_rate_limiter_max_rate) \
	X(U64, tx_rate_limiter_max_rate) \
	X(STR, guest_memory_dump_path) \
	X(BOOL, guest_memory_dump_paging) \
	X(BOOL, enable_guest_swap) \
	X(BOOL, use_legacy_serial) \
	X(BOOL, disable_selinux) \
	X(BOOL, disable_guest_selinux) \
	X(BOOL, confidential_guest) \
	X(BOOL, sev_snp_guest) \
	X(STR, snp_id_block) \
	X(STR, snp_id_auth) \
	X(U32, snp_guest_policy) \
	X(U32, tdx_quote_generation_service_socket_port) \
	X(STR, vm_rootfs_driver) \
	X(STR, seccomp_sandbox) \
	X(F64, overhead_vcpus) \
	X(U32, overhead_memory) \
	X(U32, pcie_switch_port) \
	X(U32, network_queues) \
	X(U32, queue_size) \
	X(U64, num_queues) \
	X(STR, initrd) \
	X(BOOL, disable_seccomp) \
	X(BOOL, enable_landlock) \
	X(U32, hypervisor_loglevel) \
	X(U64, net_rate_limiter_bw_max_rate) \
	X(U64, net_rate_limiter_bw_one_time_burst) \
	X(U64, net_rate_limiter_ops_max_rate) \
	X(U64, net_rate_limiter_ops_one_time_burst) \
	X(U64, disk_rate_limiter_bw_max_rate) \
	X(U64, disk_rate_limiter_bw_one_time_burst) \
	X(U64, disk_rate_limiter_ops_max_rate) \
	X(U64, disk_rate_limiter_ops_one_time_burst) \
	X(LIST, valid_ctlpaths) \
	X(BOOL, disable_nested_virtualization) \
	X(STR, guest_swap_path) \
	X(U64, guest_swap_size_percent) \
	X(U64, guest_swap_create_threshold_secs) \
	X(STR, jailer_path) \
	X(LIST, valid_jailer_paths) \
	X(STR, ctlpath) \
	X(STR, log_level) \
	X(STR, remote_hypervisor_socket) \
	X(U32, remote_hypervisor_timeout) \
	X(STR, hugepage_type) \
	X(BOOL, virtio_fs_is_dax) \
	X(STR, initdata) \
	X(STR, selinux_label) \
	X(U32, default_gpus) \
	X(STR, default_gpu_model) \
	X(STR, prefetch_list_path) \
	X(STR, measurement_algo)

#define CONFIG_AGENT_KEYS(X) \
	X(BOOL, enable_debug) \
	X(STR, log_level) \
	X(BOOL, enable_tracing) \
	X(BOOL, debug_console_enabled) \
	X(LIST, kernel_modules) \
	X(BOOL, visible_cdi_devices) \
	X(U32, launch_process_timeout) \
	X(U32, dial_timeout) \
	X(U32, dial_timeout_ms) \
	X(U32, reconnect_timeout_ms) \
	X(U32, cdh_api_timeout_ms) \
	X(U32, create_container_timeout) \
	X(U32, health_check_request_timeout_ms) \
	X(U32, server_port) \
	X(U32, log_port) \
	X(U32, passfd_listener_port) \
	X(U32, container_pipe_size) \
	X(STR, policy)

#define CONFIG_RUNTIME_KEYS(X) \
	X(STR, name) \
	X(STR, hypervisor_name) \
	X(STR, agent_name) \
	X(BOOL, enable_debug) \
	X(STR, log_level) \
	X(STR, internetworking_model) \
	X(BOOL, disable_guest_seccomp) \
	X(BOOL, enable_vcpus_pinning) \
	X(STR, guest_selinux_label) \
	X(BOOL, enable_tracing) \
	X(STR, jaeger_endpoint) \
	X(STR, jaeger_user) \
	X(STR, jaeger_password) \
	X(BOOL, disable_new_netns) \
	X(BOOL, sandbox_cgroup_only) \
	X(BOOL, static_sandbox_resource_mgmt) \
	X(LIST, sandbox_bind_mounts) \
	X(STR, vfio_mode) \
	X(BOOL, disable_guest_empty_dir) \
	X(STR, emptydir_mode) \
	X(LIST, experimental) \
	X(BOOL, experimental_force_guest_pull) \
	X(BOOL, enable_pprof) \
	X(U64, create_container_timeout) \
	X(STR, dan_conf) \
	X(STR, kubelet_root_dir) \
	X(STR, pod_resource_api_sock) \
	X(BOOL, keep_abnormal) \
	X(BOOL, use_passfd_io) \
	X(U32, passfd_listener_port)

#define CONFIG_FACTORY_KEYS(X) \
	X(BOOL, enable_template) \
	X(STR, template_path) \
	X(U32, vm_cache_number) \
	X(STR, vm_cache_endpoint)
/* clang-format on */

/* ---- what is known about each key ---- */

enum config_section { CONFIG_HYPERVISOR, CONFIG_AGENT, CONFIG_RUNTIME, CONFIG_FACTORY };

enum config_type {
	CONFIG_BOOL,
	CONFIG_U32,
	CONFIG_U64,
	CONFIG_F64,
	CONFIG_STR,
	CONFIG_LIST,
	CONFIG_OPAQUE, /* known, but kept nowhere: tables and keys of Kata that have no counterpart here */
};

/* Hypervisors, as bits: whose files have a key. */
enum {
	CONFIG_Q = 1 << 0, /* qemu */
	CONFIG_C = 1 << 1, /* clh */
	CONFIG_F = 1 << 2, /* firecracker */
	CONFIG_D = 1 << 3, /* dragonball: the built-in VMM */
	CONFIG_S = 1 << 4, /* stratovirt */
	CONFIG_R = 1 << 5, /* remote */
	CONFIG_O = 1 << 6, /* openvmm */
	CONFIG_VMM = CONFIG_Q | CONFIG_C | CONFIG_F | CONFIG_D | CONFIG_S | CONFIG_O,
	CONFIG_ALL = CONFIG_VMM | CONFIG_R,
};

struct config_key {
	const char *name;
	enum config_section section;
	enum config_type type;
	size_t offset;     /* of the field in struct config */
	unsigned known;    /* CONFIG_Q | …; 0 outside [hypervisor.*] */
	const char *def;   /* as text; lists comma-separated; "base;clh=…;firecracker=…" where hypervisors differ */
	const char *check; /* NULL, "a|b|c", "MIN..MAX", "pow2 MIN..MAX" (or 0), "regex" */
	const char *meaning;
	/* Other spellings, separated by spaces: "old", "old*1000" (in another unit), "@old" (as an annotation only). */
	const char *aliases;
	bool annotation;   /* a pod may set it with io.katacontainers.config.SECTION.NAME */
	const char *allow; /* the list key whose globs such an annotation's value must match */
	bool secret;       /* never printed */
};

/* All keys, numbered from 0; NULL behind the last. */
const struct config_key *config_key_at(size_t i);
size_t config_key_count(void);

/*
 * By section and any spelling; ret_scale (may be NULL): what a number in that spelling is multiplied by.
 * annotation: the spellings of annotations count too. Returns the key's number, -ENOENT.
 */
int config_key_find(enum config_section section, const char *name, bool annotation, unsigned *ret_scale);

/* The name most like a misspelt one, or NULL when nothing is near. */
const char *config_key_nearest(enum config_section section, const char *name);
const char *config_nearest(const char *name, const char *const *candidates);

/* Default of a key as text for a hypervisor (canonical name or NULL), into out. */
void config_key_default(const struct config_key *key, const char *hypervisor, char *out, size_t size);

/* Names of hypervisors, as in [hypervisor.NAME], NULL-terminated; the canonical name of name or alias, else NULL. */
const char *const *config_hypervisor_names(void);
const char *config_hypervisor_canonical(const char *name);
/* CONFIG_Q …, 0 for NULL. name: canonical. */
unsigned config_hypervisor_bit(const char *name);
