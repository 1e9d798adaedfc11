/* SPDX-License-Identifier: Apache-2.0 */
/* Lifecycle hooks: programs that get the container's state as JSON on standard input. OCI runtime spec 1.1 "Hooks". */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"

struct hook_state {
	const char *id, *bundle;
	const char *status; /* "creating", "created", "running", "stopped" */
	pid_t pid;          /* as the agent sees it; 0 when stopped */
	const Grpc__Spec *spec;
};

/*
 * Run the hooks one after the other, in the caller's namespaces; each for at most its own timeout, or 30 s. The first
 * that fails ends it: kind names it in the error.
 */
int hooks_run(const char *kind, Grpc__Hook *const *hooks, size_t n, const struct hook_state *state, struct err *e);

/* The state as JSON, for tests. 0 or -ENOMEM. */
int hook_state_json(const struct hook_state *state, struct buf *ret);
