/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks and network devices of a running VM, in and out over QMP.
 *
 * Each plug is a back end (blockdev-add, netdev_add) and a front end (device_add); when the second fails the first is
 * undone, and when QEMU does not answer in time the device is doubtful (qemu_plugged.c). PCI devices go behind the
 * bridges made at start, so that their path "02/01" is known to the agent; SCSI disks go to the controller.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

/* A free slot behind some bridge. */
static int take_bridge_slot(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	struct qemu_layout *l = &q->plan.layout;

	for (unsigned i = 0; i < l->n_bridges; i++) {
		h->slot = slot_take(&l->bridge_slots[i], 1);
		if (h->slot >= 0) {
			h->bridge = (int)i;
			return 0;
		}
	}
	h->slot = -1;
	return err_set(e, ERR_LIMIT, ENOSPC,
		       l->n_bridges ? "every slot of the VM's PCI bridges is taken: raise default_bridges"
				    : "the VM has no PCI bridge to plug into: set default_bridges = 1 (machine q35)");
}

static void set_bridge(struct json_object *a, const struct qemu_hotplugged *h)
{
	char bus[32], addr[8];

	snprintf(bus, sizeof bus, "pci-bridge-%d", h->bridge);
	snprintf(addr, sizeof addr, "%x", (unsigned)h->slot);
	json_set_str(a, "bus", bus);
	json_set_str(a, "addr", addr);
}

static void give_pci_address(struct vm_device *d, const struct qemu_hotplugged *h)
{
	d->address_kind = VM_ADDRESS_PCI;
	snprintf(d->address, sizeof d->address, "%02x/%02x", (unsigned)h->bridge + 2, (unsigned)h->slot);
}

static int delete_back_end(struct qemu_vm *q, const struct qemu_hotplugged *h)
{
	char netdev[48];

	if (h->kind == QEMU_PLUGGED_DISK)
		return qemu_delete(q, "blockdev-del", "node-name", h->node);
	snprintf(netdev, sizeof netdev, "net-%s", h->id);
	return qemu_delete(q, "netdev_del", "id", netdev);
}

/* The front end failed: its back end goes, too, unless QEMU is at work on both. */
static void undo_back_end(struct qemu_vm *q, struct qemu_hotplugged *h, int r)
{
	if (r != -ETIMEDOUT)
		h->doubtful = delete_back_end(q, h) == -ETIMEDOUT;
}

/* --- disks --- */

static int add_node(struct qemu_vm *q, const struct vm_block *b, const char *node, struct err *e)
{
	struct json_object *a = json_object_make(), *cache;
	struct qemu_block_options o;

	qemu_block_options(q->vm.config->hv, b->path, &o);
	json_set_str(a, "driver", o.driver);
	json_set_str(a, "node-name", node);
	json_set_str(a, "filename", b->path);
	json_set_str(a, "aio", o.aio);
	json_set_bool(a, "read-only", b->readonly);
	if (b->discard)
		json_set_str(a, "discard", "unmap");
	if (o.set_cache) {
		cache = json_object_make();
		json_set_bool(cache, "direct", o.direct);
		json_set_bool(cache, "no-flush", o.no_flush);
		json_set(a, "cache", cache);
	}
	return qemu_command(q, "blockdev-add", a, -1, NULL, e);
}

