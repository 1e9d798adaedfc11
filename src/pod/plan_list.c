/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_list.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

struct plan_storage *plan_add_storage(struct plan_storage **list, size_t *n, const char *driver, const char *source,
				      const char *fstype, const char *mount_point)
{
	struct plan_storage *grown = realloc(*list, (*n + 1) * sizeof *grown), *s;

	if (!grown)
		return NULL;
	*list = grown;
	s = &grown[(*n)++];
	*s = (struct plan_storage){ .driver = strdup(driver),
				    .source = strdup(source),
				    .fstype = strdup(fstype),
				    .mount_point = strdup(mount_point) };
	return s->driver && s->source && s->fstype && s->mount_point ? s : NULL;
}

struct plan_storage *plan_container_storage(struct plan_container *c, const char *driver, const char *source,
					    const char *fstype, const char *mount_point)
{
	return plan_add_storage(&c->storages, &c->n_storages, driver, source, fstype, mount_point);
}

void plan_free_storages(struct plan_storage *list, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		free(list[i].driver);
		free(list[i].source);
		free(list[i].fstype);
		free(list[i].mount_point);
		strv_fini(&list[i].options);
		strv_fini(&list[i].driver_options);
	}
	free(list);
}

/* Room for one more pointer. */
static bool grow(struct vm_device ***list, size_t n)
{
	struct vm_device **grown = realloc(*list, (n + 1) * sizeof *grown);

	if (grown)
		*list = grown;
	return grown != NULL;
}

struct vm_device *plan_add_device(struct plan *p, enum vm_device_kind kind, const char *id)
{
	struct vm_device *d;

	if (!grow(&p->devices, p->n_devices))
		return NULL;
	d = calloc(1, sizeof *d);
	if (!d)
		return NULL;
	d->kind = kind;
	d->id = strdup(id);
	p->devices[p->n_devices++] = d;
	return d->id ? d : NULL;
}

int plan_take_device(struct plan *p, struct vm_device *d)
{
	if (!grow(&p->devices, p->n_devices)) {
		vm_device_free(d);
		return -ENOMEM;
	}
	p->devices[p->n_devices++] = d;
	return 0;
}

int plan_hold_disk(struct plan_container *c, struct vm_device *d)
{
	if (!grow(&c->devices, c->n_devices))
		return -ENOMEM;
	c->devices[c->n_devices++] = d;
	return 0;
}

struct vm_device *plan_add_disk(struct plan *p, struct plan_container *c, const char *role, const char *path,
				bool readonly)
{
	struct vm_device *d;
	char id[32];

	if (!grow(&c->devices, c->n_devices))
		return NULL;
	if (p->n_disks++)
		snprintf(id, sizeof id, "%.12s-%u", role, p->n_disks);
	else
		snprintf(id, sizeof id, "%.12s", role);
	d = plan_add_device(p, VM_DEVICE_BLOCK, id);
	if (!d)
		return NULL;
	c->devices[c->n_devices++] = d;
	d->u.block.path = strdup(path);
	d->u.block.serial = strdup(id);
	d->u.block.readonly = readonly;
	return d->u.block.path && d->u.block.serial ? d : NULL;
}

int plan_add_item(struct plan *p, struct plan_container *c, const char *name, const char *source, const char *content,
		  bool readonly, struct err *e)
{
	if (strv_add(&c->items, name) < 0)
		return err_sys(e, ENOMEM, "cannot plan the file share");
	return share_add(&p->share, name, source, content, readonly, e);
}
