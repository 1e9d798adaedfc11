/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Disks and network cards of a running VM, in and out over QMP.
 *
 * Each plug is a back end (blockdev-add, netdev_add) and a front end (device_add). q35 and virt: the device goes behind
 * a root port of its own, the guest is asked to let go of it, and DEVICE_DELETED says that it did. microvm: the device
 * takes an empty place, back end and front end must have the same name, and device_del takes both out at once; the
 * guest is not asked, it sees a disk without sectors. A failed front end leaves a back end of microvm behind, which
 * device_del takes away, too.
 *
 * A StratoVirt that does not answer a plug in time may do it later: the device keeps its name and its place, and can be
 * removed, which the next plug of that id does first.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "hypervisor/stratovirt_vm.h"

static bool is_micro(const struct stratovirt_vm *s)
{
	return s->plan.layout.machine == STRATOVIRT_MICROVM;
}

static struct stratovirt_plugged *find(struct stratovirt_vm *s, const char *id)
{
	struct stratovirt_plugged *p;

	list_foreach (p, &s->plugged, struct stratovirt_plugged, link)
		if (str_eq(p->id, id))
			return p;
	return NULL;
}

static uint32_t *places(struct stratovirt_vm *s, const struct stratovirt_plugged *p)
{
	struct stratovirt_layout *l = &s->plan.layout;

	return !is_micro(s) ? &l->ports : p->disk ? &l->disks : &l->nics;
}

static void forget(struct stratovirt_vm *s, struct stratovirt_plugged *p)
{
	if (p->place >= 0)
		*places(s, p) &= ~(UINT32_C(1) << p->place);
	list_remove(&p->link);
	free(p);
}

void stratovirt_plugged_fini(struct stratovirt_vm *s)
{
	struct stratovirt_plugged *p;

	list_foreach (p, &s->plugged, struct stratovirt_plugged, link)
		forget(s, p);
}

void stratovirt_plugged_event(struct stratovirt_vm *s, const char *event, struct json_object *data)
{
	const char *device = json_get_str(data, "device"), *id = device ? str_after(device, "dev-") : NULL;
	struct stratovirt_plugged *p = id ? find(s, id) : NULL;

	if (p && str_eq(event, "DEVICE_DELETED"))
		p->gone = true;
}

static int take_place(struct stratovirt_vm *s, struct stratovirt_plugged *p, struct err *e)
{
	unsigned n = !is_micro(s) ? s->plan.layout.n_ports : p->disk ? STRATOVIRT_DISKS : STRATOVIRT_NICS;
	int place = slot_take(places(s, p), 0);

	if (place >= 0 && (unsigned)place < n) {
		p->place = place;
		return 0;
	}
	if (place >= 0)
		*places(s, p) &= ~(UINT32_C(1) << place);
	if (is_micro(s))
		return err_set(e, ERR_LIMIT, ENOSPC, "microvm has %u %s, and all are taken", n,
			       p->disk ? "disks" : "network cards");
	return err_set(e, ERR_LIMIT, ENOSPC,
		       n ? "something is behind every root port of the VM: raise default_bridges"
			 : "the VM has no root port to plug into: set default_bridges = 1");
}

/* A failure is logged, for little could be done about it. */
static int del(struct stratovirt_vm *s, const char *command, const char *key, const char *name)
{
	struct json_object *a = json_object_make();
	struct err e = { 0 };
	int r;

	json_set_str(a, key, name);
	r = stratovirt_command(s, command, a, -1, NULL, &e);
	if (r < 0)
		log_debug("%s", e.text);
	return r;
}

static int delete_back_end(struct stratovirt_vm *s, bool disk, const char *name)
{
	if (is_micro(s))
		return del(s, "device_del", "id", name);
	if (disk)
		return del(s, "blockdev-del", "node-name", name);
	return del(s, "netdev_del", "id", name);
}

