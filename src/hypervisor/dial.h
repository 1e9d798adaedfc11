/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One connection to a vsock port of a guest that runs, made from the loop: nobody waits for the guest. What
 * vm_connect() is for a guest that boots.
 */
#pragma once

#include <stdint.h>

#include "loop/loop.h"

struct vm_dial;

/*
 * address: vm.agent_address. fn: once, from the loop: a non-blocking socket, or -errno (-ECONNREFUSED: nobody listens;
 * -ETIMEDOUT: the guest has not answered in timeout_ms). The dial is then gone.
 */
int vm_dial(struct loop *loop, const char *address, uint32_t port, unsigned timeout_ms,
	    void (*fn)(int fd, void *userdata), void *userdata, struct vm_dial **ret);
/* fn will not be called. NULL does nothing. */
void vm_dial_free(struct vm_dial *d);
