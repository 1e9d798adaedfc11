/* SPDX-License-Identifier: Apache-2.0 */
/* Descriptors and small files. Everything opens with O_CLOEXEC and retries EINTR. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "base/cleanup.h"

/* Read or write exactly n bytes. 0, negative errno; fd_read_full gives -ENODATA when the stream ends before n. */
int fd_read_full(int fd, void *data, size_t n);
int fd_write_full(int fd, const void *data, size_t n);

/* What is left in fd, as file_read(). */
int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len);

/*
 * Close all descriptors from 3 on but those of keep (-1: none). For the child of a fork: it makes system calls only.
 */
void fd_close_others(const int *keep, size_t n);

int fd_set_nonblock(int fd, bool on);
int fd_set_cloexec(int fd, bool on);

/* What became of a connect(2) that was waited for until the socket could be written to: 0 or -errno. */
int fd_connect_result(int fd);

/*
 * Whole file at dirfd/path into a new NUL-terminated buffer (caller frees). max: the largest size accepted, in bytes;
 * a larger file gives -EFBIG. ret_len may be NULL. Works for /proc and /sys files, whose size is not known.
 */
int file_read_at(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len);
int file_read(const char *path, size_t max, char **ret_data, size_t *ret_len);

/* Write an existing file (sysfs, cgroup) in one write(2). */
int file_write_at(int dirfd, const char *path, const char *data, size_t len);
int file_write(const char *path, const char *text);

/* Create or replace a file so that readers see the old or the new content, never a part. mode: permission bits. */
int file_replace(const char *path, const void *data, size_t len, mode_t mode);

/* Of two that stat(2) told of: are they one? Namespaces are files, too. */
static inline bool file_is_same(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* Bytes in a file or a block device, into *ret. 0, -errno. */
int file_size(const char *path, uint64_t *ret);

/* mkdir -p. mode: for the directories that are made. */
int dir_make(const char *path, mode_t mode);

/* rm -rf without crossing mount points or following links. 0 also when path does not exist. */
int dir_remove(const char *path);

/* Monotonic time. */
uint64_t clock_ms(void);
uint64_t clock_us(void);
uint64_t clock_ns(void);
