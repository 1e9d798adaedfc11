// SPDX-License-Identifier: Apache-2.0
#include "sys/rtnl.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/strv.h"
#include "sys/netlink.h"

/* ---- text ---- */

static size_t ip_size(int family)
{
	return family == AF_INET ? 4 : family == AF_INET6 ? 16 : 0;
}

int rtnl_ip_parse(const char *text, struct rtnl_ip *ret)
{
	struct rtnl_ip ip = { .family = strchr(text, ':') ? AF_INET6 : AF_INET };

	if (inet_pton(ip.family, text, ip.bytes) != 1)
		return -EINVAL;
	*ret = ip;
	return 0;
}

int rtnl_prefix_parse(const char *text, struct rtnl_ip *ret, uint8_t *ret_prefix)
{
	const char *slash = strchr(text, '/');
	char address[INET6_ADDRSTRLEN];
	struct rtnl_ip ip;
	uint64_t prefix;
	size_t n = slash ? (size_t)(slash - text) : strlen(text);

	if (n >= sizeof address)
		return -EINVAL;
	memcpy(address, text, n);
	address[n] = '\0';
	if (rtnl_ip_parse(address, &ip) < 0)
		return -EINVAL;
	prefix = ip_size(ip.family) * 8;
	if (slash && (str_to_u64(slash + 1, 10, &prefix) < 0 || prefix > ip_size(ip.family) * 8))
		return -EINVAL;
	*ret = ip;
	*ret_prefix = (uint8_t)prefix;
	return 0;
}

void rtnl_ip_format(const struct rtnl_ip *ip, char *out, size_t size)
{
	if (ip->family == AF_UNSPEC || !inet_ntop(ip->family, ip->bytes, out, (socklen_t)size))
		out[0] = '\0';
}

int rtnl_hw_parse(const char *text, uint8_t hw[32], size_t *ret_len)
{
	size_t n = 0;

	for (;; text += 3) {
		int hi = hex_digit(text[0]), lo = hi < 0 ? -1 : hex_digit(text[1]);

		if (lo < 0 || n == 32)
			return -EINVAL;
		hw[n++] = (uint8_t)(hi << 4 | lo);
		if (!text[2])
			break;
		if (text[2] != ':')
			return -EINVAL;
	}
	*ret_len = n;
	return 0;
}

void rtnl_hw_format(const uint8_t *hw, size_t len, char *out, size_t size)
{
	size_t at = 0;

	out[0] = '\0';
	for (size_t i = 0; i < len && at + 4 <= size; i++)
		at += (size_t)snprintf(out + at, size - at, "%s%02x", i ? ":" : "", hw[i]);
}

/* ---- reading ---- */

static void take_ip(struct rtnl_ip *ip, int family, const struct nlattr_view *a)
{
	size_t n = ip_size(family);

	if (n == 0 || a->len < n)
		return;
	ip->family = family;
	memcpy(ip->bytes, a->data, n);
}

static void take_text(char *out, size_t size, const struct nlattr_view *a)
{
	size_t n = strnlen(a->data, a->len);

	if (n >= size)
		n = size - 1;
	memcpy(out, a->data, n);
	out[n] = '\0';
}

/* The fixed header in front of the attributes, copied because the buffer promises no alignment. */
static int take_header(const void *body, size_t n, void *header, size_t size, const void **ret_pos, size_t *ret_left)
{
	size_t step = NLMSG_ALIGN(size);

	if (n < size)
		return -EBADMSG;
	memcpy(header, body, size);
	if (step > n)
		step = n;
	*ret_pos = (const char *)body + step;
	*ret_left = n - step;
	return 0;
}

