/* SPDX-License-Identifier: Apache-2.0 */
/* Each message type that a peer sends, unpacked under a budget and packed again. First byte: which type. */
#include <stdint.h>
#include <stdlib.h>

#include "proto/agent.pb-c.h"
#include "codec/pb.h"
#include "proto/csi.pb-c.h"
#include "proto/empty.pb-c.h"
#include "proto/health.pb-c.h"
#include "proto/memagent.pb-c.h"
#include "proto/ttrpc.pb-c.h"
#include "proto/types.pb-c.h"

#define PACKED_MAX ((size_t)4 << 20)

static const ProtobufCMessageDescriptor *const types[] = {
	&ttrpc__request__descriptor,
	&ttrpc__response__descriptor,
	&grpc__create_container_request__descriptor,
	&grpc__start_container_request__descriptor,
	&grpc__remove_container_request__descriptor,
	&grpc__exec_process_request__descriptor,
	&grpc__signal_process_request__descriptor,
	&grpc__wait_process_request__descriptor,
	&grpc__update_container_request__descriptor,
	&grpc__stats_container_request__descriptor,
	&grpc__pause_container_request__descriptor,
	&grpc__resume_container_request__descriptor,
	&grpc__write_stream_request__descriptor,
	&grpc__read_stream_request__descriptor,
	&grpc__close_stdin_request__descriptor,
	&grpc__tty_win_resize_request__descriptor,
	&grpc__create_sandbox_request__descriptor,
	&grpc__destroy_sandbox_request__descriptor,
	&grpc__remove_stale_virtiofs_share_mounts_request__descriptor,
	&grpc__update_interface_request__descriptor,
	&grpc__update_routes_request__descriptor,
	&grpc__update_ephemeral_mounts_request__descriptor,
	&grpc__list_interfaces_request__descriptor,
	&grpc__list_routes_request__descriptor,
	&grpc__add_arpneighbors_request__descriptor,
	&grpc__get_iptables_request__descriptor,
	&grpc__set_iptables_request__descriptor,
	&grpc__online_cpumem_request__descriptor,
	&grpc__reseed_random_dev_request__descriptor,
	&grpc__guest_details_request__descriptor,
	&grpc__mem_hotplug_by_probe_request__descriptor,
	&grpc__set_guest_date_time_request__descriptor,
	&grpc__copy_file_request__descriptor,
	&grpc__get_oomevent_request__descriptor,
	&grpc__add_swap_request__descriptor,
	&grpc__add_swap_path_request__descriptor,
	&grpc__get_metrics_request__descriptor,
	&grpc__volume_stats_request__descriptor,
	&grpc__resize_volume_request__descriptor,
	&grpc__set_policy_request__descriptor,
	&grpc__get_diagnostic_data_request__descriptor,
	&grpc__mem_agent_memcg_config__descriptor,
	&grpc__mem_agent_compact_config__descriptor,
	&grpc__check_request__descriptor,
	/* Answers of the guest. */
	&grpc__wait_process_response__descriptor,
	&grpc__stats_container_response__descriptor,
	&grpc__write_stream_response__descriptor,
	&grpc__read_stream_response__descriptor,
	&grpc__interfaces__descriptor,
	&grpc__routes__descriptor,
	&types__interface__descriptor,
	&grpc__guest_details_response__descriptor,
	&grpc__oomevent__descriptor,
	&grpc__metrics__descriptor,
	&grpc__volume_stats_response__descriptor,
	&grpc__health_check_response__descriptor,
	&grpc__version_check_response__descriptor,
	&google__protobuf__empty__descriptor,
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_(pb_free_p) ProtobufCMessage *m = NULL;
	_cleanup_buf_ struct buf out = { 0 };
	size_t budget = 1 << 20;

	if (!size)
		return 0;
	if (pb_unpack(types[data[0] % (sizeof types / sizeof *types)], data + 1, size - 1, &budget, &m) == 0) {
		if (pb_pack(m, PACKED_MAX, &out) == 0 && out.len > PACKED_MAX)
			abort();
	}
	if (budget > 1 << 20)
		abort();
	return 0;
}
