/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More or fewer vCPUs, more or less memory in a running VM, and disks that have grown.
 *
 * What is added can be taken out again, last first, if the guest lets go of it (qemu_plugged.c); what the VM booted
 * with stays. Memory comes as virtio-mem, which has any size, or as DIMMs, which go as a whole: the VM keeps at least
 * what is asked for. A guest can give a DIMM back only when nothing of its kernel lies there, so it gets a command line
 * by which it keeps added memory for programs (qemu_root.c).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

/* Linux x86 plugs memory in blocks of 128 MiB (2 GiB on guests with more than 64 GiB). */
#define MEMORY_BLOCK_MIB 128

/* --- vCPUs --- */

/*
 * QEMU lists the possible vCPUs from the highest number down. The free one with the lowest number comes next: guests
 * were seen to stop when numbers were skipped.
 */
static struct json_object *next_free_cpu(struct json_object *list)
{
	for (size_t i = json_array_len(list); i-- > 0;)
		if (!json_get_str(json_array_at(list, i), "qom-path"))
			return json_array_at(list, i);
	return NULL;
}

static uint32_t count_cpus(struct json_object *list)
{
	uint32_t n = 0;

	for (size_t i = 0; i < json_array_len(list); i++)
		n += json_get_str(json_array_at(list, i), "qom-path") != NULL;
	return n;
}

static int copy_member(const char *key, struct json_object *value, void *userdata)
{
	return json_set(userdata, key, json_ref(value));
}

static int plug_cpu(struct qemu_vm *q, struct json_object *list, uint32_t number, struct err *e)
{
	struct json_object *cpu = next_free_cpu(list), *a;
	struct qemu_hotplugged *h;
	const char *type = cpu ? json_get_str(cpu, "type") : NULL;
	char id[16];
	int r;

	if (!type)
		return err_set(e, ERR_LIMIT, ENOSPC, "the VM has no room for another vCPU");
	snprintf(id, sizeof id, "cpu.%u", number);
	/* Known already: QEMU did not answer in time when it was plugged, and lists it as free. */
	h = qemu_plugged_find(q, id);
	if (!h)
		h = qemu_plugged_add(q, QEMU_PLUGGED_VCPU, id);
	if (!h)
		return err_sys(e, ENOMEM, "vCPU");
	a = qemu_device_args(type, id);
	if (json_each(json_get_object(cpu, "props"), copy_member, a) < 0) {
		json_free(a);
		qemu_plugged_forget(q, h);
		return err_sys(e, ENOMEM, "vCPU");
	}
	r = qemu_command(q, "device_add", a, -1, NULL, e);
	/* What may come late must be known, or it would count among those that the VM booted with. */
	if (r < 0 && r != -ETIMEDOUT)
		qemu_plugged_forget(q, h);
	return r;
}

static int unplug_cpu(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	int r;

	/*
	 * Seen with 7.2: QEMU goes on flushing the translation cache of a vCPU that is gone, which is freed memory, and
	 * dies of a corrupt heap when a device is plugged next.
	 */
	if (!q->facts.kvm)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "QEMU cannot take out a vCPU that it emulates in software; this needs KVM");
	r = qemu_unplug(q, h, e);
	if (r == 0)
		qemu_plugged_forget(q, h);
	return r;
}

/* vCPUs that the guest released after we had stopped waiting. */
static void forget_late_cpus(struct qemu_vm *q)
{
	struct qemu_hotplugged *h;

	qmp_dispatch(q->vmm.qmp);
	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (h->kind == QEMU_PLUGGED_VCPU && h->gone)
			qemu_plugged_forget(q, h);
}

int qemu_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	struct err local = { 0 };
	uint32_t have;
	int r;

	e = e ? e : &local;
	if (vcpus > vm->config->max_vcpus)
		return err_set(e, ERR_CONFIG, ERANGE, "%u vCPUs are more than the VM can get (%u, default_maxvcpus)",
			       vcpus, vm->config->max_vcpus);
	if (q->vmm.qmp)
		forget_late_cpus(q);
	for (;;) {
		_cleanup_json_ struct json_object *list = NULL;
		struct qemu_hotplugged *h;
		char id[16];

		r = qemu_command(q, "query-hotpluggable-cpus", NULL, -1, &list, e);
		if (r < 0)
			return r;
		have = count_cpus(list);
		if (have == vcpus)
			break;
		if (have < vcpus) {
			r = plug_cpu(q, list, have, e);
		} else {
			snprintf(id, sizeof id, "cpu.%u", have - 1);
			h = qemu_plugged_find(q, id);
			if (!h) /* a boot vCPU: those stay */
				break;
			r = unplug_cpu(q, h, e);
		}
		if (r < 0) {
			err_wrap(e, "cannot change the VM to %u vCPUs (it has %u)", vcpus, have);
			return r;
		}
	}
	*ret = have;
	return 0;
}

