/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a TCP connection to a pod's loopback is carried into its guest: a connection of its own to a vsock port of our
 * agent. It begins with the request; the agent connects to its own loopback and answers with one byte, 0 or the errno
 * of connect(2); then come the bytes of the connection, both ways, each with its end.
 */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

#define FORWARD_VSOCK_PORT   1028
#define FORWARD_REQUEST_SIZE 4
#define FORWARD_VERSION      1
/* At once, of a pod. Our vsock device holds back what nobody reads for twice as many connections. */
#define FORWARD_CONNECTIONS_MAX 64

/* Version, 4 or 6 for the family, the port in network byte order. */
static inline void forward_request_write(uint8_t out[FORWARD_REQUEST_SIZE], bool ipv6, uint16_t port)
{
	out[0] = FORWARD_VERSION;
	out[1] = ipv6 ? 6 : 4;
	out[2] = (uint8_t)(port >> 8);
	out[3] = (uint8_t)port;
}

/* 0 or -EPROTO. */
static inline int forward_request_read(const uint8_t in[FORWARD_REQUEST_SIZE], bool *ret_ipv6, uint16_t *ret_port)
{
	uint16_t port = (uint16_t)(in[2] << 8 | in[3]);

	if (in[0] != FORWARD_VERSION || (in[1] != 4 && in[1] != 6) || port == 0)
		return -EPROTO;
	*ret_ipv6 = in[1] == 6;
	*ret_port = port;
	return 0;
}
