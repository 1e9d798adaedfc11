/* SPDX-License-Identifier: Apache-2.0 */
/* The agent's log as the host reads it: JSON lines in the form of Kata's agent, on a port of their own. */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

struct log_stream;

/*
 * Make the log of this process go to whoever connects to listen_fd (taken over). The last 64 KiB are kept for those
 * that come later; what a slow reader cannot take is dropped, with a line that says so.
 */
int log_stream_new(struct loop *loop, int listen_fd, struct log_stream **ret, struct err *e);
/* The log goes to stderr again. */
void log_stream_free(struct log_stream *s);