static int add_drive(struct stratovirt_vm *s, const struct vm_block *b, const char *name, struct err *e)
{
	const struct config_hypervisor *hv = s->vm.config->hv;
	bool direct = hv->block_device_cache_set && hv->block_device_cache_direct;
	struct json_object *a = json_object_make(), *file = json_object_make(), *cache = json_object_make();

	json_set_str(file, "driver", "file");
	json_set_str(file, "filename", b->path);
	json_set_str(file, "aio", direct ? "native" : "off");
	json_set_bool(cache, "direct", direct);
	json_set_str(a, "node-name", name);
	json_set(a, "file", file);
	json_set(a, "cache", cache);
	json_set_bool(a, "read-only", b->readonly);
	/* microvm takes the key and ignores it. */
	if (b->discard)
		json_set_str(a, "discard", "unmap");
	return stratovirt_command(s, "blockdev-add", a, -1, NULL, e);
}

/* Hand over the queues of a tap, "tap-0:tap-1" names them; or the name of the interface. */
static int add_netdev(struct stratovirt_vm *s, const struct vm_device *d, const char *name, size_t *queues,
		      struct err *e)
{
	const struct vm_net *net = &d->u.net;
	_cleanup_json_ struct json_object *a = json_object_make();
	_cleanup_buf_ struct buf names = { 0 };

	*queues = net->n_tap_fds ? net->n_tap_fds : 1;
	if (!str_eq(net->mode, "tap"))
		return err_set(e, ERR_CONFIG, ENOTSUP, "StratoVirt has tap devices only, and no mode \"%s\"",
			       net->mode ? net->mode : "");
	if (*queues > (is_micro(s) ? 1 : 16))
		return err_set(e, ERR_CONFIG, EINVAL, "%zu pairs of queues are more than the machine has", *queues);
	for (size_t i = 0; i < net->n_tap_fds; i++) {
		struct json_object *f = json_object_make();
		char fdname[24];
		int r;

		snprintf(fdname, sizeof fdname, "tap-%u", s->next_fd++);
		json_set_str(f, "fdname", fdname);
		r = stratovirt_command(s, "getfd", f, net->tap_fds[i], NULL, e);
		if (r < 0)
			return r;
		if (buf_printf(&names, "%s%s", i ? ":" : "", fdname) < 0)
			return err_sys(e, ENOMEM, "network device");
	}
	json_set_str(a, "id", name);
	json_set_str(a, "type", "tap");
	if (net->n_tap_fds)
		json_set_str(a, "fds", names.data);
	else
		json_set_str(a, "ifname", net->tap ? net->tap : "");
	return stratovirt_command(s, "netdev_add", take_ptr(a), -1, NULL, e);
}

static void set_place(struct stratovirt_vm *s, struct json_object *a, const struct stratovirt_plugged *p)
{
	char text[24];

	snprintf(text, sizeof text, is_micro(s) ? "%d" : "port%d", p->place);
	json_set_str(a, is_micro(s) ? "addr" : "bus", text);
	if (!is_micro(s))
		json_set_str(a, "addr", "0x0");
}

static int add_front_end(struct stratovirt_vm *s, struct vm_device *d, const struct stratovirt_plugged *p,
			 const char *name, size_t queues, struct err *e)
{
	struct json_object *a = json_object_make();
	char driver[24];

	snprintf(driver, sizeof driver, "virtio-%s-%s", p->disk ? "blk" : "net", is_micro(s) ? "mmio" : "pci");
	json_set_str(a, "id", name);
	json_set_str(a, "driver", driver);
	set_place(s, a, p);
	if (p->disk) {
		json_set_str(a, "drive", name);
		if (!str_empty(d->u.block.serial))
			json_set_str(a, "serial", d->u.block.serial);
	} else {
		/* microvm looks for the back end's name under "chardev". */
		json_set_str(a, is_micro(s) ? "chardev" : "netdev", name);
		json_set_str(a, "mac", d->u.net.mac);
		if (queues > 1)
			json_set_str(a, "mq", "on");
	}
	return stratovirt_command(s, "device_add", a, -1, NULL, e);
}

static void set_address(struct stratovirt_vm *s, struct vm_device *d, const struct stratovirt_plugged *p)
{
	if (!is_micro(s)) {
		stratovirt_port_address(&s->plan.layout, (unsigned)p->place, d);
	} else if (p->disk) {
		d->address_kind = VM_ADDRESS_DEVICE;
		snprintf(d->address, sizeof d->address, "/dev/vd%c", 'a' + p->place);
	}
}

