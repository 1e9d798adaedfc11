/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of host_cgroup share. */
#pragma once

#include "pod/host_cgroup.h"

/* Where the groups are of pods that nobody gives a cgroupsPath. */
#define HOST_CGROUP_OWN "/caisson"

/* The group in one hierarchy. */
struct host_group {
	bool v2;
	struct strv controllers;
	char *mount_point;
	char *path;    /* of the group, below the mount point */
	char *origin;  /* of the process that made it, below the mount point: where it goes back to; NULL: the root */
	unsigned made; /* how many components of path were not there before */
	int root_fd, dir_fd;
};

struct host_cgroup {
	char *path; /* for messages */
	struct host_group *groups;
	size_t n_groups;
	struct strv notes;
};

/*
 * The path of the group for a spec's cgroupsPath. *ret_relative: it is below the caller's own group. *ret_systemd: it
 * was in systemd's form. -EINVAL with a message.
 */
int host_cgroup_path(const char *spec_path, const char *id, char **ret, bool *ret_relative, bool *ret_systemd,
		     struct err *e);

/* The group in the hierarchy of a v1 controller, or in v2's when it has the controller; NULL: nobody has it. */
const struct host_group *host_cgroup_find(const struct host_cgroup *cg, const char *controller);
