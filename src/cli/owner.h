/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The owner of a pod of the OCI commands: `create` starts it for the first container of a pod (as `caisson pod-owner`,
 * a session of its own), and it ends with the last one. It serves the Task service on ROOT/SANDBOX/owner.sock, takes
 * stand-ins on ROOT/SANDBOX/standin.sock (cli/handover.h) and logs to ROOT/SANDBOX/owner.log.
 *
 * ROOT/ID of each container is the owner's, locked for as long as it lives.
 */
#pragma once

#include "base/err.h"
#include "cli/globals.h"

/* Start one for this sandbox and wait until it serves. -EEXIST "container with given ID already exists". */
int owner_start(const struct globals *g, const char *sandbox, struct err *e);
