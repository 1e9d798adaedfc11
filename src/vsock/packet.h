/* SPDX-License-Identifier: Apache-2.0 */
/* What goes over the virtio-vsock queues (VirtIO 1.2 §5.10.6). */
#pragma once

#include "guestmem/le.h"

#define VIRTIO_ID_VSOCK 19

#define VSOCK_CID_HOST 2
#define VSOCK_PORT_ANY 0xffffffffU

#define VSOCK_TYPE_STREAM 1

enum vsock_op {
	VSOCK_OP_REQUEST = 1,
	VSOCK_OP_RESPONSE = 2,
	VSOCK_OP_RST = 3,
	VSOCK_OP_SHUTDOWN = 4,
	VSOCK_OP_RW = 5,
	VSOCK_OP_CREDIT_UPDATE = 6,
	VSOCK_OP_CREDIT_REQUEST = 7,
};

/* Flags of SHUTDOWN: what the sender will not do any more. */
#define VSOCK_SHUTDOWN_RCV  1
#define VSOCK_SHUTDOWN_SEND 2
#define VSOCK_SHUTDOWN_BOTH 3

#define VSOCK_EVENT_TRANSPORT_RESET 0

#define VSOCK_PACKET_MAX 65536 /* payload bytes that either side puts into one packet */

struct vsock_hdr {
	le64 src_cid, dst_cid;
	le32 src_port, dst_port;
	le32 len;
	le16 type, op;
	le32 flags;
	le32 buf_alloc, fwd_cnt;
} __attribute__((packed));

#define VSOCK_HDR_LEN 44
_Static_assert(sizeof(struct vsock_hdr) == VSOCK_HDR_LEN, "VirtIO 1.2 §5.10.6");
