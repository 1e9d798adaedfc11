/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decisions about one container, in the order in which one needs the other: what its spec means in the guest; where its
 * root comes from; devices, mounts, volumes and the small files of /etc.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/fd.h"
#include "pod/plan_devices.h"
#include "pod/plan_direct.h"
#include "pod/plan_list.h"
#include "pod/plan_mounts.h"
#include "pod/plan_rootfs.h"
#include "pod/plan_spec.h"

int plan_add_container(struct plan *p, const struct plan_request *q, struct plan_container **ret, struct err *e)
{
	struct plan_container *c = calloc(1, sizeof *c);
	int r = 0;

	if (!c) {
		grpc__spec__free_unpacked(q->spec, NULL);
		return err_sys(e, ENOMEM, "cannot plan the container");
	}
	c->spec = q->spec;
	c->image_fd = -1;
	c->id = strdup(q->id);
	if (!c->id)
		r = err_sys(e, ENOMEM, "cannot plan the container");
	if (r < 0 || (r = plan_spec(p, c, q, e)) < 0 || (r = plan_rootfs(p, c, q, e)) < 0 ||
	    (r = plan_devices(p, c, q, e)) < 0 || (r = plan_mounts(p, c, q, e)) < 0 ||
	    (r = plan_volumes(p, c, q, e)) < 0 || (r = plan_etc(p, c, q, e)) < 0) {
		plan_container_free(p, c);
		return r;
	}
	*ret = c;
	return 0;
}

static void forget_device(struct plan *p, struct vm_device *d)
{
	size_t kept = 0;

	for (size_t i = 0; i < p->n_devices; i++)
		if (p->devices[i] != d)
			p->devices[kept++] = p->devices[i];
	p->n_devices = kept;
	vm_device_free(d);
}

void plan_container_free(struct plan *p, struct plan_container *c)
{
	if (!c)
		return;
	for (size_t i = 0; i < c->n_devices; i++)
		if (plan_disk_drop(p, c->devices[i]))
			forget_device(p, c->devices[i]);
	free(c->devices);
	for (size_t i = 0; i < c->items.len; i++)
		share_remove(&p->share, c->items.v[i]);
	plan_free_storages(c->storages, c->n_storages);
	for (size_t i = 0; i < c->n_blocks; i++)
		free(c->blocks[i].container_path);
	free(c->blocks);
	strv_fini(&c->items);
	strv_fini(&c->notes);
	fd_close(&c->image_fd);
	free(c->pack);
	free(c->id);
	if (c->spec)
		grpc__spec__free_unpacked(c->spec, NULL);
	free(c);
}
