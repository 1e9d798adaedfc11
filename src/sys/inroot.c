/* SPDX-License-Identifier: Apache-2.0 */
/* See inroot.h. */
#include "sys/inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"

#define LINKS_MAX 40 /* as the kernel's own limit, path_resolution(7) */

int inroot_open(int root_fd, const char *path, int flags, mode_t mode)
{
	struct open_how how = {
		.flags = (unsigned)flags | O_CLOEXEC,
		.mode = flags & O_CREAT ? mode : 0,
		.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS,
	};

	/* -EAGAIN: a rename or mount raced with ".."; the kernel could not prove that we stayed inside. */
	for (int i = 0; i < 128; i++) {
		long fd = syscall(SYS_openat2, root_fd, *path ? path : "/", &how, sizeof(how));

		if (fd >= 0)
			return (int)fd;
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
	}
	return -EAGAIN;
}

int inroot_open_file(int root_fd, const char *path)
{
	/* O_NONBLOCK: a FIFO in its place must not make us wait for a writer. */
	_cleanup_close_ int fd = inroot_open(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
	struct stat st;

	if (fd < 0)
		return take_fd(&fd);
	if (fstat(fd, &st) < 0)
		return -errno;
	return S_ISREG(st.st_mode) ? take_fd(&fd) : -EINVAL;
}

int inroot_read(int root_fd, const char *path, size_t max, char **ret_data, size_t *ret_len)
{
	_cleanup_close_ int fd = inroot_open_file(root_fd, path);

	return fd < 0 ? fd : fd_read_all(fd, max, ret_data, ret_len);
}

static int mkdir_depth(int root_fd, const char *path, mode_t mode, int *links);

/* The directory at prefix could not be opened though something of that name is there: a dangling link, or a file. */
static int follow_dangling(int root_fd, int parent_fd, const char *name, const char *parent, mode_t mode, int *links)
{
	char target[PATH_MAX];
	_cleanup_free_ char *next = NULL;
	ssize_t n = readlinkat(parent_fd, name, target, sizeof(target) - 1);

	if (n < 0)
		return errno == EINVAL ? -ENOTDIR : -errno;
	target[n] = '\0';
	if (++*links > LINKS_MAX)
		return -ELOOP;
	next = target[0] == '/' ? strdup(target) : str_printf("%s/%s", parent, target);
	return next ? mkdir_depth(root_fd, next, mode, links) : -ENOMEM;
}

static int mkdir_depth(int root_fd, const char *path, mode_t mode, int *links)
{
	_cleanup_free_ char *prefix = calloc(1, strlen(path) + 2), *rest = strdup(path);
	_cleanup_close_ int fd = inroot_open(root_fd, "/", O_PATH | O_DIRECTORY, 0);
	char *next = rest, *name;

	if (!prefix || !rest)
		return -ENOMEM;
	while (fd >= 0 && (name = strsep(&next, "/"))) {
		size_t len = strlen(prefix);
		int child;

		if (!*name || str_eq(name, "."))
			continue;
		if (strlen(name) > NAME_MAX)
			return -ENAMETOOLONG;
		sprintf(prefix + len, "/%s", name);
		child = inroot_open(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
		if (child == -ENOENT && !str_eq(name, "..")) {
			if (mkdirat(fd, name, mode) == 0 || errno == EEXIST)
				child = inroot_open(root_fd, prefix, O_PATH | O_DIRECTORY, 0);
			else
				return -errno;
			if (child == -ENOENT) {
				prefix[len] = '\0';
				child = follow_dangling(root_fd, fd, name, prefix, mode, links);
				prefix[len] = '/';
			}
		}
		close(fd);
		fd = child;
	}
	return fd < 0 ? fd : take_fd(&fd);
}

int inroot_mkdir(int root_fd, const char *path, mode_t mode)
{
	int links = 0;

	return mkdir_depth(root_fd, path, mode, &links);
}

int inroot_parent(int root_fd, const char *path, const char **ret_name)
{
	_cleanup_free_ char *parent = strdup(path);
	const char *name = strrchr(path, '/');
	int fd;

	if (!parent)
		return -ENOMEM;
	name = name ? name + 1 : path;
	if (!*name || str_eq(name, ".") || str_eq(name, ".."))
		return -EINVAL;
	parent[name - path] = '\0';
	fd = inroot_mkdir(root_fd, parent, 0755);
	if (fd >= 0)
		*ret_name = name;
	return fd;
}

/* An empty file, with its parents; at the end of dangling links: in images, /etc/resolv.conf often leads into /run. */
static int make_file(int root_fd, const char *path)
{
	_cleanup_free_ char *place = strdup(path);

	for (int links = 0; place; links++) {
		_cleanup_close_ int parent = -1, made = -1;
		char target[PATH_MAX], *next;
		const char *name;
		ssize_t n;

		parent = inroot_parent(root_fd, place, &name);
		if (parent < 0)
			return parent;
		/* O_CREAT through RESOLVE_IN_ROOT also makes the target of a dangling link, inside the root. */
		made = inroot_open(root_fd, place, O_RDONLY | O_CREAT | O_NONBLOCK | O_NOCTTY, 0644);
		if (made != -ENOENT)
			return made < 0 ? made : 0;
		n = readlinkat(parent, name, target, sizeof(target) - 1);
		if (n < 0 || links == LINKS_MAX)
			return n < 0 ? -ENOENT : -ELOOP;
		target[n] = '\0';
		next = target[0] == '/' ? strdup(target) : str_printf("%.*s/%s", (int)(name - place), place, target);
		free(place);
		place = next;
	}
	return -ENOMEM;
}

int inroot_mount_point(int root_fd, const char *path, bool directory)
{
	_cleanup_close_ int fd = inroot_open(root_fd, path, O_PATH, 0);
	struct stat st;
	int r;

	if (fd == -ENOENT && directory)
		return inroot_mkdir(root_fd, path, 0755);
	if (fd == -ENOENT) {
		r = make_file(root_fd, path);
		return r < 0 ? r : inroot_open(root_fd, path, O_PATH, 0);
	}
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (directory != S_ISDIR(st.st_mode))
		return directory ? -ENOTDIR : -EISDIR;
	return take_fd(&fd);
}

static int open_plain(int dir_fd, const char *name)
{
	struct open_how how = {
		.flags = O_PATH | O_CLOEXEC,
		.resolve = RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH,
	};
	long fd = syscall(SYS_openat2, dir_fd, name, &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static int make_plain(int dir_fd, const char *name, mode_t mode)
{
	int fd;

	if (mkdirat(dir_fd, name, 0700) < 0)
		return errno == EEXIST ? open_plain(dir_fd, name) : -errno;
	fd = open_plain(dir_fd, name);
	/* Of mkdir(2)'s mode the umask takes, and a group that the parent gave it is kept. */
	if (fd >= 0 && chmod(fd_path(fd).text, mode) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd;
}

int inroot_make_plain(int root_fd, const char *path, mode_t mode)
{
	_cleanup_close_ int fd = inroot_open(root_fd, "/", O_PATH | O_DIRECTORY, 0);
	_cleanup_free_ char *copy = strdup(path);
	char *rest = copy, *name;

	if (!copy)
		return -ENOMEM;
	while (fd >= 0 && (name = strsep(&rest, "/"))) {
		int child;

		if (!*name)
			continue;
		if (str_eq(name, ".") || str_eq(name, ".."))
			return -EINVAL;
		child = open_plain(fd, name);
		if (child == -ENOENT)
			child = make_plain(fd, name, mode);
		close(fd);
		fd = child;
	}
	return take_fd(&fd);
}

struct fd_path fd_path(int fd)
{
	struct fd_path p;

	snprintf(p.text, sizeof(p.text), "/proc/self/fd/%d", fd);
	return p;
}
