/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of a running VM, in and out. Cloud Hypervisor tells where it put one. To take one out is a request to the
 * guest, and that the guest let go is told by an event; a guest that does so after we stopped waiting is noticed too.
 * Of a plug that is not answered nobody knows whether it is done or will be: the device keeps its id, and can be
 * removed, which the next plug of that id does first.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "hypervisor/clh_vm.h"
#include "hypervisor/console.h"

static struct clh_hotplugged *find(struct clh_vm *q, const char *id)
{
	struct clh_hotplugged *h;

	list_foreach (h, &q->hotplugged, struct clh_hotplugged, link)
		if (str_eq(h->id, id))
			return h;
	return NULL;
}

static void forget(struct clh_hotplugged *h)
{
	list_remove(&h->link);
	free(h);
}

/* Devices that the guest released after we had stopped waiting. */
static void forget_late_ones(struct clh_vm *q)
{
	struct clh_hotplugged *h;

	clh_drain_events(q);
	list_foreach (h, &q->hotplugged, struct clh_hotplugged, link)
		if (h->gone)
			forget(h);
}

void clh_hotplug_gone(struct clh_vm *q, const char *id)
{
	const char *inner = str_after(id, "_virtio-pci-");
	const char *ours = str_after(inner ? inner : id, "dev-");
	struct clh_hotplugged *h = ours ? find(q, ours) : NULL;

	if (h)
		h->gone = true;
}

void clh_hotplug_fini(struct clh_vm *q)
{
	struct clh_hotplugged *h;

	if (!q->hotplugged.next)
		return;
	list_foreach (h, &q->hotplugged, struct clh_hotplugged, link)
		forget(h);
}

/* "{"id":"dev-data","bdf":"0000:00:05.0"}" */
static int take_answer(struct vm_device *d, const char *answer, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	const char *bdf;

	if (json_parse(answer, strlen(answer), REST_BODY_MAX, &o, NULL) < 0 || !(bdf = json_get_str(o, "bdf")))
		return err_set(e, ERR_PROTOCOL, EPROTO, "Cloud Hypervisor does not say where it put it");
	clh_give_address(d, bdf);
	return 0;
}

static int request(struct clh_vm *q, struct vm_device *d, char **ret, struct err *e)
{
	const struct vm_config *c = q->vm.config;

	/* Never behind the guest's IOMMU: that is for devices of segments made for it at boot. */
	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		return clh_call(q, "PUT", "vm.add-disk", clh_disk(c, d, 0, false), NULL, 0, CLH_COMMAND_MS, ret, e);
	case VM_DEVICE_NET:
		return clh_call(q, "PUT", "vm.add-net", clh_net(c, d, false), d->u.net.tap_fds,
				clh_net_fds(c, &d->u.net), CLH_COMMAND_MS, ret, e);
	case VM_DEVICE_FS:
		return clh_call(q, "PUT", "vm.add-fs", clh_fs(c, d), NULL, 0, CLH_COMMAND_MS, ret, e);
	case VM_DEVICE_VFIO:
		return clh_call(q, "PUT", "vm.add-device", clh_vfio(c, d, false), NULL, 0, CLH_VFIO_MS, ret, e);
	case VM_DEVICE_9P:
		break;
	}
	return -ENOTSUP; /* not reached: clh_check_device() refuses it */
}

static int add(struct clh_vm *q, struct vm_device *d, struct err *e)
{
	_cleanup_free_ char *answer = NULL;
	struct clh_hotplugged *h = calloc(1, sizeof *h);
	int r;

	if (!h)
		return err_sys(e, ENOMEM, "no memory");
	snprintf(h->id, sizeof h->id, "%s", d->id);
	list_append(&q->hotplugged, &h->link);
	r = request(q, d, &answer, e);
	if (r == -EREMOTEIO) {
		forget(h);
		return r;
	}
	if (r == 0)
		r = take_answer(d, answer, e);
	/* It may be there, so that it can be removed, but cannot be used. */
	h->doubtful = r < 0;
	return r;
}

int clh_hotplug_add(struct clh_vm *q, struct vm_device *d, struct err *e)
{
	struct clh_hotplugged *h;
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	forget_late_ones(q);
	r = clh_check_device(&q->plan, d, e);
	h = r == 0 ? find(q, d->id) : NULL;
	if (h && h->doubtful)
		r = clh_hotplug_remove(q, d->id, e);
	else if (h)
		return err_set(e, ERR_CONFIG, EEXIST, "device \"%s\": the id is in use", d->id);
	if (r == 0 && d->kind == VM_DEVICE_BLOCK && q->vm.config->hv->enable_landlock)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "disk %s: with enable_landlock Cloud Hypervisor can open no file that it was not given",
			       d->id);
	if (r == 0)
		r = add(q, d, e);
	if (r < 0)
		err_wrap(e, "cannot plug in device %s", d->id ? d->id : "");
	return r;
}

/* Wait until the guest has let go. 0, -ETIMEDOUT, -EOWNERDEAD: the VM ended. */
static int wait_gone(struct clh_vm *q, const struct clh_hotplugged *h, uint64_t deadline_ms)
{
	for (;;) {
		struct pollfd p[2] = { { .fd = q->events_fd, .events = POLLIN },
				       { .fd = q->vm.exit_fd, .events = POLLIN } };
		uint64_t now = clock_ms();

		clh_drain_events(q);
		console_drain(q->vm.console);
		if (h->gone)
			return 0;
		if (process_ended(q->process))
			return -EOWNERDEAD;
		if (now >= deadline_ms)
			return -ETIMEDOUT;
		/* The console, too, is served here: a guest that cannot print cannot answer. */
		poll(p, 2, deadline_ms - now < 100 ? (int)(deadline_ms - now) : 100);
	}
}

static int unplug(struct clh_vm *q, struct clh_hotplugged *h, struct err *e)
{
	unsigned wait_ms = vm_unplug_ms(&q->vm, q->unplug_ms);
	struct json_object *body;
	char id[48];
	int r;

	clh_drain_events(q);
	if (h->gone)
		return 0;
	clh_device_id(h->id, id, sizeof id);
	body = json_object_make();
	json_set_str(body, "id", id);
	r = clh_put(q, "vm.remove-device", body, e);
	/* It knows no such device: requests are done in the order in which they were sent. */
	if (r == -EREMOTEIO && h->doubtful)
		return 0;
	if (r < 0)
		return r;
	r = wait_gone(q, h, clock_ms() + wait_ms);
	if (r == -EOWNERDEAD)
		return vm_explain_exit(&q->vm, e);
	return r < 0 ? err_set(e, ERR_GUEST, EBUSY, "the guest did not release it within %u s", wait_ms / 1000) : 0;
}

int clh_hotplug_remove(struct clh_vm *q, const char *id, struct err *e)
{
	struct clh_hotplugged *h = find(q, id);
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	if (!h)
		return err_set(e, ERR_CONFIG, ENODEV, "device %s was not plugged into the running VM", id);
	r = unplug(q, h, e);
	if (r < 0) {
		err_wrap(e, "cannot unplug device %s", id);
		return r;
	}
	forget(h);
	return 0;
}
