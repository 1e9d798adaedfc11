/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Volumes that change while they are mounted (configMap, secret, …), in a guest that has a copy of them because nothing
 * is shared with it: the kubelet swaps the link "..data" of such a folder, and then the folder is copied anew. What is
 * gone from it stays in the guest, out of sight: the agent protocol cannot remove it.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

struct agent;
struct plan_container;
struct share;
struct volume_watch;

/* All are borrowed, and outlive it. */
int volume_watch_new(struct loop *loop, struct share *share, struct agent *agent, struct volume_watch **ret,
		     struct err *e);
/* NULL does nothing. */
void volume_watch_free(struct volume_watch *w);
/* Watch the container's volumes of that kind, if it has any. */
int volume_watch_add(struct volume_watch *w, const struct plan_container *c, struct err *e);
/* Before the container's plan ends, whether its items have left the share or not. w NULL does nothing. */
void volume_watch_remove(struct volume_watch *w, const struct plan_container *c);
