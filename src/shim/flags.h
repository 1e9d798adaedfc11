/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of a shim, in the flag syntax of Go: -name value, -name=value, one dash or two. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

struct shim_flags {
	const char *namespace, *id, *bundle;
	const char *address;        /* of containerd */
	const char *publish_binary; /* containerd's program */
	const char *action;         /* "start", "delete"; NULL: none */
	bool debug, info, version, help;
};

/* Values point into argv. */
int shim_flags_parse(int argc, char **argv, struct shim_flags *ret, struct err *e);
