/* SPDX-License-Identifier: Apache-2.0 */
/* `caisson run` as OCI clients call it: create, start, stay until the end (or not: --detach), delete. */
#pragma once

#include "cli/create_flags.h"
#include "cli/globals.h"

/* Returns the exit status: the container's, or EXIT_OCI. */
int oci_run(const struct globals *g, const struct create_flags *f);
