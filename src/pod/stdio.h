/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The pump between the caller's stdin, stdout and stderr and the streams of one process in the guest: byte-exact, with
 * back-pressure both ways. Each stream has one request outstanding and at most one chunk in memory.
 *
 * The caller's descriptors may be shared with other programs (a terminal, a pipe of the shell), so their O_NONBLOCK is
 * never touched. Pipes and terminals are opened once more through /proc/self/fd, which gives an open file of our own
 * that can be non-blocking; sockets take MSG_DONTWAIT; regular files do not block. Where opening again is refused, the
 * pump asks poll() first and moves small pieces.
 *
 * - End of the caller's stdin closes the process's stdin; on a terminal it types ^D, since the terminal's other side
 *   is still needed. A process that does not read leaves the caller's stdin unread.
 * - When nobody reads the caller's stdout any more (EPIPE), its data is drained and dropped, so that the process sees
 *   no difference, and the caller is told. Other failures to write do the same and are reported at the end.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"

#define STDIO_CHUNK (256u << 10) /* bytes asked for, or sent, at once */

struct stdio;

struct stdio_params {
	struct loop *loop;
	struct agent *agent;
	const char *container_id, *exec_id; /* copied */
	/* Not owned. in_fd -1: the process's stdin is closed (left open on a terminal). out_fd, err_fd -1: dropped. */
	int in_fd, out_fd, err_fd;
	bool terminal; /* the process has one: all output is on stdout */
	/* Each piece of output, before it is written; stream 1 or 2. Must not free the pump. NULL: none. */
	void (*tee)(int stream, const void *data, size_t n, void *userdata);
	/* Once for each stream whose reader has gone (EPIPE). Must not free the pump. NULL: none. */
	void (*gone)(int stream, void *userdata);
	/*
	 * Once, from the loop, when all output has come and is written. result: 0; a negative errno when the connection
	 * failed or output could not be written (e says which). May free the pump.
	 */
	void (*done)(int result, const struct err *e, void *userdata);
	void *userdata;
};

int stdio_start(const struct stdio_params *params, struct stdio **ret, struct err *e);
/* Whoever writes is done: send what was read, read no more, and close the process's stdin. Not for a terminal's. */
void stdio_close_input(struct stdio *s);
/* How long ago the caller's end of an output was full, in ms: 0 when it is; UINT64_MAX when it never was. */
uint64_t stdio_since_full_ms(const struct stdio *s);
/* Before the agent is freed. done will not be called. NULL does nothing. */
void stdio_free(struct stdio *s);
DEFINE_CLEANUP(struct stdio *, stdio_free)
