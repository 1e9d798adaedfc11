/* SPDX-License-Identifier: Apache-2.0 */
/* The vhost-user protocol (QEMU, docs/interop/vhost-user.rst): numbers and messages. Native byte order, one host. */
#pragma once

#include <stdint.h>

enum vhost_user_request {
	VHOST_USER_GET_FEATURES = 1,
	VHOST_USER_SET_FEATURES = 2,
	VHOST_USER_SET_OWNER = 3,
	VHOST_USER_RESET_OWNER = 4,
	VHOST_USER_SET_MEM_TABLE = 5,
	VHOST_USER_SET_VRING_NUM = 8,
	VHOST_USER_SET_VRING_ADDR = 9,
	VHOST_USER_SET_VRING_BASE = 10,
	VHOST_USER_GET_VRING_BASE = 11,
	VHOST_USER_SET_VRING_KICK = 12,
	VHOST_USER_SET_VRING_CALL = 13,
	VHOST_USER_SET_VRING_ERR = 14,
	VHOST_USER_GET_PROTOCOL_FEATURES = 15,
	VHOST_USER_SET_PROTOCOL_FEATURES = 16,
	VHOST_USER_GET_QUEUE_NUM = 17,
	VHOST_USER_SET_VRING_ENABLE = 18,
	VHOST_USER_GET_CONFIG = 24,
	VHOST_USER_SET_CONFIG = 25,
	VHOST_USER_RESET_DEVICE = 34,
	VHOST_USER_GET_MAX_MEM_SLOTS = 36,
	VHOST_USER_ADD_MEM_REG = 37,
	VHOST_USER_REM_MEM_REG = 38,
	VHOST_USER_SET_STATUS = 39,
	VHOST_USER_GET_STATUS = 40,
	VHOST_USER_REQUESTS, /* one more than the largest that we know */
};

#define VHOST_USER_VERSION      1U
#define VHOST_USER_VERSION_MASK 3U
#define VHOST_USER_REPLY        4U
#define VHOST_USER_NEED_REPLY   8U

#define VHOST_USER_F_PROTOCOL_FEATURES (1ULL << 30) /* among the virtio features */

#define VHOST_USER_PROTOCOL_F_MQ                  (1ULL << 0)
#define VHOST_USER_PROTOCOL_F_REPLY_ACK           (1ULL << 3)
#define VHOST_USER_PROTOCOL_F_CONFIG              (1ULL << 9)
#define VHOST_USER_PROTOCOL_F_RESET_DEVICE        (1ULL << 13)
#define VHOST_USER_PROTOCOL_F_CONFIGURE_MEM_SLOTS (1ULL << 15)
#define VHOST_USER_PROTOCOL_F_STATUS              (1ULL << 16)

#define VHOST_USER_VRING_MASK 0xffU
#define VHOST_USER_VRING_NOFD 0x100U

#define VHOST_USER_FDS_MAX    8   /* regions of SET_MEM_TABLE */
#define VHOST_USER_SLOTS_MAX  32  /* what GET_MAX_MEM_SLOTS answers */
#define VHOST_USER_CONFIG_MAX 256 /* bytes of configuration space in one message */

struct vhost_user_region {
	uint64_t gpa, size, user, offset;
};

struct vhost_user_msg {
	uint32_t request, flags, size;
	union {
		uint64_t u64;
		struct {
			uint32_t index, num;
		} state;
		struct {
			uint32_t index, flags;
			uint64_t desc, used, avail, log;
		} addr;
		struct {
			uint32_t n, padding;
			struct vhost_user_region regions[VHOST_USER_FDS_MAX];
		} table;
		struct {
			uint64_t padding;
			struct vhost_user_region region;
		} region;
		struct {
			uint32_t offset, size, flags;
			uint8_t data[VHOST_USER_CONFIG_MAX];
		} config;
		uint8_t bytes[12 + VHOST_USER_CONFIG_MAX];
	} u;
} __attribute__((packed));

#define VHOST_USER_HDR_LEN     12
#define VHOST_USER_PAYLOAD_MAX (sizeof(struct vhost_user_msg) - VHOST_USER_HDR_LEN)
