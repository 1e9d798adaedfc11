/* SPDX-License-Identifier: Apache-2.0 */
/* The host kernel's vsock device (vhost-vsock), for hypervisors that drive it. */
#pragma once

#include "base/err.h"
#include "hypervisor/driver.h"

/*
 * Claim a free CID on a descriptor of /dev/vhost-vsock that the VMM is to inherit (*ret_fd, owned by the caller), and
 * make it the VM's agent address. The CID is free again when the last copy of the descriptor is closed.
 */
int vhost_vsock_claim(struct vm *vm, int *ret_fd, uint32_t *ret_cid, struct err *e);
