// SPDX-License-Identifier: Apache-2.0
/*
 * tcfilter: a tap beside the interface. What comes in at the interface leaves by the tap, which is to the VM; what
 * comes in at the tap, from the VM, leaves by the interface. The redirection is at ingress, before the namespace's own
 * stack, so that this neither sees nor answers anything. The tap itself has no address and says nothing.
 *
 * macvtap: a second MAC address on the interface, whose frames are the VM's. It gets the interface's MAC, which the
 * network expects, and the interface another one; its addresses must go, or both would answer for them.
 */
#include <errno.h>
#include <linux/netlink.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/network_internal.h"
#include "sys/netns.h"
#include "sys/tap.h"
#include "sys/tc.h"

/* Of macvtaps the kernel wants indices that are free on the whole host, where others are small. */
#define MACVTAP_INDEX_MIN   8192
#define MACVTAP_INDEX_TRIES 128

/* ---- queues, opened inside the namespace ---- */

struct opening {
	struct pod_endpoint *ep;
	size_t queues; /* 0: a tap that is opened by its name */
};

static int open_tap(void *userdata)
{
	const struct opening *o = userdata;
	struct pod_endpoint *ep = o->ep;
	int r = o->queues ? tap_create(ep->tap, o->queues, ep->fds) : tap_create_persistent(ep->tap);

	if (r < 0)
		return r;
	ep->n_fds = o->queues;
	ep->tap_index = (int)if_nametoindex(ep->tap);
	return ep->tap_index ? 0 : -errno;
}

static int open_macvtap(void *userdata)
{
	const struct opening *o = userdata;
	int r = macvtap_open(o->ep->tap, o->ep->tap_index, o->queues, o->ep->fds);

	if (r == 0)
		o->ep->n_fds = o->queues;
	return r;
}

static int open_queues(struct pod_network *n, struct pod_endpoint *ep, size_t queues, int (*fn)(void *userdata))
{
	struct opening o = { .ep = ep, .queues = queues };

	if (queues) {
		ep->fds = calloc(queues, sizeof *ep->fds);
		if (!ep->fds)
			return -ENOMEM;
	}
	return netns_run(n->ns_fd, fn, &o);
}

/* ---- tcfilter ---- */

static const struct rtnl_link *find_link(const struct rtnl_link *links, size_t n, int index)
{
	for (size_t i = 0; i < n; i++)
		if (links[i].index == index)
			return &links[i];
	return NULL;
}

/*
 * Is the interface free? A redirection of ours whose tap has no user is what a killed Caisson has left, and goes.
 */
static int free_ingress(struct pod_network *n, const struct pod_endpoint *ep, struct err *e)
{
	_cleanup_free_ struct rtnl_link *links = NULL;
	const struct rtnl_link *tap;
	enum tc_ingress who;
	size_t n_links;
	int to, r = tc_ingress(n->rtnl_fd, ep->link.index, &who, &to);

	if (r < 0)
		return err_sys(e, -r, "cannot see who uses %s", ep->link.name);
	if (who == TC_INGRESS_NONE)
		return 0;
	if (who == TC_INGRESS_OTHER)
		return err_set(
			e, ERR_CONFIG, EEXIST,
			"%s has an ingress queueing discipline already, which tcfilter needs: remove it (tc qdisc "
			"del dev %s ingress), or set internetworking_model = \"macvtap\"",
			ep->link.name, ep->link.name);
	r = rtnl_links(n->rtnl_fd, &links, &n_links);
	tap = r == 0 ? find_link(links, n_links, to) : NULL;
	if (tap && (tap->flags & RTNL_LOWER_UP))
		return err_set(e, ERR_CONFIG, EBUSY, "%s is given to another VM already", ep->link.name);
	if (r == 0)
		r = tc_ingress_del(n->rtnl_fd, ep->link.index);
	if (r == 0 && tap)
		r = rtnl_link_del(n->rtnl_fd, to);
	return r < 0 ? err_sys(e, -r, "cannot remove what another VM has left at %s", ep->link.name) : 0;
}

/* Silent, as large as the interface, and up. */
static int set_up_tap(struct pod_network *n, const struct pod_endpoint *ep)
{
	struct rtnl_link_change quiet = { .no_ipv6 = true }, mtu = { .mtu = ep->link.mtu };
	struct rtnl_link_change up = { .flags = IFF_UP, .mask = IFF_UP };
	int r = rtnl_link_change(n->rtnl_fd, ep->tap_index, &quiet);

	if (r == -EAFNOSUPPORT || r == -EOPNOTSUPP) /* a kernel without IPv6 */
		r = 0;
	if (r == 0)
		r = rtnl_link_change(n->rtnl_fd, ep->tap_index, &mtu);
	return r < 0 ? r : rtnl_link_change(n->rtnl_fd, ep->tap_index, &up);
}

