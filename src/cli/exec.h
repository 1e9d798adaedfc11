/* SPDX-License-Identifier: Apache-2.0 */
/* What the two kinds of `caisson exec` share. */
#pragma once

#include "cli/exec_flags.h"
#include "cli/globals.h"
#include "cli/owner_link.h"

#define EXEC_ID_SIZE 24

/* A name for a process that is new in every container. */
int exec_make_id(char ret[EXEC_ID_SIZE], struct err *e);

/* In a container of an OCI client (exec_oci.c); l: its link. Returns the exit status; e is set when it is ours. */
int exec_in_pod(const struct globals *g, const struct exec_flags *f, struct owner_link *l, struct err *e);
