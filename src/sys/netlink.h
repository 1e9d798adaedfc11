/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Netlink messages: a fixed-size request builder, a bounds-checked reader, and one request-and-answers exchange.
 * The kernel is the only peer, but every length in an answer is checked before it is believed.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NLREQ_MAX 2048

/* A request being built. What does not fit marks it, and netlink_call() then fails with -EMSGSIZE. */
struct nlreq {
	size_t len;
	bool overflow;
	_Alignas(8) unsigned char data[NLREQ_MAX];
};

/* type, flags: of nlmsghdr; NLM_F_REQUEST is added. body: the family header (ifinfomsg, ifaddrmsg, rtmsg, ndmsg). */
void nlreq_init(struct nlreq *q, uint16_t type, uint16_t flags, const void *body, size_t n);
void nlreq_attr(struct nlreq *q, uint16_t type, const void *data, size_t n);
void nlreq_u32(struct nlreq *q, uint16_t type, uint32_t v);
void nlreq_str(struct nlreq *q, uint16_t type, const char *s);
/* Attributes between begin and end are inside one attribute of this type. */
size_t nlreq_nest_begin(struct nlreq *q, uint16_t type);
void nlreq_nest_end(struct nlreq *q, size_t at);

/* One attribute of a received message, the flag bits of its type removed. */
struct nlattr_view {
	uint16_t type;
	const void *data;
	size_t len;
};

/* Walk attributes: *pos and *left advance. false at the end or at the first malformed one. */
bool nlattr_next(const void **pos, size_t *left, struct nlattr_view *ret);
/* The value, or 0 when the attribute is too short. */
uint32_t nlattr_u32(const struct nlattr_view *a);

/* body: behind nlmsghdr. A negative return ends the exchange with that error. */
typedef int (*nlmsg_fn)(uint16_t type, const void *body, size_t n, void *userdata);

/*
 * Read the messages of one datagram that answer request seq (others are skipped). 1: the exchange is complete,
 * 0: more datagrams follow, negative: the error the kernel reported (of a dump: that broke it off), fn's, or -EBADMSG.
 * *flags (may be NULL) gets those of the messages added: NLM_F_DUMP_INTR.
 */
int netlink_parse(const void *datagram, size_t n, uint32_t seq, nlmsg_fn fn, void *userdata, unsigned *flags);

/* A socket of the given protocol (NETLINK_ROUTE), or a negative errno. Answers are waited for at most 5 s. */
int netlink_open(int protocol);
/* Send and handle all answers; fn may be NULL. NLM_F_ACK is added. */
int netlink_call(int fd, struct nlreq *q, nlmsg_fn fn, void *userdata);
/*
 * The same for a request with NLM_F_DUMP. What changes while the kernel lists it may be listed twice, or not at all:
 * the dump is repeated then, after `again` has thrown away what fn had gathered. -EAGAIN: it changes all the time.
 */
int netlink_dump(int fd, struct nlreq *q, nlmsg_fn fn, void (*again)(void *userdata), void *userdata);
