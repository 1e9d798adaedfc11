/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI's --console-socket: a terminal on this host whose master goes to the client (conmon, containerd-shim-runc-v2) and
 * whose slave is the process's stream. It passes everything on as it is: the line discipline that matters is that of
 * the terminal in the guest.
 */
#pragma once

#include "base/err.h"

/* Make one and send its master, with its name, to the Unix socket. *ret_slave: the caller's. */
int io_console_open(const char *socket_path, int *ret_slave, struct err *e);