static int add_disk(struct qemu_vm *q, struct vm_device *d, struct qemu_hotplugged *h, struct err *e)
{
	const struct config_hypervisor *hv = q->vm.config->hv;
	bool scsi = qemu_block_is_scsi(hv, q->plan.layout.machine);
	struct json_object *a;
	int r;

	if (scsi) {
		h->scsi_id = qemu_scsi_take(&q->plan.layout);
		r = h->scsi_id < 0 ? err_set(e, ERR_LIMIT, ENOSPC, "all SCSI targets of the VM are taken") : 0;
	} else {
		r = take_bridge_slot(q, h, e);
	}
	if (r < 0)
		return r;
	snprintf(h->node, sizeof h->node, "disk%u", q->plan.layout.n_disks++);
	r = add_node(q, &d->u.block, h->node, e);
	if (r < 0)
		return r;
	a = qemu_device_args(scsi ? "scsi-hd" : "virtio-blk-pci", d->id);
	json_set_str(a, "drive", h->node);
	json_set_bool(a, "share-rw", true);
	if (!str_empty(d->u.block.serial))
		json_set_str(a, "serial", d->u.block.serial);
	if (hv->block_device_logical_sector_size)
		json_set_u64(a, "logical_block_size", hv->block_device_logical_sector_size);
	if (hv->block_device_physical_sector_size)
		json_set_u64(a, "physical_block_size", hv->block_device_physical_sector_size);
	if (scsi) {
		json_set_str(a, "bus", "scsi0.0");
		json_set_u64(a, "scsi-id", (uint64_t)h->scsi_id);
		json_set_u64(a, "lun", 0);
	} else {
		char iothread[40];

		set_bridge(a, h);
		if (hv->num_queues > 1)
			json_set_u64(a, "num-queues", hv->num_queues > 64 ? 64 : hv->num_queues);
		if (hv->queue_size)
			json_set_u64(a, "queue-size", hv->queue_size);
		if (hv->indep_iothreads) {
			snprintf(iothread, sizeof iothread, "indep-iothread-%u",
				 q->plan.layout.next_iothread++ % hv->indep_iothreads);
			json_set_str(a, "iothread", iothread);
		}
	}
	r = qemu_command(q, "device_add", a, -1, NULL, e);
	if (r < 0) {
		undo_back_end(q, h, r);
		return r;
	}
	if (scsi) {
		d->address_kind = VM_ADDRESS_SCSI;
		snprintf(d->address, sizeof d->address, "%d:0", h->scsi_id);
	} else {
		give_pci_address(d, h);
	}
	return 0;
}

/* --- network --- */

/* Hand QEMU the queues of a tap; "q0-x:q1-x" names them. */
static int send_tap_fds(struct qemu_vm *q, const struct vm_net *net, struct buf *names, struct err *e)
{
	for (size_t i = 0; i < net->n_tap_fds; i++) {
		struct json_object *a = json_object_make();
		char name[24];
		int r;

		snprintf(name, sizeof name, "tap-%u", q->next_fd++);
		json_set_str(a, "fdname", name);
		r = qemu_command(q, "getfd", a, net->tap_fds[i], NULL, e);
		if (r < 0)
			return r;
		if (buf_printf(names, "%s%s", i ? ":" : "", name) < 0)
			return err_sys(e, ENOMEM, "network device");
	}
	return 0;
}

static int add_netdev(struct qemu_vm *q, const struct vm_net *net, const char *name, size_t queues, struct err *e)
{
	bool vhost = q->facts.vhost_net && !q->vm.config->hv->disable_vhost_net;
	_cleanup_json_ struct json_object *a = json_object_make();
	_cleanup_buf_ struct buf names = { 0 };
	int r;

	json_set_str(a, "id", name);
	if (str_eq(net->mode, "tap")) {
		r = send_tap_fds(q, net, &names, e);
		if (r < 0)
			return r;
		json_set_str(a, "type", "tap");
		json_set_bool(a, "vhost", vhost);
		if (net->n_tap_fds) {
			json_set_str(a, net->n_tap_fds > 1 ? "fds" : "fd", names.data);
		} else {
			json_set_str(a, "ifname", net->tap ? net->tap : "");
			json_set_str(a, "script", "no");
			json_set_str(a, "downscript", "no");
			if (queues > 1)
				json_set_u64(a, "queues", queues);
		}
	} else if (str_eq(net->mode, "passt")) {
		struct json_object *addr = json_object_make();

		json_set_str(addr, "type", "unix");
		json_set_str(addr, "path", net->socket ? net->socket : "");
		json_set_str(a, "type", "stream");
		json_set_bool(a, "server", false);
		json_set(a, "addr", addr);
	} else if (str_eq(net->mode, "user") && !net->publish.len) {
		json_set_str(a, "type", "user");
	} else {
		return err_set(e, ERR_CONFIG, ENOTSUP, "a network of mode \"%s\"%s cannot be plugged into a running VM",
			       net->mode ? net->mode : "", net->publish.len ? " with published ports" : "");
	}
	return qemu_command(q, "netdev_add", take_ptr(a), -1, NULL, e);
}

