/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hybrid vsock device served over vhost-user from inside this process, for hypervisors that have no such device of
 * their own (QEMU).
 */
#pragma once

#include "base/err.h"

struct vsock_service;

/*
 * Listen at hybrid_path (clients: "CONNECT <port>\n", see vsock/vsock.h) and at device_path (the VMM). Both are there
 * when this returns, with mode 0600, and gone after vsock_service_stop(). Starts one thread. The guest has CID 3:
 * nothing but this device and its guest ever sees the number.
 */
int vsock_service_start(const char *hybrid_path, const char *device_path, struct vsock_service **ret, struct err *e);
/* Ends the thread, removes both sockets. NULL does nothing. */
void vsock_service_stop(struct vsock_service *svc);
