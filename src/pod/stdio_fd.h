/* SPDX-License-Identifier: Apache-2.0 */
/* One end of somebody else's stdio, read or written without blocking and without changing it for its other users. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct stdio_fd {
	int fd; /* our own; -1: none */
	bool socket, tty;
	size_t step; /* 0: the open file does not block; else poll() first and move at most so much */
};

/* fd: the caller's; -1 gives an empty one. 0 or negative errno. */
int stdio_fd_open(struct stdio_fd *s, int fd, bool writing);
void stdio_fd_close(struct stdio_fd *s);
/* Number of bytes, 0 at the end, -EAGAIN, or another negative errno. */
ssize_t stdio_fd_read(const struct stdio_fd *s, void *data, size_t n);
/* Number of bytes, -EAGAIN, -EPIPE (without a signal; also for a terminal that was hung up), or another negative errno.
 */
ssize_t stdio_fd_write(const struct stdio_fd *s, const void *data, size_t n);
