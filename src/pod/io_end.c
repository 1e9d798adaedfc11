/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/io_end.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/strv.h"
#include "sys/namespaces.h"

char *io_uri_decode(const char *text, size_t n)
{
	_cleanup_free_ char *ret = strndup(text, n);

	return ret && percent_decode(ret, false) == 0 ? take_ptr(ret) : NULL;
}

/* ---- FIFOs and files ---- */

/*
 * Our own end opens without waiting for the client, because the other end is open already: by us. For input that is the
 * end that writes: as long as it is held, a client that has not come yet, or has gone, is not the end of the stream.
 * For output it is the end that reads: nobody there is not EPIPE, and what was written last can be read later.
 */
static int open_fifo(const char *path, bool writing, struct io_end *ret)
{
	_cleanup_close_ int in = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC), out = -1;

	if (in < 0)
		return -errno;
	out = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (out < 0)
		return -errno;
	ret->fifo = true;
	ret->fd = take_fd(writing ? &out : &in);
	ret->hold = take_fd(writing ? &in : &out);
	return 0;
}

static int open_path(const char *path, bool writing, struct io_end *ret)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return -errno;
	if (S_ISFIFO(st.st_mode))
		return open_fifo(path, writing, ret);
	ret->fd = open(path, (writing ? O_WRONLY | O_APPEND : O_RDONLY) | O_NOCTTY | O_CLOEXEC);
	return ret->fd < 0 ? -errno : 0;
}

/* file://: made with the folders that lead to it, as containerd's shims do. A FIFO that is there is one all the same.
 */
static int open_log_file(const char *uri_path, struct io_end *ret)
{
	_cleanup_free_ char *path = io_uri_decode(uri_path, strlen(uri_path));
	char *slash;
	int r;

	if (!path || *path != '/')
		return -EINVAL;
	slash = strrchr(path, '/');
	*slash = '\0';
	r = *path ? dir_make(path, 0755) : 0;
	*slash = '/';
	if (r < 0)
		return r;
	r = open_path(path, true, ret);
	if (r != -ENOENT)
		return r;
	ret->fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0644);
	return ret->fd < 0 ? -errno : 0;
}

/* ---- fd:PID:N ---- */

static int number(const char *text, size_t n, uint64_t max, int *ret)
{
	char copy[24];
	uint64_t v;

	if (n == 0 || n >= sizeof copy)
		return -EINVAL;
	memcpy(copy, text, n);
	copy[n] = '\0';
	if (str_to_u64(copy, 10, &v) < 0 || v > max)
		return -EINVAL;
	*ret = (int)v;
	return 0;
}

/* A descriptor of another process: the caller of one of our verbs, or a stand-in that holds what that one had. */
static int take_from_process(const char *spec, struct io_end *ret)
{
	const char *colon = strchr(spec, ':');
	_cleanup_close_ int pidfd = -1;
	int pid, fd;

	if (!colon || number(spec, (size_t)(colon - spec), INT_MAX, &pid) < 0 || pid == 0 ||
	    number(colon + 1, strlen(colon + 1), INT_MAX, &fd) < 0)
		return -EINVAL;
	pidfd = pidfd_of(pid);
	if (pidfd < 0)
		return pidfd;
	ret->fd = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0u);
	return ret->fd < 0 ? -errno : 0;
}

/* ---- interface ---- */

int io_end_open(const char *name, bool writing, struct io_end *ret, struct err *e)
{
	const char *rest;
	int r;

	*ret = (struct io_end)IO_END_NONE;
	if (str_empty(name))
		return 0;
	if ((rest = str_after(name, "fd:")))
		r = take_from_process(rest, ret);
	else if ((rest = str_after(name, "file://")))
		r = writing ? open_log_file(rest, ret) : open_path(rest, false, ret);
	else if ((rest = str_after(name, "fifo://")))
		r = open_path(rest, writing, ret);
	else if (strstr(name, "://"))
		return err_set(e, ERR_CONFIG, EINVAL, "cannot open %.300s: there is no such kind of stream", name);
	else
		r = open_path(name, writing, ret);
	return r < 0 ? err_sys(e, -r, "cannot open %.300s for standard %s", name, writing ? "output" : "input") : 0;
}

bool io_end_is_fifo(const char *name)
{
	const char *path = name ? str_after(name, "fifo://") : NULL;
	struct stat st;

	return name && stat(path ? path : name, &st) == 0 && S_ISFIFO(st.st_mode);
}

void io_end_close(struct io_end *end)
{
	fd_close(&end->fd);
	fd_close(&end->hold);
}
