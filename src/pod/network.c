// SPDX-License-Identifier: Apache-2.0
#include "pod/network.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "pod/network_internal.h"
#include "sys/netns.h"

int pod_network_model(const struct config_runtime *runtime, enum pod_network_model *ret, struct err *e)
{
	static const char *const names[] = { "tcfilter", "macvtap", "none" };
	const char *text = str_empty(runtime->internetworking_model) ? names[0] : runtime->internetworking_model;
	size_t i = 0;

	while (i < sizeof names / sizeof *names && strcmp(text, names[i]) != 0)
		i++;
	if (i == sizeof names / sizeof *names)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "internetworking_model = \"%.40s\" is not supported: use tcfilter, macvtap or none",
			       text);
	if (runtime->disable_new_netns && i != POD_NETWORK_NONE)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "disable_new_netns works with internetworking_model = \"none\" only: a VM in the host's "
			       "network gets none of its interfaces");
	*ret = (enum pod_network_model)i;
	return 0;
}

/* Whose link has gone (`docker network disconnect`): another one may come by its name, with routes of its own. */
static void find_gone(struct pod_network *n, const struct network_tables *t)
{
	for (size_t i = 0; i < n->n_endpoints; i++) {
		struct pod_endpoint *ep = n->endpoints[i];

		if (ep->attached && !ep->nic.gone &&
		    (!network_find_link(t, ep->link.index) || network_tie_is_lost(n, ep)))
			network_lose_link(ep);
	}
}

/* What may change of an interface that stays. */
static void follow_links(struct pod_network *n, const struct network_tables *t)
{
	for (size_t i = 0; i < n->n_endpoints; i++) {
		struct pod_endpoint *ep = n->endpoints[i];
		const struct rtnl_link *l = ep->nic.gone ? NULL : network_find_link(t, ep->link.index);

		if (!l || !ep->attached)
			continue;
		memcpy(ep->link.name, l->name, sizeof ep->link.name);
		ep->link.mtu = l->mtu < ep->card_mtu ? l->mtu : ep->card_mtu;
	}
}

static int look(struct pod_network *n, struct err *e)
{
	_cleanup_(network_tables_fini) struct network_tables t = { 0 };
	struct network_tables old = *n->seen;
	int r = network_tables_read(n->rtnl_fd, &t);

	if (r < 0)
		return err_sys(e, -r, "cannot list the interfaces of %s", n->netns);
	strv_fini(&n->notes);
	if (n->model == POD_NETWORK_NONE)
		return 0;
	find_gone(n, &t);
	follow_links(n, &t);
	r = network_tables_keep(n, &t);
	if (r < 0)
		return err_sys(e, -r, "cannot look at the interfaces of %s", n->netns);
	r = network_find_endpoints(n, &t, e);
	if (r == 0)
		r = network_make_messages(n, &t, e);
	if (r == 0) {
		*n->seen = t;
		t = old;
	}
	return r;
}

static int open_socket(void *userdata)
{
	struct pod_network *n = userdata;

	n->rtnl_fd = rtnl_open();
	return n->rtnl_fd < 0 ? n->rtnl_fd : 0;
}

static int open_namespace(struct pod_network *n, struct err *e)
{
	int r;

	n->ns_fd = netns_open(n->netns);
	if (n->ns_fd < 0)
		return n->ns_fd == -EINVAL ? err_set(e, ERR_CONFIG, EINVAL, "%s is not a network namespace", n->netns)
					   : err_sys(e, -n->ns_fd, "cannot use the network namespace %s", n->netns);
	if (netns_is_ours(n->ns_fd) == 1)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s is the network namespace of this process: its interfaces cannot be given to a VM",
			       n->netns);
	r = netns_run(n->ns_fd, open_socket, n);
	if (r < 0)
		err_sys(e, -r, "cannot enter the network namespace %s", n->netns);
	if (r == -EPERM && e)
		err_append(e, "; it takes root");
	return r;
}

int pod_network_scan(const char *netns, enum pod_network_model model, struct pod_network **ret, struct err *e)
{
	_cleanup_(pod_network_free_p) struct pod_network *n = calloc(1, sizeof *n);
	int r;

	if (!n)
		return err_sys(e, ENOMEM, "cannot look at the network");
	n->model = model;
	n->ns_fd = n->rtnl_fd = -1;
	n->netns = strdup(netns);
	n->seen = calloc(1, sizeof *n->seen);
	if (!n->netns || !n->seen)
		return err_sys(e, ENOMEM, "cannot look at the network");
	r = open_namespace(n, e);
	if (r == 0)
		r = look(n, e);
	if (r == 0)
		*ret = take_ptr(n);
	return r;
}

