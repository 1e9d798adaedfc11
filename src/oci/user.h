/* SPDX-License-Identifier: Apache-2.0 */
/* "USER[:GROUP]" as docker's --user and an image's User say it, looked up in the container's own /etc. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define OCI_USER_GROUPS_MAX 64

struct oci_user {
	uint32_t uid, gid;
	uint32_t groups[OCI_USER_GROUPS_MAX]; /* additional groups, only when no group was named */
	size_t n_groups;
};

/*
 * Resolve s (NULL or "": root). rootfs_fd: the root file system, or -1 when the host can't see it; names other than
 * root are then an error. The files are hostile: they are opened inside the root, bounded, and parsed with care.
 */
int oci_user_resolve(const char *s, int rootfs_fd, struct oci_user *ret, struct err *e);
