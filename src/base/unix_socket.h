/* SPDX-License-Identifier: Apache-2.0 */
/* Unix stream sockets by path. */
#pragma once

#include <sys/types.h>

#include "base/err.h"

/*
 * Listen at path with the given permission bits (there from the start: no moment with wider ones). Non-blocking,
 * close-on-exec. The path may not exist yet; unlinking it later is the caller's.
 */
int unix_listen(const char *path, mode_t mode, int *ret_fd, struct err *e);

/* Connect to path, non-blocking, close-on-exec. 0 or -errno (-ENAMETOOLONG, -ENOENT, -ECONNREFUSED, -EAGAIN: full). */
int unix_connect(const char *path, int *ret_fd);
