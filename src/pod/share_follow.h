/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts that come and go on the host below a volume whose mounts are to reach the container (Kubernetes'
 * mountPropagation). The kernel's own propagation would bring them as they are, writable and with device files, and the
 * host could unmount nothing that the guest remembers. So the table of mounts is watched, and each is copied into the
 * stage of the share as all else is (pod/share.h), and taken from it when the host has unmounted it.
 */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "loop/loop.h"

struct share;
struct share_follow;
struct share_item;

/* The share is borrowed and outlives it. What has changed so far is made up for at once. */
int share_follow_new(struct loop *loop, struct share *share, struct share_follow **ret, struct err *e);
/* NULL does nothing. */
void share_follow_free(struct share_follow *f);
/* Before the item is staged, with what is mounted below it at that time. */
int share_follow_begin(const struct share *share, struct share_item *item, struct err *e);
/* Has the share an item whose mounts are to be followed? */
bool share_follow_wanted(const struct share *share);
