/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of the talk with a process that has not executed yet. See child.h. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/child.h"
#include "base/fd.h"

int child_receive(int sync_fd, int timeout_ms, struct child_message *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct pollfd p = { .fd = sync_fd, .events = POLLIN };
	struct cmsghdr *c;
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;
	ssize_t n;
	int r, fd = -1;

	do {
		uint64_t now = clock_ms();

		r = poll(&p, 1, now < end ? (int)(end - now) : 0);
	} while (r < 0 && errno == EINTR);
	if (r <= 0)
		return r < 0 ? -errno : -ETIMEDOUT;
	memset(ret, 0, sizeof(*ret));
	do
		n = recvmsg(sync_fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -ENODATA : -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(&fd, CMSG_DATA(c), sizeof(int));
	if (n == 0)
		return -ENODATA;
	ret->text[sizeof(ret->text) - 1] = '\0';
	if (ret_fd)
		*ret_fd = fd;
	else
		fd_close(&fd);
	return (size_t)n < offsetof(struct child_message, text) ? -EPROTO : 0;
}

int child_go_on(int sync_fd)
{
	ssize_t n;

	do
		n = send(sync_fd, "", 1, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}
