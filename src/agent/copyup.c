/* SPDX-License-Identifier: Apache-2.0 */
/* tmpcopyup: what a tmpfs covers is copied into it first. The tree is the image's, so every step is by descriptor. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/rootfs.h"
#include "base/cleanup.h"

#define DEPTH_MAX 64

static int copy_dir(int from_fd, int to_fd, int depth);

static int copy_file(int from_dir, int to_dir, const char *name, const struct stat *st)
{
	_cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	_cleanup_close_ int to = -1;
	ssize_t n;

	if (from < 0)
		return -errno;
	to = openat(to_dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, st->st_mode & 07777);
	if (to < 0)
		return -errno;
	while ((n = sendfile(to, from, NULL, 1 << 20)) > 0)
		;
	return n < 0 ? -errno : 0;
}

static int copy_entry(int from_dir, int to_dir, const char *name, int depth)
{
	char target[PATH_MAX];
	struct stat st;
	ssize_t n;
	int r = 0;

	if (fstatat(from_dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode)) {
		_cleanup_close_ int from = openat(from_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		_cleanup_close_ int to = -1;

		if (from < 0 || mkdirat(to_dir, name, 0700) < 0)
			return -errno;
		to = openat(to_dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		r = to < 0 ? -errno : copy_dir(from, to, depth + 1);
	} else if (S_ISLNK(st.st_mode)) {
		n = readlinkat(from_dir, name, target, sizeof(target) - 1);
		if (n < 0)
			return -errno;
		target[n] = '\0';
		r = symlinkat(target, to_dir, name) < 0 ? -errno : 0;
	} else if (S_ISREG(st.st_mode)) {
		r = copy_file(from_dir, to_dir, name, &st);
	} else {
		r = mknodat(to_dir, name, st.st_mode, st.st_rdev) < 0 ? -errno : 0;
	}
	if (r < 0)
		return r;
	if (fchownat(to_dir, name, st.st_uid, st.st_gid, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	/* After chown(2), which takes set-id bits away. */
	return !S_ISLNK(st.st_mode) && fchmodat(to_dir, name, st.st_mode & 07777, 0) < 0 ? -errno : 0;
}

static int copy_dir(int from_fd, int to_fd, int depth)
{
	int copy = depth > DEPTH_MAX ? -1 : openat(from_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;
	int r = 0;

	if (depth > DEPTH_MAX)
		return -ELOOP;
	if (!d) {
		r = -errno;
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == 0 && (entry = readdir(d))) {
		const char *name = entry->d_name;

		if (name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2])))
			continue;
		r = copy_entry(from_fd, to_fd, name, depth);
	}
	return r;
}

int copy_tree(int from_fd, int to_fd)
{
	return copy_dir(from_fd, to_fd, 0);
}
