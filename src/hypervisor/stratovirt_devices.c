/* SPDX-License-Identifier: Apache-2.0 */
/* Cold-plugged devices on StratoVirt's command line: disks, network, shared directories. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "hypervisor/stratovirt_argv.h"

/* Take a place of microvm for a disk or a network card. */
static int take_mmio(uint32_t *map, int n, const char *what, struct err *e)
{
	int place = slot_take(map, 0);

	return place >= 0 && place < n ? place
				       : err_set(e, ERR_LIMIT, ENOSPC,
						 "microvm has %d %s at most: use machine_type = \"q35\"", n, what);
}

static void set_pci_address(struct vm_device *d, int slot)
{
	d->address_kind = VM_ADDRESS_PCI;
	snprintf(d->address, sizeof d->address, "%02x", (unsigned)slot);
}

static int plan_block(struct stratovirt_plan *p, struct vm_device *d, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	const struct vm_block *b = &d->u.block;
	bool direct = hv->block_device_cache_set && hv->block_device_cache_direct;
	int slot, r = device_check_serial(d, e);
	char at[40] = "", what[48];

	if (r < 0)
		return r;
	snprintf(what, sizeof what, "disk %s", d->id);
	r = stratovirt_check_path(what, b->path, e);
	if (r < 0)
		return r;
	if (p->layout.machine == STRATOVIRT_MICROVM)
		r = slot = take_mmio(&p->layout.disks, STRATOVIRT_DISKS, "disks", e);
	else
		r = stratovirt_place(&p->layout, at, sizeof at, &slot, e);
	if (r < 0) {
		err_wrap(e, "disk %s", d->id);
		return r;
	}
	r = 0;
	/* direct=off goes with synchronous reads and writes, direct=on with Linux AIO: StratoVirt has no other pairs.
	 */
	option_add(&p->devices, &r, "-drive", "id=dev-%s,file=%s,readonly=%s,direct=%s%s", d->id, b->path,
		   b->readonly ? "on" : "off", direct ? "on" : "off", b->discard ? ",discard=unmap" : "");
	option_add(&p->devices, &r, "-device", "virtio-blk-%s,id=dev-%s,drive=dev-%s%s%s%s",
		   stratovirt_transport(&p->layout), d->id, d->id,
		   str_empty(b->serial) ? "" : ",serial=", str_empty(b->serial) ? "" : b->serial, at);
	if (p->layout.machine == STRATOVIRT_MICROVM) {
		d->address_kind = VM_ADDRESS_DEVICE;
		snprintf(d->address, sizeof d->address, "/dev/vd%c", 'a' + slot);
	} else {
		set_pci_address(d, slot);
	}
	return r < 0 ? err_sys(e, -r, "disk %s", d->id) : 0;
}

static int netdev(const struct stratovirt_plan *p, const struct vm_device *d, struct buf *b, size_t *queues,
		  struct err *e)
{
	const struct vm_net *net = &d->u.net;
	bool micro = p->layout.machine == STRATOVIRT_MICROVM;
	int r;

	if (!str_eq(net->mode, "tap"))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "network device %s: StratoVirt has tap devices only, and no mode \"%s\"", d->id,
			       net->mode ? net->mode : "");
	if (!net->n_tap_fds && (str_empty(net->tap) || strpbrk(net->tap, ",= ")))
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: no tap interface is named", d->id);
	*queues = net->n_tap_fds                      ? net->n_tap_fds
		  : p->config->hv->network_queues > 1 ? p->config->hv->network_queues
						      : 1;
	if (*queues > 1 && micro)
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: a card of microvm has one pair of queues",
			       d->id);
	if (*queues > 16)
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: StratoVirt takes 16 pairs of queues at most",
			       d->id);
	r = buf_printf(b, "tap,id=dev-%s", d->id);
	for (size_t i = 0; i < net->n_tap_fds && r == 0; i++)
		r = buf_printf(b, "%s%d", i ? ":" : ",fds=", net->tap_fds[i]);
	if (r == 0 && !net->n_tap_fds)
		r = buf_printf(b, ",ifname=%s", net->tap);
	if (r == 0 && !net->n_tap_fds && *queues > 1)
		r = buf_printf(b, ",queues=%zu", *queues);
	return r < 0 ? err_sys(e, -r, "network device %s", d->id) : 0;
}

static int plan_net(struct stratovirt_plan *p, struct vm_device *d, struct err *e)
{
	_cleanup_buf_ struct buf b = { 0 };
	size_t queues = 1;
	int slot = -1, r = netdev(p, d, &b, &queues, e);
	char at[40] = "";

	if (r < 0)
		return r;
	net_choose_mac(p->config, d->id, &d->u.net);
	if (p->layout.machine == STRATOVIRT_MICROVM)
		r = take_mmio(&p->layout.nics, STRATOVIRT_NICS, "network cards", e);
	else
		r = stratovirt_place(&p->layout, at, sizeof at, &slot, e);
	if (r < 0) {
		err_wrap(e, "network device %s", d->id);
		return r;
	}
	r = 0;
	option_add(&p->devices, &r, "-netdev", "%s", b.data);
	option_add(&p->devices, &r, "-device", "virtio-net-%s,id=dev-%s,netdev=dev-%s,mac=%s%s%s",
		   stratovirt_transport(&p->layout), d->id, d->id, d->u.net.mac, queues > 1 ? ",mq=on" : "", at);
	if (slot >= 0)
		set_pci_address(d, slot);
	return r < 0 ? err_sys(e, -r, "network device %s", d->id) : 0;
}

static int plan_fs(struct stratovirt_plan *p, struct vm_device *d, struct err *e)
{
	int slot, r = device_check_tag(d, e);
	char at[40], what[64];

	if (r < 0)
		return r;
	snprintf(what, sizeof what, "shared directory %s", d->id);
	r = stratovirt_check_path(what, d->u.fs.socket, e);
	if (r < 0)
		return r;
	if (strlen(d->u.fs.tag) > 35 || strchr(d->u.fs.tag, '='))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: StratoVirt does not take the tag \"%s\"", what, d->u.fs.tag);
	r = stratovirt_place(&p->layout, at, sizeof at, &slot, e);
	if (r < 0) {
		err_wrap(e, "%s", what);
		return r;
	}
	option_add(&p->devices, &r, "-chardev", "socket,id=fs-%s,path=%s", d->id, d->u.fs.socket);
	option_add(&p->devices, &r, "-device", "vhost-user-fs-%s,id=dev-%s,chardev=fs-%s,tag=%s%s",
		   stratovirt_transport(&p->layout), d->id, d->id, d->u.fs.tag, at);
	if (slot >= 0)
		set_pci_address(d, slot);
	return r < 0 ? err_sys(e, -r, "%s", what) : 0;
}

int stratovirt_plan_device(struct stratovirt_plan *plan, struct vm_device *device, struct err *e)
{
	int r = device_check_id(device, e);

	if (r < 0)
		return r;
	device->address_kind = VM_ADDRESS_NONE;
	device->address[0] = 0;
	switch (device->kind) {
	case VM_DEVICE_BLOCK:
		return plan_block(plan, device, e);
	case VM_DEVICE_NET:
		return plan_net(plan, device, e);
	case VM_DEVICE_FS:
		return plan_fs(plan, device, e);
	case VM_DEVICE_9P:
	case VM_DEVICE_VFIO:
		break;
	}
	return err_set(e, ERR_CONFIG, ENOTSUP, "device %s: StratoVirt has no such kind", device->id);
}
