/* SPDX-License-Identifier: Apache-2.0 */
/* Lifecycle hooks: programs that get the container's state as JSON on standard input. OCI runtime spec 1.1 "Hooks". */
#pragma once

#include <sys/types.h>

#include "agent/reaper.h"
#include "base/err.h"
#include "base/strv.h"
#include "loop/loop.h"
#include "proto/oci.pb-c.h"

struct hook_state {
	const char *id, *bundle;
	const char *status; /* "creating", "created", "running", "stopped" */
	pid_t pid;          /* as the agent sees it; 0 when stopped */
	const Grpc__Spec *spec;
	char **env; /* of a hook that has none of its own, ends with NULL; NULL: empty */
};

/*
 * Run the hooks one after the other, in the caller's namespaces; each for at most its own timeout, or 30 s. The first
 * that fails ends it: kind names it in the error. This one waits.
 */
int hooks_run(const char *kind, Grpc__Hook *const *hooks, size_t n, const struct hook_state *state, struct err *e);

/*
 * The same, waited for in the loop, which calls fn once, not before this returns. What it is given, strings and the
 * spec in state included, must stay until then. NULL: out of memory.
 */
struct hook_run;
typedef void (*hooks_done_fn)(int result, const struct err *e, void *userdata);
struct hook_run *hooks_start(struct loop *loop, struct reaper *reaper, const char *kind, Grpc__Hook *const *hooks,
			     size_t n, const struct hook_state *state, hooks_done_fn fn, void *userdata);
/* Kill the one that runs, and forget them: fn is not called. NULL does nothing. */
void hooks_cancel(struct hook_run *run);

/* The state as JSON, for tests. 0 or -ENOMEM. */
int hook_state_json(const struct hook_state *state, struct buf *ret);
