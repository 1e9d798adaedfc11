/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks of a running VM, as Kata does it: Firecracker cannot plug anything in, but a drive that exists can get another
 * file behind it (PATCH /drives/ID). So a VM may start with placeholder drives that have nothing in them. The guest
 * sees the new size when the device's configuration interrupt comes.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/fc_vm.h"

void fc_slots_init(struct fc_vm *f)
{
	for (size_t i = 0; i < f->plan.n_drives && f->n_slots < 2 * FC_SLOTS; i++)
		if (!f->plan.drives[i].path)
			f->slots[f->n_slots++] = (struct fc_slot){ .drive = i };
}

static int point(struct fc_vm *f, size_t drive, const char *name, struct err *e)
{
	const struct fc_drive *d = &f->plan.drives[drive];
	_cleanup_free_ char *target = str_printf("/drives/%s", d->id), *body = fc_patch_drive(&f->plan, d->id, name);

	if (!target || !body)
		return err_sys(e, ENOMEM, "cannot change drive %s", d->id);
	return fc_call(f, "PATCH", target, body, FC_COMMAND_MS, e);
}

static struct fc_slot *find_free(struct fc_vm *f, bool readonly)
{
	for (size_t i = 0; i < f->n_slots; i++)
		if (!f->slots[i].device[0] && f->plan.drives[f->slots[i].drive].readonly == readonly)
			return &f->slots[i];
	return NULL;
}

int fc_slots_add(struct fc_vm *f, struct vm_device *d, struct err *e)
{
	struct fc_slot *s;
	int r;

	if (d->kind != VM_DEVICE_BLOCK)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "device %s: a running Firecracker takes disks only, and no other devices", d->id);
	if (!f->n_slots)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "disk %s: a running Firecracker takes disks only into placeholders, and it was started "
			       "without: set default_bridges = 1",
			       d->id);
	s = find_free(f, d->u.block.readonly);
	if (!s)
		return err_set(e, ERR_LIMIT, ENOSPC,
			       "disk %s: a running Firecracker takes at most %d %s disks, and all are in use", d->id,
			       FC_SLOTS, d->u.block.readonly ? "read-only" : "writable");
	/* A name of its own each time: Firecracker may still have the last one open. */
	snprintf(s->name, sizeof s->name, "disk%u", f->next_name++);
	r = fc_folder_bring(&f->folder, s->name, d->u.block.path, e);
	if (r == 0)
		r = point(f, s->drive, s->name, e);
	if (r < 0) {
		fc_folder_drop(&f->folder, s->name);
		err_wrap(e, "disk %s (%s)", d->id, d->u.block.path);
		return r;
	}
	snprintf(s->device, sizeof s->device, "%s", d->id);
	fc_drive_address(s->drive, d);
	return 0;
}

int fc_slots_remove(struct fc_vm *f, const char *id, struct err *e)
{
	for (size_t i = 0; i < f->n_slots; i++) {
		struct fc_slot *s = &f->slots[i];
		int r;

		if (!str_eq(s->device, id) || !*id)
			continue;
		r = point(f, s->drive, FC_EMPTY, e);
		if (r < 0)
			return r;
		fc_folder_drop(&f->folder, s->name);
		s->device[0] = 0;
		return 0;
	}
	return err_set(e, ERR_CONFIG, ENOENT, "device %s was not added while the VM ran, and cannot be removed", id);
}

/* Firecracker looks at the size when it is told a file, also the one that it has. */
int fc_slots_resize(struct fc_vm *f, const char *id, struct err *e)
{
	char drive_id[sizeof f->plan.drives[0].id];

	for (size_t i = 0; i < f->n_slots; i++)
		if (str_eq(f->slots[i].device, id))
			return point(f, f->slots[i].drive, f->slots[i].name, e);
	fc_id(id, drive_id, sizeof drive_id);
	for (size_t i = 0; i < f->plan.n_drives; i++)
		if (f->plan.drives[i].path && str_eq(f->plan.drives[i].id, drive_id))
			return point(f, i, f->plan.drives[i].name, e);
	return err_set(e, ERR_CONFIG, ENODEV, "the VM has no disk %s", id);
}
