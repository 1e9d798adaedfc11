// SPDX-License-Identifier: Apache-2.0
/*
 * The two services of the protocol: every method that a host may call, in the order of the protocol; and what it does
 * not have.
 */
#include "agent/rpc.h"
#include "proto/agent.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/memagent.pb-c.h"
#include "proto/names.pb-c.h"

#define KATA_API_VERSION "0.0.1" /* what Kata's agents answer: version of the gRPC interface */

static RPC(unimplemented_policy)
{
	(void)message;
	(void)userdata;
	ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED, "SetPolicy: this agent has no policy engine");
}

static RPC(unimplemented_mem_agent)
{
	(void)message;
	(void)userdata;
	ttrpc_reply_error(req, TTRPC_UNIMPLEMENTED, "this agent has no memory agent");
}

static RPC(check)
{
	Grpc__HealthCheckResponse resp = GRPC__HEALTH_CHECK_RESPONSE__INIT;

	(void)message;
	(void)userdata;
	resp.status = GRPC__SERVING_STATUS__SERVING;
	ttrpc_reply(req, &resp.base);
}

static RPC(version)
{
	Grpc__VersionCheckResponse resp = GRPC__VERSION_CHECK_RESPONSE__INIT;

	(void)message;
	(void)userdata;
	resp.grpc_version = (char *)KATA_API_VERSION;
	resp.agent_version = (char *)CAISSON_VERSION;
	ttrpc_reply(req, &resp.base);
}

#define M(name, request, fn)                                                                                           \
	{                                                                                                              \
		name, &grpc__##request##__descriptor, fn                                                               \
	}

static const struct ttrpc_method agent_methods[] = {
	M("CreateContainer", create_container_request, rpc_create_container),
	M("StartContainer", start_container_request, rpc_start_container),
	M("RemoveContainer", remove_container_request, rpc_remove_container),
	M("ExecProcess", exec_process_request, rpc_exec_process),
	M("SignalProcess", signal_process_request, rpc_signal_process),
	M("WaitProcess", wait_process_request, rpc_wait_process),
	M("UpdateContainer", update_container_request, rpc_update_container),
	M("UpdateEphemeralMounts", update_ephemeral_mounts_request, rpc_update_ephemeral_mounts),
	M("StatsContainer", stats_container_request, rpc_stats_container),
	M("PauseContainer", pause_container_request, rpc_pause_container),
	M("ResumeContainer", resume_container_request, rpc_resume_container),
	M("RemoveStaleVirtiofsShareMounts", remove_stale_virtiofs_share_mounts_request, rpc_remove_stale_mounts),
	M("GetDiagnosticData", get_diagnostic_data_request, rpc_get_diagnostic_data),
	M("WriteStdin", write_stream_request, rpc_write_stdin),
	M("ReadStdout", read_stream_request, rpc_read_stdout),
	M("ReadStderr", read_stream_request, rpc_read_stderr),
	M("CloseStdin", close_stdin_request, rpc_close_stdin),
	M("TtyWinResize", tty_win_resize_request, rpc_tty_win_resize),
	M("UpdateInterface", update_interface_request, rpc_update_interface),
	M("UpdateRoutes", update_routes_request, rpc_update_routes),
	M("ListInterfaces", list_interfaces_request, rpc_list_interfaces),
	M("ListRoutes", list_routes_request, rpc_list_routes),
	M("AddARPNeighbors", add_arpneighbors_request, rpc_add_arp_neighbors),
	M("GetIPTables", get_iptables_request, rpc_get_iptables),
	M("SetIPTables", set_iptables_request, rpc_set_iptables),
	M("GetMetrics", get_metrics_request, rpc_get_metrics),
	M("MemAgentMemcgSet", mem_agent_memcg_config, unimplemented_mem_agent),
	M("MemAgentCompactSet", mem_agent_compact_config, unimplemented_mem_agent),
	M("CreateSandbox", create_sandbox_request, rpc_create_sandbox),
	M("DestroySandbox", destroy_sandbox_request, rpc_destroy_sandbox),
	M("OnlineCPUMem", online_cpumem_request, rpc_online_cpu_mem),
	M("ReseedRandomDev", reseed_random_dev_request, rpc_reseed_random_dev),
	M("GetGuestDetails", guest_details_request, rpc_get_guest_details),
	M("MemHotplugByProbe", mem_hotplug_by_probe_request, rpc_mem_hotplug_by_probe),
	M("SetGuestDateTime", set_guest_date_time_request, rpc_set_guest_date_time),
	M("CopyFile", copy_file_request, rpc_copy_file),
	M("GetOOMEvent", get_oomevent_request, rpc_get_oom_event),
	M("AddSwap", add_swap_request, rpc_add_swap),
	M("AddSwapPath", add_swap_path_request, rpc_add_swap_path),
	M("GetVolumeStats", volume_stats_request, rpc_get_volume_stats),
	M("ResizeVolume", resize_volume_request, rpc_resize_volume),
	M("SetPolicy", set_policy_request, unimplemented_policy),
};

static const struct ttrpc_method health_methods[] = {
	M("Check", check_request, check),
	M("Version", check_request, version),
};

static const struct ttrpc_method names_methods[] = {
	{ "Next", &caisson__next_name_query__descriptor, rpc_next_name },
	{ "Answer", &caisson__name_answer__descriptor, rpc_answer_name },
};

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

const struct ttrpc_service agent_services[] = {
	{ "grpc.AgentService", agent_methods, COUNT(agent_methods) },
	{ "grpc.Health", health_methods, COUNT(health_methods) },
	{ "caisson.Names", names_methods, COUNT(names_methods) },
};

const size_t agent_n_services = COUNT(agent_services);
