/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names for a pod's containers from a server on the loopback of the pod's network namespace, as docker has one in
 * networks that people made: 127.0.0.11. The guest's agent listens there in the guest (agent/resolver.h), what it hears
 * is asked here, in the namespace, and the answer goes back.
 *
 * The guest is hostile. It reaches that address, port 53, in the pod's own namespace and nothing else; so many queries
 * are under way at a time, each for so long, and the next one is fetched only when there is room. The address is what a
 * container's resolv.conf says, which the container may have written: any of 127.0.0.0/8, in that namespace.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"

struct resolver;

#define RESOLVER_LOOKUPS_MAX 64
#define RESOLVER_TIMEOUT_MS  10000

/*
 * ns_fd: the pod's network namespace. Both and the agent are borrowed and outlive it. *ret: NULL for the namespace of
 * the caller, whose loopback is the host's.
 */
int resolver_new(struct loop *loop, struct agent *a, int ns_fd, struct resolver **ret, struct err *e);
/*
 * What does the container's resolv.conf say? Failures are logged. NULL does nothing.
 */
void resolver_look(struct resolver *r, const Grpc__Spec *spec);
/* docker writes them anew when it connects a network: they are looked at again, now and a little later. */
void resolver_network_changed(struct resolver *r);
/* NULL does nothing. */
void resolver_free(struct resolver *r);
