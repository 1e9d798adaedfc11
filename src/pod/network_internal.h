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
	/* What pod_network_attach() has done and pod_network_detach() undoes. */
	bool attached;
	bool gone;     /* the link is not in the namespace any more */
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

/* network_scan.c: new endpoints, at the end of the list. */
int network_find_endpoints(struct pod_network *n, const struct network_tables *t, struct err *e);
/* An address that is the link's own and not one that the guest gives itself. */
bool network_addr_counts(const struct rtnl_addr *a);

/* network_messages.c: interfaces, routes and neighbours anew, but for those of attached endpoints. */
int network_make_messages(struct pod_network *n, const struct network_tables *t, struct err *e);
/* Routes and neighbours of those that are not attached. */
void network_drop_unsettled(struct pod_network *n);
void network_free_messages(struct pod_network *n);

/* network_attach.c: those before it are all attached, and no other. */
size_t network_first_unattached(const struct pod_network *n);
