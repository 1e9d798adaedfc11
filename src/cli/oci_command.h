/* SPDX-License-Identifier: Apache-2.0 */
/* What the commands of OCI runtimes have in common. */
#pragma once

#include <stdbool.h>

#include "cli/globals.h"
#include "cli/owner_link.h"

/*
 * For a command without flags that takes one id: the id, or NULL when help was asked for or the usage is wrong, which
 * then has been said; *ret_status: what to exit with.
 */
const char *oci_command_id(int argc, char **argv, const char *what, int *ret_status);
/* Say how a command is used: on stdout with help, else on stderr. Returns the exit status. */
int oci_command_usage(const char *usage, bool help);
/* Tell the error, if there is one. Returns the exit status that r (negative errno, or 0) asks for. */
int oci_command_end(int r, const struct err *e);
/* Whether ROOT/ID is a container of the OCI commands; *ret_link is open then. 0: `caisson run` has it. */
int oci_command_open(const struct globals *g, const char *id, struct owner_link *ret_link, bool *ret_is_oci,
		     struct err *e);
