/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices: configured before the start, plugged, changed and unplugged after it.
 *
 * Of a VM whose snapshot another program made the configuration knows no devices: then the library alone says what
 * there is, and a bucket that an update leaves out becomes no limit.
 */
#include <errno.h>

#include "base/cleanup.h"
#include "vmm/build.h"
#include "vmm/handlers.h"

#define UNPLUG_TIMEOUT_MS 500 /* how long an answer may wait for the guest to let go */

/* May a device be plugged into the running VM? exists: there is one of this id. */
static bool can_plug(const struct instance *i, bool exists, struct answer *a)
{
	if (!i->pci)
		answer_fault(a, "PCI is not enabled");
	else if (exists)
		answer_fault(a, "Device ID in use");
	return i->pci && !exists;
}

/* May it be unplugged? */
static bool can_unplug(const struct instance *i, bool exists, bool root, struct answer *a)
{
	if (!i->pci)
		answer_fault(a, "PCI is not enabled");
	else if (!exists && !i->unknown)
		answer_fault(a, "Device not found");
	else if (root)
		answer_fault(a, "Cannot unplug root device");
	else
		return true;
	return false;
}

/* true: it is gone. */
static bool unplug(struct instance *i, struct device_id id, struct answer *a)
{
	struct err e = { 0 };
	int r = vmm_remove(i->vm, id.text, UNPLUG_TIMEOUT_MS, &e);

	if (r == -ENOENT)
		answer_fault(a, "Device not found");
	else if (r < 0)
		answer_err(a, "PCI manager error", &e);
	return r == 0;
}

#define NOT_FOUND "Failed perform action on device: Device not found"

/* ---- drives ---- */

static void plug_drive(struct instance *i, struct drive *d, struct answer *a)
{
	struct err e = { 0 };

	if (!can_plug(i, config_drive(&i->config, d->drive_id), a))
		return;
	if (d->is_root_device) {
		answer_fault(a, "Drive config error: A root block device already exists!");
		return;
	}
	if (config_put_drive(&i->config, d, &e) < 0) {
		answer_err(a, "Drive config error", &e);
		return;
	}
	/* It has moved into the list, as the last one. */
	d = body_list_at(&drive_table, &i->config.doc.drives, i->config.doc.drives.len - 1);
	if (build_drive(i->vm, d, &e) < 0) {
		answer_err(a, "PCI manager error", &e);
		config_remove(&drive_table, &i->config.doc.drives, d);
	}
}

HANDLER(put_drive)
{
	struct err e = { 0 };

	if (i->vm)
		plug_drive(i, body, a);
	else if (config_put_drive(&i->config, body, &e) < 0)
		answer_err(a, "Drive config error", &e);
}

HANDLER(patch_drive)
{
	struct drive *u = body, *d = config_drive(&i->config, id), old = { 0 };
	struct err e = { 0 };
	struct vmm_rate rate;

	if (!d && !i->unknown) {
		answer_fault(a, "Drive config error: Unable to patch the block device: " NOT_FOUND
				" Please verify the request arguments.");
		return;
	}
	if (!u->path_on_host && !u->has_rate_limiter) {
		answer_fault(a, "Drive config error: Unable to patch the block device: Block: Running method expected "
				"different backend. Please verify the request arguments.");
		return;
	}
	if (d)
		old = *d;
	limiter_update(&old.rate_limiter, &old.has_rate_limiter, &u->rate_limiter);
	rate = build_rate(&old.rate_limiter);
	if (vmm_update_block(i->vm, drive_device_id(id).text, u->path_on_host, u->has_rate_limiter ? &rate : NULL, &e) <
	    0) {
		answer_fault(a,
			     "Drive config error: Unable to patch the block device: %.700s Please verify the request "
			     "arguments.",
			     e.text);
		return;
	}
	if (!d)
		return;
	if (u->has_rate_limiter) {
		d->rate_limiter = old.rate_limiter;
		d->has_rate_limiter = old.has_rate_limiter;
	}
	if (u->path_on_host) {
		free(d->path_on_host);
		d->path_on_host = take_ptr(u->path_on_host);
	}
}

HANDLER(delete_drive)
{
	struct drive *d = config_drive(&i->config, id);

	if (can_unplug(i, d, d && d->is_root_device, a) && unplug(i, drive_device_id(id), a) && d)
		config_remove(&drive_table, &i->config.doc.drives, d);
}

/* ---- pmem ---- */

static void plug_pmem(struct instance *i, struct pmem *p, struct answer *a)
{
	struct err e = { 0 };

	if (!can_plug(i, config_pmem(&i->config, p->id), a))
		return;
	if (p->root_device) {
		answer_fault(a, "Pmem config error: Attempt to add pmem as a root device while the root device defined "
				"as a block device");
		return;
	}
	if (config_put_pmem(&i->config, p, &e) < 0) {
		answer_err(a, "Pmem config error", &e);
		return;
	}
	p = body_list_at(&pmem_table, &i->config.doc.pmem, i->config.doc.pmem.len - 1);
	if (build_pmem(i->vm, p, &e) < 0) {
		answer_err(a, "Pmem config error", &e);
		config_remove(&pmem_table, &i->config.doc.pmem, p);
	}
}

