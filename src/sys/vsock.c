/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/vsock.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/vm_sockets.h>

#include "base/fd.h"
#include "base/strv.h"

/* As many as the agent's server takes connections; the kernel caps it. */
#define BACKLOG 64

static int parse_vsock(const char *text, const char *rest, struct sock_addr *ret, struct err *e)
{
	_cleanup_free_ char *cid = NULL;
	const char *colon = strchr(rest, ':');
	uint64_t n = VSOCK_CID_ANY, port;

	if (!colon)
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\" has no port: give vsock://CID:PORT", text);
	cid = strndup(rest, (size_t)(colon - rest));
	if (!cid)
		return err_sys(e, ENOMEM, "cannot read the address");
	if (!str_eq(cid, "-1") && (str_to_u64(cid, 10, &n) < 0 || n > UINT32_MAX))
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\": \"%s\" is no context ID (a number, or -1)", text,
			       cid);
	if (str_to_u64(colon + 1, 10, &port) < 0 || port >= UINT32_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\": \"%s\" is no vsock port", text, colon + 1);
	*ret = (struct sock_addr){ .kind = SOCK_ADDR_VSOCK, .cid = (uint32_t)n, .port = (uint32_t)port };
	return 0;
}

int sock_addr_parse(const char *text, struct sock_addr *ret, struct err *e)
{
	const char *rest;

	if ((rest = str_after(text, "vsock://")))
		return parse_vsock(text, rest, ret, e);
	rest = str_after(text, "unix://");
	if (!rest)
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\" is neither vsock://CID:PORT nor unix://PATH",
			       text);
	if ((*rest != '/' && *rest != '@') || !rest[1])
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\": the path must be absolute", text);
	if (strlen(rest) >= sizeof ret->path)
		return err_set(e, ERR_CONFIG, EINVAL, "address \"%s\": a socket path has at most %zu characters", text,
			       sizeof ret->path - 1);
	*ret = (struct sock_addr){ .kind = SOCK_ADDR_UNIX };
	memcpy(ret->path, rest, strlen(rest));
	return 0;
}

static socklen_t unix_name(const char *path, struct sockaddr_un *ret)
{
	size_t len = strlen(path);

	*ret = (struct sockaddr_un){ .sun_family = AF_UNIX };
	memcpy(ret->sun_path, path, len);
	if (*path == '@')
		ret->sun_path[0] = '\0';
	else
		len++;
	return (socklen_t)(offsetof(struct sockaddr_un, sun_path) + len);
}

/* Remove a socket file that its server left behind. */
static void remove_stale(const struct sockaddr_un *sa, socklen_t len)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct stat st;

	if (fd < 0 || lstat(sa->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
		return;
	if (connect(fd, (const struct sockaddr *)sa, len) < 0 && errno == ECONNREFUSED)
		unlink(sa->sun_path);
}

static int listen_on(const struct sockaddr *sa, socklen_t len)
{
	_cleanup_close_ int fd = socket(sa->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	/* The mode of the socket takes over to the file, without a moment in which others may connect. */
	if (sa->sa_family == AF_UNIX && fchmod(fd, 0600) < 0)
		return -errno;
	if (bind(fd, sa, len) < 0 || listen(fd, BACKLOG) < 0)
		return -errno;
	return take_fd(&fd);
}

static int listen_unix(const char *path, struct err *e)
{
	struct sockaddr_un sa;
	socklen_t len = unix_name(path, &sa);
	int r;

	if (sa.sun_path[0])
		remove_stale(&sa, len);
	r = listen_on((const struct sockaddr *)&sa, len);
	return r < 0 ? err_sys(e, -r, "cannot listen on unix://%s", path) : r;
}

static int listen_vsock(uint32_t cid, uint32_t port, struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	int r = listen_on((const struct sockaddr *)&sa, sizeof sa);

	return r < 0 ? err_sys(e, -r, "cannot listen on vsock port %u", port) : r;
}

int vsock_listen(uint32_t port, struct err *e)
{
	return listen_vsock(VSOCK_CID_ANY, port, e);
}

int sock_addr_listen(const struct sock_addr *a, struct err *e)
{
	return a->kind == SOCK_ADDR_UNIX ? listen_unix(a->path, e) : listen_vsock(a->cid, a->port, e);
}

/* Wait for a connection that was begun without blocking. */
static int connect_finish(int fd, int timeout_ms)
{
	struct pollfd p = { .fd = fd, .events = POLLOUT };
	uint64_t now = clock_ms(), end = now + (uint64_t)(timeout_ms < 0 ? 0 : timeout_ms);
	int r;

	while ((r = poll(&p, 1, timeout_ms < 0 ? -1 : (int)(end - now))) < 0 && errno == EINTR) {
		now = clock_ms();
		if (now > end)
			now = end;
	}
	if (r < 0)
		return -errno;
	if (r == 0)
		return -ETIMEDOUT;
	return fd_connect_result(fd);
}

int vsock_connect(uint32_t cid, uint32_t port, int timeout_ms, struct err *e)
{
	struct sockaddr_vm sa = { .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port };
	_cleanup_close_ int fd = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int r = 0;

	if (fd < 0)
		return err_sys(e, errno, "cannot make a vsock socket");
	if (connect(fd, (const struct sockaddr *)&sa, sizeof sa) < 0)
		r = errno == EINPROGRESS ? connect_finish(fd, timeout_ms) : -errno;
	if (r == 0)
		r = fd_set_nonblock(fd, false);
	return r < 0 ? err_sys(e, -r, "cannot connect to port %u of vsock CID %u", port, cid) : take_fd(&fd);
}
