/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The event loop: descriptors, timers, signals and child processes of one thread.
 *
 * A loop belongs to the thread that runs it; only loop_post(), loop_quit() and loop_enter() may be called from others,
 * and, between loop_enter() and loop_leave(), everything else. Sources are owned by whoever added them and end with
 * loop_source_free(), which is safe inside any callback, the source's own included: a freed source is never called
 * again. Timers are one-shot: a periodic one re-arms itself.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/cleanup.h"
#include "base/err.h"

struct loop;
struct loop_source;

int loop_new(struct loop **ret, struct err *e);
/* The sources must have been freed before; leftovers are freed here without being called. */
void loop_free(struct loop *loop);
DEFINE_CLEANUP(struct loop *, loop_free)

/* revents: EPOLL* bits. The descriptor stays the caller's and must outlive the source. Level-triggered. */
typedef void (*loop_io_fn)(struct loop_source *s, int fd, uint32_t revents, void *userdata);
int loop_add_io(struct loop *loop, int fd, uint32_t events, loop_io_fn fn, void *userdata, struct loop_source **ret);
/* Change what is waited for; 0 mutes the source (errors and hang-up are still told). */
int loop_io_set_events(struct loop_source *s, uint32_t events);

typedef void (*loop_timer_fn)(struct loop_source *s, void *userdata);
/* Called once, delay_ms from now; UINT64_MAX: not armed. */
int loop_add_timer(struct loop *loop, uint64_t delay_ms, loop_timer_fn fn, void *userdata, struct loop_source **ret);
void loop_timer_set(struct loop_source *s, uint64_t delay_ms);

/* Blocks the signal in the calling thread and receives it by signalfd. The mask is restored by loop_source_free. */
typedef void (*loop_signal_fn)(struct loop_source *s, int signo, void *userdata);
int loop_add_signal(struct loop *loop, int signo, loop_signal_fn fn, void *userdata, struct loop_source **ret);

/* Reaps the child by pidfd and hands over its wait(2) status, once. */
typedef void (*loop_child_fn)(struct loop_source *s, pid_t pid, int wait_status, void *userdata);
int loop_add_child(struct loop *loop, pid_t pid, loop_child_fn fn, void *userdata, struct loop_source **ret);

/* NULL does nothing. */
void loop_source_free(struct loop_source *s);
struct loop *loop_source_loop(struct loop_source *s);

/* Run fn(userdata) once on the loop's own thread, soon. From any thread. 0 or -ENOMEM. */
int loop_post(struct loop *loop, void (*fn)(void *userdata), void *userdata);

/* Run until loop_quit(); returns its code, or a negative errno. */
int loop_run(struct loop *loop);
/* One round: wait at most timeout_ms (-1: for ever), then call what is due. 0, or a negative errno. */
int loop_run_once(struct loop *loop, int timeout_ms);
/*
 * Take the place of the loop's own thread for a moment: until loop_leave() no callback of the loop runs, and every
 * function of the loop and of what belongs to it may be called from here. Waits for a callback that is running to
 * return. Nests, also inside a callback. From any thread. Timers armed and sources freed in between wake the loop.
 */
void loop_enter(struct loop *loop);
void loop_leave(struct loop *loop);

/* From any thread. */
void loop_quit(struct loop *loop, int code);
