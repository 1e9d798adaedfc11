/* SPDX-License-Identifier: Apache-2.0 */
/* Staying with a process of the OCI commands until it ends: signals for it, its terminal, its exit status. */
#pragma once

#include "base/err.h"

/*
 * Block the signals that are passed on, before the process is made. The mask stays; programs started later have theirs
 * reset (sys/spawn.h).
 */
int attend_begin(struct err *e);
/*
 * pid: a stand-in that is our child. master: of its terminal, -1: none; our stdin and stdout are pumped to and from it,
 * and our terminal is raw meanwhile. Returns its exit status, or a negative errno.
 */
int attend(int pid, int master, struct err *e);
