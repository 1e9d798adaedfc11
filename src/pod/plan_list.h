/* SPDX-License-Identifier: Apache-2.0 */
/* The lists of a plan, which grow piece by piece. NULL: out of memory (the list stays good to free). */
#pragma once

#include "pod/plan.h"

/* Append a storage without options; its strings are copied. */
struct plan_storage *plan_add_storage(struct plan_storage **list, size_t *n, const char *driver, const char *source,
				      const char *fstype, const char *mount_point);
/* The same for a container. */
struct plan_storage *plan_container_storage(struct plan_container *c, const char *driver, const char *source,
					    const char *fstype, const char *mount_point);
void plan_free_storages(struct plan_storage *list, size_t n);

/* Append a device of the sandbox. */
struct vm_device *plan_add_device(struct plan *p, enum vm_device_kind kind, const char *id);
/* A device that was made elsewhere; taken over in any case. 0 or -ENOMEM. */
int plan_take_device(struct plan *p, struct vm_device *d);
/*
 * A disk for one container: a block device or image file of the host (copied). role: what it is for, as the beginning
 * of its id and as its serial; letters only, at most 12.
 */
struct vm_device *plan_add_disk(struct plan *p, struct plan_container *c, const char *role, const char *path,
				bool readonly);
/* A disk of the plan that another container has already. 0 or -ENOMEM. */
int plan_hold_disk(struct plan_container *c, struct vm_device *d);
/* An item of the share that belongs to the container. Sets e. */
int plan_add_item(struct plan *p, struct plan_container *c, const char *name, const char *source, const char *content,
		  bool readonly, struct err *e);
