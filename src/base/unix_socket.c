/* SPDX-License-Identifier: Apache-2.0 */
#include "base/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/cleanup.h"

static int address(const char *path, struct sockaddr_un *ret)
{
	size_t n = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (!n)
		return -EINVAL;
	if (n >= sizeof ret->sun_path)
		return -ENAMETOOLONG;
	memcpy(ret->sun_path, path, n);
	return 0;
}

int unix_listen(const char *path, mode_t mode, int *ret_fd, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa;
	int r = address(path, &sa);

	if (r == -ENAMETOOLONG)
		return err_set(e, ERR_LIMIT, ENAMETOOLONG,
			       "cannot listen at %s: a socket path may have at most %zu bytes; use a shorter directory",
			       path, sizeof sa.sun_path - 1);
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
	_cleanup_close_ int fd = -1;
	struct sockaddr_un sa;
	int r = address(path, &sa);

	if (r < 0)
		return r;
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof sa) < 0)
		return -errno;
	*ret_fd = take_fd(&fd);
	return 0;
}