static void endpoint_free(struct pod_endpoint *ep)
{
	free(ep->nic.told.data);
	free(ep);
}

/* Forget the endpoints from `first` on, which are not attached. */
static void forget_from(struct pod_network *n, size_t first)
{
	while (n->n_interfaces > first)
		protobuf_c_message_free_unpacked(&n->interfaces[--n->n_interfaces]->base, NULL);
	while (n->n_endpoints > first)
		endpoint_free(n->endpoints[--n->n_endpoints]);
}

void pod_network_forget_unattached(struct pod_network *n)
{
	forget_from(n, network_first_unattached(n));
	network_drop_unsettled(n);
}

int pod_network_rescan(struct pod_network *n, size_t *ret_first_new, struct err *e)
{
	int r;

	/* Those that nobody has yet may have gone again. */
	pod_network_forget_unattached(n);
	r = look(n, e);
	if (r == 0)
		*ret_first_new = network_first_unattached(n);
	return r;
}

int pod_network_return(struct pod_network *n, size_t endpoint, struct err *e)
{
	struct pod_endpoint *ep = n->endpoints[endpoint];
	const struct rtnl_link *l = ep->model == POD_NETWORK_TCFILTER ? network_find_returned(n, n->seen, ep) : NULL;
	int r = l ? network_tie_again(n, ep, l, e) : 0;

	return r < 0 ? r : l != NULL;
}

void pod_network_remove(struct pod_network *n, size_t endpoint)
{
	struct pod_endpoint **ep = &n->endpoints[endpoint];
	Types__Interface **nic = &n->interfaces[endpoint];
	size_t behind = --n->n_endpoints - endpoint;

	network_detach(n, *ep);
	endpoint_free(*ep);
	memmove(ep, ep + 1, behind * sizeof *ep);
	protobuf_c_message_free_unpacked(&(*nic)->base, NULL);
	memmove(nic, nic + 1, behind * sizeof *nic);
	n->n_interfaces--;
}

static int open_watch(void *userdata)
{
	*(int *)userdata = rtnl_open_watch();
	return *(int *)userdata < 0 ? *(int *)userdata : 0;
}

int pod_network_watch(struct pod_network *n, int *ret_fd, struct err *e)
{
	int r = netns_run(n->ns_fd, open_watch, ret_fd);

	return r < 0 ? err_sys(e, -r, "cannot watch the network namespace %s", n->netns) : 0;
}

bool pod_network_is_attached(const struct pod_network *n)
{
	return network_first_unattached(n) == n->n_endpoints;
}

const char *pod_network_tap(const struct pod_network *n, size_t endpoint)
{
	return n->endpoints[endpoint]->tap;
}

const char *pod_network_link(const struct pod_network *n, size_t endpoint)
{
	return n->endpoints[endpoint]->link.name;
}

struct pod_nic *pod_network_nic(struct pod_network *n, size_t endpoint)
{
	return &n->endpoints[endpoint]->nic;
}

int pod_network_device(struct pod_network *n, size_t endpoint, struct vm_device **ret, struct err *e)
{
	struct pod_endpoint *ep = n->endpoints[endpoint];
	struct vm_device *d = calloc(1, sizeof *d);

	if (!d)
		return err_sys(e, ENOMEM, "network device of %s", ep->link.name);
	d->kind = VM_DEVICE_NET;
	d->id = strdup(ep->nic.id);
	d->u.net.mode = strdup("tap");
	d->u.net.tap = strdup(ep->tap);
	d->u.net.mtu = ep->link.mtu;
	rtnl_hw_format(ep->link.hw, ep->link.hw_len, d->u.net.mac, sizeof d->u.net.mac);
	if (!d->id || !d->u.net.mode || !d->u.net.tap) {
		vm_device_free(d);
		return err_sys(e, ENOMEM, "network device of %s", ep->link.name);
	}
	d->u.net.tap_fds = take_ptr(ep->fds);
	d->u.net.n_tap_fds = ep->n_fds;
	ep->n_fds = 0;
	*ret = d;
	return 0;
}

void pod_network_detach(struct pod_network *n)
{
	pod_network_detach_from(n, 0);
}

void pod_network_free(struct pod_network *n)
{
	if (!n)
		return;
	pod_network_detach(n);
	network_free_messages(n);
	for (size_t i = 0; i < n->n_endpoints; i++)
		endpoint_free(n->endpoints[i]);
	free(n->endpoints);
	if (n->seen)
		network_tables_fini(n->seen);
	free(n->seen);
	free(n->told_routes.data);
	free(n->told_neighbours.data);
	strv_fini(&n->notes);
	fd_close(&n->rtnl_fd);
	fd_close(&n->ns_fd);
	free(n->netns);
	free(n);
}
