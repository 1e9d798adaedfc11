/* SPDX-License-Identifier: Apache-2.0 */
/*
 * All TCP connections to 127.0.0.1 and ::1 of a network namespace, whatever their port, for one process outside: a
 * program of ours (BPF_PROG_TYPE_SK_LOOKUP, Linux 5.9) answers the kernel's question who listens there. Which port was
 * meant is the accepted socket's own address. Who else listens there in this namespace hears nothing of them.
 *
 * Nothing is left in the namespace when the descriptors are closed, in whatever way.
 */
#pragma once

#include "base/err.h"

struct loopback_catch {
	int listen_fds[2]; /* IPv4, IPv6: listening, non-blocking; the second is -1 where there is no IPv6 */
	int link_fd;
};

#define LOOPBACK_CATCH_NONE                                                                                            \
	{                                                                                                              \
		.listen_fds = { -1, -1 }, .link_fd = -1                                                                \
	}

/* 0 or -errno: -EINVAL, -EPERM and others where the kernel lacks it, or does not let us. */
int loopback_catch_open(int ns_fd, int backlog, struct loopback_catch *ret, struct err *e);
void loopback_catch_close(struct loopback_catch *c);
