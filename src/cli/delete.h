/* SPDX-License-Identifier: Apache-2.0 */
/* Deleting a container: for `delete` and for runc's way of `run`. */
#pragma once

#include <stdbool.h>

#include "cli/owner_link.h"

/* force: whatever state it is in. Returns when nothing of it is left. */
int delete_container(struct owner_link *l, const char *root, bool force, struct err *e);
/* Wait until the owner has dropped what it kept of a container; if it has died, remove that. */
int delete_await_gone(const char *root, const char *sandbox, const char *id, struct err *e);
