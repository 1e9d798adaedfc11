/* SPDX-License-Identifier: Apache-2.0 */
/* Root file systems in an image file. */
#pragma once

#include "base/err.h"

/* The file system in the image by its magic: "ext4", "xfs" or "erofs" (a constant). -EINVAL when it is none. */
int rootfs_image_type(const char *path, const char **ret_fstype, struct err *e);
