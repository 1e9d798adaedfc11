/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/client_mounts.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "sys/mounts.h"

static int open_namespace(pid_t client)
{
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)client);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

static bool is_ours(int ns)
{
	struct stat theirs, ours;

	return fstat(ns, &theirs) == 0 && stat("/proc/self/ns/mnt", &ours) == 0 && file_is_same(&theirs, &ours);
}

union control {
	struct cmsghdr header;
	char data[CMSG_SPACE(sizeof(int))];
};

/* In the child of a fork of a process with threads: system calls only. Returns the exit status, an errno. */
static int clone_for(int ns, const char *path, int socket)
{
	union control control = { 0 };
	char byte = 0;
	struct iovec v = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c = CMSG_FIRSTHDR(&m);
	int fd;

	if (setns(ns, CLONE_NEWNS) < 0)
		return errno;
	fd = mount_clone_at(AT_FDCWD, path, true);
	if (fd < 0)
		return -fd;
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(int));
	return sendmsg(socket, &m, MSG_NOSIGNAL) < 0 ? errno : 0;
}

static int receive(int socket, int *ret_fd)
{
	union control control;
	char byte;
	struct iovec v = { .iov_base = &byte, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control };
	struct cmsghdr *c;

	if (recvmsg(socket, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT) < 1)
		return -EIO;
	c = CMSG_FIRSTHDR(&m);
	if (!c || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof(int)))
		return -EIO;
	memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return 0;
}

/* A detached copy of the mount at path in that namespace. */
static int fetch(int ns, const char *path, int *ret_fd)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], status;
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0)
		_exit(clone_for(ns, path, theirs));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
	return receive(ours, ret_fd);
}

static bool same_object(int fd, const char *path)
{
	struct stat a, b;

	return fstat(fd, &a) == 0 && stat(path, &b) == 0 && file_is_same(&a, &b);
}

int client_mounts_fetch_from(int ns, const char *path, struct strv *attached, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (is_ours(ns))
		return 0;
	r = fetch(ns, path, &fd);
	if (r == -ENOENT || r == -ENOTDIR)
		return 0;
	if (r < 0)
		return err_sys(e, -r, "cannot get at the client's %s", path);
	if (same_object(fd, path))
		return 0;
	r = mount_attach_path(fd, path);
	if (r == 0)
		r = strv_add(attached, path);
	return r < 0 ? err_sys(e, -r, "cannot attach the client's %s", path) : 0;
}

int client_mounts_fetch(pid_t client, const char *path, struct strv *attached, struct err *e)
{
	_cleanup_close_ int ns = open_namespace(client);

	if (ns < 0)
		return err_sys(e, -ns, "cannot look at the client's mounts");
	return client_mounts_fetch_from(ns, path, attached, e);
}

void client_mounts_drop(struct strv *attached)
{
	for (size_t i = attached->len; i-- > 0;)
		if (umount2(attached->v[i], MNT_DETACH | UMOUNT_NOFOLLOW) < 0)
			log_debug("cannot detach %s: %s", attached->v[i], strerror(errno));
	strv_fini(attached);
	*attached = (struct strv){ 0 };
}
