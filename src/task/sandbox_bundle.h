/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bundle of a pod that containerd's Sandbox API makes. containerd leaves it empty and tells with a message what the
 * pod is; everything else here reads config.json. So one is written that says the same as that of CRI's pause
 * container, and with it the files that CRI makes for its own sandboxes: hosts, hostname, resolv.conf.
 */
#pragma once

#include <sys/types.h>

#include "base/err.h"
#include "proto/cri_pod.pb-c.h"

/* netns: path; NULL or "": the host's network. */
int sandbox_bundle_write(const char *bundle, const char *id, const char *netns,
			 const Runtime__V1__PodSandboxConfig *config, struct err *e);
/* The spec that was written. To be freed. */
int sandbox_bundle_spec(const char *bundle, char **ret, struct err *e);
/* What CRI tells of a pod that somebody looks at closely: JSON, to be freed. NULL: no memory. */
char *sandbox_bundle_info(const char *bundle, pid_t pid);
/*
 * A container of that pod, whose config.json CRI wrote: what the pod has for it is added, the files and /dev/shm
 * where nothing else is mounted, and the sysctls, since there is no pause container that sets them.
 */
int sandbox_bundle_give(const char *sandbox_bundle, const char *bundle, struct err *e);