/* --- memory --- */

static int resize_virtio_mem(struct qemu_vm *q, uint64_t extra_mib, struct err *e)
{
	struct json_object *a = json_object_make();

	json_set_str(a, "path", "virtiomem0");
	json_set_str(a, "property", "requested-size");
	json_set_u64(a, "value", extra_mib << 20);
	return qemu_command(q, "qom-set", a, -1, NULL, e);
}

/* QEMU answers once all of it has been taken from the host, which is as slow as at the start. */
static int add_backend(struct qemu_vm *q, struct json_object *a, struct err *e)
{
	unsigned ms = QEMU_COMMAND_MS + (q->vm.config->hv->enable_mem_prealloc ? QEMU_PREALLOC_MS : 0);

	return qmp_vmm_command(&q->vmm, &q->vm, "object-add", a, -1, ms, NULL, e);
}

static int plug_dimm(struct qemu_vm *q, uint64_t mib, struct err *e)
{
	const struct config_hypervisor *hv = q->vm.config->hv;
	struct json_object *a = json_object_make();
	struct qemu_hotplugged *h;
	char id[16];
	int r;

	snprintf(id, sizeof id, "dimm.%u", q->next_dimm);
	h = qemu_plugged_add(q, QEMU_PLUGGED_DIMM, id);
	if (!h) {
		json_free(a);
		return err_sys(e, ENOMEM, "DIMM");
	}
	h->mib = mib;
	snprintf(h->node, sizeof h->node, "hotplugged-%u", q->next_dimm++);
	json_set_str(a, "qom-type", "memory-backend-memfd");
	json_set_str(a, "id", h->node);
	json_set_u64(a, "size", mib << 20);
	json_set_bool(a, "share", true);
	if (hv->enable_hugepages && !str_eq(hv->hugepage_type, "thp"))
		json_set_bool(a, "hugetlb", true);
	if (hv->enable_mem_prealloc)
		json_set_bool(a, "prealloc", true);
	r = add_backend(q, a, e);
	if (r == 0) {
		a = qemu_device_args("pc-dimm", id);
		json_set_str(a, "memdev", h->node);
		r = qemu_command(q, "device_add", a, -1, NULL, e);
		if (r < 0 && r != -ETIMEDOUT)
			qemu_delete(q, "object-del", "id", h->node);
	}
	h->doubtful = r == -ETIMEDOUT;
	if (r == 0)
		q->plugged_mib += mib;
	else if (!h->doubtful)
		qemu_plugged_forget(q, h);
	return r;
}

/* The DIMM has left the VM: so does the host's memory behind it. */
static void drop_dimm(struct qemu_vm *q, struct qemu_hotplugged *h)
{
	qemu_delete(q, "object-del", "id", h->node);
	q->plugged_mib -= h->mib;
	qemu_plugged_forget(q, h);
}

/* Out with a DIMM of which QEMU did not say whether it came. One that came and that the guest keeps counts. */
static int settle_dimm(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	int r = qemu_unplug(q, h, e);

	if (r < 0 && r != -EBUSY)
		return r;
	h->doubtful = false;
	q->plugged_mib += h->mib;
	if (r == 0)
		drop_dimm(q, h);
	return 0;
}

static int settle_dimms(struct qemu_vm *q, struct err *e)
{
	struct qemu_hotplugged *h;
	int r = 0;

	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (r == 0 && h->kind == QEMU_PLUGGED_DIMM && h->doubtful)
			r = settle_dimm(q, h, e);
	return r;
}

/* DIMMs that the guest released after we had stopped waiting. */
static void drop_late_dimms(struct qemu_vm *q)
{
	struct qemu_hotplugged *h;

	qmp_dispatch(q->vmm.qmp);
	/* drop_dimm() may make more of them gone, but frees only its own. */
	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (h->kind == QEMU_PLUGGED_DIMM && h->gone && !h->doubtful)
			drop_dimm(q, h);
}

/* The DIMM plugged in last of those of at most mib; NULL: none. */
static struct qemu_hotplugged *last_dimm(struct qemu_vm *q, uint64_t mib)
{
	struct qemu_hotplugged *h, *last = NULL;

	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (h->kind == QEMU_PLUGGED_DIMM && h->mib <= mib)
			last = h;
	return last;
}

