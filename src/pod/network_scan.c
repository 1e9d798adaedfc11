// SPDX-License-Identifier: Apache-2.0
/*
 * Which interfaces of the namespace become NICs: each Ethernet interface that is up or has an address, but for those
 * whose frames another one carries (ports of a bridge, VLANs of an interface that is taken itself).
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <net/if_arp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "pod/network_internal.h"

/* As many as a VM has room for by far. */
#define ENDPOINTS_MAX 64

static const struct pod_endpoint *endpoint_of(const struct pod_network *n, int index)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if ((n->endpoints[i]->link.index == index && !n->endpoints[i]->nic.gone) ||
		    n->endpoints[i]->tap_index == index)
			return n->endpoints[i];
	return NULL;
}

static bool is_link_local(const struct rtnl_ip *ip)
{
	return ip->family == AF_INET6 && ip->bytes[0] == 0xfe && (ip->bytes[1] & 0xc0) == 0x80;
}

static bool is_loopback(const struct rtnl_ip *ip)
{
	static const uint8_t one[16] = { [15] = 1 };

	return ip->family == AF_INET ? ip->bytes[0] == 127 : !memcmp(ip->bytes, one, sizeof one);
}

/*
 * The guest's kernel makes link-local addresses, and temporary ones (RFC 8981), for itself. One that somebody set is
 * permanent as well; the kernel's own are told by their protocol (Linux 6.1), or by the MAC inside (RFC 4291, app. A).
 */
bool network_addr_counts(const struct rtnl_addr *a)
{
	if (a->flags & IFA_F_DADFAILED)
		return false;
	if (a->ip.family == AF_INET6 && (a->flags & IFA_F_TEMPORARY))
		return false;
	if (!is_link_local(&a->ip))
		return !is_loopback(&a->ip);
	if (a->protocol)
		return a->protocol != IFAPROT_KERNEL_LL;
	return !(a->flags & IFA_F_STABLE_PRIVACY) && !(a->ip.bytes[11] == 0xff && a->ip.bytes[12] == 0xfe);
}

static bool has_address(const struct network_tables *t, int index)
{
	for (size_t i = 0; i < t->n_addrs; i++)
		if (t->addrs[i].index == index && network_addr_counts(&t->addrs[i]))
			return true;
	return false;
}

/* It takes part of the frames of another interface. */
static bool sits_on(const struct rtnl_link *l, int parent)
{
	return l->parent == parent && !l->parent_elsewhere &&
	       (str_eq(l->kind, "vlan") || str_eq(l->kind, "macvlan") || str_eq(l->kind, "ipvlan") ||
		str_eq(l->kind, "macvtap") || str_eq(l->kind, "ipvtap"));
}

/* An interface without addresses of its own is there for those on it. */
static bool only_carries_others(const struct network_tables *t, const struct rtnl_link *l)
{
	if (has_address(t, l->index))
		return false;
	for (size_t i = 0; i < t->n_links; i++)
		if (t->links[i].master == l->index ||
		    (sits_on(&t->links[i], l->index) && has_address(t, t->links[i].index)))
			return !str_eq(l->kind, "bridge");
	return false;
}

/* Why an interface that was meant for the container cannot become a NIC; NULL: it can. as: the one it is to go on with.
 */
static const char *obstacle(const struct pod_network *n, const struct rtnl_link *l, const struct pod_endpoint *as)
{
	const struct pod_endpoint *parent = endpoint_of(n, l->parent);

	if (l->type != ARPHRD_ETHER || l->hw_len != 6)
		return "is not an Ethernet interface";
	if (str_eq(l->kind, "macvtap") || str_eq(l->kind, "ipvtap"))
		return "belongs to whoever has its device file open";
	/* A tap's carrier is its user. */
	if (str_eq(l->kind, "tun") && !(l->flags & RTNL_LOWER_UP))
		return "is a tap that nobody uses";
	if (parent && sits_on(l, parent->link.index))
		return "is part of an interface that is given to the VM itself";
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (n->endpoints[i] != as && !memcmp(n->endpoints[i]->link.hw, l->hw, 6))
			return "has the MAC address of another one";
	return !as && n->n_endpoints == ENDPOINTS_MAX ? "is one too many" : NULL;
}

