/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio network card (VirtIO 1.2 §5.1): one or more pairs of queues, offloads as far as its backends have them,
 * a control queue for choosing the number of pairs, rate limits in both directions.
 */
#pragma once

#include "net/backend.h"
#include "virtio/device.h"
#include "virtio/rate.h"

#define NET_PAIRS_MAX 16

#define NET_F_CSUM       (1ULL << 0)
#define NET_F_GUEST_CSUM (1ULL << 1)
#define NET_F_MTU        (1ULL << 3)
#define NET_F_MAC        (1ULL << 5)
#define NET_F_GUEST_TSO4 (1ULL << 7)
#define NET_F_GUEST_TSO6 (1ULL << 8)
#define NET_F_GUEST_UFO  (1ULL << 10)
#define NET_F_HOST_TSO4  (1ULL << 11)
#define NET_F_HOST_TSO6  (1ULL << 12)
#define NET_F_HOST_UFO   (1ULL << 14)
#define NET_F_MRG_RXBUF  (1ULL << 15)
#define NET_F_STATUS     (1ULL << 16)
#define NET_F_CTRL_VQ    (1ULL << 17)
#define NET_F_MQ         (1ULL << 22)

struct net_config {
	const char *name;              /* for messages */
	struct net_backend **backends; /* one for each pair; taken over on success */
	size_t n_pairs;                /* 1 to NET_PAIRS_MAX */
	bool has_mac;
	uint8_t mac[6];
	uint16_t mtu;        /* 0: not told */
	uint16_t queue_size; /* 0: 256 */
	struct rate_config rx, tx;
};

int net_new(struct loop *loop, const struct net_config *c, struct virtio_device **ret, struct err *e);

/* New limits; NULL: as they are. Inside the loop. */
void net_set_rates(struct virtio_device *dev, const struct rate_config *rx, const struct rate_config *tx);

/* "02:00:00:00:00:01" → six bytes. 0 or -EINVAL (also a group address). */
int net_parse_mac(const char *text, uint8_t ret[6]);