/* Take out DIMMs as long as at least mib MiB stay. */
static int unplug_dimms(struct qemu_vm *q, uint64_t mib, struct err *e)
{
	for (;;) {
		uint64_t now = q->vm.config->memory_mib + q->plugged_mib;
		struct qemu_hotplugged *h = now > mib ? last_dimm(q, now - mib) : NULL;
		int r;

		if (!h)
			return 0;
		r = qemu_unplug(q, h, e);
		if (r < 0) {
			err_wrap(e, "cannot take %llu MiB of memory out of the VM (it has %llu MiB)",
				 (unsigned long long)h->mib, (unsigned long long)now);
			return r;
		}
		drop_dimm(q, h);
	}
}

static int add_dimm(struct qemu_vm *q, uint64_t mib, struct err *e)
{
	const struct vm_config *c = q->vm.config;
	uint64_t now = c->memory_mib + q->plugged_mib, more = mib - now;
	int r;

	more += (MEMORY_BLOCK_MIB - more % MEMORY_BLOCK_MIB) % MEMORY_BLOCK_MIB;
	if (now + more > c->max_memory_mib)
		more = (c->max_memory_mib - now) / MEMORY_BLOCK_MIB * MEMORY_BLOCK_MIB;
	/* A pod's limit ends where it ends: with less than a block left there the VM has all that it can get. */
	if (!more)
		return 0;
	r = plug_dimm(q, more, e);
	if (r < 0)
		err_wrap(e, "cannot add %llu MiB of memory to the VM", (unsigned long long)more);
	return r;
}

int qemu_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	const struct vm_config *c = vm->config;
	struct err local = { 0 };
	uint64_t more;
	int r;

	e = e ? e : &local;
	if (mib > c->memory_mib && mib > c->max_memory_mib)
		return err_set(e, ERR_CONFIG, ERANGE,
			       "%llu MiB are more than the VM can get (%llu MiB, default_maxmemory)",
			       (unsigned long long)mib, (unsigned long long)c->max_memory_mib);
	if (c->hv->enable_virtio_mem && c->max_memory_mib > c->memory_mib) {
		more = mib > c->memory_mib ? mib - c->memory_mib : 0;
		more -= more % 4; /* blocks of virtio-mem: 4 MiB suit every page size of x86 */
		r = resize_virtio_mem(q, more, e);
		if (r < 0) {
			err_wrap(e, "cannot change the VM's memory to %llu MiB", (unsigned long long)mib);
			return r;
		}
		q->plugged_mib = more;
	} else {
		if (q->vmm.qmp)
			drop_late_dimms(q);
		r = settle_dimms(q, e);
		if (r < 0)
			return r;
		if (mib > c->memory_mib + q->plugged_mib)
			r = add_dimm(q, mib, e);
		else
			r = unplug_dimms(q, mib, e);
		if (r < 0)
			return r;
	}
	*ret = c->memory_mib + q->plugged_mib;
	return 0;
}

/* --- disks --- */

/* The node behind the front end "dev-ID", in what query-block answers; NULL: there is none. */
static const char *node_of_disk(struct json_object *list, const char *id)
{
	for (size_t i = 0; i < json_array_len(list); i++) {
		struct json_object *o = json_array_at(list, i);
		const char *at = json_get_str(o, "qdev");
		size_t n;

		/* "/machine/peripheral/dev-ID/virtio-backend", or without the end where it is SCSI */
		at = at ? strstr(at, "/dev-") : NULL;
		n = at ? strcspn(at + 5, "/") : 0;
		if (at && strlen(id) == n && strncmp(at + 5, id, n) == 0)
			return json_get_str(json_get(o, "inserted"), "node-name");
	}
	return NULL;
}

int qemu_resize_block(struct vm *vm, const struct vm_device *disk, struct err *e)
{
	_cleanup_json_ struct json_object *list = NULL;
	struct qemu_vm *q = qemu_vm_of(vm);
	struct json_object *a;
	const char *node;
	uint64_t size;
	int r = file_size(disk->u.block.path, &size);

	if (r < 0)
		return err_sys(e, -r, "size of %s", disk->u.block.path);
	r = qemu_command(q, "query-block", NULL, -1, &list, e);
	if (r < 0)
		return r;
	node = node_of_disk(list, disk->id);
	if (!node)
		return err_set(e, ERR_CONFIG, ENODEV, "the VM has no disk %s", disk->id);
	a = json_object_make();
	json_set_str(a, "node-name", node);
	json_set_u64(a, "size", size);
	return qemu_command(q, "block_resize", a, -1, NULL, e);
}
