/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storages of the driver "watchable-bind": Kubernetes changes config maps and secrets while they are used, and programs
 * wait for that by inotify, which does not see what the host does in a shared folder. So the container gets a copy in
 * the guest's memory that follows its source: every 2 s what differs is copied (kata.md §8.1, §8.3).
 *
 * Only for small trees: at most 16 files and links and 1 MiB. The container may have the copy writable: nothing in it
 * is believed, and no link in it is followed.
 */
#pragma once

#include "base/err.h"
#include "loop/loop.h"

#define WATCHABLE_ENTRIES_MAX 16
#define WATCHABLE_BYTES_MAX   (1u << 20)

struct watchable;

/*
 * Copy source (a file or a directory) to target, of the same kind and existing, and keep it so. -E2BIG without
 * a change: the tree is too large for that.
 */
int watchable_new(struct loop *loop, const char *source, const char *target, struct watchable **ret, struct err *e);
/* The copy stays. NULL does nothing. */
void watchable_free(struct watchable *w);
/* One round, as the timer has it. 0 or -errno; what could be copied was copied. */
int watchable_sync(struct watchable *w);