/* A veth passes on all; others look for the groups that the namespace's stack has joined, and the guest has its own. */
static int hear_all_multicast(struct pod_network *n, struct pod_endpoint *ep)
{
	struct rtnl_link_change all = { .flags = IFF_ALLMULTI, .mask = IFF_ALLMULTI };
	int r;

	if (str_eq(ep->link.kind, "veth") || str_eq(ep->link.kind, "tun") || (ep->link.flags & IFF_ALLMULTI))
		return 0;
	r = rtnl_link_change(n->rtnl_fd, ep->link.index, &all);
	ep->all_multicast = r == 0;
	return r;
}

/* Redirections both ways between the link and its tap. */
static int tie(struct pod_network *n, struct pod_endpoint *ep, struct err *e)
{
	int r = hear_all_multicast(n, ep);

	if (r == 0)
		r = tc_redirect(n->rtnl_fd, ep->tap_index, ep->link.index);
	if (r == 0) {
		r = tc_redirect(n->rtnl_fd, ep->link.index, ep->tap_index);
		ep->redirected = r == 0;
	}
	return r < 0 ? err_sys(e, -r, "cannot tie %s to %s by tc (ingress, u32 and mirred are needed)", ep->link.name,
			       ep->tap)
		     : 0;
}

static int attach_tcfilter(struct pod_network *n, struct pod_endpoint *ep, size_t queues, struct err *e)
{
	int r = free_ingress(n, ep, e);

	if (r < 0)
		return r;
	r = open_queues(n, ep, queues, open_tap);
	if (r < 0)
		return err_sys(e, -r, "cannot make the tap %s", ep->tap);
	r = set_up_tap(n, ep);
	if (r < 0)
		return err_sys(e, -r, "cannot set up the tap %s", ep->tap);
	return tie(n, ep, e);
}

bool network_tie_is_lost(const struct pod_network *n, const struct pod_endpoint *ep)
{
	enum tc_ingress who;
	int to;

	return ep->redirected && tc_ingress(n->rtnl_fd, ep->link.index, &who, &to) == 0 && who == TC_INGRESS_NONE;
}

void network_lose_link(struct pod_endpoint *ep)
{
	ep->nic.gone = true;
	ep->redirected = ep->all_multicast = ep->hardware_changed = ep->addresses_saved = false;
	rtnl_saved_fini(&ep->saved);
}

int network_tie_again(struct pod_network *n, struct pod_endpoint *ep, const struct rtnl_link *l, struct err *e)
{
	struct rtnl_link lost = ep->link;
	int r;

	ep->link = *l;
	if (ep->link.mtu > ep->card_mtu)
		ep->link.mtu = ep->card_mtu;
	r = free_ingress(n, ep, e);
	if (r == 0) {
		/* What redirected to the old link. */
		r = tc_ingress_del(n->rtnl_fd, ep->tap_index);
		r = r < 0 && r != -ENOENT && r != -EINVAL
			    ? err_sys(e, -r, "cannot take the tap %s from an interface that has gone", ep->tap)
			    : tie(n, ep, e);
		if (r < 0 && ep->redirected)
			tc_ingress_del(n->rtnl_fd, ep->link.index);
	}
	if (r < 0) {
		ep->link = lost;
		network_lose_link(ep);
		return r;
	}
	ep->nic.gone = false;
	ep->nic.refusals = 0;
	ep->nic.retry_ms = 0;
	return 0;
}

/* ---- macvtap ---- */

static int make_macvtap(struct pod_network *n, struct pod_endpoint *ep)
{
	int r = -EBUSY;

	for (int i = 0; i < MACVTAP_INDEX_TRIES && (r == -EBUSY || r == -EEXIST); i++) {
		uint16_t random;

		if (getrandom(&random, sizeof random, 0) != (ssize_t)sizeof random)
			return -errno;
		r = rtnl_macvtap_add(n->rtnl_fd, ep->tap, MACVTAP_INDEX_MIN + random, ep->link.index);
		if (r == 0)
			ep->tap_index = MACVTAP_INDEX_MIN + random;
	}
	return r;
}

static int set_hardware(struct pod_network *n, int index, const uint8_t hw[6])
{
	struct rtnl_link_change change = { .hw = hw, .hw_len = 6 };

	return rtnl_link_change(n->rtnl_fd, index, &change);
}

