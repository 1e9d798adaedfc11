/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's side of the talk with a process that has not executed yet. See child.h. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "agent/child.h"
#include "base/fd.h"

int child_receive(int sync_fd, struct child_message *ret, int *ret_fd)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = ret, .iov_len = sizeof(*ret) };
	struct msghdr msg = {
		.msg_iov = &iov, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *c;
	ssize_t n;

	*ret_fd = -1;
	memset(ret, 0, sizeof(*ret));
	do
		n = recvmsg(sync_fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == ECONNRESET ? -ENODATA : -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	if (n == 0)
		return -ENODATA;
	ret->text[sizeof(ret->text) - 1] = '\0';
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
