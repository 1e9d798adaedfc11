/* SPDX-License-Identifier: Apache-2.0 */
/* Root file systems as containerd hands them: a list of mounts (its snapshotters' overlay, bind, erofs, ext4 …). */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "pod/pod.h"

/*
 * Mount them in order at dir, which is made if need be; mount.target is below it. *ret_n: how many are mounted, also on
 * failure. The calling process's mount namespace should be its own.
 */
int rootfs_mount(const struct pod_mount *mounts, size_t n, const char *dir, size_t *ret_n, struct err *e);
/* Take n mounts at and below dir away, lazily. */
void rootfs_unmount(const char *dir, size_t n);

/*
 * Is this all a disk with a file system that a guest can mount by itself (one ext4, xfs or erofs mount of a block
 * device or image file)? *ret_readonly: as its options say.
 */
bool rootfs_is_disk(const struct pod_mount *mounts, size_t n, bool *ret_readonly);
