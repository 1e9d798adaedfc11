/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Supervision of a VMM process, the same for every driver that has one: it dies with us, its death is visible at once
 * as a readable descriptor, and the last lines of its stderr are at hand to say why.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"
#include "hypervisor/console.h"
#include "loop/loop.h"
#include "sys/spawn.h"

struct process;

/*
 * Start s as a direct child: stderr is captured, and stdout too unless s names a descriptor above 2 for it;
 * die_with_parent and own_session are set whatever s says.
 * name: "QEMU", for messages (borrowed).
 */
int process_start(struct loop *loop, const struct spawn *s, const char *name, struct process **ret, struct err *e);
/* Kills it if it still runs. NULL does nothing. */
void process_free(struct process *p);

pid_t process_pid(const struct process *p);
/* Readable (POLLIN) once the process has ended; stays so until process_free(). */
int process_exit_fd(const struct process *p);
/* Look, without waiting. */
bool process_ended(struct process *p);
/* From a VMM's closing of its connections to its end, at most: it gives back the guest's memory. */
#define PROCESS_END_MS 3000
/* Wait until it has ended. 0 or -ETIMEDOUT. deadline_ms: clock_ms() value. */
int process_wait(struct process *p, uint64_t deadline_ms);
/* SIGTERM when grace_ms > 0, then SIGKILL; reaps. Idempotent. */
void process_stop(struct process *p, int grace_ms);

/* The wait(2) status; only after process_ended() said true. */
int process_status(const struct process *p);
/* "QEMU exited with status 1" or "QEMU was killed by signal 9 (Killed)"; "QEMU is running". */
void process_describe(struct process *p, char *text, size_t size);
/* What it printed last, or "". */
void process_last_words(struct process *p, char *text, size_t size);