int rtnl_parse_link(const void *body, size_t n, struct rtnl_link *ret)
{
	struct rtnl_link l = { 0 };
	struct nlattr_view a, sub;
	struct ifinfomsg h;
	const void *pos;
	size_t left;
	int r = take_header(body, n, &h, sizeof h, &pos, &left);

	if (r < 0)
		return r;
	l.index = h.ifi_index;
	l.flags = h.ifi_flags;
	l.type = h.ifi_type;
	while (nlattr_next(&pos, &left, &a)) {
		if (a.type == IFLA_IFNAME) {
			take_text(l.name, sizeof l.name, &a);
		} else if (a.type == IFLA_MTU) {
			l.mtu = nlattr_u32(&a);
		} else if (a.type == IFLA_LINK) {
			l.parent = (int)nlattr_u32(&a);
		} else if (a.type == IFLA_LINK_NETNSID) {
			l.parent_elsewhere = true;
		} else if (a.type == IFLA_MASTER) {
			l.master = (int)nlattr_u32(&a);
		} else if (a.type == IFLA_ADDRESS && a.len <= sizeof l.hw) {
			memcpy(l.hw, a.data, a.len);
			l.hw_len = a.len;
		} else if (a.type == IFLA_LINKINFO) {
			const void *p = a.data;
			size_t rest = a.len;

			while (nlattr_next(&p, &rest, &sub))
				if (sub.type == IFLA_INFO_KIND)
					take_text(l.kind, sizeof l.kind, &sub);
		}
	}
	*ret = l;
	return 0;
}

int rtnl_parse_addr(const void *body, size_t n, struct rtnl_addr *ret)
{
	struct rtnl_addr out = { 0 };
	struct nlattr_view a;
	struct ifaddrmsg h;
	const void *pos;
	size_t left;
	int r = take_header(body, n, &h, sizeof h, &pos, &left);

	if (r < 0)
		return r;
	out.index = (int)h.ifa_index;
	out.prefix = h.ifa_prefixlen;
	out.scope = h.ifa_scope;
	out.flags = h.ifa_flags;
	while (nlattr_next(&pos, &left, &a)) {
		if (a.type == IFA_LOCAL)
			take_ip(&out.ip, h.ifa_family, &a);
		else if (a.type == IFA_ADDRESS)
			take_ip(&out.peer, h.ifa_family, &a);
		else if (a.type == IFA_FLAGS)
			out.flags = nlattr_u32(&a);
		else if (a.type == IFA_PROTO && a.len >= 1)
			memcpy(&out.protocol, a.data, 1);
	}
	/* On point-to-point links IFA_ADDRESS is the peer and IFA_LOCAL ours; else they are equal, or there is one. */
	if (out.ip.family == AF_UNSPEC)
		out.ip = out.peer;
	if (!memcmp(&out.ip, &out.peer, sizeof out.ip))
		out.peer = (struct rtnl_ip){ 0 };
	*ret = out;
	return out.ip.family == AF_UNSPEC;
}

static void take_metrics(struct rtnl_route *r, const struct nlattr_view *metrics)
{
	const void *pos = metrics->data;
	size_t left = metrics->len;
	struct nlattr_view a;

	while (nlattr_next(&pos, &left, &a))
		if (a.type == RTAX_MTU)
			r->mtu = nlattr_u32(&a);
}

int rtnl_parse_route(const void *body, size_t n, struct rtnl_route *ret)
{
	struct rtnl_route out = { 0 };
	struct nlattr_view a;
	const void *pos;
	struct rtmsg h;
	size_t left;
	int r = take_header(body, n, &h, sizeof h, &pos, &left);

	if (r < 0)
		return r;
	out.family = h.rtm_family;
	out.dst_len = h.rtm_dst_len;
	out.scope = h.rtm_scope;
	out.protocol = h.rtm_protocol;
	out.type = h.rtm_type;
	out.table = h.rtm_table;
	out.flags = h.rtm_flags;
	while (nlattr_next(&pos, &left, &a)) {
		if (a.type == RTA_DST)
			take_ip(&out.dst, h.rtm_family, &a);
		else if (a.type == RTA_GATEWAY)
			take_ip(&out.gateway, h.rtm_family, &a);
		else if (a.type == RTA_PREFSRC)
			take_ip(&out.source, h.rtm_family, &a);
		else if (a.type == RTA_OIF)
			out.oif = (int)nlattr_u32(&a);
		else if (a.type == RTA_TABLE)
			out.table = nlattr_u32(&a);
		else if (a.type == RTA_PRIORITY)
			out.priority = nlattr_u32(&a);
		else if (a.type == RTA_METRICS)
			take_metrics(&out, &a);
		else if (a.type == RTA_MULTIPATH || a.type == RTA_VIA || a.type == RTA_ENCAP)
			out.unusual = true;
	}
	*ret = out;
	return out.table != RT_TABLE_MAIN || (h.rtm_flags & RTM_F_CLONED);
}

