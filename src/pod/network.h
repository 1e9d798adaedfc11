/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a pod's network namespace become NICs of its VM (Kata's networking; the modes of
 * internetworking_model): tcfilter (a tap per interface, tied to it by tc ingress mirred redirection both ways),
 * macvtap, none. The guest gets the interface's name, MAC, addresses, routes, neighbours and MTU from the agent.
 *
 * Three steps: pod_network_scan() looks and changes nothing; pod_network_attach() makes taps and redirections;
 * pod_network_detach() undoes that, in any half-done state, also when the namespace's name or its interfaces are gone.
 * The calling thread never leaves its own namespace. As long as a pod_network is there, its namespace is, too.
 *
 * pod_network_rescan() looks again, while the VM runs: interfaces come and go, and their addresses, routes and
 * neighbours change. What the namespace had only learned (from a router) stays when it runs out there: with the VM
 * attached, its stack hears no router any more.
 *
 * With tcfilter the interfaces keep their addresses, as with Kata, but the namespace's own stack gets no frame any
 * more: it answers nobody in the guest's place. With macvtap they lose addresses and MAC until pod_network_detach().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "config/config.h"
#include "hypervisor/driver.h"
#include "proto/agent.pb-c.h"

enum pod_network_model { POD_NETWORK_TCFILTER, POD_NETWORK_MACVTAP, POD_NETWORK_NONE };

/*
 * internetworking_model and disable_new_netns of the configuration, with which the VMM is to run in the host's network:
 * the caller then gives plans no network namespace. -EINVAL names what is possible.
 */
int pod_network_model(const struct config_runtime *runtime, enum pod_network_model *ret, struct err *e);

/* A message as the guest was told it last, packed, for who tells it. */
struct pod_told {
	uint8_t *data;
	size_t len;
};

/* An endpoint's network card, for who plugs it and tells the guest. */
struct pod_nic {
	char id[16]; /* of its vm_device; unique among those that there are */
	bool gone;   /* its interface has gone */
	struct pod_told told;
	unsigned refusals; /* how often it could not be unplugged; the next try is at retry_ms */
	uint64_t retry_ms;
};

struct pod_network {
	char *netns; /* path */
	enum pod_network_model model;
	struct pod_endpoint **endpoints; /* opaque */
	size_t n_endpoints;
	/* For the agent. interfaces[i] is what endpoints[i] becomes. */
	Types__Interface **interfaces;
	size_t n_interfaces;
	Types__Route **routes; /* in the order in which they can be added; one for each destination */
	size_t n_routes;
	Types__ARPNeighbor **neighbours;
	size_t n_neighbours;
	struct pod_told told_routes, told_neighbours;
	bool lost;                   /* for who tells: the guest may have lost routes and neighbours */
	struct network_tables *seen; /* opaque: at the last look, and what was kept of those before it */
	struct strv notes;           /* what could not be carried over, one sentence each */
	/* Our own: the namespace, and an rtnetlink socket in it. */
	int ns_fd, rtnl_fd;
};

/* -EINVAL also for the namespace of the caller, whose interfaces are the host's. */
int pod_network_scan(const char *netns, enum pod_network_model model, struct pod_network **ret, struct err *e);
/*
 * For each endpoint that has none: a tap with this many queues, no more than the VM has CPUs when it starts: a guest
 * uses no others, and what the kernel puts into those is lost with some VMMs. can: of the driver. Without tap_fds it
 * gets the taps by their names, has them opened in the namespace (vm_config.netns), and queues does not count. On
 * failure what was there before is still there, and nothing else.
 */
int pod_network_attach(struct pod_network *n, const struct vm_capabilities *can, unsigned queues, struct err *e);
/* All endpoints are. */
bool pod_network_is_attached(const struct pod_network *n);
/*
 * The NIC of an endpoint as the driver wants it: a vm_device of kind VM_DEVICE_NET. Once attached it has the open
 * descriptors, which the device owns from here on, or the name of a tap. Caller frees with vm_device_free().
 */
int pod_network_device(struct pod_network *n, size_t endpoint, struct vm_device **ret, struct err *e);
/* How an endpoint is tied to its interface, for people: "tap0_caisson", "eth0". */
const char *pod_network_tap(const struct pod_network *n, size_t endpoint);
const char *pod_network_link(const struct pod_network *n, size_t endpoint);
struct pod_nic *pod_network_nic(struct pod_network *n, size_t endpoint);
/*
 * Scan again: what came after the last scan (docker's hook, `docker network connect`); new endpoints are at the end of
 * the list, *ret_first_new is the first that is not attached. Of attached ones the messages follow the namespace, with
 * their interface's name and MTU (as far as the card can have it); those whose interface has vanished (`docker network
 * disconnect`) are marked as gone.
 */
int pod_network_rescan(struct pod_network *n, size_t *ret_first_new, struct err *e);
/*
 * An interface with the MAC of a gone one may have come: it is tied to that one's tap, whose card is in the VM, and
 * nothing has to be plugged. 1: so it was, and the next scan says what the guest is to be told; 0: there is none, or it
 * cannot be tied so (macvtap).
 */
int pod_network_return(struct pod_network *n, size_t endpoint, struct err *e);
/* A gone one whose card is not in the VM any more. Those behind it move up; scan again for the messages. */
void pod_network_remove(struct pod_network *n, size_t endpoint);
/*
 * A descriptor of the caller's, non-blocking, that is readable (netlink messages, to be thrown away) after interfaces,
 * addresses, routes or neighbours of the namespace have changed.
 */
int pod_network_watch(struct pod_network *n, int *ret_fd, struct err *e);
/* Endpoints that are not attached, with their routes and neighbours: the next scan finds them again. */
void pod_network_forget_unattached(struct pod_network *n);
/* Undo pod_network_attach() for the endpoints from `first` on. They are in no VM (any more). */
void pod_network_detach_from(struct pod_network *n, size_t first);
void pod_network_detach(struct pod_network *n);
/* Detaches and frees. NULL does nothing. */
void pod_network_free(struct pod_network *n);
DEFINE_CLEANUP(struct pod_network *, pod_network_free)
