// SPDX-License-Identifier: Apache-2.0
#include "sys/netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <pthread.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/fd.h"

int netns_open(const char *path)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return -errno;
	return ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET ? take_fd(&fd) : -EINVAL;
}

int netns_is_ours(int ns_fd)
{
	struct stat own, other;

	if (stat("/proc/thread-self/ns/net", &own) < 0 || fstat(ns_fd, &other) < 0)
		return -errno;
	return file_is_same(&own, &other);
}

struct visit {
	int ns_fd, result;
	int (*fn)(void *userdata);
	void *userdata;
};

static void *visit(void *userdata)
{
	struct visit *v = userdata;

	v->result = setns(v->ns_fd, CLONE_NEWNET) < 0 ? -errno : v->fn(v->userdata);
	return NULL;
}

int netns_run(int ns_fd, int (*fn)(void *userdata), void *userdata)
{
	struct visit v = { .ns_fd = ns_fd, .fn = fn, .userdata = userdata };
	pthread_t thread;
	int r = pthread_create(&thread, NULL, visit, &v);

	if (r)
		return -r;
	pthread_join(thread, NULL);
	return v.result;
}
