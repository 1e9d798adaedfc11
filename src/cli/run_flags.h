/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of `caisson run`, parsed and checked one by one; what they mean together is decided in run.c. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"
#include "pod/plan.h"

/* A host name, which --name is unless another one is given, has no more bytes (sethostname(2)). */
#define RUN_NAME_MAX 64

struct run_flags {
	const char *rootfs, *bundle, *name, *hostname, *user, *workdir, *entrypoint, *net, *dns;
	const char *config, *hypervisor, *kernel, *initrd, *image, *root, *store;
	bool interactive, terminal, rw, read_only, privileged, dry_run, verbose, strict;
	struct strv args, env, tmpfs, cap_add, cap_drop, security_opt, ulimit, publish, annotation;
	struct plan_volume *volumes;
	size_t n_volumes;
	int64_t memory;     /* bytes; 0: no limit */
	double cpus;        /* 0: no limit */
	int64_t pids_limit; /* 0: no limit */
	uint32_t timeout_s; /* 0: none */
	bool help;
};

/* argv[0] is "run". Strings point into argv, or are owned by the vectors. */
int run_flags_parse(struct run_flags *f, int argc, char **argv, struct err *e);
void run_flags_fini(struct run_flags *f);

/* The help text of the flags. */
extern const char run_flags_help[];
