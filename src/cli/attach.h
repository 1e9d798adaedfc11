/* SPDX-License-Identifier: Apache-2.0 */
/* Reaching a container that another caisson process runs. */
#pragma once

#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"
#include "pod/state.h"

struct attachment {
	struct loop *loop;
	struct agent *agent;
	struct pod_state state;
	char dir[4096]; /* the container's state directory */
};

/* Zero-initialise a before; detach() in any case. */
int attach(struct attachment *a, const char *root, const char *id, struct err *e);
void detach(struct attachment *a);

/* The exit status for a command that could not be started: 127, 126, or 125. r: negative errno. */
int command_failure_status(int r);
