/* SPDX-License-Identifier: Apache-2.0 */
#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "base/strv.h"

void fd_close(int *fd)
{
	int saved = errno;

	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	errno = saved;
}

int fd_read_full(int fd, void *data, size_t n)
{
	char *p = data;

	while (n) {
		ssize_t r = read(fd, p, n);

		if (r == 0)
			return -ENODATA;
		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

int fd_write_full(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n) {
		ssize_t r = write(fd, p, n);

		if (r < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		p += r;
		n -= (size_t)r;
	}
	return 0;
}

static int set_flag(int fd, int get, int set, int flag, bool on)
{
	int flags = fcntl(fd, get);

	if (flags < 0)
		return -errno;
	flags = on ? flags | flag : flags & ~flag;
	return fcntl(fd, set, flags) < 0 ? -errno : 0;
}

/* The lowest descriptor of those to keep that is at least from; UINT_MAX: none. */
static unsigned next_kept(const int *keep, size_t n, unsigned from)
{
	unsigned best = UINT_MAX;

	for (size_t i = 0; i < n; i++)
		if (keep[i] >= 0 && (unsigned)keep[i] >= from && (unsigned)keep[i] < best)
			best = (unsigned)keep[i];
	return best;
}

void fd_close_others(const int *keep, size_t n)
{
	unsigned from = 3;

	for (unsigned kept; (kept = next_kept(keep, n, from)) != UINT_MAX; from = kept + 1)
		if (kept > from)
			syscall(SYS_close_range, from, kept - 1, 0u);
	syscall(SYS_close_range, from, UINT_MAX, 0u);
}

int fd_set_nonblock(int fd, bool on)
{
	return set_flag(fd, F_GETFL, F_SETFL, O_NONBLOCK, on);
}

int fd_set_cloexec(int fd, bool on)
{
	return set_flag(fd, F_GETFD, F_SETFD, FD_CLOEXEC, on);
}

int fd_connect_result(int fd)
{
	int code = 0;
	socklen_t len = sizeof code;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &code, &len) < 0 ? -errno : -code;
}

int fd_read_all(int fd, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t len;

	for (;;) {
		ssize_t n;
		int r = buf_reserve(&b, 4096);

		if (r < 0)
			return r;
		n = read(fd, b.data + b.len, b.size - b.len - 1);
		if (n < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		if (n == 0)
			break;
		b.len += (size_t)n;
		b.data[b.len] = '\0';
		if (b.len > max)
			return -EFBIG;
	}
	len = b.len;
	*ret_data = buf_take(&b);
	if (!*ret_data)
		return -ENOMEM;
	if (ret_len)
		*ret_len = len;
	return 0;
}

int file_read_at(int dirfd, const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? -errno : fd_read_all(fd, max, ret_data, ret_len);
}

int file_read(const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	return file_read_at(AT_FDCWD, path, max, ret_data, ret_len);
}

int file_write_at(int dirfd, const char *path, const char *data, size_t len)
{
	_cleanup_close_ int fd = openat(dirfd, path, O_WRONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	do
		n = write(fd, data, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int file_write(const char *path, const char *text)
{
	return file_write_at(AT_FDCWD, path, text, strlen(text));
}

int file_size(const char *path, uint64_t *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	off_t size = fd < 0 ? -1 : lseek(fd, 0, SEEK_END);

	if (size < 0)
		return -errno;
	*ret = (uint64_t)size;
	return 0;
}

int file_replace(const char *path, const void *data, size_t len, mode_t mode)
{
	_cleanup_free_ char *tmp = str_printf("%s.%d.tmp", path, (int)getpid());
	_cleanup_close_ int fd = -1;
	int r;

	if (!tmp)
		return -ENOMEM;
	fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, mode);
	if (fd < 0)
		return -errno;
	r = fd_write_full(fd, data, len);
	if (r == 0 && rename(tmp, path) < 0)
		r = -errno;
	if (r < 0)
		unlink(tmp);
	return r;
}

int dir_make(const char *path, mode_t mode)
{
	char part[PATH_MAX];
	size_t n = strlen(path);

	if (n == 0 || n >= sizeof part)
		return -ENAMETOOLONG;
	memcpy(part, path, n + 1);
	for (char *p = part + 1;; p++) {
		char c = *p;

		if (c && c != '/')
			continue;
		*p = '\0';
		if (mkdir(part, mode) < 0 && errno != EEXIST)
			return -errno;
		*p = c;
		if (!c)
			break;
	}
	return 0;
}

/*
 * A tree may be deeper than we may hold descriptors open (image layers are made by strangers). Directories below
 * REMOVE_DEPTH are moved up to the top of the tree and removed from there in another round.
 */
#define REMOVE_DEPTH 64

struct removal {
	int top_fd;
	dev_t dev;
	unsigned long next; /* number for the name of the next one */
	bool moved;
};

static int remove_entries(struct removal *rm, int fd, int depth);

static int remove_directory(struct removal *rm, int fd, const char *name, int depth)
{
	int sub, r;

	if (depth >= REMOVE_DEPTH) {
		char up[32];

		snprintf(up, sizeof up, ".remove-%lu", rm->next++);
		if (renameat(fd, name, rm->top_fd, up) < 0 && errno != ENOTEMPTY && errno != EEXIST)
			return -errno;
		rm->moved = true; /* or the name was taken: the next round tries another one */
		return 0;
	}
	sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (sub < 0 && errno == EACCES && fchmodat(fd, name, 0700, 0) == 0)
		sub = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	r = sub < 0 ? -errno : remove_entries(rm, sub, depth + 1);
	if (unlinkat(fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT && !rm->moved)
		r = r < 0 ? r : -errno;
	return r;
}

/* Takes fd over. */
static int remove_entries(struct removal *rm, int fd, int depth)
{
	_cleanup_closedir_ DIR *d = fdopendir(fd);
	struct dirent *e;
	int r = 0;

	if (!d) {
		close(fd);
		return -ENOMEM;
	}
	while ((e = readdir(d))) {
		struct stat st;
		int rr;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
			continue;
		if (!S_ISDIR(st.st_mode))
			rr = unlinkat(dirfd(d), e->d_name, 0) < 0 && errno != ENOENT ? -errno : 0;
		else if (st.st_dev != rm->dev)
			rr = -EXDEV;
		else
			rr = remove_directory(rm, dirfd(d), e->d_name, depth);
		if (rr < 0)
			r = rr;
	}
	return r;
}

int dir_remove(const char *path)
{
	_cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	struct removal rm = { .top_fd = top };
	struct stat st;
	int r;

	if (top < 0)
		return errno == ENOENT ? 0 : -errno;
	if (fstat(top, &st) < 0)
		return -errno;
	rm.dev = st.st_dev;
	do {
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

		rm.moved = false;
		r = fd < 0 ? -errno : remove_entries(&rm, fd, 0);
	} while (r == 0 && rm.moved);
	if (rmdir(path) < 0 && errno != ENOENT)
		return r < 0 ? r : -errno;
	return r;
}

uint64_t clock_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

uint64_t clock_us(void)
{
	return clock_ns() / 1000;
}

uint64_t clock_ms(void)
{
	return clock_us() / 1000;
}
