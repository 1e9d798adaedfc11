/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pod a container belongs to: by the annotations of its bundle (pod/pod_role.h), which also configure it, or by
 * the namespaces that it is to share (pod/pod_join.h).
 */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"

struct task_group {
	char *sandbox;      /* id of the pod: of its first container */
	bool is_member;     /* a later container of that pod; else the first one */
	bool is_single;     /* no annotation says anything of a pod */
	bool may_be_alone;  /* a member of a pod that perhaps has no first container: then its pod is its own */
	struct strv config; /* annotations io.katacontainers.*, as KEY=VALUE */
};

/* By a spec's annotations. id: of the container. */
int task_group_of(const Grpc__Spec *spec, const char *id, struct task_group *ret, struct err *e);
/* The same, of BUNDLE/config.json. */
int task_group_read(const char *bundle, const char *id, struct task_group *ret, struct err *e);
/*
 * A single container that shares the network of one below state_root becomes a member of that one's pod. namespace:
 * containerd's; NULL: none. Before its own pod is looked for; not for one that is there.
 */
int task_group_join(struct task_group *g, const Grpc__Spec *spec, const char *state_root, const char *namespace,
		    struct err *e);
/* There is no first container, and may_be_alone. */
int task_group_alone(struct task_group *g, const char *id, struct err *e);
void task_group_fini(struct task_group *g);
#define _cleanup_task_group_ __attribute__((cleanup(task_group_fini)))
