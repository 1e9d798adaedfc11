// SPDX-License-Identifier: Apache-2.0
/* Interfaces, routes and neighbours as the host tells them: the guest has no network configuration of its own. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#include "agent/device.h"
#include "agent/rpc.h"
#include "base/fd.h"
#include "base/log.h"
#include "sys/rtnl.h"

#define LIST_MAX 4096 /* addresses, routes or neighbours of one request */

static int open_rtnl(struct err *e)
{
	int fd = rtnl_open();

	return fd < 0 ? err_sys(e, -fd, "cannot speak to the kernel's network part") : fd;
}

static const struct rtnl_link *find_link(const struct rtnl_link *links, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(links[i].name, name))
			return &links[i];
	return NULL;
}

static const char *link_name(const struct rtnl_link *links, size_t n, int index)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].index == index)
			return links[i].name;
	return "";
}

/* ---- interfaces ---- */

static const struct rtnl_link *match_interface(const struct rtnl_link *links, size_t n, const Types__Interface *want)
{
	char hw[96], name[IF_NAMESIZE];

	if (*want->devicepath)
		return device_pci_net("/sys", want->devicepath, name, sizeof name) == 0 ? find_link(links, n, name)
											: NULL;
	for (size_t i = 0; i < n; i++) {
		rtnl_hw_format(links[i].hw, links[i].hw_len, hw, sizeof hw);
		if (!(links[i].flags & IFF_LOOPBACK) && !strcasecmp(hw, want->hwaddr))
			return &links[i];
	}
	return NULL;
}

/* The name may be taken by another interface that gets its own later: move that one out of the way. */
static int free_name(int fd, const struct rtnl_link *links, size_t n, const char *name, int index)
{
	const struct rtnl_link *other = find_link(links, n, name);
	struct rtnl_link_change down = { .mask = IFF_UP }, rename = { 0 };
	char spare[IF_NAMESIZE];
	int r;

	if (!other || other->index == index)
		return 0;
	snprintf(spare, sizeof spare, "old%d", other->index);
	rename.name = spare;
	r = rtnl_link_change(fd, other->index, &down);
	return r < 0 ? r : rtnl_link_change(fd, other->index, &rename);
}

static bool is_wanted(const Types__Interface *want, const struct rtnl_addr *a)
{
	char address[64], mask[16];

	rtnl_ip_format(&a->ip, address, sizeof address);
	snprintf(mask, sizeof mask, "%u", a->prefix);
	for (size_t i = 0; i < want->n_ipaddresses; i++)
		if (!strcmp(want->ipaddresses[i]->address, address) && !strcmp(want->ipaddresses[i]->mask, mask))
			return true;
	return false;
}

/* What stays is not touched: with an address its routes go, and what is sent meanwhile. */
static int set_addresses(int fd, int index, const Types__Interface *want, struct err *e)
{
	_cleanup_free_ struct rtnl_addr *old = NULL;
	size_t n;
	int r = rtnl_addrs(fd, &old, &n);

	if (r < 0)
		return err_sys(e, -r, "cannot list addresses");
	for (size_t i = 0; i < n; i++)
		if (old[i].index == index && old[i].scope != RT_SCOPE_LINK && !is_wanted(want, &old[i]))
			rtnl_addr_del(fd, &old[i]);
	for (size_t i = 0; i < want->n_ipaddresses; i++) {
		const Types__IPAddress *ip = want->ipaddresses[i];
		struct rtnl_addr a = { .index = index };
		uint64_t prefix = 0;

		if (rtnl_ip_parse(ip->address, &a.ip) < 0 || str_to_u64(ip->mask, 10, &prefix) < 0 ||
		    prefix > (a.ip.family == AF_INET ? 32 : 128))
			return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s/%.16s\" is not an address", ip->address,
				       ip->mask);
		a.prefix = (uint8_t)prefix;
		r = rtnl_addr_add(fd, &a);
		if (r < 0)
			return err_sys(e, -r, "cannot set address %s/%s", ip->address, ip->mask);
	}
	return 0;
}

