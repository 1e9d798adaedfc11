/* SPDX-License-Identifier: Apache-2.0 */
/* Files of an untrusted tree: links are resolved inside the tree, and only regular files are opened. */
#pragma once

#include <stddef.h>

/*
 * Open root_fd/path for reading; absolute links and ".." end at the root. Returns the descriptor (close-on-exec), or
 * -EINVAL when it is not a regular file, or another negative errno.
 */
int inroot_open_file(int root_fd, const char *path);

/* The whole file, NUL-terminated; as file_read(). More than max bytes: -EFBIG. */
int inroot_read(int root_fd, const char *path, size_t max, char **ret_data, size_t *ret_len);
