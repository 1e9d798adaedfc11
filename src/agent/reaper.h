/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one place of the agent that reaps children: its own and, as PID 1, every orphan of the guest. Driven by SIGCHLD.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "loop/loop.h"

struct reaper;

int reaper_new(struct loop *loop, struct reaper **ret, struct err *e);
void reaper_free(struct reaper *r);
/* fn is called once from the loop with the wait(2) status of the child. -ENOMEM. */
int reaper_watch(struct reaper *r, pid_t pid, void (*fn)(pid_t pid, int wait_status, void *userdata), void *userdata);
void reaper_unwatch(struct reaper *r, pid_t pid);