static bool name_taken(const struct pod_network *n, const struct network_tables *t, const char *name)
{
	for (size_t i = 0; i < t->n_links; i++)
		if (str_eq(t->links[i].name, name))
			return true;
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (str_eq(n->endpoints[i]->tap, name))
			return true;
	return false;
}

/* What the kernel cannot put a macvtap on, or would put it beside. */
static bool takes_macvtap(const struct rtnl_link *l)
{
	return !str_eq(l->kind, "macvlan") && !str_eq(l->kind, "ipvlan") && !str_eq(l->kind, "bridge");
}

static bool id_taken(const struct pod_network *n, const char *id)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (str_eq(n->endpoints[i]->nic.id, id))
			return true;
	return false;
}

static int add_endpoint(struct pod_network *n, const struct network_tables *t, const struct rtnl_link *l)
{
	struct pod_endpoint **grown = reallocarray(n->endpoints, n->n_endpoints + 1, sizeof *grown), *ep;

	if (!grown)
		return -ENOMEM;
	n->endpoints = grown;
	ep = calloc(1, sizeof *ep);
	if (!ep)
		return -ENOMEM;
	ep->link = *l;
	ep->card_mtu = l->mtu;
	ep->model = takes_macvtap(l) ? n->model : POD_NETWORK_TCFILTER;
	for (unsigned i = 0; !ep->tap[0] || name_taken(n, t, ep->tap); i++)
		snprintf(ep->tap, sizeof ep->tap, TAP_NAME, i);
	/* Not the interface's name, which has characters that ids must not have. */
	for (unsigned i = 0; !ep->nic.id[0] || id_taken(n, ep->nic.id); i++)
		snprintf(ep->nic.id, sizeof ep->nic.id, "net%u", i);
	grown[n->n_endpoints++] = ep;
	if (ep->model == n->model)
		return 0;
	return strv_addf(&n->notes, "%s (%s) is connected by tcfilter: it takes no macvtap", l->name, l->kind);
}

static bool is_our_tap(const char *name)
{
	unsigned i;
	char end;

	return sscanf(name, "tap%u_caisso%c", &i, &end) == 2 && end == 'n';
}

/* Is it one of the container's, and not there yet? */
static bool is_meant(const struct pod_network *n, const struct network_tables *t, const struct rtnl_link *l)
{
	return !endpoint_of(n, l->index) && !is_our_tap(l->name) && !(l->flags & IFF_LOOPBACK) && !l->master &&
	       !only_carries_others(t, l) && (has_address(t, l->index) || (l->flags & IFF_UP));
}

static int consider(struct pod_network *n, const struct network_tables *t, const struct rtnl_link *l)
{
	const char *why;

	if ((l->flags & IFF_LOOPBACK) && has_address(t, l->index))
		return strv_addf(&n->notes, "the addresses of %s stay on the host", l->name);
	if (!is_meant(n, t, l))
		return 0;
	why = obstacle(n, l, NULL);
	if (!why)
		return add_endpoint(n, t, l);
	return strv_addf(&n->notes, "the VM gets no interface %s: it %s", l->name, why);
}

const struct rtnl_link *network_find_returned(const struct pod_network *n, const struct network_tables *t,
					      const struct pod_endpoint *ep)
{
	for (size_t i = 0; i < t->n_links; i++)
		if (t->links[i].hw_len == 6 && !memcmp(t->links[i].hw, ep->link.hw, 6) &&
		    is_meant(n, t, &t->links[i]) && !obstacle(n, &t->links[i], ep))
			return &t->links[i];
	return NULL;
}

int network_find_endpoints(struct pod_network *n, const struct network_tables *t, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < t->n_links && r == 0; i++)
		r = consider(n, t, &t->links[i]);
	return r < 0 ? err_sys(e, -r, "cannot look at the interfaces of %s", n->netns) : 0;
}
