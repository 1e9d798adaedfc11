/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hooks of the OCI runtime spec (config.md, "POSIX-platform Hooks"): programs that get the container's state on stdin.
 * prestart, createRuntime and createContainer run before the VM's network is looked at (docker's network comes by one),
 * poststart after start, poststop after delete. startContainer runs in the guest.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "proto/agent.pb-c.h"

struct hook_state {
	const char *id, *status, *bundle; /* status: "creating", "created", "running", "stopped" */
	pid_t pid;                        /* the stand-in; 0: none */
	const char *cwd;                  /* where they run; NULL: in the bundle */
	const Grpc__Spec *spec;           /* for its annotations and version */
};

/*
 * Run them in order, each with its timeout (none given: 30 s). The first failure ends it: the error names the hook, how
 * it ended and its last line of stderr. netns: the network namespace to run in (createContainer); NULL: ours.
 */
int hooks_run(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state, const char *netns,
	      struct err *e);
/* Those whose failures change nothing: poststart, poststop. All of them run; failures are logged. */
void hooks_run_all(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state);
/*
 * The poststop hooks of a container whose owner has died: they need no more of it than its bundle, and nothing runs if
 * that is gone. bundle: may be relative.
 */
void hooks_run_poststop_left(const char *id, const char *bundle);