static int configure(int fd, const struct rtnl_link *links, size_t n, const struct rtnl_link *link,
		     const Types__Interface *want, struct err *e)
{
	struct rtnl_link_change down = { .mask = IFF_UP }, change = { 0 }, up = { .flags = IFF_UP, .mask = IFF_UP };
	int r = 0;

	if (strcmp(link->name, want->name)) {
		r = free_name(fd, links, n, want->name, link->index);
		if (r == 0)
			r = rtnl_link_change(fd, link->index, &down);
		change.name = want->name;
	}
	if (want->mtu && want->mtu != link->mtu)
		change.mtu = (uint32_t)want->mtu;
	if (r == 0 && (change.name || change.mtu))
		r = rtnl_link_change(fd, link->index, &change);
	if (r < 0)
		return err_sys(e, -r, "cannot set name \"%s\" or MTU %llu", want->name, (unsigned long long)want->mtu);
	r = set_addresses(fd, link->index, want, e);
	if (r < 0)
		return r;
	if (want->raw_flags & IFF_NOARP)
		up = (struct rtnl_link_change){ .flags = IFF_UP | IFF_NOARP, .mask = IFF_UP | IFF_NOARP };
	r = rtnl_link_change(fd, link->index, &up);
	return r < 0 ? err_sys(e, -r, "cannot bring the interface up") : 0;
}

/* -EAGAIN: not there (yet). */
static int update_interface(const Types__Interface *want, struct err *e)
{
	_cleanup_free_ struct rtnl_link *links = NULL;
	const struct rtnl_link *link;
	_cleanup_close_ int fd = -1;
	uint8_t hw[32];
	size_t n, hw_len;
	int r;

	if (!want)
		return err_set(e, ERR_PROTOCOL, EINVAL, "no interface");
	if (!*want->name || strlen(want->name) >= IF_NAMESIZE || strpbrk(want->name, "/ \t\n%") ||
	    !strcmp(want->name, ".") || !strcmp(want->name, ".."))
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not the name of an interface", want->name);
	if (!*want->devicepath && rtnl_hw_parse(want->hwaddr, hw, &hw_len) < 0)
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.64s\" is not a hardware address", want->hwaddr);
	if (want->mtu > UINT32_MAX || want->n_ipaddresses > LIST_MAX)
		return err_set(e, ERR_PROTOCOL, EINVAL, "MTU or number of addresses out of range");
	fd = open_rtnl(e);
	if (fd < 0)
		return fd;
	r = rtnl_links(fd, &links, &n);
	if (r < 0)
		return err_sys(e, -r, "cannot list interfaces");
	link = match_interface(links, n, want);
	if (!link)
		return err_set(e, ERR_GUEST, EAGAIN, "there is no interface with address %s",
			       *want->devicepath ? want->devicepath : want->hwaddr);
	r = configure(fd, links, n, link, want, e);
	if (r < 0)
		err_wrap(e, "interface %s (%s)", want->name, want->hwaddr);
	return r;
}

static bool try_update_interface(struct agent *a, struct ttrpc_request *req, bool last)
{
	const Grpc__UpdateInterfaceRequest *m = (const Grpc__UpdateInterfaceRequest *)ttrpc_request_message(req);
	struct err e = { 0 };
	int r = update_interface(m->interface, &e);

	(void)a;
	if (r == -EAGAIN && !last)
		return false;
	if (r == -EAGAIN)
		e.code = ENOENT;
	if (r < 0)
		rpc_fail(req, &e);
	else
		ttrpc_reply(req, &m->interface->base);
	return true;
}

RPC(rpc_update_interface)
{
	(void)message;
	agent_wait_device(userdata, req, try_update_interface);
}

/* ---- answers: built from malloc()ed messages and freed by protobuf-c ---- */

