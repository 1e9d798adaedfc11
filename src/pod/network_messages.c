// SPDX-License-Identifier: Apache-2.0
/*
 * What the agent is told. It hands everything to the guest's kernel, which makes some of it by itself: link-local
 * addresses, and the routes to the networks of addresses. Those are left out.
 *
 * The protocol has no metric. Of several routes to one destination the best is told, which is what the namespace did
 * with each packet, too; that the others would follow it is lost, and noted.
 *
 * Messages are made of malloc()ed parts and freed by protobuf-c. They are made anew at each look.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pod/network_internal.h"

#define IP_TEXT 64

static int ip_bits(int family)
{
	return family == AF_INET ? 32 : 128;
}

static Types__IPFamily family_of(int family)
{
	return family == AF_INET6 ? TYPES__IPFAMILY__v6 : TYPES__IPFAMILY__v4;
}

static const struct pod_endpoint *endpoint_at(const struct pod_network *n, int index)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (!n->endpoints[i]->nic.gone && n->endpoints[i]->link.index == index)
			return n->endpoints[i];
	return NULL;
}

static bool is_settled(const struct pod_network *n, const char *name)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (n->endpoints[i]->attached && !n->endpoints[i]->nic.gone && str_eq(n->endpoints[i]->link.name, name))
			return true;
	return false;
}

static Types__IPAddress *make_address(const struct rtnl_ip *ip, int prefix)
{
	Types__IPAddress *a = malloc(sizeof *a);
	char text[IP_TEXT];

	if (!a)
		return NULL;
	types__ipaddress__init(a);
	rtnl_ip_format(ip, text, sizeof text);
	a->family = family_of(ip->family);
	a->address = strdup(text);
	a->mask = str_printf("%d", prefix);
	if (a->address && a->mask)
		return a;
	protobuf_c_message_free_unpacked(&a->base, NULL);
	return NULL;
}

/* ---- interfaces ---- */

static int add_address(Types__Interface *i, const struct rtnl_addr *a)
{
	Types__IPAddress **list = reallocarray(i->ipaddresses, i->n_ipaddresses + 1, sizeof *list), *ip;
	/* Of a point-to-point address the prefix is the peer's network, to which there is a route. */
	int prefix = a->peer.family ? ip_bits(a->ip.family) : a->prefix;

	if (!list)
		return -ENOMEM;
	i->ipaddresses = list;
	ip = make_address(&a->ip, prefix);
	if (!ip)
		return -ENOMEM;
	list[i->n_ipaddresses++] = ip;
	return 0;
}

/* A card that stays in the VM without its interface has no addresses, and leaves the name to others. */
static int fill_interface(Types__Interface *i, const struct pod_endpoint *ep, const struct network_tables *t)
{
	const struct rtnl_link *l = &ep->link;
	char hw[96], name[IF_NAMESIZE];
	int r = 0;

	snprintf(name, sizeof name, "%s%.9s", ep->nic.gone ? "gone-" : "", ep->nic.gone ? ep->nic.id : "");
	rtnl_hw_format(l->hw, l->hw_len, hw, sizeof hw);
	i->device = strdup(ep->nic.gone ? name : l->name);
	i->name = strdup(ep->nic.gone ? name : l->name);
	i->hwaddr = strdup(hw);
	i->type = strdup(l->kind);
	i->mtu = l->mtu;
	i->raw_flags = l->flags & IFF_NOARP;
	if (!i->device || !i->name || !i->hwaddr || !i->type)
		return -ENOMEM;
	for (size_t k = 0; k < t->n_addrs && r == 0 && !ep->nic.gone; k++)
		if (t->addrs[k].index == l->index && network_addr_counts(&t->addrs[k]))
			r = add_address(i, &t->addrs[k]);
	return r;
}

static int make_interfaces(struct pod_network *n, const struct network_tables *t)
{
	Types__Interface **list = reallocarray(n->interfaces, n->n_endpoints + 1, sizeof *list);

	if (!list)
		return -ENOMEM;
	n->interfaces = list;
	for (size_t k = 0; k < n->n_endpoints; k++) {
		Types__Interface *one = malloc(sizeof *one);
		int r;

		if (!one)
			return -ENOMEM;
		types__interface__init(one);
		r = fill_interface(one, n->endpoints[k], t);
		if (r < 0) {
			protobuf_c_message_free_unpacked(&one->base, NULL);
			return r;
		}
		if (k < n->n_interfaces)
			protobuf_c_message_free_unpacked(&list[k]->base, NULL);
		else
			n->n_interfaces++;
		list[k] = one;
	}
	return 0;
}

/* ---- routes ---- */

static bool same_network(const struct rtnl_ip *a, const struct rtnl_ip *b, unsigned bits)
{
	unsigned whole = bits / 8, rest = bits % 8;

	return a->family == b->family && !memcmp(a->bytes, b->bytes, whole) &&
	       (!rest || !((a->bytes[whole] ^ b->bytes[whole]) >> (8 - rest)));
}

