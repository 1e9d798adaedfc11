/* SPDX-License-Identifier: Apache-2.0 */
/* Messages of the domain name system over TCP: each behind its length, of two bytes (RFC 1035 §4.2.2, RFC 7766 §8). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#define DNS_MESSAGE_MAX 65535

/* One that comes. {0}: none yet. */
struct dns_incoming {
	uint8_t head[2];
	size_t have; /* of both */
	uint8_t *data;
	size_t len;
};

/* One that goes. {0}: none. */
struct dns_outgoing {
	uint8_t *data; /* with its length in front */
	size_t len, at;
};

/* From a socket, without waiting. 1: all of it is there; 0: more is to come; -EPIPE: it has ended; or -errno. */
int dns_receive(struct dns_incoming *m, int fd);
/* For the next one. */
void dns_incoming_reset(struct dns_incoming *m);

/* 0, -EMSGSIZE or -ENOMEM. data is copied. m: none, or what was reset. */
int dns_outgoing_set(struct dns_outgoing *m, const void *data, size_t len);
/* To a socket, without waiting. 1: all of it is sent; 0: more is to go; or -errno. */
int dns_send(struct dns_outgoing *m, int fd);
void dns_outgoing_reset(struct dns_outgoing *m);
