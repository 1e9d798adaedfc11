/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Links, addresses, routes and neighbours of the current network namespace over rtnetlink. Each function takes a
 * socket of rtnl_open(); tables are returned as arrays that the caller frees.
 */
#pragma once

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define RTNL_TABLE_MAX 65536    /* entries of one dump that are kept; more give -E2BIG */
#define RTNL_LOWER_UP  0x10000u /* IFF_LOWER_UP: it has a carrier. Of linux/if.h, which does not go with net/if.h */

struct rtnl_link {
	int index;
	unsigned int flags;  /* IFF_* */
	unsigned short type; /* ARPHRD_* */
	uint32_t mtu;
	char name[IF_NAMESIZE];
	char kind[16]; /* "veth", "bridge"; "" for hardware */
	uint8_t hw[32];
	size_t hw_len;
	int parent;            /* what a vlan, macvlan … is on, the other end of a veth; 0: none */
	bool parent_elsewhere; /* in another network namespace */
	int master;            /* the bridge that it is a port of; 0: none */
};

/* An IPv4 or IPv6 address; family AF_UNSPEC: none. */
struct rtnl_ip {
	int family;
	uint8_t bytes[16];
};

struct rtnl_addr {
	int index;
	struct rtnl_ip ip;
	uint8_t prefix, scope;
	/* When read only: */
	struct rtnl_ip peer; /* the other end of a point-to-point address, which prefix is of then; AF_UNSPEC: none */
	uint32_t flags;      /* IFA_F_* */
	uint8_t protocol;    /* IFAPROT_*; older kernels do not tell */
};

struct rtnl_route {
	int family;
	struct rtnl_ip dst; /* AF_UNSPEC: the default route */
	uint8_t dst_len;
	struct rtnl_ip gateway, source;
	int oif; /* 0: none */
	uint8_t scope, protocol, type;
	uint32_t table, flags, mtu, priority;
	bool unusual; /* when read: it has what is not told here (several next hops, a gateway of the other family) */
};

struct rtnl_neigh {
	int index;
	struct rtnl_ip ip;
	uint8_t hw[32];
	size_t hw_len;
	uint16_t state; /* NUD_* */
	uint8_t flags;  /* NTF_* */
};

/* Text forms. 0 or -EINVAL. */
int rtnl_ip_parse(const char *text, struct rtnl_ip *ret);
/* "a.b.c.d/n" or without "/n" (then the full length). */
int rtnl_prefix_parse(const char *text, struct rtnl_ip *ret, uint8_t *ret_prefix);
void rtnl_ip_format(const struct rtnl_ip *ip, char *out, size_t size);
int rtnl_hw_parse(const char *text, uint8_t hw[32], size_t *ret_len);
void rtnl_hw_format(const uint8_t *hw, size_t len, char *out, size_t size);

int rtnl_open(void);
/* Non-blocking, and only told of changes: of links, addresses, routes and neighbours. */
int rtnl_open_watch(void);

int rtnl_links(int fd, struct rtnl_link **ret, size_t *ret_n);
/* name NULL, mtu 0, hw_len 0: unchanged. flags: the bits of mask are set to it. */
struct rtnl_link_change {
	const char *name;
	uint32_t mtu;
	unsigned int flags, mask;
	const uint8_t *hw;
	size_t hw_len;
	bool no_ipv6; /* it gives itself no link-local address, so that it is silent when up */
};
int rtnl_link_change(int fd, int index, const struct rtnl_link_change *change);
/* A macvtap on the link parent, in mode bridge. -EBUSY, -EEXIST: name or index are taken (indices: on the whole host).
 */
int rtnl_macvtap_add(int fd, const char *name, int index, int parent);
int rtnl_link_del(int fd, int index);

int rtnl_addrs(int fd, struct rtnl_addr **ret, size_t *ret_n);
int rtnl_addr_add(int fd, const struct rtnl_addr *a); /* replaces an equal one */
int rtnl_addr_del(int fd, const struct rtnl_addr *a);

/* Of the main table, both families. */
int rtnl_routes(int fd, struct rtnl_route **ret, size_t *ret_n);
int rtnl_route_add(int fd, const struct rtnl_route *r); /* -EEXIST: there is one for this prefix */
int rtnl_route_del(int fd, const struct rtnl_route *r);

int rtnl_neighs(int fd, struct rtnl_neigh **ret, size_t *ret_n);
int rtnl_neigh_add(int fd, const struct rtnl_neigh *n); /* replaces an equal one */

/* Readers of one message each, behind nlmsghdr; exported for the fuzzer. 0, 1: not of interest, or -EBADMSG. */
int rtnl_parse_link(const void *body, size_t n, struct rtnl_link *ret);
int rtnl_parse_addr(const void *body, size_t n, struct rtnl_addr *ret);
int rtnl_parse_route(const void *body, size_t n, struct rtnl_route *ret);
int rtnl_parse_neigh(const void *body, size_t n, struct rtnl_neigh *ret);