static char *ip_text(const struct rtnl_ip *ip, int prefix)
{
	char text[64];

	rtnl_ip_format(ip, text, sizeof text);
	return prefix < 0 ? strdup(text) : str_printf("%s/%d", text, prefix);
}

static int add_address(Types__Interface *i, const struct rtnl_addr *a)
{
	Types__IPAddress **list = reallocarray(i->ipaddresses, i->n_ipaddresses + 1, sizeof(Types__IPAddress *)), *ip;

	if (!list)
		return -ENOMEM;
	i->ipaddresses = list;
	ip = malloc(sizeof *ip);
	if (!ip)
		return -ENOMEM;
	types__ipaddress__init(ip);
	list[i->n_ipaddresses++] = ip;
	ip->family = a->ip.family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
	ip->address = ip_text(&a->ip, -1);
	ip->mask = str_printf("%d", a->prefix);
	return ip->address && ip->mask ? 0 : -ENOMEM;
}

static int fill_interface(Types__Interface *i, const struct rtnl_link *l, const struct rtnl_addr *addrs, size_t n)
{
	char hw[96];
	int r = 0;

	rtnl_hw_format(l->hw, l->hw_len, hw, sizeof hw);
	i->device = strdup(l->name);
	i->name = strdup(l->name);
	i->hwaddr = strdup(hw);
	i->type = strdup(l->kind);
	i->mtu = l->mtu;
	i->raw_flags = l->flags;
	if (!i->device || !i->name || !i->hwaddr || !i->type)
		r = -ENOMEM;
	for (size_t j = 0; j < n && r == 0; j++)
		if (addrs[j].index == l->index)
			r = add_address(i, &addrs[j]);
	return r;
}

static int list_interfaces(Grpc__Interfaces *out, struct err *e)
{
	_cleanup_free_ struct rtnl_link *links = NULL;
	_cleanup_free_ struct rtnl_addr *addrs = NULL;
	_cleanup_close_ int fd = open_rtnl(e);
	size_t n_links, n_addrs;
	int r = fd < 0 ? fd : rtnl_links(fd, &links, &n_links);

	if (r == 0)
		r = rtnl_addrs(fd, &addrs, &n_addrs);
	if (r == 0)
		out->interfaces = calloc(n_links ? n_links : 1, sizeof *out->interfaces);
	if (r == 0 && !out->interfaces)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < n_links; i++) {
		Types__Interface *one = malloc(sizeof *one);

		if (!one) {
			r = -ENOMEM;
			break;
		}
		types__interface__init(one);
		out->interfaces[out->n_interfaces++] = one;
		r = fill_interface(one, &links[i], addrs, n_addrs);
	}
	return r < 0 ? err_sys(e, -r, "cannot list interfaces") : 0;
}

RPC(rpc_list_interfaces)
{
	Grpc__Interfaces *out = malloc(sizeof *out);
	struct err e = { 0 };

	(void)message;
	(void)userdata;
	if (!out) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	grpc__interfaces__init(out);
	if (list_interfaces(out, &e) < 0)
		rpc_fail(req, &e);
	else
		ttrpc_reply(req, &out->base);
	protobuf_c_message_free_unpacked(&out->base, NULL);
}

/* ---- routes ---- */

static int fill_route(Types__Route *out, const struct rtnl_route *r, const char *device)
{
	out->dest = r->dst.family ? ip_text(&r->dst, r->dst_len) : strdup("");
	out->gateway = r->gateway.family ? ip_text(&r->gateway, -1) : strdup("");
	out->source = r->source.family ? ip_text(&r->source, -1) : strdup("");
	out->device = strdup(device);
	out->scope = r->scope;
	out->family = r->family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
	out->flags = r->flags;
	out->mtu = r->mtu;
	return out->dest && out->gateway && out->source && out->device ? 0 : -ENOMEM;
}

