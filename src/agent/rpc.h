/* SPDX-License-Identifier: Apache-2.0 */
/* The handlers of the methods, one file per theme; service.c lists them. Each has the type ttrpc_handler_fn. */
#pragma once

#include "agent/agent.h"

#define RPC(name) void name(struct ttrpc_request *req, const ProtobufCMessage *message, void *userdata)

/* rpc_container.c */
RPC(rpc_create_container);
RPC(rpc_start_container);
RPC(rpc_remove_container);
RPC(rpc_exec_process);
RPC(rpc_signal_process);
RPC(rpc_update_container);
RPC(rpc_stats_container);
RPC(rpc_pause_container);
RPC(rpc_resume_container);

/* rpc_stdio.c */
RPC(rpc_wait_process);
RPC(rpc_write_stdin);
RPC(rpc_read_stdout);
RPC(rpc_read_stderr);
RPC(rpc_close_stdin);
RPC(rpc_tty_win_resize);

/* rpc_sandbox.c */
RPC(rpc_create_sandbox);
RPC(rpc_destroy_sandbox);
RPC(rpc_update_ephemeral_mounts);
RPC(rpc_remove_stale_mounts);

/* rpc_network.c */
RPC(rpc_update_interface);
RPC(rpc_update_routes);
RPC(rpc_list_interfaces);
RPC(rpc_list_routes);
RPC(rpc_add_arp_neighbors);

/* rpc_iptables.c */
RPC(rpc_get_iptables);
RPC(rpc_set_iptables);

/* rpc_names.c */
RPC(rpc_next_name);
RPC(rpc_answer_name);

/* rpc_files.c */
RPC(rpc_copy_file);
RPC(rpc_get_diagnostic_data);

/* rpc_system.c */
RPC(rpc_online_cpu_mem);
RPC(rpc_reseed_random_dev);
RPC(rpc_get_guest_details);
RPC(rpc_mem_hotplug_by_probe);
RPC(rpc_set_guest_date_time);
RPC(rpc_get_oom_event);
RPC(rpc_add_swap);
RPC(rpc_add_swap_path);

/* rpc_volume.c */
RPC(rpc_get_volume_stats);
RPC(rpc_resize_volume);

/* rpc_metrics.c */
RPC(rpc_get_metrics);