/* The guest's kernel makes it when it gets the address. */
static bool comes_with_address(const struct rtnl_route *r, const struct network_tables *t)
{
	if (r->protocol != RTPROT_KERNEL)
		return false;
	if (r->family == AF_INET6 && r->dst.family && r->dst.bytes[0] == 0xfe && (r->dst.bytes[1] & 0xc0) == 0x80)
		return true;
	for (size_t i = 0; i < t->n_addrs; i++)
		if (t->addrs[i].index == r->oif && !t->addrs[i].peer.family && t->addrs[i].prefix == r->dst_len &&
		    same_network(&t->addrs[i].ip, &r->dst, r->dst_len))
			return true;
	return false;
}

static bool guest_has_address(const struct pod_network *n, const struct network_tables *t, const struct rtnl_ip *ip)
{
	for (size_t i = 0; i < t->n_addrs; i++)
		if (endpoint_at(n, t->addrs[i].index) && network_addr_counts(&t->addrs[i]) &&
		    !memcmp(&t->addrs[i].ip, ip, sizeof *ip))
			return true;
	return false;
}

static void route_text(const struct rtnl_route *r, char *out, size_t size)
{
	char dst[IP_TEXT] = "default", gateway[IP_TEXT];

	if (r->dst.family)
		rtnl_ip_format(&r->dst, dst, sizeof dst);
	rtnl_ip_format(&r->gateway, gateway, sizeof gateway);
	if (r->dst.family)
		snprintf(dst + strlen(dst), sizeof dst - strlen(dst), "/%u", r->dst_len);
	snprintf(out, size, "%s%s%s", dst, *gateway ? " by " : "", gateway);
}

/* Why a route stays behind; NULL: it does not. */
static const char *route_obstacle(const struct pod_network *n, const struct rtnl_route *r)
{
	if (r->type != RTN_UNICAST)
		return "only routes that lead somewhere can";
	if (r->unusual || !r->oif)
		return "it has several next hops, or one of another kind";
	return endpoint_at(n, r->oif) ? NULL : "its interface is not given to the VM";
}

static Types__Route *make_route(const struct rtnl_route *r, const char *device, bool with_source)
{
	Types__Route *out = malloc(sizeof *out);
	char text[IP_TEXT];

	if (!out)
		return NULL;
	types__route__init(out);
	rtnl_ip_format(&r->dst, text, sizeof text);
	out->dest = r->dst.family ? str_printf("%s/%u", text, r->dst_len) : strdup("");
	rtnl_ip_format(&r->gateway, text, sizeof text);
	out->gateway = strdup(text);
	rtnl_ip_format(&r->source, text, sizeof text);
	out->source = strdup(with_source ? text : "");
	out->device = strdup(device);
	out->scope = r->scope;
	out->family = family_of(r->family);
	out->flags = r->flags & RTNH_F_ONLINK;
	out->mtu = r->mtu;
	if (out->dest && out->gateway && out->source && out->device)
		return out;
	protobuf_c_message_free_unpacked(&out->base, NULL);
	return NULL;
}

static const Types__Route *find_route(const struct pod_network *n, const Types__Route *like)
{
	for (size_t i = 0; i < n->n_routes; i++)
		if (n->routes[i]->family == like->family && str_eq(n->routes[i]->dest, like->dest))
			return n->routes[i];
	return NULL;
}

static int add_route(struct pod_network *n, const struct network_tables *t, const struct rtnl_route *r)
{
	bool source = r->source.family && guest_has_address(n, t, &r->source);
	Types__Route **list = reallocarray(n->routes, n->n_routes + 1, sizeof *list), *one;
	char text[2 * IP_TEXT + 8];
	int code = 0;

	if (!list)
		return -ENOMEM;
	n->routes = list;
	route_text(r, text, sizeof text);
	if (r->source.family && !source)
		code = strv_addf(&n->notes, "the route to %s is without its source address, which the VM does not get",
				 text);
	one = code == 0 ? make_route(r, endpoint_at(n, r->oif)->link.name, source) : NULL;
	if (!one)
		return -ENOMEM;
	if (!find_route(n, one)) {
		list[n->n_routes++] = one;
		return 0;
	}
	code = strv_addf(&n->notes, "the VM does not get the route to %s (metric %u): there is a better one", text,
			 r->priority);
	protobuf_c_message_free_unpacked(&one->base, NULL);
	return code;
}

static int best_first(const void *a, const void *b)
{
	const struct rtnl_route *x = *(const struct rtnl_route *const *)a, *y = *(const struct rtnl_route *const *)b;

	if (x->priority == y->priority)
		return x < y ? -1 : x > y;
	return x->priority < y->priority ? -1 : 1;
}

/* Those without a gateway, which others' gateways are reached by, before the others. */
static void put_in_order(struct pod_network *n)
{
	size_t first = 0;

	for (size_t i = 0; i < n->n_routes; i++) {
		Types__Route *one = n->routes[i];

		if (*one->gateway)
			continue;
		memmove(&n->routes[first + 1], &n->routes[first], (i - first) * sizeof(Types__Route *));
		n->routes[first++] = one;
	}
}

