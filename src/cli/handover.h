/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a stand-in that `create` or `exec` made comes to the pod's owner: beside its Task service the owner listens on a
 * second socket, and a client offers there the stand-in of the container or process that it asks for next in the
 * service. The connection is the offer's life: when it closes, a stand-in that was not taken is dropped, which ends it,
 * and an owner that is starting a virtual machine for that client, or has nothing but what it creates for it, gives up.
 */
#pragma once

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"
#include "loop/loop.h"

struct handover_offer {
	const char *id, *exec_id; /* exec_id "": the container's first process */
	const char *bundle;       /* absolute; "" with an exec_id */
	pid_t pid;                /* of the stand-in */
};

/* ---- owner ---- */

struct handover;

struct handover_params {
	struct loop *loop;
	const char *path; /* of the socket */
	/* What is offered is wanted: 0, or a negative errno, and the client gets the error. */
	int (*arrived)(const struct handover_offer *offer, struct err *e, void *userdata);
	/* A client has gone, for better or worse. */
	void (*left)(void *userdata);
	void *userdata;
};

int handover_new(const struct handover_params *params, struct handover **ret, struct err *e);
/* Drops what is there. NULL does nothing. */
void handover_free(struct handover *h);
/* The stand-in offered for a process: its socket, now the caller's, and its pid. -1: none was offered. */
int handover_take(struct handover *h, const char *id, const char *exec_id, pid_t *ret_pid);
/* Whether a client is there that offered a stand-in for this container; id NULL: whether any is. */
bool handover_is_busy(struct handover *h, const char *id);
/*
 * For what blocks the loop: readable when the client has gone whose stand-in was taken in this round of the loop. In
 * the next round the client has what it wanted, and may go, or waits for the loop.
 */
int handover_interrupt_fd(const struct handover *h);

/* ---- client ---- */

/* standin_fd is sent, and stays the caller's. *ret_fd: the connection, to be closed when the owner has answered. */
int handover_offer(const char *path, const struct handover_offer *offer, int standin_fd, int *ret_fd, struct err *e);
