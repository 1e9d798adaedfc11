/* SPDX-License-Identifier: Apache-2.0 */
/* Root file systems in an image file. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

/* The file system in the image by its magic: "ext4", "xfs" or "erofs" (a constant). -EINVAL when it is none. */
int rootfs_image_type(const char *path, const char **ret_fstype, struct err *e);

/* What a directory is packed into. */
enum rootfs_image_kind {
	ROOTFS_IMAGE_EROFS, /* read-only: EROFS on-disk format, uncompressed */
	ROOTFS_IMAGE_EXT4,  /* writable, with free room of which no more is taken on the host than is written */
};

/* Whether directories can be packed here: mkfs.erofs, or mke2fs and debugfs, are installed. */
bool rootfs_image_can_pack(enum rootfs_image_kind kind);

/*
 * Pack a directory into an image in a file without a name, so that nothing is left behind in any case. *ret_fd: the
 * image; it is gone when this and all others that opened it are closed. An ext4 image is half as large as what is free
 * in /var/tmp, at most 16 GiB. interrupt_fd: readable: give up with -ECANCELED; -1: none.
 */
int rootfs_image_pack(const char *dir, enum rootfs_image_kind kind, int interrupt_fd, int *ret_fd, struct err *e);
