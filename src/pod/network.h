/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a pod's network namespace become NICs of its VM (Kata's networking; the modes of
 * internetworking_model): tcfilter (a tap per interface, tied to it by tc ingress mirred redirection both ways),
 * macvtap, none. The guest gets the interface's name, MAC, addresses, routes, neighbours and MTU from the agent.
 *
 * Three steps: pod_network_scan() looks and changes nothing; pod_network_attach() makes taps and redirections;
 * pod_network_detach() undoes that, in any half-done state, also when the namespace is gone. Namespaces are entered by
 * the calling thread, which is back in its own when a function returns.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "hypervisor/driver.h"
#include "proto/agent.pb-c.h"

enum pod_network_model { POD_NETWORK_TCFILTER, POD_NETWORK_MACVTAP, POD_NETWORK_NONE };

/* internetworking_model and disable_new_netns of the configuration. -EINVAL names what is possible. */
int pod_network_model(const char *text, enum pod_network_model *ret, struct err *e);

struct pod_network {
	char *netns; /* path */
	enum pod_network_model model;
	struct pod_endpoint **endpoints; /* opaque */
	size_t n_endpoints;
	/* For the agent. */
	Types__Interface **interfaces;
	size_t n_interfaces;
	Types__Route **routes;
	size_t n_routes;
	Types__ARPNeighbor **neighbours;
	size_t n_neighbours;
	struct strv notes; /* what could not be carried over, one sentence each */
};

int pod_network_scan(const char *netns, enum pod_network_model model, struct pod_network **ret, struct err *e);
/* queues: per NIC; vnet_hdr offloads are asked for. */
int pod_network_attach(struct pod_network *n, unsigned queues, struct err *e);
/*
 * The NIC of an endpoint as the driver wants it (vm_net of kind VM_DEVICE_NET with open tap descriptors, which the
 * device owns). Caller frees with vm_device_free().
 */
int pod_network_device(struct pod_network *n, size_t endpoint, struct vm_device **ret, struct err *e);
/* Scan again: what came after the last scan; the new endpoints are at the end of the list. */
int pod_network_rescan(struct pod_network *n, size_t *ret_first_new, struct err *e);
void pod_network_detach(struct pod_network *n);
/* Detaches and frees. NULL does nothing. */
void pod_network_free(struct pod_network *n);
DEFINE_CLEANUP(struct pod_network *, pod_network_free)
