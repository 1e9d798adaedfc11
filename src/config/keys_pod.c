/* SPDX-License-Identifier: Apache-2.0 */
/* The keys of [agent.kata], [runtime] and [factory]: default, check, meaning. */
#include "config/keys_table.h"

#define A(key, dflt, text, ...) ROW(CONFIG_AGENT, agent, key, 0, dflt, text, ##__VA_ARGS__)
#define T(key, dflt, text, ...) ROW(CONFIG_RUNTIME, runtime, key, 0, dflt, text, ##__VA_ARGS__)
#define F(key, dflt, text, ...) ROW(CONFIG_FACTORY, factory, key, 0, dflt, text, ##__VA_ARGS__)
#define ANN                     .annotation = true
#define LOGLEVEL                .check = "trace|debug|info|warn|warning|error|critical"
#define PORT                    .check = "1..65535"

/* clang-format off */
const struct config_key config_keys_pod[] = {
	A(enable_debug, "false", "agent logs at level debug"),
	A(log_level, "info", "log level of the agent", LOGLEVEL),
	A(enable_tracing, "false", "agent sends traces", ANN),
	A(debug_console_enabled, "false", "shell in the guest on vsock port 1026"),
	A(kernel_modules, "", "modules that the guest loads, each \"name parameter…\"", ANN),
	A(visible_cdi_devices, "false", "the container's VISIBLE_CDI_DEVICES chooses its GPUs"),
	A(launch_process_timeout, "6", "seconds that the guest's helper processes may take to start"),
	A(dial_timeout, "0", "seconds until the agent must answer; sets reconnect_timeout_ms unless that is set too"),
	A(dial_timeout_ms, "10", "milliseconds between attempts to reach the agent"),
	A(reconnect_timeout_ms, "45000", "milliseconds until the agent must answer"),
	A(cdh_api_timeout_ms, "50000", "milliseconds that the confidential data hub may take", ANN,
	  .aliases = "cdh_api_timeout*1000"),
	A(create_container_timeout, "60", "seconds that the agent may take to create a container"),
	A(health_check_request_timeout_ms, "90000", "milliseconds that a health check may take"),
	A(server_port, "1024", "vsock port of the agent", PORT),
	A(log_port, "1025", "vsock port of the agent's log", PORT),
	A(passfd_listener_port, "1027", "vsock port for standard streams that bypass the agent", PORT),
	A(container_pipe_size, "0", "size of the pipes behind standard streams in the guest; 0: the kernel's", ANN),
	A(policy, "", "policy document for the agent, base64", ANN),
	ROW_OPAQUE(CONFIG_AGENT, mem_agent, 0, "table of Kata's memory agent in the guest"),

	T(name, "virt_container", "kind of runtime; there is one", ANN, .check = "virt_container"),
	T(hypervisor_name, "", "which [hypervisor.*] table counts", ANN),
	T(agent_name, "kata", "which [agent.*] table counts; there is one", ANN, .check = "kata"),
	T(enable_debug, "false", "log at level debug"),
	T(log_level, "info", "log level", LOGLEVEL),
	T(internetworking_model, "tcfilter", "how the VM is connected to the pod's network", ANN,
	  .check = "tcfilter|macvtap|none|l3forwarding"),
	T(disable_guest_seccomp, "true", "no seccomp filter for containers in the guest", ANN),
	T(enable_vcpus_pinning, "false", "pin virtual CPUs when the pod has as many CPUs of its own", ANN),
	T(guest_selinux_label, "", "SELinux label of containers in the guest", ANN),
	T(enable_tracing, "false", "send traces"),
	T(jaeger_endpoint, "", "where traces go"),
	T(jaeger_user, "", "user name there"),
	T(jaeger_password, "", "password there", .secret = true),
	T(disable_new_netns, "false", "run the VMM in the host's network; only with internetworking_model none", ANN),
	T(sandbox_cgroup_only, "true", "put everything of a pod into the pod's cgroup", ANN),
	T(static_sandbox_resource_mgmt, "true", "size the VM before it starts, from the pod's limits", ANN),
	T(sandbox_bind_mounts, "", "host paths shown in the guest, read-only unless \":rw\" follows", ANN),
	T(vfio_mode, "guest-kernel", "what a container sees of a passed-through device", ANN,
	  .check = "vfio|guest-kernel"),
	T(disable_guest_empty_dir, "true", "emptyDir volumes live on the host"),
	T(emptydir_mode, "shared-fs", "what is behind emptyDir volumes", .check = "shared-fs|block-encrypted|block-plain"),
	T(experimental, "", "experimental features to switch on", ANN),
	T(experimental_force_guest_pull, "false", "always pull container images in the guest", ANN),
	T(enable_pprof, "false", "profiling of Kata's Go runtime", ANN),
	T(create_container_timeout, "60", "seconds until a container must be created", ANN),
	T(dan_conf, "/run/kata-containers/dans", "directory of files that describe directly attached networks"),
	T(kubelet_root_dir, "/var/lib/kubelet", "kubelet's directory"),
	T(pod_resource_api_sock, "", "kubelet's PodResources socket, to learn a pod's devices; empty: not asked"),
	T(keep_abnormal, "false", "keep a VM that failed, to look at it"),
	T(use_passfd_io, "false", "standard streams bypass the agent"),
	T(passfd_listener_port, "1027", "vsock port for that", PORT),
	ROW_OPAQUE(CONFIG_RUNTIME, shared_mounts, 0, "tables that show a path of one container in another"),

	F(enable_template, "false", "start VMs from a saved one"),
	F(template_path, "/run/vc/vm/template", "where that one is saved"),
	F(vm_cache_number, "0", "VMs kept ready"),
	F(vm_cache_endpoint, "/var/run/kata-containers/cache.sock", "socket of the service that keeps them"),
};
/* clang-format on */
const size_t config_n_keys_pod = sizeof config_keys_pod / sizeof config_keys_pod[0];
