/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of `caisson exec`: docker's for containers of `caisson run`, runc's for those of OCI clients. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

struct exec_flags {
	const char *root; /* NULL: that of the flags in front */
	const char *workdir, *user;
	const char *process, *pid_file, *console_socket; /* OCI only; NULL: not given */
	bool detach, no_new_privileges, ignore_paused;   /* OCI only */
	uint64_t preserve_fds;
	const char *oci_only; /* the last such flag that was given; NULL: none */
	bool interactive, terminal;
	bool debug; /* no container's command, but a shell of the guest: there are no args */
	struct strv env, caps, groups;
	char **args;
	size_t n_args;
	const char *id;
};

extern const char exec_usage[];

/* 0; 1: help was printed; -EINVAL: said on stderr. */
int exec_flags_parse(struct exec_flags *f, int argc, char **argv);
void exec_flags_fini(struct exec_flags *f);