int rtnl_parse_neigh(const void *body, size_t n, struct rtnl_neigh *ret)
{
	struct rtnl_neigh out = { 0 };
	struct nlattr_view a;
	const void *pos;
	struct ndmsg h;
	size_t left;
	int r = take_header(body, n, &h, sizeof h, &pos, &left);

	if (r < 0)
		return r;
	out.index = h.ndm_ifindex;
	out.state = h.ndm_state;
	out.flags = h.ndm_flags;
	while (nlattr_next(&pos, &left, &a)) {
		if (a.type == NDA_DST) {
			take_ip(&out.ip, h.ndm_family, &a);
		} else if (a.type == NDA_LLADDR && a.len <= sizeof out.hw) {
			memcpy(out.hw, a.data, a.len);
			out.hw_len = a.len;
		}
	}
	*ret = out;
	return out.ip.family == AF_UNSPEC;
}

/* ---- tables ---- */

struct table {
	char *items;
	size_t n, size, item_size;
	uint16_t type;
	int (*parse)(const void *body, size_t n, void *item);
};

static int table_add(uint16_t type, const void *body, size_t n, void *userdata)
{
	struct table *t = userdata;
	int r;

	if (type != t->type)
		return 0;
	if (t->n == t->size) {
		size_t size = t->size ? t->size * 2 : 8;
		char *items;

		if (size > RTNL_TABLE_MAX)
			return -E2BIG;
		items = reallocarray(t->items, size, t->item_size);
		if (!items)
			return -ENOMEM;
		t->items = items;
		t->size = size;
	}
	r = t->parse(body, n, t->items + t->n * t->item_size);
	if (r == 0)
		t->n++;
	return r < 0 ? r : 0;
}

static void table_clear(void *userdata)
{
	((struct table *)userdata)->n = 0;
}

static int dump(int fd, uint16_t request, struct table *t, void **ret, size_t *ret_n)
{
	/* All headers begin with a family byte; the longest serves for each. */
	struct ifinfomsg h = { .ifi_family = AF_UNSPEC };
	struct nlreq q;
	int r;

	nlreq_init(&q, request, NLM_F_DUMP, &h, sizeof h);
	r = netlink_dump(fd, &q, table_add, table_clear, t);
	if (r < 0) {
		free(t->items);
		return r;
	}
	*ret = t->items;
	*ret_n = t->n;
	return 0;
}

static int parse_link(const void *body, size_t n, void *item)
{
	return rtnl_parse_link(body, n, item);
}

static int parse_addr(const void *body, size_t n, void *item)
{
	return rtnl_parse_addr(body, n, item);
}

static int parse_route(const void *body, size_t n, void *item)
{
	return rtnl_parse_route(body, n, item);
}

static int parse_neigh(const void *body, size_t n, void *item)
{
	return rtnl_parse_neigh(body, n, item);
}

int rtnl_open(void)
{
	return netlink_open(NETLINK_ROUTE);
}

int rtnl_open_watch(void)
{
	struct sockaddr_nl a = { .nl_family = AF_NETLINK,
				 .nl_groups = RTMGRP_LINK | RTMGRP_NEIGH | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE |
					      RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);

	if (fd < 0 || bind(fd, (struct sockaddr *)&a, sizeof a) < 0)
		return -errno;
	return take_fd(&fd);
}

