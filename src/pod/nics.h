/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The interfaces of a pod's network (pod/network.h) as devices of a plan, in the VM, and in the guest: what
 * pod/network.h knows nothing of.
 */
#pragma once

#include "pod/agent.h"
#include "pod/network.h"
#include "pod/plan.h"

/* pod_network_attach() as the driver can use it, with no more queues than the VM has CPUs. */
int nics_attach(struct pod_network *n, const struct hypervisor_driver *driver, const struct config_hypervisor *hv,
		uint32_t vcpus, struct err *e);
/*
 * One network card in the plan for each endpoint, and the notes. The VMM will run in the namespace. The network
 * outlives the plan, which keeps it as plan.network; it may be attached already or not.
 */
int nics_plan(struct plan *p, struct pod_network *n, struct err *e);
/* Before the devices are given to the VM: attach what is not attached yet. Nothing for a plan without such a network.
 */
int nics_connect(struct plan *p, struct err *e);
/* When there is a sandbox in the guest: names, addresses, MTUs; then all routes, then all neighbours. */
int nics_tell_agent(const struct plan *p, struct agent *a, struct err *e);
/*
 * The same from the loop, and what it does not know yet only. 1: fn runs once, when it knows all or with the first
 * failure; until then the network must not be looked at, and *ret is valid. 0: there is nothing to tell.
 */
struct nics_tell;
int nics_tell_agent_async(const struct plan *p, struct agent *a, agent_done_fn fn, void *userdata,
			  struct nics_tell **ret, struct err *e);
/* fn will not run. NULL does nothing. */
void nics_tell_cancel(struct nics_tell *t);
struct nics_changes {
	size_t plugged, unplugged, returned;
	uint64_t again_ms; /* look again after this time: a guest has not let go of a card yet; 0: it has */
};
/*
 * What has changed since the last look, into the running VM: interfaces that came are plugged in, those that vanished
 * are unplugged. Whatever the result, the guest is to be told then. What failed is tried again by the next call.
 * -ENOTSUP: one came, and the driver plugs none, or not into a VM with fixed_devices.
 *
 * For an unplug a guest has a second here, since the caller's loop stands still: it is asked again, a few times and
 * ever less often. A card that stays (also one that was there at the start, with most drivers) has no addresses any
 * more, and is used again by an interface with its MAC. Its tap ends with the network.
 */
int nics_follow(struct plan *p, struct vm *vm, struct nics_changes *ret, struct err *e);
