/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the files of pod/network.h: an endpoint, and who makes what of it. */
#pragma once

#include "pod/network.h"
#include "sys/rtnl.h"
#include "sys/rtnl_save.h"

#define TAP_NAME "tap%u_caisson"

struct pod_endpoint {
	struct rtnl_link link;        /* as it was found */
	enum pod_network_model model; /* tcfilter or macvtap */
	char tap[IF_NAMESIZE];        /* name of the tap or macvtap that is made for it */
	struct pod_nic nic;
	uint32_t card_mtu; /* what the card takes at most */
	/* What pod_network_attach() has done and pod_network_detach() undoes. */
	bool attached;
	int tap_index; /* 0: not made */
	int *fds;      /* queues, until a device has them */
	size_t n_fds;
	bool redirected;       /* frames from the link go to the tap */
	bool all_multicast;    /* switched on by us */
	bool addresses_saved;  /* macvtap: the link's are in saved, and were removed */
	bool hardware_changed; /* macvtap: the link's MAC is not link.hw any more */
	struct rtnl_saved saved;
};

/* What the namespace's tables hold at one moment. */
struct network_tables {
	struct rtnl_link *links;
	struct rtnl_addr *addrs;
	struct rtnl_route *routes;
	struct rtnl_neigh *neighs;
	size_t n_links, n_addrs, n_routes, n_neighs;
};

/* network_tables.c */
int network_tables_read(int rtnl_fd, struct network_tables *t);
/* What stays of earlier looks for attached endpoints: all of a macvtap's, and what was learned. */
int network_tables_keep(const struct pod_network *n, struct network_tables *fresh);
void network_tables_fini(struct network_tables *t);
const struct rtnl_link *network_find_link(const struct network_tables *t, int index);

/* network_scan.c: new endpoints, at the end of the list. */
int network_find_endpoints(struct pod_network *n, const struct network_tables *t, struct err *e);
/* The link with which a gone endpoint could go on; NULL: none. */
const struct rtnl_link *network_find_returned(const struct pod_network *n, const struct network_tables *t,
					      const struct pod_endpoint *ep);
/* An address that is the link's own and not one that the guest gives itself. */
bool network_addr_counts(const struct rtnl_addr *a);

/* network_messages.c: interfaces, routes and neighbours anew. */
int network_make_messages(struct pod_network *n, const struct network_tables *t, struct err *e);
/* Routes and neighbours of those that are not attached. */
void network_drop_unsettled(struct pod_network *n);
void network_free_messages(struct pod_network *n);

/* network_attach.c: those before it are all attached, and no other. */
size_t network_first_unattached(const struct pod_network *n);
/* Undo what was done for it, from any half-done state. */
void network_detach(struct pod_network *n, struct pod_endpoint *ep);
/* Has somebody taken the link's redirection away, as moving it between namespaces does? */
bool network_tie_is_lost(const struct pod_network *n, const struct pod_endpoint *ep);
/* Its link is not there, or not as we left it: nothing of that is undone any more. */
void network_lose_link(struct pod_endpoint *ep);
/* A gone one's tap, to another link. On failure it is gone as before. */
int network_tie_again(struct pod_network *n, struct pod_endpoint *ep, const struct rtnl_link *l, struct err *e);
