/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `kubectl port-forward`: engines connect to the loopback of the pod's network namespace, where a container would
 * listen if it were no VM's. Those connections (sys/loopback_catch.h) go on to our agent (codec/forward.h), which
 * connects to the guest's own loopback. Where the guest refuses, or its agent is another, the client, whose connection
 * the kernel has accepted by then, is reset.
 *
 * Nothing here waits for the guest. It can keep a connection open for as long as its client does, and has at most
 * FORWARD_CONNECTIONS_MAX of them; further clients wait in the sockets' backlog.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

struct pod_forward;

/*
 * ns_fd: the pod's network namespace, which is not the host's. agent_address: vm.agent_address, copied. -EINVAL, -EPERM
 * and others: not on this kernel.
 */
int pod_forward_new(struct loop *loop, int ns_fd, const char *agent_address, struct pod_forward **ret, struct err *e);
/* Connections are reset. NULL does nothing. */
void pod_forward_free(struct pod_forward *f);
