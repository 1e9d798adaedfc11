/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The part of a plan that brings files into the container: the bind mounts of a bundle, --volume, and the small files
 * of /etc. A host path becomes an item of the share, and the container's mount names the item's place in the guest.
 */
#pragma once

#include "pod/plan.h"

/* A mount of a path of the host, by its type or its options. */
bool plan_is_bind(const Grpc__Mount *m);
bool plan_is_readonly(const Grpc__Mount *m);
/* Does a source of the host mean the guest's own: a kernel file system? */
bool plan_is_guests_own(const char *source);
/* The sandbox's shared memory, if this container or a later one can ask for it. Before the first container's mounts. */
int plan_shm(struct plan *p, const struct plan_request *q, struct err *e);
/* The spec's own bind mounts. Before plan_volumes(), whose mounts name guest paths already. */
int plan_mounts(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);
int plan_volumes(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);
/*
 * /etc/hosts, hostname and resolv.conf, unless something is mounted there. After the network is decided. A bundle's
 * mounts are complete, but for the name servers of a network that is ours.
 */
int plan_etc(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e);
