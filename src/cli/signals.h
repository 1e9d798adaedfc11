/* SPDX-License-Identifier: Apache-2.0 */
/* Signals by name. */
#pragma once

/* "TERM", "SIGTERM", "15", "RTMIN+3" → number; -1 when it is none. NULL or "": SIGTERM. */
int signal_number(const char *name);