static int add_nic(struct qemu_vm *q, struct vm_device *d, struct qemu_hotplugged *h, struct err *e)
{
	size_t queues = qemu_net_queues(q->vm.config->hv, &d->u.net);
	struct json_object *a;
	char netdev[48];
	int r = take_bridge_slot(q, h, e);

	if (r < 0)
		return r;
	net_choose_mac(q->vm.config, d->id, &d->u.net);
	snprintf(netdev, sizeof netdev, "net-%s", d->id);
	r = add_netdev(q, &d->u.net, netdev, queues, e);
	if (r < 0)
		return r;
	a = qemu_device_args("virtio-net-pci", d->id);
	json_set_str(a, "netdev", netdev);
	json_set_str(a, "mac", d->u.net.mac);
	json_set_str(a, "romfile", "");
	if (d->u.net.mtu)
		json_set_u64(a, "host_mtu", d->u.net.mtu);
	if (queues > 1) {
		json_set_bool(a, "mq", true);
		json_set_u64(a, "vectors", 2 * queues + 2);
	}
	set_bridge(a, h);
	r = qemu_command(q, "device_add", a, -1, NULL, e);
	if (r < 0) {
		undo_back_end(q, h, r);
		return r;
	}
	give_pci_address(d, h);
	return 0;
}

int qemu_hotplug_add(struct qemu_vm *q, struct vm_device *d, struct err *e)
{
	struct qemu_hotplugged *h = str_empty(d->id) ? NULL : qemu_plugged_find(q, d->id);
	int r;

	if (h && h->doubtful) {
		r = qemu_hotplug_remove(q, d->id, e);
		if (r < 0) {
			err_wrap(e, "cannot plug in device %s again", d->id);
			return r;
		}
		h = NULL;
	}
	if (str_empty(d->id) || strlen(d->id) > 32 || h)
		return err_set(e, ERR_CONFIG, EEXIST, "device \"%s\": the id is unsuitable or in use",
			       d->id ? d->id : "");
	if (d->kind != VM_DEVICE_BLOCK && d->kind != VM_DEVICE_NET)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "device %s: shared directories cannot be added to a running VM", d->id);
	h = qemu_plugged_add(q, d->kind == VM_DEVICE_BLOCK ? QEMU_PLUGGED_DISK : QEMU_PLUGGED_NIC, d->id);
	if (!h)
		return err_sys(e, ENOMEM, "device %s", d->id);
	r = d->kind == VM_DEVICE_BLOCK ? add_disk(q, d, h, e) : add_nic(q, d, h, e);
	if (r < 0) {
		h->doubtful |= r == -ETIMEDOUT;
		if (!h->doubtful)
			qemu_plugged_forget(q, h);
		err_wrap(e, "cannot plug in device %s", d->id);
		return r;
	}
	return 0;
}

int qemu_hotplug_remove(struct qemu_vm *q, const char *id, struct err *e)
{
	struct qemu_hotplugged *h = qemu_plugged_find(q, id);
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	if (!h || (h->kind != QEMU_PLUGGED_DISK && h->kind != QEMU_PLUGGED_NIC))
		return err_set(e, ERR_CONFIG, ENODEV, "device %s was not plugged into the running VM", id);
	r = qemu_unplug(q, h, e);
	if (r < 0) {
		err_wrap(e, "cannot unplug device %s", id);
		return r;
	}
	delete_back_end(q, h);
	qemu_plugged_forget(q, h);
	return 0;
}
