/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of a VMM's REST API on a Unix socket (Firecracker, Cloud Hypervisor): one request at a time, JSON bodies,
 * descriptors by SCM_RIGHTS. A VMM is not trusted to answer well: each call is bounded in time and size, and ends at
 * once when the VMM does.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define REST_BODY_MAX (1u << 20) /* an answer may have so many bytes */
#define REST_FDS_MAX  16

struct rest {
	const char *name;        /* "Firecracker", for messages (borrowed) */
	const char *socket_path; /* borrowed */
	int exit_fd;             /* readable once the VMM has ended; -1: none */
	int interrupt_fd;        /* readable: give up with -ECANCELED; -1: none */
	int fd;                  /* the connection, kept between calls; -1: connect with the next one */
	/* Called with each request before it is sent and each answer: the golden transcripts of the tests. NULL: none.
	 */
	void (*trace)(void *ctx, const char *method, const char *target, const char *body, size_t n_fds,
		      unsigned status, const char *answer);
	void *trace_ctx;
};

void rest_init(struct rest *r, const char *name, const char *socket_path);
void rest_fini(struct rest *r);

/* Wait until the VMM listens. 0, -ETIMEDOUT, -ECANCELED, -EPIPE (it ended: the caller explains). */
int rest_wait(struct rest *r, uint64_t deadline_ms, struct err *e);

/*
 * One request. body: JSON or NULL; fds: sent along (not closed), NULL with n_fds 0. ret: the answer's body,
 * NUL-terminated, to be freed; NULL where nobody wants it. deadline_ms: a clock_ms() value. 0: the status was 2xx.
 * -EREMOTEIO: another status, and e says "NAME METHOD target: " with the VMM's own words (fault_message, or CLH's error
 * chain) in one line. -ETIMEDOUT, -ECANCELED, -EPROTO, -EFBIG, -EPIPE as they say; after these the connection is
 * closed.
 */
int rest_call(struct rest *r, const char *method, const char *target, const char *body, const int *fds, size_t n_fds,
	      uint64_t deadline_ms, char **ret, struct err *e);