int rtnl_links(int fd, struct rtnl_link **ret, size_t *ret_n)
{
	struct table t = { .item_size = sizeof **ret, .type = RTM_NEWLINK, .parse = parse_link };

	return dump(fd, RTM_GETLINK, &t, (void **)ret, ret_n);
}

int rtnl_addrs(int fd, struct rtnl_addr **ret, size_t *ret_n)
{
	struct table t = { .item_size = sizeof **ret, .type = RTM_NEWADDR, .parse = parse_addr };

	return dump(fd, RTM_GETADDR, &t, (void **)ret, ret_n);
}

int rtnl_routes(int fd, struct rtnl_route **ret, size_t *ret_n)
{
	struct table t = { .item_size = sizeof **ret, .type = RTM_NEWROUTE, .parse = parse_route };

	return dump(fd, RTM_GETROUTE, &t, (void **)ret, ret_n);
}

int rtnl_neighs(int fd, struct rtnl_neigh **ret, size_t *ret_n)
{
	struct table t = { .item_size = sizeof **ret, .type = RTM_NEWNEIGH, .parse = parse_neigh };

	return dump(fd, RTM_GETNEIGH, &t, (void **)ret, ret_n);
}

/* ---- changes ---- */

int rtnl_link_change(int fd, int index, const struct rtnl_link_change *change)
{
	struct ifinfomsg h = { .ifi_index = index, .ifi_flags = change->flags, .ifi_change = change->mask };
	struct nlreq q;

	nlreq_init(&q, RTM_NEWLINK, 0, &h, sizeof h);
	if (change->name)
		nlreq_str(&q, IFLA_IFNAME, change->name);
	if (change->mtu)
		nlreq_u32(&q, IFLA_MTU, change->mtu);
	if (change->hw_len)
		nlreq_attr(&q, IFLA_ADDRESS, change->hw, change->hw_len);
	if (change->no_ipv6) {
		uint8_t none = IN6_ADDR_GEN_MODE_NONE;
		size_t spec = nlreq_nest_begin(&q, IFLA_AF_SPEC), inet6 = nlreq_nest_begin(&q, AF_INET6);

		nlreq_attr(&q, IFLA_INET6_ADDR_GEN_MODE, &none, sizeof none);
		nlreq_nest_end(&q, inet6);
		nlreq_nest_end(&q, spec);
	}
	return netlink_call(fd, &q, NULL, NULL);
}

int rtnl_macvtap_add(int fd, const char *name, int index, int parent)
{
	struct ifinfomsg h = { .ifi_index = index };
	struct nlreq q;
	size_t info, data;

	nlreq_init(&q, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &h, sizeof h);
	nlreq_str(&q, IFLA_IFNAME, name);
	nlreq_u32(&q, IFLA_LINK, (uint32_t)parent);
	info = nlreq_nest_begin(&q, IFLA_LINKINFO);
	nlreq_str(&q, IFLA_INFO_KIND, "macvtap");
	data = nlreq_nest_begin(&q, IFLA_INFO_DATA);
	nlreq_u32(&q, IFLA_MACVLAN_MODE, MACVLAN_MODE_BRIDGE);
	nlreq_nest_end(&q, data);
	nlreq_nest_end(&q, info);
	return netlink_call(fd, &q, NULL, NULL);
}

int rtnl_link_del(int fd, int index)
{
	struct ifinfomsg h = { .ifi_index = index };
	struct nlreq q;

	nlreq_init(&q, RTM_DELLINK, 0, &h, sizeof h);
	return netlink_call(fd, &q, NULL, NULL);
}