/* The MAC goes from the link to the macvtap; two of one lower interface cannot have the same. */
static int hand_over_hardware(struct pod_network *n, struct pod_endpoint *ep)
{
	uint8_t other[6];
	int r;

	if (getrandom(other, sizeof other, 0) != (ssize_t)sizeof other)
		return -errno;
	other[0] = (uint8_t)((other[0] & 0xfc) | 2); /* locally administered, unicast (IEEE 802c) */
	r = set_hardware(n, ep->link.index, other);
	ep->hardware_changed = r == 0;
	return r < 0 ? r : set_hardware(n, ep->tap_index, ep->link.hw);
}

static int attach_macvtap(struct pod_network *n, struct pod_endpoint *ep, size_t queues, struct err *e)
{
	int r;

	if (!queues)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "this hypervisor opens network devices by their names, which macvtaps cannot be: set "
			       "internetworking_model = \"tcfilter\"");
	r = make_macvtap(n, ep);
	if (r < 0)
		return err_sys(e, -r, "cannot make a macvtap on %s", ep->link.name);
	r = rtnl_save(n->rtnl_fd, ep->link.index, &ep->saved);
	if (r == 0) {
		ep->addresses_saved = true;
		r = rtnl_remove_saved(n->rtnl_fd, &ep->saved);
	}
	if (r < 0)
		return err_sys(e, -r, "cannot take the addresses of %s away", ep->link.name);
	r = hand_over_hardware(n, ep);
	if (r == 0)
		r = set_up_tap(n, ep);
	if (r < 0)
		return err_sys(e, -r, "cannot set up the macvtap %s", ep->tap);
	r = open_queues(n, ep, queues, open_macvtap);
	return r < 0 ? err_sys(e, -r, "cannot open the macvtap %s", ep->tap) : 0;
}

/* ---- all of them ---- */

static void warn_unless_gone(int r, const struct pod_endpoint *ep, const char *what)
{
	if (r < 0 && r != -ENODEV && r != -ENOENT)
		log_warn("%s: cannot %s: %s", ep->link.name, what, strerror(-r));
}

void network_detach(struct pod_network *n, struct pod_endpoint *ep)
{
	struct rtnl_link_change few = { .mask = IFF_ALLMULTI };
	_cleanup_free_ struct rtnl_link *links = NULL;
	const struct rtnl_link *tap;
	size_t n_links = 0;

	for (size_t i = 0; i < ep->n_fds; i++)
		fd_close(&ep->fds[i]);
	free(take_ptr(ep->fds));
	ep->n_fds = 0;
	if (ep->redirected)
		warn_unless_gone(tc_ingress_del(n->rtnl_fd, ep->link.index), ep, "remove its redirection");
	if (ep->all_multicast)
		warn_unless_gone(rtnl_link_change(n->rtnl_fd, ep->link.index, &few), ep, "switch allmulti off");
	/* A tap may have gone with its last queue, and others may have come. */
	if (ep->tap_index && rtnl_links(n->rtnl_fd, &links, &n_links) == 0) {
		tap = find_link(links, n_links, ep->tap_index);
		if (tap && str_eq(tap->name, ep->tap))
			warn_unless_gone(rtnl_link_del(n->rtnl_fd, ep->tap_index), ep, "delete its tap");
	}
	if (ep->hardware_changed)
		warn_unless_gone(set_hardware(n, ep->link.index, ep->link.hw), ep, "give its MAC address back");
	if (ep->addresses_saved)
		warn_unless_gone(rtnl_restore(n->rtnl_fd, &ep->saved), ep, "give its addresses back");
	rtnl_saved_fini(&ep->saved);
	ep->redirected = ep->all_multicast = ep->hardware_changed = ep->addresses_saved = ep->attached = false;
	ep->tap_index = 0;
}

void pod_network_detach_from(struct pod_network *n, size_t first)
{
	for (size_t i = n->n_endpoints; i-- > first;)
		network_detach(n, n->endpoints[i]);
}

size_t network_first_unattached(const struct pod_network *n)
{
	size_t i = 0;

	while (i < n->n_endpoints && n->endpoints[i]->attached)
		i++;
	return i;
}

int pod_network_attach(struct pod_network *n, const struct vm_capabilities *can, unsigned queues, struct err *e)
{
	size_t n_queues = !can->tap_fds ? 0 : can->multi_queue_net && queues > 1 ? queues : 1;
	size_t first = network_first_unattached(n);
	int r;

	for (size_t i = first; i < n->n_endpoints; i++) {
		struct pod_endpoint *ep = n->endpoints[i];

		r = ep->model == POD_NETWORK_MACVTAP ? attach_macvtap(n, ep, n_queues, e)
						     : attach_tcfilter(n, ep, n_queues, e);
		if (r < 0) {
			err_wrap(e, "network %s", n->netns);
			pod_network_detach_from(n, first);
			return r;
		}
		ep->attached = true;
	}
	return 0;
}
