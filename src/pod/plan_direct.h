/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Direct-assigned volumes: a CSI driver does not mount a volume on the host but says in a file which block device it is
 * (kata.md §8.2, §8.3), and the guest mounts that. One of a pod's containers after the other, or several at once, may
 * mount the same one: its disk is in the VM as long as one of them is there.
 */
#pragma once

#include "pod/plan.h"

/* Below it a folder for each volume, named by its path on the host in base64url, with mountInfo.json. */
#define DIRECT_VOLUMES_DIR "/run/kata-containers/shared/direct-volumes"

/*
 * The mount of a pod's container from source. *ret: the volume's place in the guest, with its disk and storage in the
 * plan; NULL: it is no such volume. -EINVAL, -ENOTSUP: what the file says cannot be.
 */
int plan_direct_volume(struct plan *p, struct plan_container *c, const struct plan_request *q, const char *source,
		       char **ret, struct err *e);
/* The volume of this path, or of this device, on the host; NULL: the pod has no such volume. */
const struct plan_direct *plan_direct_find(const struct plan *p, const char *volume);
/*
 * The disk for a block device that a container has by itself, path one of its names. Containers have the same one, and
 * with it one cache, or what they write would get lost; but not who may only read it and who may write. NULL: out of
 * memory.
 */
struct vm_device *plan_hold_block(struct plan *p, struct plan_container *c, const char *path, dev_t number,
				  bool readonly);
/* How many containers of the plan have the disk. */
unsigned plan_disk_holders(const struct plan *p, const struct vm_device *d);
/* One less. Returns whether it was the last one, whose disk goes. */
bool plan_disk_drop(struct plan *p, const struct vm_device *d);
