/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bind mounts that are more than a path of the host, told by where the kubelet keeps them
 * (/var/lib/kubelet/pods/UID/volumes/PLUGIN/NAME): what its containers share in memory lives in the guest, and what
 * changes while it is mounted is watched there.
 */
#pragma once

#include "pod/plan.h"

enum plan_volume_kind {
	PLAN_VOLUME_PLAIN,
	PLAN_VOLUME_MEMORY,     /* emptyDir, medium Memory */
	PLAN_VOLUME_HUGE_PAGES, /* emptyDir, medium HugePages */
	PLAN_VOLUME_EMPTY,      /* emptyDir on a disk */
	PLAN_VOLUME_CHANGING,   /* configMap, secret, projected, downwardAPI: small, and replaced as a whole */
};

enum plan_volume_kind plan_volume_kind(const char *source);

/*
 * Where the kubelet binds a subPath of an emptyDir (.../volume-subpaths/NAME/CONTAINER/INDEX): *ret is the path of the
 * emptyDir; NULL: it is no such place. 0 or -ENOMEM.
 */
int plan_subpath_volume(const char *source, char **ret);

/*
 * A volume that lives in the guest, or a subPath of one: its storage is added to the container's. *ret: its place in
 * the guest; NULL: it is one to share or to copy. Containers that mount the same one meet there, since places are named
 * after volumes.
 */
int plan_guest_volume(struct plan *p, struct plan_container *c, const char *source, char **ret, struct err *e);
/*
 * An item of the share that changes: *ret is a place in the guest where a copy follows it, so that who watches for
 * changes (inotify) is told, which a shared file system does not do. NULL: take the item as it is.
 */
int plan_watched_item(struct plan *p, struct plan_container *c, const char *source, const char *item, char **ret,
		      struct err *e);