HANDLER(put_pmem)
{
	struct err e = { 0 };

	if (i->vm)
		plug_pmem(i, body, a);
	else if (config_put_pmem(&i->config, body, &e) < 0)
		answer_err(a, "Pmem config error", &e);
}

HANDLER(patch_pmem)
{
	struct pmem *u = body, *p = config_pmem(&i->config, id), old = { 0 };
	struct err e = { 0 };
	struct vmm_rate rate;

	if (!u->has_rate_limiter)
		return;
	if (!p && !i->unknown) {
		answer_fault(a, "Pmem config error: Unable to patch the pmem device: " NOT_FOUND
				" Please verify the request arguments.");
		return;
	}
	if (p)
		old = *p;
	limiter_update(&old.rate_limiter, &old.has_rate_limiter, &u->rate_limiter);
	rate = build_rate(&old.rate_limiter);
	if (vmm_update_pmem(i->vm, pmem_device_id(id).text, &rate, &e) < 0) {
		answer_fault(a,
			     "Pmem config error: Unable to patch the pmem device: %.700s Please verify the request "
			     "arguments.",
			     e.text);
	} else if (p) {
		p->rate_limiter = old.rate_limiter;
		p->has_rate_limiter = old.has_rate_limiter;
	}
}

HANDLER(delete_pmem)
{
	struct pmem *p = config_pmem(&i->config, id);

	if (can_unplug(i, p, p && p->root_device, a) && unplug(i, pmem_device_id(id), a) && p)
		config_remove(&pmem_table, &i->config.doc.pmem, p);
}

/* ---- network interfaces ---- */

static void plug_network_interface(struct instance *i, struct network_interface *n, struct answer *a)
{
	struct err e = { 0 };

	if (!can_plug(i, config_network_interface(&i->config, n->iface_id), a))
		return;
	if (config_put_network_interface(&i->config, n, &e) < 0) {
		answer_err(a, "Network config error", &e);
		return;
	}
	n = body_list_at(&network_interface_table, &i->config.doc.network_interfaces,
			 i->config.doc.network_interfaces.len - 1);
	if (build_network_interface(i->vm, n, &e) < 0) {
		answer_err(a, "PCI manager error", &e);
		config_remove(&network_interface_table, &i->config.doc.network_interfaces, n);
	}
}

HANDLER(put_network_interface)
{
	struct err e = { 0 };

	if (i->vm)
		plug_network_interface(i, body, a);
	else if (config_put_network_interface(&i->config, body, &e) < 0)
		answer_err(a, "Network config error", &e);
}

HANDLER(patch_network_interface)
{
	struct network_interface *u = body, *n = config_network_interface(&i->config, id), old = { 0 };
	struct vmm_rate rx, tx;
	struct err e = { 0 };

	if (!n && !i->unknown) {
		answer_fault(a, "Network config error: Unable to update the net device: " NOT_FOUND);
		return;
	}
	if (n)
		old = *n;
	limiter_update(&old.rx_rate_limiter, &old.has_rx_rate_limiter, &u->rx_rate_limiter);
	limiter_update(&old.tx_rate_limiter, &old.has_tx_rate_limiter, &u->tx_rate_limiter);
	rx = build_rate(&old.rx_rate_limiter);
	tx = build_rate(&old.tx_rate_limiter);
	if (vmm_update_net(i->vm, net_device_id(id).text, u->has_rx_rate_limiter ? &rx : NULL,
			   u->has_tx_rate_limiter ? &tx : NULL, &e) < 0)
		answer_err(a, "Network config error: Unable to update the net device", &e);
	else if (n)
		*n = old; /* but for the limits it is the same */
}

HANDLER(delete_network_interface)
{
	struct network_interface *n = config_network_interface(&i->config, id);

	if (can_unplug(i, n, false, a) && unplug(i, net_device_id(id), a) && n)
		config_remove(&network_interface_table, &i->config.doc.network_interfaces, n);
}

/* ---- those there is one of ---- */

bool check_vsock(struct instance *i, void *body, struct answer *a)
{
	if (((struct vsock *)body)->vsock_id)
		deprecated(i, a, "PUT /vsock: vsock_id field is deprecated.");
	return true;
}

HANDLER(put_vsock)
{
	struct err e = { 0 };

	if (config_set_vsock(&i->config, body, &e) < 0)
		answer_err(a, "Vsock config error", &e);
}

HANDLER(put_entropy)
{
	struct err e = { 0 };

	if (config_set_entropy(&i->config, body, &e) < 0)
		answer_err(a, "Entropy config error", &e);
}
