/* SPDX-License-Identifier: Apache-2.0 */
/* Which pod a container belongs to, by the annotations of its bundle (pod/pod_role.h), and how they configure it. */
#pragma once

#include <stdbool.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"

struct task_group {
	char *sandbox;      /* id of the pod: of its first container */
	bool is_member;     /* a later container of that pod; else the first one */
	bool may_be_alone;  /* a member of a pod that perhaps has no first container: then its pod is its own */
	struct strv config; /* annotations io.katacontainers.*, as KEY=VALUE */
};

/* Read BUNDLE/config.json. id: of the container. */
int task_group_read(const char *bundle, const char *id, struct task_group *ret, struct err *e);
/* There is no first container, and may_be_alone. */
int task_group_alone(struct task_group *g, const char *id, struct err *e);
void task_group_fini(struct task_group *g);
#define _cleanup_task_group_ __attribute__((cleanup(task_group_fini)))
