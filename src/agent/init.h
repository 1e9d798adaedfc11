/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a guest needs when the agent is its PID 1, in two parts: what must be there before the agent can listen, since a
 * host is waiting for that, and the rest, which must be there before it answers.
 */
#pragma once

#include "base/err.h"

/* The kernel's file systems (without /proc, /sys or /dev: an error) and the modules of the list. */
int init_begin(struct err *e);
/* The other mounts (without /run: an error, others are logged), loopback, limits. */
int init_finish(struct err *e);

/* Say why on the console, write everything out and end the virtual machine. */
__attribute__((noreturn)) void init_power_off(const char *why);
