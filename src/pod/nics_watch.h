/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What changes in a pod's network namespace while the VM runs (`docker network connect` and `disconnect` tell nobody)
 * reaches the VM as soon as nothing has changed for a moment: whoever brings an interface gives it its name, addresses
 * and routes bit by bit.
 */
#pragma once

#include "base/list.h"
#include "loop/loop.h"
#include "pod/nics.h"

struct nics_watch;

/* All outlive it. *ret: NULL for a plan without a pod's network. Failures are logged. */
int nics_watch_new(struct loop *loop, struct plan *p, struct vm *vm, struct agent *a, struct nics_watch **ret,
		   struct err *e);
/*
 * Look now. For the moment when a container starts: what its client connected between create and start (containerd's
 * `ctr run --cni`) must be there then. fn runs once: before this returns when there is nothing to tell the guest (or w
 * is NULL), or from the loop later. look: the caller's, which stays where it is until then; its fields are ours.
 */
struct nics_look {
	struct list node;
	agent_done_fn fn;
	void *userdata;
	bool served; /* by the look that is under way */
};
void nics_watch_look(struct nics_watch *w, struct nics_look *look, agent_done_fn fn, void *userdata);
/* fn, which has not run, will not. */
void nics_watch_forget(struct nics_look *look);
/* fn is called when something has changed. NULL does nothing. */
void nics_watch_tell(struct nics_watch *w, void (*fn)(void *userdata), void *userdata);
/* NULL does nothing. */
void nics_watch_free(struct nics_watch *w);
