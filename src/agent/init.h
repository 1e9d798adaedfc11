/* SPDX-License-Identifier: Apache-2.0 */
/* What a guest needs before anything else when the agent is its PID 1: file systems, modules, loopback, limits. */
#pragma once

#include "base/err.h"

/* Mounts that fail are logged, but without /proc, /sys, /dev or /run there is an error. */
int init_guest(struct err *e);

/* Say why on the console, write everything out and end the virtual machine. */
__attribute__((noreturn)) void init_power_off(const char *why);
