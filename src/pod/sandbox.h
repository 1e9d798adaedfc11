/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying out a plan: the VM with its helpers, the agent in it, and the container. Each step has its undo in
 * sandbox_free(), which works from any half-done state.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "loop/loop.h"
#include "pod/agent.h"
#include "pod/passt.h"
#include "pod/plan.h"

/* When things happened, clock_us() values; 0: not yet. */
struct timeline {
	uint64_t begin, vm_created, kernel_up, agent_up, container_started, first_byte, exited;
};

struct sandbox {
	struct loop *loop;
	struct plan *plan; /* borrowed; holds the running share */
	struct vm *vm;
	struct agent *agent;
	struct timeline times;
	int interrupt_fd; /* not owned; readable: give up waiting */
	int abort_fd;     /* epoll of the VM's end and interrupt_fd */
	struct passt passt;
	int image_fd;
};

/*
 * Start the VM and make the sandbox in it. interrupt_fd: when it becomes readable, waiting ends with -ECANCELED; -1:
 * none. share_start() puts the calling process into a mount namespace of its own.
 */
int sandbox_start(struct loop *loop, struct plan *plan, int interrupt_fd, struct sandbox **ret, struct err *e);

/* Create and start the plan's container. -ENOENT, -EACCES, -ENOEXEC when its command cannot be executed. */
int sandbox_create_container(struct sandbox *s, struct err *e);
/* interrupt_fd is not watched any more once the container runs. */
int sandbox_start_container(struct sandbox *s, struct err *e);

/* Fill times.kernel_up, if the agent is ours and tells. */
void sandbox_ask_kernel_up(struct sandbox *s);

/* Readable when the VM or what it cannot be without (the file server) has ended, once the container runs. */
int sandbox_end_fd(const struct sandbox *s);
/* A call or the session failed with r: when that is because of such an end, e says which and why. Returns -e->code. */
int sandbox_explain_end(struct sandbox *s, int r, struct err *e);

/* Write back what the guest holds (when the plan says so), end the VM and its helpers, free. NULL does nothing. */
void sandbox_free(struct sandbox *s);
DEFINE_CLEANUP(struct sandbox *, sandbox_free)
