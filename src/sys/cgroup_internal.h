/* SPDX-License-Identifier: Apache-2.0 */
/* What cgroup.c and cgroup_devices.c share. */
#pragma once

#include "sys/cgroup.h"

struct cgroup {
	char *root, *path;
	int root_fd;    /* -1: there is no hierarchy */
	int dir_fd;     /* -1: there is no hierarchy */
	int devices_fd; /* the device program that is attached, or -1 */
};
