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
 * Interfaces that came after the last look, into the running VM. *ret_n (may be NULL): how many. What failed is tried
 * again by the next call. -ENOTSUP: the driver plugs none, or not into a VM with fixed_devices.
 */
int nics_plug(struct plan *p, struct vm *vm, struct agent *a, size_t *ret_n, struct err *e);
