/* SPDX-License-Identifier: Apache-2.0 */
/* A root shell of the guest on a terminal for each connection, when the host's configuration asks for one. */
#pragma once

#include "agent/reaper.h"
#include "base/err.h"
#include "loop/loop.h"

struct debug_console;

/* listen_fd is taken over. */
int debug_console_new(struct loop *loop, struct reaper *reaper, int listen_fd, struct debug_console **ret,
		      struct err *e);
/* Ends the shells. */
void debug_console_free(struct debug_console *c);