static int list_routes(int fd, Grpc__Routes *out, struct err *e)
{
	_cleanup_free_ struct rtnl_route *routes = NULL;
	_cleanup_free_ struct rtnl_link *links = NULL;
	size_t n_routes, n_links;
	int r = rtnl_links(fd, &links, &n_links);

	if (r == 0)
		r = rtnl_routes(fd, &routes, &n_routes);
	if (r == 0)
		out->routes = calloc(n_routes ? n_routes : 1, sizeof *out->routes);
	if (r == 0 && !out->routes)
		r = -ENOMEM;
	for (size_t i = 0; r == 0 && i < n_routes; i++) {
		Types__Route *one;

		if (routes[i].type != RTN_UNICAST)
			continue;
		one = malloc(sizeof *one);
		if (!one) {
			r = -ENOMEM;
			break;
		}
		types__route__init(one);
		out->routes[out->n_routes++] = one;
		r = fill_route(one, &routes[i], link_name(links, n_links, routes[i].oif));
	}
	return r < 0 ? err_sys(e, -r, "cannot list routes") : 0;
}

static void reply_routes(struct ttrpc_request *req, int fd)
{
	Grpc__Routes *out = malloc(sizeof *out);
	struct err e = { 0 };

	if (!out) {
		ttrpc_reply_error(req, TTRPC_RESOURCE_EXHAUSTED, "out of memory");
		return;
	}
	grpc__routes__init(out);
	if (list_routes(fd, out, &e) < 0)
		rpc_fail(req, &e);
	else
		ttrpc_reply(req, &out->base);
	protobuf_c_message_free_unpacked(&out->base, NULL);
}

static int parse_route(const Types__Route *in, const struct rtnl_link *links, size_t n, struct rtnl_route *ret,
		       struct err *e)
{
	struct rtnl_route r = { .family = in->family == TYPES__IPFAMILY__v6 ? AF_INET6 : AF_INET,
				.type = RTN_UNICAST,
				.protocol = RTPROT_STATIC,
				.scope = (uint8_t)in->scope,
				.flags = in->flags & RTNH_F_ONLINK,
				.mtu = in->mtu };
	const struct rtnl_link *link = find_link(links, n, in->device);

	if (!link)
		return err_set(e, ERR_PROTOCOL, ENOENT, "route to \"%.64s\": there is no interface \"%.64s\"", in->dest,
			       in->device);
	r.oif = link->index;
	if (in->scope > 255 || (*in->dest && rtnl_prefix_parse(in->dest, &r.dst, &r.dst_len) < 0) ||
	    (*in->gateway && rtnl_ip_parse(in->gateway, &r.gateway) < 0) ||
	    (*in->source && rtnl_ip_parse(in->source, &r.source) < 0))
		return err_set(e, ERR_PROTOCOL, EINVAL, "route to \"%.64s\" by \"%.64s\" from \"%.64s\" is malformed",
			       in->dest, in->gateway, in->source);
	/* Old hosts leave the family out. */
	if (r.dst.family || r.gateway.family)
		r.family = r.dst.family ? r.dst.family : r.gateway.family;
	if ((r.gateway.family && r.gateway.family != r.family) || (r.source.family && r.source.family != r.family))
		return err_set(e, ERR_PROTOCOL, EINVAL, "route to \"%.64s\" mixes IPv4 and IPv6", in->dest);
	if (r.dst.family && r.dst_len == 0)
		r.dst.family = AF_UNSPEC; /* 0.0.0.0/0 */
	*ret = r;
	return 0;
}

