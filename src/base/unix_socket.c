/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

/*
 * sun_path has room for 107 bytes. What is longer is named through a descriptor of its folder, *ret_dir, to be held
 * until the address has been used; -1: the path fits.
 */
static int address(const char *path, struct sockaddr_un *ret, int *ret_dir)
{
	_cleanup_free_ char *dir = NULL;
	size_t n = strlen(path);
	const char *name;

	*ret_dir = -1;
	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!n)
		return -EINVAL;
	if (n < sizeof ret->sun_path) {
		memcpy(ret->sun_path, path, n);
		return 0;
	}
	name = strrchr(path, '/');
	if (!name || strlen(name) + sizeof "/proc/self/fd/2147483647" > sizeof ret->sun_path)
		return -ENAMETOOLONG;
	dir = strndup(path, (size_t)(name - path) + 1);
	if (!dir)
		return -ENOMEM;
	*ret_dir = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*ret_dir < 0)
		return -errno;
	snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d%s", *ret_dir, name);
	return 0;
}

int unix_listen(const char *path, mode_t mode, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1, dir = -1;
	struct sockaddr_un sa;
	int r = address(path, &sa, &dir);

	if (r == -ENAMETOOLONG)
		return err_set(e, ERR_LIMIT, ENAMETOOLONG, "cannot listen at %s: the name is too long", path);
	if (r < 0)
		return err_sys(e, -r, "cannot listen at \"%s\"", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* bind(2) makes the file with the mode of the socket. */
	if (fd < 0 || fchmod(fd, mode) < 0)
		return err_sys(e, errno, "cannot make a socket for %s", path);
	if (bind(fd, (struct sockaddr *)&sa, sizeof sa) < 0) {
		r = -errno;
		err_sys(e, -r, "cannot listen at %s", path);
		if (r == -EADDRINUSE)
			err_append(e, " (if nothing uses it any more, remove that file)");
		return r;
	}
	if (listen(fd, 128) < 0) {
		r = -errno;
		unlink(path);
		return err_sys(e, -r, "cannot listen at %s", path);
	}
	*ret_fd = take_fd(&fd);
	return 0;
}

int unix_connect(const char *path, int *ret_fd)
{
	_cleanup_close_ int fd = -1, dir = -1;
	struct sockaddr_un sa;
	int r = address(path, &sa, &dir);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}
