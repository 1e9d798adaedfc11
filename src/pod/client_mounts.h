/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Mounts that a client made after the pod's owner got a mount namespace of its own: the root of a later container,
 * above all. They do not propagate (container engines make their storage private), so the owner fetches them: a process
 * enters the client's namespace, clones the mount there, and hands it over; the owner attaches it at the same path in
 * its own.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "base/strv.h"

/*
 * Make path mean the same to us as to a process of the client (its stand-in). Nothing is done where it does already,
 * and where the client does not have it. What was attached is added to attached.
 */
int client_mounts_fetch(pid_t client, const char *path, struct strv *attached, struct err *e);
/* The same where the client's mount namespace is at hand, borrowed. */
int client_mounts_fetch_from(int ns, const char *path, struct strv *attached, struct err *e);
/* Detach them again, the last first. */
void client_mounts_drop(struct strv *attached);
