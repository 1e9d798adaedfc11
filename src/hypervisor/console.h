/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Capture of what a VM prints: the guest's console, or a VMM's stderr.
 *
 * The reading end of a pipe is served on the loop. The last CONSOLE_LINES lines stay in memory, cleaned for a person's
 * terminal (no control or escape sequences, no broken UTF-8), and the raw bytes go to a file on request. Both are
 * bounded, because the guest decides how much it prints: the file keeps the newest half of its size when it is full.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "loop/loop.h"

#define CONSOLE_LINES    48
#define CONSOLE_LINE_MAX 240

struct console;

/*
 * fd: owned by the result; switched to non-blocking. log_path: file to write, made anew (0600), or NULL. log_max: its
 * greatest size in bytes. prefix: when not NULL, each line is also logged at debug level behind it (borrowed).
 */
int console_new(struct loop *loop, int fd, const char *log_path, size_t log_max, const char *prefix,
		struct console **ret, struct err *e);
/* NULL does nothing. */
void console_free(struct console *c);

/* Take in what is there, without waiting; for callers that do not run the loop just now. NULL does nothing. */
void console_drain(struct console *c);

/* The last n lines that are not empty, joined by " | ", into text; "" when there are none or c is NULL. */
void console_last_lines(const struct console *c, unsigned n, char *text, size_t size);

/* The newest kept line that contains needle, or NULL. Valid until the console takes in more. */
const char *console_find(const struct console *c, const char *needle);
