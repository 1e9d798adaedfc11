/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening what struct pod_io names, and the pump between that and a process in the guest (pod/stdio.h).
 *
 * Of a FIFO both ends are opened and the other one is held, so that neither a client that is not there yet nor one that
 * comes back later (containerd restarted) ends the stream; output that nobody has read when the process ends can be
 * read until pod_streams_free(). A file is appended to. "binary://PATH?key=value" starts PATH as containerd's logging
 * programs are started (CONTAINER_ID, CONTAINER_NAMESPACE, descriptors 3 and 4, ready on 5); it, and "file://PATH", as
 * out are for both outputs. "fd:PID:N" is taken from that process at once. "console_socket" gets a terminal of its own.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"
#include "pod/pod.h"

struct pod_streams;

struct pod_streams_params {
	struct loop *loop;
	const char *namespace; /* containerd's; NULL: none */
	const char *container_id, *exec_id;
	const struct pod_io *io;
	/*
	 * Once, from the loop, when all output is written and a logging program has come to its end (12 seconds at
	 * most): as stdio_params.done. May free the streams.
	 */
	void (*done)(int result, const struct err *e, void *userdata);
	void *userdata;
};

/* Open everything (and send the console's master, if asked); nothing is read yet. */
int pod_streams_open(const struct pod_streams_params *params, struct pod_streams **ret, struct err *e);
/* The process exists: pump. */
int pod_streams_start(struct pod_streams *s, struct agent *agent, struct err *e);
/*
 * The process could not be started, or ended before: whoever reads its output sees the end. Nothing once the pump
 * runs. ctr waits for it before it deletes the process.
 */
void pod_streams_hang_up(struct pod_streams *s);
/* The client wants the process's stdin closed, once what it has written before is through. */
int pod_streams_close_stdin(struct pod_streams *s, struct err *e);
/* stdio_since_full_ms() of the pump; UINT64_MAX when none runs. */
uint64_t pod_streams_since_full_ms(const struct pod_streams *s);
/* The pty's slave, for the stand-in's controlling terminal; -1: none. Owned by the streams. */
int pod_streams_terminal(const struct pod_streams *s);
/* A terminal of this host whose size is to be the process's: its own, or one that a client names; -1: none. */
int pod_streams_window(const struct pod_streams *s);
void pod_streams_free(struct pod_streams *s);
