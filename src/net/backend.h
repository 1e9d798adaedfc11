/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is behind a network card: where frames go and come from. One backend serves one pair of queues.
 *
 * A frame begins with a header of NET_HEADER_LEN bytes (struct virtio_net_hdr with num_buffers, VirtIO 1.2 §5.1.6).
 * Backends that know no offloads pass over it when they send and clear it when they receive.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#include "base/err.h"

#define NET_HEADER_LEN 12
/* The largest frame: a segment of 64 KiB to be cut later, with Ethernet header and VLAN tag. */
#define NET_FRAME_MAX (NET_HEADER_LEN + 65535 + 18)

struct net_backend;

struct net_backend_ops {
	/* len bytes in all. 0: taken, or dropped as networks do; -EAGAIN: wait for EPOLLOUT; else the backend is dead.
	 */
	int (*send)(struct net_backend *b, const struct iovec *frame, size_t n, size_t len);
	/*
	 * Go on with a frame that was taken and is not all sent. 0: it is now, or there is none; else as send().
	 * NULL: a frame is sent at once, or never.
	 */
	int (*flush)(struct net_backend *b);
	/* Into NET_FRAME_MAX bytes. Length; -EAGAIN: none now; else the backend is dead. */
	ssize_t (*receive)(struct net_backend *b, uint8_t *frame);
	/* The driver accepted these of `features`. */
	void (*set_features)(struct net_backend *b, uint64_t acked);
	void (*free)(struct net_backend *b);
};

struct net_backend {
	const struct net_backend_ops *ops;
	int fd;            /* for epoll */
	uint64_t features; /* offloads, NET_F_* of net/net.h */
};

/*
 * n queues of the tap device name, which exists, in the caller's network namespace; or on open descriptors, which are
 * taken over on success. ret: n backends.
 */
int net_tap_open(const char *name, size_t n, struct net_backend **ret, struct err *e);
int net_tap_from_fds(const int *fds, size_t n, struct net_backend **ret, struct err *e);

/* passt, or whatever speaks QEMU's stream protocol (a length in network order before each frame) on a Unix socket. */
int net_passt_connect(const char *socket, struct net_backend **ret, struct err *e);
/* The same on a connected socket, taken over on success. */
int net_passt_from_fd(int fd, struct net_backend **ret, struct err *e);

/* NULL does nothing. */
void net_backend_free(struct net_backend *b);