static int update_routes(int fd, const Grpc__Routes *want, struct err *e)
{
	_cleanup_free_ struct rtnl_route *fresh = NULL, *old = NULL;
	_cleanup_free_ struct rtnl_link *links = NULL;
	size_t n_links, n_old;
	int r;

	if (!want || want->n_routes > LIST_MAX)
		return err_set(e, ERR_PROTOCOL, EINVAL, "no routes, or too many");
	fresh = calloc(want->n_routes ? want->n_routes : 1, sizeof *fresh);
	r = fresh ? rtnl_links(fd, &links, &n_links) : -ENOMEM;
	if (r == 0)
		r = rtnl_routes(fd, &old, &n_old);
	if (r < 0)
		return err_sys(e, -r, "cannot list routes");
	for (size_t i = 0; i < want->n_routes && r == 0; i++)
		r = parse_route(want->routes[i], links, n_links, &fresh[i], e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n_old; i++)
		if (old[i].protocol != RTPROT_KERNEL && old[i].type == RTN_UNICAST)
			rtnl_route_del(fd, &old[i]);
	/* Those without a gateway first: the others' gateways are reached by them. */
	for (int gateway = 0; gateway < 2; gateway++)
		for (size_t i = 0; i < want->n_routes && r == 0; i++) {
			if ((fresh[i].gateway.family != AF_UNSPEC) != gateway)
				continue;
			r = rtnl_route_add(fd, &fresh[i]);
			if (r == -EEXIST) /* the kernel made it when it was given the address */
				r = 0;
			if (r < 0)
				err_sys(e, -r, "cannot add route to \"%s\" by \"%s\" on %s", want->routes[i]->dest,
					want->routes[i]->gateway, want->routes[i]->device);
		}
	return r;
}

RPC(rpc_update_routes)
{
	const Grpc__UpdateRoutesRequest *m = (const Grpc__UpdateRoutesRequest *)message;
	struct err e = { 0 };
	_cleanup_close_ int fd = open_rtnl(&e);

	(void)userdata;
	if (fd < 0 || update_routes(fd, m->routes, &e) < 0)
		rpc_fail(req, &e);
	else
		reply_routes(req, fd);
}

RPC(rpc_list_routes)
{
	struct err e = { 0 };
	_cleanup_close_ int fd = open_rtnl(&e);

	(void)message;
	(void)userdata;
	if (fd < 0)
		rpc_fail(req, &e);
	else
		reply_routes(req, fd);
}

/* ---- neighbours ---- */

static int add_neighbors(const Grpc__ARPNeighbors *want, struct err *e)
{
	_cleanup_free_ struct rtnl_link *links = NULL;
	_cleanup_close_ int fd = -1;
	size_t n_links;
	int r;

	if (!want || want->n_arpneighbors > LIST_MAX)
		return err_set(e, ERR_PROTOCOL, EINVAL, "no neighbors, or too many");
	fd = open_rtnl(e);
	if (fd < 0)
		return fd;
	r = rtnl_links(fd, &links, &n_links);
	if (r < 0)
		return err_sys(e, -r, "cannot list interfaces");
	for (size_t i = 0; i < want->n_arpneighbors; i++) {
		const Types__ARPNeighbor *in = want->arpneighbors[i];
		const struct rtnl_link *link = find_link(links, n_links, in->device);
		struct rtnl_neigh out = { .state = in->state ? (uint16_t)in->state : NUD_PERMANENT,
					  .flags = (uint8_t)in->flags };

		if (!link)
			return err_set(e, ERR_PROTOCOL, ENOENT, "neighbor %zu: there is no interface \"%.64s\"", i,
				       in->device);
		if (!in->toipaddress || rtnl_ip_parse(in->toipaddress->address, &out.ip) < 0 ||
		    (*in->lladdr && rtnl_hw_parse(in->lladdr, out.hw, &out.hw_len) < 0))
			return err_set(e, ERR_PROTOCOL, EINVAL, "neighbor %zu is malformed", i);
		out.index = link->index;
		r = rtnl_neigh_add(fd, &out);
		if (r < 0)
			return err_sys(e, -r, "cannot add neighbor %s on %s", in->toipaddress->address, in->device);
	}
	return 0;
}

RPC(rpc_add_arp_neighbors)
{
	struct err e = { 0 };
	int r = add_neighbors(((const Grpc__AddARPNeighborsRequest *)message)->neighbors, &e);

	(void)userdata;
	rpc_result(req, r, &e);
}
