/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tables of a namespace, look by look. For the interfaces of a VM they are not all that counts: with macvtap the
 * addresses were taken from the link, and with tcfilter those that a router gave run out, because the namespace's stack
 * hears none. Such entries of an earlier look are kept. So is everything of a link that is down, from which the kernel
 * takes routes and IPv6 addresses.
 */
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>

#include "pod/network_internal.h"

void network_tables_fini(struct network_tables *t)
{
	free(t->links);
	free(t->addrs);
	free(t->routes);
	free(t->neighs);
}

static int by_index(const void *a, const void *b)
{
	const struct rtnl_link *x = a, *y = b;

	return x->index < y->index ? -1 : x->index > y->index;
}

int network_tables_read(int rtnl_fd, struct network_tables *t)
{
	int r = rtnl_links(rtnl_fd, &t->links, &t->n_links);

	if (r == 0)
		r = rtnl_addrs(rtnl_fd, &t->addrs, &t->n_addrs);
	if (r == 0)
		r = rtnl_routes(rtnl_fd, &t->routes, &t->n_routes);
	if (r == 0)
		r = rtnl_neighs(rtnl_fd, &t->neighs, &t->n_neighs);
	if (t->n_links)
		qsort(t->links, t->n_links, sizeof *t->links, by_index);
	return r;
}

const struct rtnl_link *network_find_link(const struct network_tables *t, int index)
{
	for (size_t i = 0; i < t->n_links; i++)
		if (t->links[i].index == index)
			return &t->links[i];
	return NULL;
}

static const struct pod_endpoint *attached_at(const struct pod_network *n, int index)
{
	for (size_t i = 0; i < n->n_endpoints; i++)
		if (n->endpoints[i]->attached && !n->endpoints[i]->nic.gone && n->endpoints[i]->link.index == index)
			return n->endpoints[i];
	return NULL;
}

static bool by_macvtap(const struct pod_network *n, int index)
{
	const struct pod_endpoint *ep = attached_at(n, index);

	return ep && ep->model == POD_NETWORK_MACVTAP;
}

/* Does an entry of this link stay that is not listed any more? */
static bool stays(const struct pod_network *n, const struct network_tables *fresh, int index, bool learned)
{
	const struct rtnl_link *l = network_find_link(fresh, index);

	if (!l || !attached_at(n, index))
		return false;
	return learned || by_macvtap(n, index) || !(l->flags & IFF_UP);
}

static int append(void **items, size_t *n, size_t size, const void *one)
{
	char *grown = reallocarray(*items, *n + 1, size);

	if (!grown)
		return -ENOMEM;
	*items = grown;
	memcpy(grown + *n * size, one, size);
	++*n;
	return 0;
}

static bool same_ip(const struct rtnl_ip *a, const struct rtnl_ip *b)
{
	return a->family == b->family && !memcmp(a->bytes, b->bytes, sizeof a->bytes);
}

static int keep_addr(struct network_tables *t, const struct rtnl_addr *old)
{
	for (size_t i = 0; i < t->n_addrs; i++)
		if (t->addrs[i].index == old->index && t->addrs[i].prefix == old->prefix &&
		    same_ip(&t->addrs[i].ip, &old->ip))
			return 0;
	return append((void **)&t->addrs, &t->n_addrs, sizeof *old, old);
}

static int keep_route(struct network_tables *t, const struct rtnl_route *old)
{
	for (size_t i = 0; i < t->n_routes; i++) {
		const struct rtnl_route *r = &t->routes[i];

		if (r->family == old->family && r->oif == old->oif && r->dst_len == old->dst_len &&
		    r->priority == old->priority && same_ip(&r->dst, &old->dst) && same_ip(&r->gateway, &old->gateway))
			return 0;
	}
	return append((void **)&t->routes, &t->n_routes, sizeof *old, old);
}

static int keep_neigh(struct network_tables *t, const struct rtnl_neigh *old)
{
	for (size_t i = 0; i < t->n_neighs; i++)
		if (t->neighs[i].index == old->index && same_ip(&t->neighs[i].ip, &old->ip))
			return 0;
	return append((void **)&t->neighs, &t->n_neighs, sizeof *old, old);
}

/* What a macvtap's link gets afterwards is the namespace's own. */
static void drop_strangers(const struct pod_network *n, struct network_tables *t)
{
	size_t k = 0;

	for (size_t i = 0; i < t->n_addrs; i++)
		if (!by_macvtap(n, t->addrs[i].index))
			t->addrs[k++] = t->addrs[i];
	t->n_addrs = k;
	k = 0;
	for (size_t i = 0; i < t->n_routes; i++)
		if (!by_macvtap(n, t->routes[i].oif))
			t->routes[k++] = t->routes[i];
	t->n_routes = k;
	k = 0;
	for (size_t i = 0; i < t->n_neighs; i++)
		if (!by_macvtap(n, t->neighs[i].index))
			t->neighs[k++] = t->neighs[i];
	t->n_neighs = k;
}

int network_tables_keep(const struct pod_network *n, struct network_tables *fresh)
{
	const struct network_tables *old = n->seen;
	int r = 0;

	drop_strangers(n, fresh);
	for (size_t i = 0; i < old->n_addrs && r == 0; i++)
		if (stays(n, fresh, old->addrs[i].index, !(old->addrs[i].flags & IFA_F_PERMANENT)))
			r = keep_addr(fresh, &old->addrs[i]);
	for (size_t i = 0; i < old->n_routes && r == 0; i++)
		if (stays(n, fresh, old->routes[i].oif, old->routes[i].protocol == RTPROT_RA))
			r = keep_route(fresh, &old->routes[i]);
	for (size_t i = 0; i < old->n_neighs && r == 0; i++)
		if (stays(n, fresh, old->neighs[i].index, false) && (old->neighs[i].state & NUD_PERMANENT))
			r = keep_neigh(fresh, &old->neighs[i]);
	return r;
}
