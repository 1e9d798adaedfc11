/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Storages: what the host asks to be mounted before a container (or the sandbox) starts. They are known by their mount
 * point; a second container that names the same one shares it, and the last to go unmounts it. A pod's emptyDirs
 * (below AGENT_SANDBOX_DIR/ephemeral and /local) stay until the sandbox ends.
 */
#pragma once

#include "agent/agent.h"

struct strv;

/*
 * Are the devices of all these storages there? 0, -EAGAIN with the missing one in e, or another error. Changes nothing.
 */
int storages_ready(Grpc__Storage *const *storages, size_t n, struct err *e);
/* Mount them in order and note the mount points in held; on failure those of this call are undone. */
int storages_add(struct agent *a, Grpc__Storage *const *storages, size_t n, struct strv *held, struct err *e);
/* Give the references up in reverse order, and empty held. */
void storages_release(struct agent *a, struct strv *held);
/* Change size and other options of mounted ephemeral storages. */
int storages_remount(struct agent *a, Grpc__Storage *const *storages, size_t n, struct err *e);

/* Names of the drivers, for GetGuestDetails; ends with NULL. */
extern const char *const storage_driver_names[];

/* An absolute path without "." and ".." parts, shorter than PATH_MAX. */
bool storage_path_valid(const char *path);

/* storage_fsgroup.c: give the tree to a group as Kubernetes' fsGroup says. */
int storage_set_fsgroup(const char *path, const Grpc__FSGroup *group, struct err *e);
