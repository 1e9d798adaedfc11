/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those who connect to a listening socket, one after the other. When one cannot be taken, for want of descriptors, say,
 * it waits where it is, and is tried again a second later: at once would be to spin.
 */
#pragma once

#include "loop/loop.h"

struct acceptor;

/* fd: the connection, O_CLOEXEC and O_NONBLOCK; it is the callee's, which must not free a. */
typedef void (*acceptor_fn)(struct acceptor *a, int fd, void *userdata);
/* listen_fd stays the caller's and must outlive it. 0 or -errno. */
int acceptor_new(struct loop *loop, int listen_fd, acceptor_fn fn, void *userdata, struct acceptor **ret);
/* From now on, or not; they wait in the socket's backlog then. NULL does nothing. */
void acceptor_set(struct acceptor *a, bool on);
/* NULL does nothing. */
void acceptor_free(struct acceptor *a);