static int change_addr(int fd, uint16_t type, uint16_t flags, const struct rtnl_addr *a)
{
	struct ifaddrmsg h = { .ifa_family = (uint8_t)a->ip.family,
			       .ifa_prefixlen = a->prefix,
			       .ifa_scope = a->scope,
			       .ifa_index = (uint32_t)a->index };
	size_t n = ip_size(a->ip.family);
	struct nlreq q;

	if (n == 0)
		return -EAFNOSUPPORT;
	/* The host has found the address free already: duplicate detection would only delay its use. */
	if (a->ip.family == AF_INET6)
		h.ifa_flags = IFA_F_NODAD;
	nlreq_init(&q, type, flags, &h, sizeof h);
	nlreq_attr(&q, IFA_LOCAL, a->ip.bytes, n);
	nlreq_attr(&q, IFA_ADDRESS, a->ip.bytes, n);
	if (a->ip.family == AF_INET && type == RTM_NEWADDR && a->prefix < 31) {
		uint32_t address, broadcast;

		memcpy(&address, a->ip.bytes, sizeof address);
		broadcast = address | htonl(UINT32_MAX >> a->prefix);
		nlreq_attr(&q, IFA_BROADCAST, &broadcast, sizeof broadcast);
	}
	return netlink_call(fd, &q, NULL, NULL);
}

int rtnl_addr_add(int fd, const struct rtnl_addr *a)
{
	return change_addr(fd, RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, a);
}

int rtnl_addr_del(int fd, const struct rtnl_addr *a)
{
	return change_addr(fd, RTM_DELADDR, 0, a);
}

static int change_route(int fd, uint16_t type, uint16_t flags, const struct rtnl_route *r)
{
	struct rtmsg h = { .rtm_family = (uint8_t)r->family,
			   .rtm_dst_len = r->dst_len,
			   .rtm_table = RT_TABLE_MAIN,
			   .rtm_protocol = r->protocol,
			   .rtm_scope = r->scope,
			   .rtm_type = r->type,
			   .rtm_flags = r->flags };
	size_t n = ip_size(r->family);
	struct nlreq q;

	if (n == 0)
		return -EAFNOSUPPORT;
	nlreq_init(&q, type, flags, &h, sizeof h);
	if (r->dst.family)
		nlreq_attr(&q, RTA_DST, r->dst.bytes, n);
	if (r->gateway.family)
		nlreq_attr(&q, RTA_GATEWAY, r->gateway.bytes, n);
	if (r->source.family)
		nlreq_attr(&q, RTA_PREFSRC, r->source.bytes, n);
	if (r->oif)
		nlreq_u32(&q, RTA_OIF, (uint32_t)r->oif);
	if (r->priority)
		nlreq_u32(&q, RTA_PRIORITY, r->priority);
	if (r->mtu) {
		size_t at = nlreq_nest_begin(&q, RTA_METRICS);

		nlreq_u32(&q, RTAX_MTU, r->mtu);
		nlreq_nest_end(&q, at);
	}
	return netlink_call(fd, &q, NULL, NULL);
}

int rtnl_route_add(int fd, const struct rtnl_route *r)
{
	return change_route(fd, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, r);
}

int rtnl_route_del(int fd, const struct rtnl_route *r)
{
	return change_route(fd, RTM_DELROUTE, 0, r);
}

int rtnl_neigh_add(int fd, const struct rtnl_neigh *n)
{
	struct ndmsg h = { .ndm_family = (uint8_t)n->ip.family,
			   .ndm_ifindex = n->index,
			   .ndm_state = n->state,
			   .ndm_flags = n->flags,
			   .ndm_type = RTN_UNICAST };
	struct nlreq q;

	if (ip_size(n->ip.family) == 0)
		return -EAFNOSUPPORT;
	nlreq_init(&q, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, &h, sizeof h);
	nlreq_attr(&q, NDA_DST, n->ip.bytes, ip_size(n->ip.family));
	if (n->hw_len)
		nlreq_attr(&q, NDA_LLADDR, n->hw, n->hw_len);
	return netlink_call(fd, &q, NULL, NULL);
}
