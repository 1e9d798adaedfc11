/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/fc_plan.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The instance's own id may have "-" but no "_"; ids of drives and cards the other way round. */
void fc_id(const char *id, char *ret, size_t size)
{
	snprintf(ret, size, "%s", id);
	for (char *c = ret; *c; c++)
		if (!isalnum((unsigned char)*c))
			*c = '_';
}

void fc_drive_address(size_t n, struct vm_device *d)
{
	d->address_kind = VM_ADDRESS_DEVICE;
	snprintf(d->address, sizeof d->address, "/dev/vd%c", (char)('a' + n));
}

static int add_drive(struct fc_plan *p, const char *id, const char *path, bool readonly, struct err *e)
{
	struct fc_drive *d = &p->drives[p->n_drives];

	if (p->n_drives == FC_DRIVES_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "disk %s: Firecracker has no room for more than %d disks", id,
			       FC_DRIVES_MAX);
	*d = (struct fc_drive){ .path = path ? strdup(path) : NULL, .readonly = readonly };
	if (path && !d->path)
		return err_sys(e, ENOMEM, "disk %s", id);
	fc_id(id, d->id, sizeof d->id);
	snprintf(d->name, sizeof d->name, "%s", path ? d->id : FC_EMPTY);
	p->n_drives++;
	return 0;
}

static int read_cpu_template(struct fc_plan *p, const char *path, struct err *e)
{
	int r = json_parse_file(path, FC_CPU_TEMPLATE_MAX, &p->cpu_template, e);

	if (r == 0 && !json_is_object(p->cpu_template))
		r = err_set(e, ERR_CONFIG, EINVAL, "%s is no JSON object", path);
	if (r < 0)
		err_wrap(e, "cpu_template");
	return r;
}

int fc_plan_init(struct fc_plan *p, const struct vm_config *c, struct err *e)
{
	*p = (struct fc_plan){ .config = c };
	if (c->vcpus > FC_VCPUS_MAX)
		return err_set(e, ERR_CONFIG, ERANGE,
			       "default_vcpus: Firecracker gives a guest at most %d CPUs, and %u are asked for",
			       FC_VCPUS_MAX, c->vcpus);
	if (c->hv->enable_hugepages && c->memory_mib % 2)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "default_memory: with enable_hugepages it must be even, and it is %llu MiB",
			       (unsigned long long)c->memory_mib);
	if (!str_empty(c->hv->cpu_template)) {
		int r = read_cpu_template(p, c->hv->cpu_template, e);

		if (r < 0)
			return r;
	}
	return str_empty(c->image) ? 0 : add_drive(p, "image", c->image, true, e);
}

void fc_plan_fini(struct fc_plan *p)
{
	for (size_t i = 0; i < p->n_drives; i++)
		free(p->drives[i].path);
	for (size_t i = 0; i < p->n_nets; i++)
		free(p->nets[i].tap);
	json_free(p->cpu_template);
	*p = (struct fc_plan){ 0 };
}

static int add_net(struct fc_plan *p, struct vm_device *d, struct err *e)
{
	struct fc_net *n = &p->nets[p->n_nets];

	if (!str_eq(d->u.net.mode, "tap"))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "network card %s: Firecracker is connected to tap interfaces only, not to %s", d->id,
			       d->u.net.mode);
	if (d->u.net.n_tap_fds)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "network card %s: Firecracker opens a tap interface by its name, not by a descriptor",
			       d->id);
	if (p->n_nets == FC_NETS_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "network card %s: there are %d already", d->id, FC_NETS_MAX);
	*n = (struct fc_net){ .tap = strdup(d->u.net.tap), .mtu = d->u.net.mtu };
	if (!n->tap)
		return err_sys(e, ENOMEM, "network card %s", d->id);
	fc_id(d->id, n->id, sizeof n->id);
	snprintf(n->mac, sizeof n->mac, "%s", d->u.net.mac);
	p->n_nets++;
	return 0;
}

int fc_plan_device(struct fc_plan *p, struct vm_device *d, struct err *e)
{
	int r = -ENOTSUP;

	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		r = add_drive(p, d->id, d->u.block.path, d->u.block.readonly, e);
		if (r == 0)
			fc_drive_address(p->n_drives - 1, d);
		break;
	case VM_DEVICE_NET:
		r = add_net(p, d, e);
		break;
	case VM_DEVICE_FS:
	case VM_DEVICE_9P:
		err_set(e, ERR_CONFIG, ENOTSUP, "Firecracker shares no files: set shared_fs = \"none\"");
		break;
	case VM_DEVICE_VFIO:
		err_set(e, ERR_CONFIG, ENOTSUP, "Firecracker passes no devices of the host through");
		break;
	}
	return r;
}

int fc_plan_placeholders(struct fc_plan *p, struct err *e)
{
	int r = 0;

	if (p->config->fixed_devices || !p->config->hv->default_bridges)
		return 0;
	/* Whether a guest may write is fixed when a drive is made. */
	for (unsigned i = 0; i < 2 * FC_SLOTS && r == 0; i++) {
		char id[16];

		snprintf(id, sizeof id, "slot%u", i);
		r = add_drive(p, id, NULL, i >= FC_SLOTS, e);
	}
	return r;
}
