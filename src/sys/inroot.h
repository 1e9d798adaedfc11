/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Paths below a root directory that somebody hostile may have filled: every link is followed as if that directory were
 * "/", and neither ".." nor a magic link of /proc leads out (openat2(2) RESOLVE_IN_ROOT, Linux 5.6). What is found or
 * made is handed over as a descriptor, so that nobody walks the path a second time.
 */
#pragma once

#include <stddef.h>
#include <stdbool.h>
#include <sys/types.h>

/* open(2) of path below root_fd; flags get O_CLOEXEC. Returns a descriptor or -errno. */
int inroot_open(int root_fd, const char *path, int flags, mode_t mode);

/* Open a regular file for reading; anything else in its place, a FIFO too, is -EINVAL at once. */
int inroot_open_file(int root_fd, const char *path);

/* The whole file, NUL-terminated; as file_read(). More than max bytes: -EFBIG. */
int inroot_read(int root_fd, const char *path, size_t max, char **ret_data, size_t *ret_len);

/* mkdir -p: an O_PATH descriptor of the directory, or -errno. Dangling links are followed by making their targets. */
int inroot_mkdir(int root_fd, const char *path, mode_t mode);

/*
 * An O_PATH descriptor of what is at path, to be mounted upon; when nothing is there, an empty file or a directory is
 * made first, with its parents. -ENOTDIR or -EISDIR when something of the other kind is there.
 */
int inroot_mount_point(int root_fd, const char *path, bool directory);

/*
 * Split off the last component: an O_PATH descriptor of the parent directory (made where missing), and the name as a
 * pointer into path. -EINVAL for "", "/", and names "." and "..".
 */
int inroot_parent(int root_fd, const char *path, const char **ret_name);

/*
 * What is at path, as an O_PATH descriptor, or a directory that is made there with its parents, each of this mode. For
 * paths that somebody else has named: no link is followed, and "." and ".." are -EINVAL. -ELOOP: there is a link.
 */
int inroot_make_plain(int root_fd, const char *path, mode_t mode);

/* "/proc/self/fd/N" for calls that know only paths. */
struct fd_path {
	char text[32];
};
struct fd_path fd_path(int fd);