static int plug(struct stratovirt_vm *s, struct vm_device *d, struct stratovirt_plugged *p, struct err *e)
{
	size_t queues = 1;
	char name[48];
	int r = take_place(s, p, e);

	if (r == 0 && p->disk)
		r = device_check_serial(d, e);
	if (r < 0)
		return r;
	snprintf(name, sizeof name, "dev-%s", d->id);
	if (!p->disk)
		net_choose_mac(s->vm.config, d->id, &d->u.net);
	r = p->disk ? add_drive(s, &d->u.block, name, e) : add_netdev(s, d, name, &queues, e);
	if (r < 0)
		return r;
	r = add_front_end(s, d, p, name, queues, e);
	/* Its back end goes, too, unless StratoVirt is at work on both. */
	if (r < 0 && r != -ETIMEDOUT)
		p->doubtful = delete_back_end(s, p->disk, name) == -ETIMEDOUT;
	if (r == 0)
		set_address(s, d, p);
	return r;
}

int stratovirt_plug(struct stratovirt_vm *s, struct vm_device *d, struct err *e)
{
	struct stratovirt_plugged *p;
	int r = device_check_id(d, e);

	if (r < 0)
		return r;
	p = find(s, d->id);
	if (p && p->doubtful) {
		r = stratovirt_unplug(s, d->id, e);
		if (r < 0) {
			err_wrap(e, "cannot plug in device %s again", d->id);
			return r;
		}
	} else if (p) {
		return err_set(e, ERR_CONFIG, EEXIST, "device \"%s\": the id is in use", d->id);
	}
	if (d->kind != VM_DEVICE_BLOCK && d->kind != VM_DEVICE_NET)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "device %s: shared directories cannot be added to a running VM", d->id);
	p = calloc(1, sizeof *p);
	if (!p)
		return err_sys(e, ENOMEM, "device %s", d->id);
	snprintf(p->id, sizeof p->id, "%s", d->id);
	p->disk = d->kind == VM_DEVICE_BLOCK;
	p->place = -1;
	list_append(&s->plugged, &p->link);
	d->address_kind = VM_ADDRESS_NONE;
	d->address[0] = 0;
	r = plug(s, d, p, e);
	if (r < 0) {
		p->doubtful |= r == -ETIMEDOUT;
		if (!p->doubtful)
			forget(s, p);
		err_wrap(e, "cannot plug in device %s", d->id);
	}
	return r;
}

static bool is_gone(void *userdata)
{
	return ((struct stratovirt_plugged *)userdata)->gone;
}

/* Ask the guest for it and wait. 0: it is gone; -EBUSY: it stays, and removing it may be tried again. */
static int ask_guest(struct stratovirt_vm *s, struct stratovirt_plugged *p, const char *name, struct err *e)
{
	unsigned wait_ms = vm_unplug_ms(&s->vm, s->unplug_ms);
	struct json_object *a;
	int r;

	/* It may have let go after we stopped waiting for it the last time. */
	qmp_dispatch(s->vmm.qmp);
	if (p->gone)
		return 0;
	a = json_object_make();
	json_set_str(a, "id", name);
	r = stratovirt_command(s, "device_del", a, -1, NULL, e);
	/* It knows no such device: commands are done in the order in which they were sent. */
	if ((r == -ENODEV || r == -EREMOTEIO) && p->doubtful)
		return 0;
	if (r < 0)
		return r;
	r = qmp_wait(s->vmm.qmp, is_gone, p, clock_ms() + wait_ms);
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_GUEST, EBUSY, "the guest did not release it within %u s", wait_ms / 1000);
	if (r < 0 && process_wait(s->vmm.process, clock_ms() + PROCESS_END_MS) == 0)
		return vm_explain_exit(&s->vm, e);
	return r < 0 ? err_sys(e, -r, "monitor") : 0;
}

int stratovirt_unplug(struct stratovirt_vm *s, const char *id, struct err *e)
{
	struct stratovirt_plugged *p = find(s, id);
	struct err local = { 0 };
	char name[48];
	int r;

	e = e ? e : &local;
	if (!p)
		return err_set(e, ERR_CONFIG, ENODEV, "device %s was not plugged into the running VM", id);
	snprintf(name, sizeof name, "dev-%s", id);
	r = ask_guest(s, p, name, e);
	if (r < 0) {
		err_wrap(e, "cannot unplug device %s", id);
		return r;
	}
	if (!is_micro(s))
		delete_back_end(s, p->disk, name);
	forget(s, p);
	return 0;
}
