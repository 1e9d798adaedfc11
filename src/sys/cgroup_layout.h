/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which cgroup hierarchies there are and where they are mounted, from /proc/self/mountinfo and /proc/self/cgroup
 * (cgroups(7)): cgroup v1 with a mount for each set of controllers, v2 with one for all, or the hybrid of both. Several
 * layouts look alike to nobody but the kernel, so nothing is guessed from names of directories.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"

struct cgroup_hierarchy {
	bool v2;
	/* v1: those of the mount ("cpu" and "cpuacct", or "name=systemd"). v2: those that its topmost group offers. */
	struct strv controllers;
	char *mount_point;
	/*
	 * This process's group below the mount point: "/a/b", or "/" where the mount shows that group as its root, as
	 * in a container. NULL: it is outside of what the mount shows.
	 */
	char *own;
};

struct cgroup_layout {
	struct cgroup_hierarchy *v;
	size_t n;
};

/*
 * root: NULL, or for tests a directory that stands for "/": with its proc/self/mountinfo and proc/self/cgroup and the
 * mount points; it becomes part of cgroup_hierarchy.mount_point. A hierarchy that is not mounted is not in the list;
 * one that is mounted twice is there once, below /sys/fs/cgroup if it can be had.
 */
int cgroup_layout_read(const char *root, struct cgroup_layout *ret, struct err *e);
void cgroup_layout_fini(struct cgroup_layout *l);
#define _cleanup_cgroup_layout_ __attribute__((cleanup(cgroup_layout_fini)))

/* The hierarchy that has a controller, or NULL. */
const struct cgroup_hierarchy *cgroup_layout_find(const struct cgroup_layout *l, const char *controller);
