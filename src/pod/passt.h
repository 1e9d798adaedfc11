/* SPDX-License-Identifier: Apache-2.0 */
/*
 * passt, which connects a VM's network card to the host's sockets without privileges.
 *
 * The VMM connects to a socket of ours, and passt gets that connection: it ends when the VMM does, even if we were
 * killed before. It could not be made to die with us, because it changes its user, and that makes the kernel forget the
 * parent-death signal (prctl(2), PR_SET_PDEATHSIG).
 */
#pragma once

#include "base/err.h"
#include "pod/plan.h"

struct passt {
	int listen_fd;
	pid_t pid; /* 0: does not run */
	int pidfd;
	const char *socket; /* of the plan; NULL: not made */
};

#define PASST_NONE ((struct passt){ .listen_fd = -1, .pidfd = -1 })

/* Before the VMM starts: the socket that it connects to. Nothing when the plan has no passt. */
int passt_listen(struct passt *p, const struct plan *plan, struct err *e);
/* When the VMM has started. end_fd: readable when it is to be given up. */
int passt_start(struct passt *p, const struct plan *plan, int end_fd, struct err *e);
/* Later: does it still run? It ends at once when it cannot publish a port. */
int passt_check(const struct passt *p, struct err *e);
/* Undo all. */
void passt_stop(struct passt *p);
