/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was plugged into the running VM, and how it comes out again.
 *
 * An unplug is a request to the guest. It lets go (DEVICE_DELETED), or says no (an ACPI status for vCPUs and DIMMs,
 * DEVICE_UNPLUG_GUEST_ERROR for others), or does not answer. In the last two cases the device stays known and usable,
 * and removing it may be tried again. A guest that lets go after we stopped waiting is noticed too: the device is then
 * marked as gone, and its owner clears up behind it at the next occasion.
 *
 * A QEMU that does not answer a plug in time may do it later. What is perhaps there ("doubtful") keeps its name and its
 * address until QEMU has said, in answer to device_del, that it is not there, or has taken it out. Commands are done in
 * the order in which they are sent, so this answer is the truth.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

/* ACPI 6.5 §6.3.5: _OST. What a guest reports of an eject request: events (source) and their outcome (status). */
#define OST_EJECT_REQUEST     0x3
#define OST_EJECT_BY_GUEST    0x103
#define OST_SUCCESS           0x0
#define OST_EJECT_IN_PROGRESS 0x84

struct qemu_hotplugged *qemu_plugged_find(struct qemu_vm *q, const char *id)
{
	struct qemu_hotplugged *h;

	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (str_eq(h->id, id))
			return h;
	return NULL;
}

struct qemu_hotplugged *qemu_plugged_add(struct qemu_vm *q, enum qemu_plugged_kind kind, const char *id)
{
	struct qemu_hotplugged *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	h->kind = kind;
	snprintf(h->id, sizeof h->id, "%s", id);
	h->bridge = h->slot = h->scsi_id = -1;
	list_append(&q->hotplugged, &h->link);
	return h;
}

void qemu_plugged_forget(struct qemu_vm *q, struct qemu_hotplugged *h)
{
	if (h->bridge >= 0)
		q->plan.layout.bridge_slots[h->bridge] &= ~(UINT32_C(1) << h->slot);
	if (h->scsi_id >= 0)
		q->plan.layout.scsi_ids[h->scsi_id / 32] &= ~(UINT32_C(1) << (h->scsi_id % 32));
	list_remove(&h->link);
	free(h);
}

void qemu_plugged_fini(struct qemu_vm *q)
{
	struct qemu_hotplugged *h;

	if (!q->hotplugged.next)
		return;
	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		qemu_plugged_forget(q, h);
}

static const char *eject_refusal(uint64_t status)
{
	switch (status) {
	case 0x80:
		return "it does not support this";
	case 0x81:
		return "a program uses it";
	case 0x82:
		return "it is in use";
	case 0x83:
		return "something that depends on it is in use";
	default:
		return "it gave no reason";
	}
}

static void on_ost(struct qemu_hotplugged *h, struct json_object *info)
{
	uint64_t source = 0, status = 0;

	if (json_get_u64(info, "source", &source) < 0 || json_get_u64(info, "status", &status) < 0)
		return;
	if (source != OST_EJECT_REQUEST && source != OST_EJECT_BY_GUEST)
		return;
	if (status != OST_SUCCESS && status != OST_EJECT_IN_PROGRESS)
		h->refusal = eject_refusal(status);
}

void qemu_plugged_event(struct qemu_vm *q, const char *event, struct json_object *data)
{
	bool ost = str_eq(event, "ACPI_DEVICE_OST");
	struct json_object *info = ost ? json_get_object(data, "info") : data;
	const char *device = json_get_str(info, "device"), *id = device ? str_after(device, "dev-") : NULL;
	struct qemu_hotplugged *h = id ? qemu_plugged_find(q, id) : NULL;

	if (!h)
		return;
	if (ost)
		on_ost(h, info);
	else if (str_eq(event, "DEVICE_DELETED"))
		h->gone = true;
	else if (str_eq(event, "DEVICE_UNPLUG_GUEST_ERROR"))
		h->refusal = eject_refusal(0);
}

struct json_object *qemu_device_args(const char *driver, const char *id)
{
	struct json_object *a = json_object_make();
	char name[48];

	snprintf(name, sizeof name, "dev-%s", id);
	json_set_str(a, "driver", driver);
	json_set_str(a, "id", name);
	return a;
}

int qemu_delete(struct qemu_vm *q, const char *command, const char *key, const char *name)
{
	struct json_object *a = json_object_make();
	struct err e = { 0 };
	int r;

	json_set_str(a, key, name);
	r = qemu_command(q, command, a, -1, NULL, &e);
	if (r < 0)
		log_debug("%s", e.text);
	return r;
}

static bool is_answered(void *userdata)
{
	struct qemu_hotplugged *h = userdata;

	return h->gone || h->refusal;
}

int qemu_unplug(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	struct json_object *a;
	struct err refused = { 0 };
	unsigned wait_ms = vm_unplug_ms(&q->vm, q->unplug_ms);
	char name[48];
	int r;

	/* An answer to an earlier request may have come meanwhile; what comes from here on answers this one. */
	qmp_dispatch(q->vmm.qmp);
	if (h->gone)
		return 0;
	h->refusal = NULL;
	snprintf(name, sizeof name, "dev-%s", h->id);
	a = json_object_make();
	json_set_str(a, "id", name);
	r = qemu_command(q, "device_del", a, -1, NULL, &refused);
	/* "is already in the process of unplug": a second try only waits. -ENODEV: it left between the two tries. */
	if (r == -ENODEV)
		return 0;
	if (r < 0 && !strstr(refused.text, "unplug")) {
		*e = refused;
		return r;
	}
	r = qmp_wait(q->vmm.qmp, is_answered, h, clock_ms() + wait_ms);
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_GUEST, EBUSY, "the guest did not release it within %u s", wait_ms / 1000);
	if (r < 0 && process_wait(q->vmm.process, clock_ms() + PROCESS_END_MS) == 0)
		return vm_explain_exit(&q->vm, e);
	if (r < 0)
		return err_sys(e, -r, "monitor");
	return h->gone ? 0 : err_set(e, ERR_GUEST, EBUSY, "the guest did not release it: %s", h->refusal);
}
