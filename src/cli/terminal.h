/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's terminal: raw mode for -t, window size, and the progress line. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

/* Put fd into raw mode until terminal_restore(). -ENOTTY when it is no terminal. */
int terminal_raw(int fd);
/* Give the terminal back as it was. Safe to call at any time, also without terminal_raw(). */
void terminal_restore(void);

/* -ENOTTY when fd is no terminal. */
int terminal_size(int fd, uint16_t *ret_rows, uint16_t *ret_columns);

/* Show text on one line of stderr, replacing the one before; NULL clears it. Nothing when stderr is no terminal. */
void progress_show(const char *text);
