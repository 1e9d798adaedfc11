/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections of the host to the loopback of the sandbox (`kubectl port-forward`), which all its containers share and
 * which is ours. See codec/forward.h.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

struct forward;

/* listen_fd is taken over. */
int forward_new(struct loop *loop, int listen_fd, struct forward **ret, struct err *e);
/* Ends the connections. NULL does nothing. */
void forward_free(struct forward *f);
