/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Carrying out a plan: the VM with its helpers, the agent in it, and the containers. Each step has its undo in
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
	struct nics_watch *nics; /* NULL: no network that could get more interfaces */
	bool silent;             /* the guest let us wait in vain: it is not asked to tidy up */
};

/*
 * Start the VM and make the sandbox in it. interrupt_fd: when it becomes readable, waiting ends with -ECANCELED; -1:
 * none. share_start() puts the calling process into a mount namespace of its own.
 */
int sandbox_start(struct loop *loop, struct plan *plan, int interrupt_fd, struct sandbox **ret, struct err *e);

/*
 * Give the VM what the container needs, if it has not begun with it, and let the guest create it. -ENOENT, -EACCES,
 * -ENOEXEC when its command cannot be executed. On failure nothing of the container is in the guest.
 */
int sandbox_create_container(struct sandbox *s, struct plan_container *c, struct err *e);
/*
 * The guest answers from the loop, also to what it gets copied before: a failure is to be given to
 * sandbox_create_failed(), whose result counts. *ret is valid until fn runs.
 */
struct sandbox_creation;
int sandbox_create_container_async(struct sandbox *s, struct plan_container *c, agent_done_fn fn, void *userdata,
				   struct sandbox_creation **ret, struct err *e);
/* fn will not run. NULL does nothing. */
void sandbox_creation_cancel(struct sandbox_creation *k);
int sandbox_create_failed(struct sandbox *s, struct plan_container *c, int r, struct err *e);
/* interrupt_fd is not watched any more once a container runs. */
int sandbox_start_container(struct sandbox *s, struct plan_container *c, struct err *e);
/* For who has asked the agent for it: r is the answer. Returns what sandbox_start_container() would. */
int sandbox_container_started(struct sandbox *s, int r, struct err *e);
/* End it in the guest, and take from the VM what it was given for it. A guest that refuses is only told of. */
void sandbox_remove_container(struct sandbox *s, struct plan_container *c);
/*
 * The same, with the guest's answer from the loop, which is to be given to sandbox_container_removed(). -ENOTCONN: such
 * a guest is not asked.
 */
int sandbox_remove_container_async(struct sandbox *s, struct plan_container *c, agent_done_fn fn, void *userdata,
				   struct agent_call **ret, struct err *e);
void sandbox_container_removed(struct sandbox *s, struct plan_container *c, int r, const struct err *e);
/* The same without asking a guest that may be gone or silent. */
void sandbox_forget_container(struct sandbox *s, struct plan_container *c);

/* Has the guest's agent this driver of storages? */
bool sandbox_has_storage_driver(struct sandbox *s, const char *driver);
/* Does it tell of this extra feature? */
bool sandbox_has_feature(struct sandbox *s, const char *feature);

/* Fill times.kernel_up, if the agent is ours and tells. */
void sandbox_ask_kernel_up(struct sandbox *s);

/* Readable when the VM or what it cannot be without (the file server) has ended, once the container runs. */
int sandbox_end_fd(const struct sandbox *s);
/* Now, whatever has been heard of it. */
bool sandbox_has_ended(const struct sandbox *s);
/* A call or the session failed with r: when that is because of such an end, e says which and why. Returns -e->code. */
int sandbox_explain_end(struct sandbox *s, int r, struct err *e);

/* The guest refused to execute a command: the error with -ENOENT, -EACCES or -ENOEXEC, where it is that. */
int sandbox_exec_failure(int r, struct err *e);

/* Write back what the guest holds (when the plan says so), end the VM and its helpers, free. NULL does nothing. */
void sandbox_free(struct sandbox *s);
DEFINE_CLEANUP(struct sandbox *, sandbox_free)
