/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Client of the QEMU Machine Protocol (QEMU's and StratoVirt's monitor): one JSON object per line over a Unix socket.
 *
 * Requests are synchronous with a deadline, and carry an id; an answer to a request that was given up is dropped when
 * it comes. Events are handed to one callback, while a request waits or from qmp_dispatch(), which the owner calls when
 * qmp_fd() is readable. The peer is a process that may die, hang or be compromised by its guest: a line is bounded
 * (QMP_LINE_MAX), and after the end of the stream or a malformed line the connection is broken for good: every later
 * call fails at once with the first reason.
 *
 * One thread. The callback must not call qmp_*.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "codec/json.h"

/* query-qmp-schema of QEMU 9 is about 200 KiB; nothing else comes near. */
#define QMP_LINE_MAX (1u << 20)

struct qmp;

/* data: borrowed; NULL when the event has none. */
typedef void (*qmp_event_fn)(const char *event, struct json_object *data, void *userdata);

/* fd: connected stream socket, owned by the result. 0 or -ENOMEM (and fd stays the caller's). */
int qmp_new(int fd, qmp_event_fn fn, void *userdata, struct qmp **ret);
void qmp_free(struct qmp *q);
int qmp_fd(const struct qmp *q);

/* Wait for the greeting and leave the negotiation mode. deadline_ms: clock_ms() value. */
int qmp_handshake(struct qmp *q, uint64_t deadline_ms, struct err *e);

/* What the greeting said ({"version":…, "capabilities":…}), borrowed; NULL before. */
struct json_object *qmp_greeting(const struct qmp *q);

/*
 * Run a command. args: taken over, also on failure; NULL: none. ret: the "return" value, may be NULL.
 * fd: sent along (add-fd, getfd) when >= 0; stays the caller's.
 * -ETIMEDOUT; -EPIPE: the peer closed; -EPROTO: it spoke wrongly; else the command was refused: -ENODEV for class
 * DeviceNotFound, -ENOSYS for CommandNotFound, -EREMOTEIO for the rest, with the peer's words in e.
 */
int qmp_execute(struct qmp *q, const char *command, struct json_object *args, int fd, uint64_t deadline_ms,
		struct json_object **ret, struct err *e);

/* Read what is there without waiting and deliver events. 0, or the reason (-EPIPE, -EPROTO …) once broken. */
int qmp_dispatch(struct qmp *q);

/* Deliver events until done(userdata) says true. 0, -ETIMEDOUT, or why the connection broke. */
int qmp_wait(struct qmp *q, bool (*done)(void *userdata), void *userdata, uint64_t deadline_ms);
