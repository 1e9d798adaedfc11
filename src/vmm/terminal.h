/* SPDX-License-Identifier: Apache-2.0 */
/* The terminal on stdin while the guest has it, and the signals that end the process without asking. */
#pragma once

#include <stdbool.h>

/* Raw mode, if stdin is a terminal, until terminal_restore(). */
void terminal_take(void);
/* Give terminal and output back as they were. Safe at any time, also in a signal handler. */
void terminal_restore(void);

/* Output must not hold up a vCPU: make stdout non-blocking, until terminal_restore(). */
void terminal_output(void);

/*
 * Signals that tell of a fault or a limit: restore the terminal and leave with the exit status that clients of the API
 * know (149 SIGBUS, 150 SIGSEGV …).
 */
void terminal_catch_faults(void);
