/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keys of [hypervisor.*]: who knows them, default, check, meaning. Names and units are those of Kata Containers;
 * where its Go and its Rust runtime spell a key differently, the other spelling is an alias.
 */
#include "config/keys_table.h"

#define H(key, hv, dflt, text, ...) ROW(CONFIG_HYPERVISOR, hypervisor, key, hv, dflt, text, ##__VA_ARGS__)
#define ANN                         .annotation = true

#define Q CONFIG_Q
#define C CONFIG_C
#define F CONFIG_F
#define D CONFIG_D
#define S CONFIG_S
#define R CONFIG_R
#define O CONFIG_O

#ifdef __aarch64__
#define QEMU_MACHINE "virt"
#else
#define QEMU_MACHINE "q35"
#endif

#define SECTOR   .check = "pow2 512..65536"
#define VFIO     .check = "no-port|bridge-port|root-port|switch-port"
#define LOGLEVEL .check = "trace|debug|info|warn|warning|error|critical"

/* clang-format off */
const struct config_key config_keys_hypervisor[] = {
	/* programs and guest files */
	H(path, CONFIG_VMM, "", "VMM program; empty: searched in PATH, or none for the built-in VMM", ANN,
	  .allow = "valid_hypervisor_paths"),
	H(valid_hypervisor_paths, CONFIG_VMM, "", "globs that a path annotation must match"),
	H(jailer_path, F, "", "Firecracker's jailer; empty: Firecracker runs without it", ANN,
	  .allow = "valid_jailer_paths"),
	H(valid_jailer_paths, F, "", "globs that a jailer_path annotation must match"),
	H(ctlpath, C | D | O, "", "control program of the VMM", ANN, .allow = "valid_ctlpaths"),
	H(valid_ctlpaths, C | D | O, "", "globs that a ctlpath annotation must match"),
	H(kernel, CONFIG_VMM, "", "guest kernel; empty: the one that came with Caisson", ANN),
	H(initrd, CONFIG_VMM, "", "guest initramfs; empty: the one that came with Caisson, unless image is set", ANN),
	H(image, CONFIG_VMM, "", "guest root file system image, instead of an initrd", ANN),
	H(rootfs_type, CONFIG_VMM, "ext4", "file system of the guest image", .check = "ext4|xfs|erofs"),
	H(vm_rootfs_driver, Q | C | D | O, "", "how the guest image is attached; empty: as disable_image_nvdimm says",
	  .check = "|virtio-pmem|virtio-blk-pci|virtio-blk-mmio|virtio-blk-ccw"),
	H(disable_image_nvdimm, Q | C, "true", "attach the guest image as virtio-blk and not as NVDIMM", ANN),
	H(kernel_params, CONFIG_ALL, "", "added to the guest kernel's command line; an annotation adds more", ANN),
	H(kernel_verity_params, Q | C | S, "", "dm-verity of the guest image: root_hash=,salt=,data_blocks=,…", ANN),
	H(firmware, Q | C | D | R | O | S, "", "UEFI firmware; empty: none, the kernel is booted directly", ANN),
	H(firmware_volume, Q | S, "", "second flash file, for UEFI variables", ANN),
	H(pflashes, Q, "", "flash image files"),
	H(machine_type, Q | S, QEMU_MACHINE, "machine model of the VMM", ANN,
	  .check = "q35|virt|microvm|pc|pseries|s390-ccw-virtio"),
	H(machine_accelerators, Q | D, "", "added to the machine's options, comma-separated", ANN),
	H(cpu_features, Q, "pmu=off", "added to the CPU model, comma-separated", ANN),
	H(cpu_template, F, "", "JSON file that says what the guest sees of the processor; empty: all that the VMM passes on"),
	H(seccomp_sandbox, Q, "", "QEMU's own system call filter: value of -sandbox; empty: Caisson's choice",
	  .aliases = "seccompsandbox"),
	H(disable_seccomp, C | F | D | O | S, "false", "switch off the VMM's own system call filter"),
	H(enable_landlock, C, "false",
	  "let the VMM open only the files that it was given (Landlock, Linux 6.2); no disks can be added later"),
	H(rootless, Q | C | O, "false", "run the VMM as an unprivileged user", ANN),

	/* who may change what */
	H(enable_annotations, CONFIG_ALL, "", "regular expressions: hypervisor annotations that pods may use",
	  .check = "regex"),

	/* CPUs and memory */
	H(default_vcpus, CONFIG_ALL, "1", "virtual CPUs at boot, rounded up; below 0: all of the host, 0: 1", ANN),
	H(default_maxvcpus, CONFIG_ALL, "0", "most virtual CPUs ever; 0: as many as the host has", ANN,
	  .aliases = "@default_max_vcpus"),
	H(overhead_vcpus, Q | C | D | O, "0", "added to the pod's CPU limit when the VM is sized", .check = "0..1024"),
	H(default_memory, CONFIG_ALL, "2048", "memory at boot in MiB, taken from the host as the guest touches it", ANN),
	H(overhead_memory, Q | C | D | O, "0", "MiB added to the pod's memory limit when the VM is sized"),
	H(default_maxmemory, Q | C | F | D | S, "0", "most memory ever in MiB; 0: all that the host has"),
	H(memory_slots, Q | C | F | S | R, "10", "how many times memory can be plugged in", ANN, .check = "0..256"),
	H(memory_offset, Q | F | S, "0", "MiB of guest address space kept for NVDIMM", ANN),
	H(enable_virtio_mem, Q | C, "false", "resize memory with virtio-mem instead of memory modules", ANN),
	H(enable_mem_prealloc, Q | C | F | O | S, "false", "take all guest memory from the host at start", ANN),
	H(enable_hugepages, CONFIG_VMM, "false", "back guest memory with huge pages", ANN),
	H(hugepage_type, Q | C | D | O, "hugetlbfs", "kind of huge pages", ANN, .check = "hugetlbfs|thp"),
	H(reclaim_guest_freed_memory, Q | C | F | D | O | S, "false", "give memory that the guest frees back to the host", ANN),
	H(enable_numa, Q, "false", "give the guest the host's NUMA nodes"),
	H(numa_mapping, Q, "", "host nodes of each guest node, e.g. [\"0-1\", \"2-3\"]", ANN),
	H(enable_guest_swap, Q | C | D | O, "false", "give the guest a swap file of the host", ANN),
	H(guest_swap_path, C | D | O, "/run/kata-containers/swap", "directory of swap files"),
	H(guest_swap_size_percent, C | D | O, "100", "size of the swap file in percent of the memory"),
	H(guest_swap_create_threshold_secs, C | D | O, "60", "seconds to wait before the swap file is made"),

	/* shared file system */
	H(shared_fs, CONFIG_VMM, "virtio-fs;dragonball=inline-virtio-fs;firecracker=none",
	  "how files of the host reach the guest", ANN,
	  .check = "virtio-fs|virtio-9p|virtio-fs-nydus|inline-virtio-fs|none"),
	H(virtio_fs_daemon, Q | C | S | O, "", "virtiofsd; empty: /usr/libexec/virtiofsd or /usr/lib/qemu/virtiofsd", ANN,
	  .allow = "valid_virtio_fs_daemon_paths"),
	H(valid_virtio_fs_daemon_paths, Q | C | S, "", "globs that a virtio_fs_daemon annotation must match"),
	H(virtio_fs_extra_args, Q | C | D | S | O, "--thread-pool-size=1,-o,announce_submounts",
	  "further arguments of virtiofsd", ANN),
	H(virtio_fs_cache, Q | C | D | S | O, "auto", "how long the guest may keep file data", ANN,
	  .check = "never|none|metadata|auto|always"),
	H(virtio_fs_cache_size, Q | C | D | S | O, "0", "DAX window in MiB; 0: no DAX", ANN),
	H(virtio_fs_queue_size, Q | C | O, "1024", "size of the virtio-fs queues", .check = "pow2 16..32768"),
	H(virtio_fs_is_dax, Q | C | D | O, "false", "use a DAX window"),
	H(msize_9p, Q | F, "8192", "bytes of one 9p packet", ANN, .check = "4096..1048576"),
	H(prefetch_list_path, D, "", "list of files that a nydus image fetches beforehand", ANN,
	  .aliases = "@prefetch_files.list"),

	/* block devices */
	H(block_device_driver, CONFIG_VMM,
	  "virtio-blk-pci;firecracker=virtio-blk-mmio;stratovirt=virtio-mmio", "driver of disks that are added to the VM", ANN,
	  .check = "virtio-scsi|virtio-blk|virtio-blk-pci|virtio-blk-mmio|virtio-blk-ccw|virtio-mmio|virtio-pmem|nvdimm"),
	H(disable_block_device_use, Q | C | S, "false", "never pass a host block device as a container's root", ANN),
	H(block_device_aio, Q | F, "threads", "how the VMM reads and writes disks", ANN,
	  .check = "threads|native|io_uring"),
	H(block_device_cache_set, Q | C | F | S, "false", "whether the next two keys count", ANN),
	H(block_device_cache_direct, Q | C | D | S | O, "false", "bypass the host's page cache", ANN),
	H(block_device_cache_noflush, Q | F | S, "false", "ignore flush requests of the guest", ANN),
	H(block_device_logical_sector_size, Q | S, "0", "logical sector size of disks; 0: the VMM's", ANN, SECTOR,
	  .aliases = "@blk_logical_sector_size"),
	H(block_device_physical_sector_size, Q | S, "0", "physical sector size of disks; 0: the VMM's", ANN, SECTOR,
	  .aliases = "@blk_physical_sector_size"),
	H(num_queues, Q | C | F | D | O, "1", "queues of each disk", ANN, .check = "1..1024",
	  .aliases = "@block_device_num_queues"),
	H(queue_size, Q | C | F | D | O, "128", "size of a disk's queues", ANN, .check = "pow2 2..32768",
	  .aliases = "@block_device_queue_size"),
	H(enable_iothreads, Q, "false", "serve SCSI disks in a thread of their own", ANN),
	H(indep_iothreads, Q, "0", "threads for disks that are added later", ANN, .check = "0..64"),
	H(enable_vhost_user_store, Q, "false", "disks served by a vhost-user program such as SPDK", ANN),
	H(vhost_user_store_path, Q, "/var/run/kata-containers/vhost-user", "where the sockets of these disks are", ANN,
	  .allow = "valid_vhost_user_store_paths"),
	H(valid_vhost_user_store_paths, Q, "", "globs that a vhost_user_store_path annotation must match"),
	H(vhost_user_reconnect_timeout_sec, Q, "0", "seconds between attempts to reach such a program again; 0: none", ANN),
	H(disk_rate_limiter_bw_max_rate, C | F, "0", "disk bandwidth in bit/s; 0: no limit"),
	H(disk_rate_limiter_bw_one_time_burst, C | F, "0", "bits above that rate, once"),
	H(disk_rate_limiter_ops_max_rate, C | F, "0", "disk operations per second; 0: no limit"),
	H(disk_rate_limiter_ops_one_time_burst, C | F, "0", "operations above that rate, once"),

	/* network */
	H(disable_vhost_net, Q | D, "false", "network cards without the host kernel's vhost-net", ANN),
	H(network_queues, Q | C | F | D | O | S, "1", "queue pairs of each network card", ANN, .check = "1..256"),
	H(rx_rate_limiter_max_rate, Q | F, "0", "bit/s into the guest; 0: no limit", ANN),
	H(tx_rate_limiter_max_rate, Q | F, "0", "bit/s out of the guest; 0: no limit", ANN),
	H(net_rate_limiter_bw_max_rate, C, "0", "network bandwidth in bit/s; 0: no limit"),
	H(net_rate_limiter_bw_one_time_burst, C, "0", "bits above that rate, once"),
	H(net_rate_limiter_ops_max_rate, C, "0", "network packets per second; 0: no limit"),
	H(net_rate_limiter_ops_one_time_burst, C, "0", "packets above that rate, once"),

	/* buses and passed-through devices */
	H(default_bridges, Q | C | F | D | S | R, "1;dragonball=0", "PCI bridges for devices that are added later",
	  .check = "0..5"),
	H(enable_iommu, Q | C | F | S, "false", "give the guest an IOMMU", ANN),
	H(enable_iommu_platform, Q, "false", "let virtio devices go through the IOMMU", ANN),
	H(hot_plug_vfio, Q | C, "no-port", "where host devices are plugged in while the VM runs", ANN, VFIO),
	H(cold_plug_vfio, Q | C, "no-port", "where host devices are plugged in before the VM starts", ANN, VFIO),
	H(pcie_root_port, Q, "0", "PCIe root ports made beforehand", ANN, .check = "0..16"),
	H(pcie_switch_port, Q, "0", "PCIe switch ports made beforehand", ANN, .check = "0..16"),
	H(entropy_source, Q | F | S, "/dev/urandom", "host file behind the guest's random number device", ANN,
	  .allow = "valid_entropy_sources"),
	H(valid_entropy_sources, Q | F, "/dev/urandom,/dev/random", "globs that an entropy_source annotation must match"),
	H(default_gpus, R, "0", "GPUs that the remote helper shall give", ANN),
	H(default_gpu_model, R, "", "model of these GPUs", ANN, .aliases = "@gpu_model"),

	/* debugging */
	H(enable_debug, CONFIG_ALL, "false", "verbose VMM, guest kernel messages, agent log"),
	H(log_level, D, "info", "log level of the VMM", LOGLEVEL),
	H(hypervisor_loglevel, C, "1", "how many -v Cloud Hypervisor gets with enable_debug", .check = "0..3"),
	H(extra_monitor_socket, Q, "", "one more QEMU monitor, with enable_debug only", .check = "|hmp|qmp|qmp-pretty",
	  .aliases = "dbg_monitor_socket"),
	H(use_legacy_serial, Q, "false", "guest console on a serial port instead of virtio", ANN),
	H(guest_memory_dump_path, Q, "", "host directory for the memory of a guest that crashed; empty: no dump"),
	H(guest_memory_dump_paging, Q, "false", "write that dump in the order of guest virtual addresses"),
	H(disable_nesting_checks, Q | C | F | D | S | O, "false", "do not adapt to a host that is a VM itself"),
	H(disable_nested_virtualization, C, "false", "hide the CPU's virtualisation from the guest"),

	/* labels and hooks */
	H(disable_selinux, Q | C | F | S | R, "false", "no SELinux label on the VMM"),
	H(selinux_label, Q | C | D | O, "", "SELinux label of the VMM"),
	H(disable_guest_selinux, Q | C | S | R, "true", "no SELinux in the guest"),
	H(guest_hook_path, CONFIG_ALL, "", "directory in the guest with prestart, poststart and poststop hooks", ANN),

	/* confidential guests */
	H(confidential_guest, Q | C, "false", "start a confidential VM of the kind that the host offers"),
	H(sev_snp_guest, Q | C, "false", "SEV-SNP and not plain SEV"),
	H(snp_id_block, Q, "", "SEV-SNP launch ID block, base64"),
	H(snp_id_auth, Q, "", "SEV-SNP ID authentication, base64"),
	H(snp_guest_policy, Q, "196608", "SEV-SNP policy bits"),
	H(tdx_quote_generation_service_socket_port, Q, "0", "vsock port of TDX quote generation; 0: its Unix socket"),
	H(measurement_algo, Q, "sha512", "hash of the initdata document", .check = "sha256|sha384|sha512"),
	H(initdata, CONFIG_ALL, "", "initdata document handed to the confidential guest", ANN,
	  .aliases = "@cc_init_data"),

	/* peer pods */
	H(remote_hypervisor_socket, R, "/run/peerpod/hypervisor.sock", "Unix socket of the helper that makes peer pods",
	  .aliases = "hypervisor_socket"),
	H(remote_hypervisor_timeout, R, "600", "seconds that this helper may take", .aliases = "hypervisor_timeout"),

	/* kept as they are, or known only so that nobody is told that they are misspelt */
	ROW_OPAQUE(CONFIG_HYPERVISOR, guest_extension_images, Q, "tables with name, path, verity_params: further images"),
	ROW_OPAQUE(CONFIG_HYPERVISOR, rootless_user, Q | C | O, "user of a rootless VMM, in Kata filled by the runtime"),
	ROW_OPAQUE(CONFIG_HYPERVISOR, boot_to_be_template, Q | C | D, "internal to Kata's VM templates"),
	ROW_OPAQUE(CONFIG_HYPERVISOR, boot_from_template, Q | C | D, "internal to Kata's VM templates"),
	ROW_OPAQUE(CONFIG_HYPERVISOR, memory_path, Q | C | D, "internal to Kata's VM templates"),
	ROW_OPAQUE(CONFIG_HYPERVISOR, device_state_path, Q | C | D, "internal to Kata's VM templates"),
};
/* clang-format on */
const size_t config_n_keys_hypervisor = sizeof config_keys_hypervisor / sizeof config_keys_hypervisor[0];
