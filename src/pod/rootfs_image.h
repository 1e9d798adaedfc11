/* SPDX-License-Identifier: Apache-2.0 */
/* Root file systems in an image file. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The file system in the image by its magic: "ext4", "xfs" or "erofs" (a constant). -EINVAL when it is none. */
int rootfs_image_type(const char *path, const char **ret_fstype, struct err *e);

/* Whether directories can be packed here: mkfs.erofs is installed. */
bool rootfs_image_can_pack(void);

/*
 * Pack a directory into an erofs image (EROFS on-disk format, uncompressed) in a file without a name, so that nothing
 * is left behind in any case. *ret_fd: the image; it is gone when this and all others that opened it are closed.
 * interrupt_fd: readable: give up with -ECANCELED; -1: none.
 */
int rootfs_image_pack(const char *dir, int interrupt_fd, int *ret_fd, struct err *e);
