/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program of the guest's that does something for a request: it is given input by a pipe, what it writes is gathered,
 * and it is waited for in the loop. It may do neither more nor longer than it is told.
 */
#pragma once

#include "agent/reaper.h"
#include "base/strv.h"
#include "loop/loop.h"

struct tool;

struct tool_params {
	struct loop *loop;
	struct reaper *reaper;
	const char *name;  /* "iptables-save": looked for in the folders of PATH, or where such programs are */
	char *const *argv; /* NULL-terminated, argv[0] included */
	const void *input; /* copied; the program's input ends behind it */
	size_t n_input;
	size_t output_max;
	unsigned timeout_ms;
};

/*
 * r 0: it has ended with 0, and output is what it wrote, valid during the call. Else e says how it ended, with the
 * first line that it wrote to stderr: -EIO; -ETIMEDOUT: it was killed after its time; -EFBIG: it wrote too much.
 */
typedef void (*tool_done_fn)(int r, const struct buf *output, const struct err *e, void *userdata);
/* fn runs once, from the loop, when this returned 0. -ENOSYS: the guest has no such program. */
int tool_start(const struct tool_params *params, tool_done_fn fn, void *userdata, struct tool **ret, struct err *e);
/* Kill it; fn will not run. NULL does nothing. */
void tool_cancel(struct tool *t);
