/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The flags of `caisson create`, and of `caisson run` when it is called as runc's. Which of its two ways `run` is
 * called in shows in the flags: runc's way has none but these, and exactly one argument, the container's id. `caisson
 * run`'s own way names a root file system by --rootfs, or a bundle and no id.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct create_flags {
	const char *id;
	const char *bundle; /* as given; NULL: the current folder */
	const char *pid_file, *console_socket;
	uint64_t preserve_fds;
	bool detach, keep; /* run only */
	bool help;
};

/* argv[0]: "create" or "run". 0; -EINVAL: these are other flags, or there is not exactly one id. Says nothing. */
int create_flags_parse(struct create_flags *f, int argc, char **argv);
