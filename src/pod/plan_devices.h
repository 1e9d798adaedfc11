/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a plan about linux.devices: a number there means a device of the host's kernel, and the container's is
 * another one. Block devices become disks of the VM, and the guest puts its own numbers in; a few character devices
 * have the same numbers everywhere; the rest is left out. So is a block device that is to be bind mounted: a disk with
 * a node where the mount would be. The container may use it, whatever rules there are for it: it was asked for by name.
 *
 * A privileged container was given all devices of the host. Those are not the guest's: it gets none of them but the
 * ones with the same numbers everywhere, and in the guest all devices of that (agent/nodes.c).
 */
#pragma once

#include "pod/plan.h"

int plan_devices(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);
/*
 * source, a path of the host, as target in the container, if it is a block device: 1. 0: it is none. After
 * plan_devices().
 */
int plan_bound_device(struct plan *p, struct plan_container *c, const char *source, const char *target, bool readonly,
		      struct err *e);
/* Whether the hypervisor has block devices for guests at all. */
bool plan_takes_disks(const struct plan *p);