static void free_routes(Types__Route **routes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		protobuf_c_message_free_unpacked(&routes[i]->base, NULL);
	free(routes);
}

static void drop_unsettled_routes(struct pod_network *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->n_routes; i++) {
		if (is_settled(n, n->routes[i]->device))
			n->routes[kept++] = n->routes[i];
		else
			protobuf_c_message_free_unpacked(&n->routes[i]->base, NULL);
	}
	n->n_routes = kept;
}

static int make_routes(struct pod_network *n, const struct network_tables *t)
{
	_cleanup_free_ const struct rtnl_route **order = calloc(t->n_routes + 1, sizeof(struct rtnl_route *));
	int r = 0;

	if (!order)
		return -ENOMEM;
	for (size_t i = 0; i < t->n_routes; i++)
		order[i] = &t->routes[i];
	qsort(order, t->n_routes, sizeof *order, best_first);
	for (size_t i = 0; i < t->n_routes && r == 0; i++) {
		const char *why = route_obstacle(n, order[i]);
		char text[2 * IP_TEXT + 8];

		if (comes_with_address(order[i], t))
			continue;
		route_text(order[i], text, sizeof text);
		if (!why)
			r = add_route(n, t, order[i]);
		else if (order[i]->protocol != RTPROT_KERNEL)
			r = strv_addf(&n->notes, "the VM does not get the route to %s: %s", text, why);
	}
	put_in_order(n);
	return r;
}

/* ---- neighbours ---- */

static int add_neighbour(struct pod_network *n, const struct rtnl_neigh *in, const char *device)
{
	Types__ARPNeighbor **list = reallocarray(n->neighbours, n->n_neighbours + 1, sizeof *list), *one;
	char hw[96];

	if (!list)
		return -ENOMEM;
	n->neighbours = list;
	one = malloc(sizeof *one);
	if (!one)
		return -ENOMEM;
	types__arpneighbor__init(one);
	list[n->n_neighbours++] = one;
	rtnl_hw_format(in->hw, in->hw_len, hw, sizeof hw);
	one->toipaddress = make_address(&in->ip, ip_bits(in->ip.family));
	one->device = strdup(device);
	one->lladdr = strdup(hw);
	one->state = in->state;
	one->flags = in->flags;
	return one->toipaddress && one->device && one->lladdr ? 0 : -ENOMEM;
}

static void drop_unsettled_neighbours(struct pod_network *n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n->n_neighbours; i++) {
		if (n->neighbours[i]->device && is_settled(n, n->neighbours[i]->device))
			n->neighbours[kept++] = n->neighbours[i];
		else
			protobuf_c_message_free_unpacked(&n->neighbours[i]->base, NULL);
	}
	n->n_neighbours = kept;
}

/* Those that somebody set; what the namespace has learned, the guest learns for itself. */
static int make_neighbours(struct pod_network *n, const struct network_tables *t)
{
	int r = 0;

	for (size_t i = 0; i < t->n_neighs && r == 0; i++) {
		const struct pod_endpoint *ep = endpoint_at(n, t->neighs[i].index);

		if (ep && (t->neighs[i].state & NUD_PERMANENT) && t->neighs[i].hw_len)
			r = add_neighbour(n, &t->neighs[i], ep->link.name);
	}
	return r;
}

/* A better route of another interface's may have taken the place of one that counts now. */
static void choose_routes_again(struct pod_network *n)
{
	Types__Route **old = take_ptr(n->routes);
	size_t n_old = n->n_routes;
	struct strv said = n->notes;

	n->n_routes = 0;
	n->notes = (struct strv){ 0 };
	if (make_routes(n, n->seen) == 0) {
		free_routes(old, n_old);
	} else {
		free_routes(n->routes, n->n_routes);
		n->routes = old;
		n->n_routes = n_old;
		drop_unsettled_routes(n);
	}
	strv_fini(&n->notes);
	n->notes = said;
}

void network_drop_unsettled(struct pod_network *n)
{
	choose_routes_again(n);
	drop_unsettled_neighbours(n);
}

static void free_routes_and_neighbours(struct pod_network *n)
{
	free_routes(take_ptr(n->routes), n->n_routes);
	for (size_t i = 0; i < n->n_neighbours; i++)
		protobuf_c_message_free_unpacked(&n->neighbours[i]->base, NULL);
	free(take_ptr(n->neighbours));
	n->n_routes = n->n_neighbours = 0;
}

int network_make_messages(struct pod_network *n, const struct network_tables *t, struct err *e)
{
	int r = make_interfaces(n, t);

	free_routes_and_neighbours(n);
	if (r == 0)
		r = make_routes(n, t);
	if (r == 0)
		r = make_neighbours(n, t);
	return r < 0 ? err_sys(e, -r, "cannot describe the network %s to the guest", n->netns) : 0;
}

void network_free_messages(struct pod_network *n)
{
	for (size_t i = 0; i < n->n_interfaces; i++)
		protobuf_c_message_free_unpacked(&n->interfaces[i]->base, NULL);
	free(n->interfaces);
	free_routes_and_neighbours(n);
}
