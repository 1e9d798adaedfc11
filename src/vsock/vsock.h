/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The virtio-vsock device with the hybrid Unix-socket protocol of Firecracker and Cloud Hypervisor: no AF_VSOCK, no
 * kernel module on the host.
 *
 * Host to guest: connect to the Unix socket uds_path, send "CONNECT <port>\n" (any letter case), receive
 * "OK <host port>\n" once the guest has accepted; from there on it is the stream. The stream is closed instead when
 * the guest refuses or does not answer in time.
 * Guest to host: the guest connects to CID 2 port P, and gets what listens at "<uds_path>_P", or a reset.
 */
#pragma once

#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "virtio/device.h"

#define VSOCK_CONNECTIONS_MAX 1023

/*
 * Make the device and listen at uds_path (mode 0600; removed again by virtio_device_free()). guest_cid: 3 and more.
 * All its work is done on loop's thread.
 */
int vsock_device_new(struct loop *loop, const char *uds_path, uint64_t guest_cid, struct virtio_device **ret,
		     struct err *e);

/*
 * The guest was moved or restored: drop all connections and tell its driver by a TRANSPORT_RESET event (§5.10.6.7).
 * 0, or -EAGAIN when the driver offers no event buffer.
 */
int vsock_device_transport_reset(struct virtio_device *dev);

/* Connections and handshakes that are open. */
unsigned vsock_device_connections(const struct virtio_device *dev);

/* Parse "CONNECT <port>\n", len bytes. 0 or -EINVAL. */
int vsock_parse_connect(const char *line, size_t len, uint32_t *ret_port);
