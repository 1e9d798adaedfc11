/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Network namespaces of others. A netlink socket, a tap and what else is opened in a namespace belongs to it for good,
 * so it is enough to be there for a moment.
 */
#pragma once

/*
 * A namespace by its path (/run/netns/NAME, /proc/PID/ns/net): a descriptor, which keeps it alive, or -errno. -EINVAL:
 * that is something else, like the file that a deleted namespace leaves.
 */
int netns_open(const char *path);
/* 1: the namespace of the calling thread; 0: another; or -errno. */
int netns_is_ours(int ns_fd);
/*
 * Run fn in the namespace, on a thread of its own that ends with it: the caller never leaves its own, so there is no
 * way back that could fail. What fn returns, or -errno.
 */
int netns_run(int ns_fd, int (*fn)(void *userdata), void *userdata);
