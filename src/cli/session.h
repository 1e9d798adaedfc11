/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process in a container, seen from the terminal: its streams, the signals and window sizes that it gets from us,
 * its end. `run` uses it for a container's init process, `exec` for another.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"
#include "pod/output_log.h"

struct session;

struct session_options {
	struct loop *loop;
	struct agent *agent;
	const char *container_id, *exec_id; /* exec_id "": init */
	bool interactive, terminal;
	int end_fd;         /* readable when the session cannot go on (see sandbox_end_fd()); -1: not ours to watch */
	uint32_t timeout_s; /* 0: none */
	int stop_signal;    /* sent at the timeout */
	struct output_log *log;  /* NULL: none */
	uint64_t *first_byte_us; /* set when the first output arrives; NULL: not wanted */
};

/* The process is created but need not run yet: reading starts, so that nothing is lost. */
int session_start(const struct session_options *o, struct session **ret, struct err *e);
/*
 * Serve until the process has ended and its output is out. *ret_status: exit code, or 128 + signal; EXIT_TIMEOUT;
 * 128 + SIGPIPE when nobody reads our output any more (a process that is not the first one is killed then).
 * A failure to write our own output, which the process does not notice, is returned once it has ended.
 * -ENOTCONN when end_fd told of an end first, -ECONNRESET when the agent's connection broke.
 */
int session_run(struct session *s, int *ret_status, struct err *e);
/* NULL does nothing. Gives the terminal back. */
void session_free(struct session *s);

/* The signals that are passed on; blocked by the first call, so that none is lost while things start. */
int session_block_signals(struct err *e);
/* A descriptor that is readable when a signal that ends us (INT, TERM, HUP, QUIT) is pending. -1 on failure. */
int session_interrupt_fd(void);
