/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Changes of a running VM over QMP: disks and network devices in and out, more or fewer vCPUs, more memory.
 *
 * Each plug is a back end (blockdev-add, netdev_add, object-add) and a front end (device_add); when the second fails
 * the first is undone. PCI devices go behind the bridges made at start, so that their path "02/01" is known to the
 * agent; SCSI disks go to the controller. An unplug is a request to the guest: DEVICE_DELETED tells that it agreed. If
 * it does not answer in time the device stays known and usable, and removing it may be tried again.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "hypervisor/qemu_vm.h"

/* Linux x86 plugs memory in blocks of 128 MiB (2 GiB on guests with more than 64 GiB). */
#define MEMORY_BLOCK_MIB 128

static struct qemu_hotplugged *find(struct qemu_vm *q, const char *id)
{
	struct qemu_hotplugged *h;

	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		if (str_eq(h->id, id))
			return h;
	return NULL;
}

void qemu_hotplug_event(struct qemu_vm *q, const char *device_id)
{
	const char *id = str_after(device_id, "dev-");
	struct qemu_hotplugged *h = find(q, id ? id : device_id);

	if (h)
		h->gone = true;
}

static void forget(struct qemu_vm *q, struct qemu_hotplugged *h)
{
	if (h->bridge >= 0)
		q->plan.layout.bridge_slots[h->bridge] &= ~(UINT32_C(1) << h->slot);
	if (h->scsi_id >= 0)
		q->plan.layout.scsi_ids[h->scsi_id / 32] &= ~(UINT32_C(1) << (h->scsi_id % 32));
	list_remove(&h->link);
	free(h);
}

void qemu_hotplug_fini(struct qemu_vm *q)
{
	struct qemu_hotplugged *h;

	if (!q->hotplugged.next)
		return;
	list_foreach (h, &q->hotplugged, struct qemu_hotplugged, link)
		forget(q, h);
}

static struct qemu_hotplugged *remember(struct qemu_vm *q, const char *id)
{
	struct qemu_hotplugged *h = calloc(1, sizeof *h);

	if (!h)
		return NULL;
	snprintf(h->id, sizeof h->id, "%s", id);
	h->bridge = h->slot = h->scsi_id = -1;
	list_append(&q->hotplugged, &h->link);
	return h;
}

/* A free slot behind some bridge. */
static int take_bridge_slot(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	struct qemu_layout *l = &q->plan.layout;

	for (unsigned i = 0; i < l->n_bridges; i++) {
		h->slot = qemu_slot_take(&l->bridge_slots[i], 1);
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

static struct json_object *device_args(const char *driver, const char *id)
{
	struct json_object *a = json_object_make();
	char name[48];

	snprintf(name, sizeof name, "dev-%s", id);
	json_set_str(a, "driver", driver);
	json_set_str(a, "id", name);
	return a;
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

static void del_by(struct qemu_vm *q, const char *command, const char *key, const char *name)
{
	struct json_object *a = json_object_make();
	struct err e = { 0 };

	json_set_str(a, key, name);
	if (qemu_command(q, command, a, -1, NULL, &e) < 0)
		log_debug("%s", e.text);
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
	a = device_args(scsi ? "scsi-hd" : "virtio-blk-pci", d->id);
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
		del_by(q, "blockdev-del", "node-name", h->node);
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
	qemu_net_choose_mac(q->vm.config, d->id, &d->u.net);
	snprintf(netdev, sizeof netdev, "net-%s", d->id);
	r = add_netdev(q, &d->u.net, netdev, queues, e);
	if (r < 0)
		return r;
	a = device_args("virtio-net-pci", d->id);
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
		del_by(q, "netdev_del", "id", netdev);
		return r;
	}
	give_pci_address(d, h);
	return 0;
}

int qemu_hotplug_add(struct qemu_vm *q, struct vm_device *d, struct err *e)
{
	struct qemu_hotplugged *h;
	int r;

	if (str_empty(d->id) || strlen(d->id) > 32 || find(q, d->id))
		return err_set(e, ERR_CONFIG, EEXIST, "device \"%s\": the id is unsuitable or in use",
			       d->id ? d->id : "");
	if (d->kind != VM_DEVICE_BLOCK && d->kind != VM_DEVICE_NET)
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "device %s: shared directories cannot be added to a running VM", d->id);
	h = remember(q, d->id);
	if (!h)
		return err_sys(e, ENOMEM, "device %s", d->id);
	h->kind = d->kind;
	r = d->kind == VM_DEVICE_BLOCK ? add_disk(q, d, h, e) : add_nic(q, d, h, e);
	if (r < 0) {
		forget(q, h);
		return err_wrap(e, "cannot plug in device %s", d->id);
	}
	return 0;
}

static bool is_gone(void *userdata)
{
	struct qemu_hotplugged *h = userdata;

	return h->gone;
}

/* device_del and wait until the guest let go. */
static int unplug(struct qemu_vm *q, struct qemu_hotplugged *h, struct err *e)
{
	struct json_object *a = json_object_make();
	struct err refused = { 0 };
	char name[48];
	int r;

	snprintf(name, sizeof name, "dev-%s", h->id);
	json_set_str(a, "id", name);
	r = qemu_command(q, "device_del", a, -1, NULL, &refused);
	/* "is already in the process of unplug": a second try only waits. -ENODEV: it left between the two tries. */
	if (r == -ENODEV)
		return 0;
	if (r < 0 && !strstr(refused.text, "unplug")) {
		*e = refused;
		return r;
	}
	r = qmp_wait(q->qmp, is_gone, h, clock_ms() + QEMU_UNPLUG_MS);
	if (r == -ETIMEDOUT)
		return err_set(e, ERR_GUEST, EBUSY, "the guest did not release it within %d s", QEMU_UNPLUG_MS / 1000);
	if (r < 0 && process_wait(q->process, clock_ms() + 500) == 0)
		return vm_explain_exit(&q->vm, e);
	return r < 0 ? err_sys(e, -r, "monitor") : 0;
}

int qemu_hotplug_remove(struct qemu_vm *q, const char *id, struct err *e)
{
	struct qemu_hotplugged *h = find(q, id);
	struct err local = { 0 };
	char netdev[48];
	int r;

	e = e ? e : &local;
	if (!h)
		return err_set(e, ERR_CONFIG, ENODEV, "device %s was not plugged into the running VM", id);
	r = unplug(q, h, e);
	if (r < 0)
		return err_wrap(e, "cannot unplug device %s", id);
	if (h->kind == VM_DEVICE_BLOCK) {
		del_by(q, "blockdev-del", "node-name", h->node);
	} else {
		snprintf(netdev, sizeof netdev, "net-%s", h->id);
		del_by(q, "netdev_del", "id", netdev);
	}
	forget(q, h);
	return 0;
}

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
	snprintf(id, sizeof id, "cpu-%u", number);
	h = remember(q, id);
	if (!h)
		return err_sys(e, ENOMEM, "vCPU");
	a = device_args(type, id);
	if (json_each(json_get_object(cpu, "props"), copy_member, a) < 0) {
		json_free(a);
		forget(q, h);
		return err_sys(e, ENOMEM, "vCPU");
	}
	r = qemu_command(q, "device_add", a, -1, NULL, e);
	if (r < 0)
		forget(q, h);
	return r;
}

int qemu_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	uint32_t have;
	int r;

	if (vcpus > vm->config->max_vcpus)
		return err_set(e, ERR_CONFIG, ERANGE, "%u vCPUs are more than the VM can get (%u, default_maxvcpus)",
			       vcpus, vm->config->max_vcpus);
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
			snprintf(id, sizeof id, "cpu-%u", have - 1);
			h = find(q, id);
			if (!h) /* a boot vCPU: those stay */
				break;
			r = unplug(q, h, e);
			if (r == 0)
				forget(q, h);
		}
		if (r < 0)
			return err_wrap(e, "cannot change the VM to %u vCPUs (it has %u)", vcpus, have);
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

static int plug_dimm(struct qemu_vm *q, uint64_t mib, struct err *e)
{
	const struct config_hypervisor *hv = q->vm.config->hv;
	struct json_object *a = json_object_make();
	unsigned n = q->next_dimm++;
	char backend[32], name[32];
	int r;

	snprintf(backend, sizeof backend, "hotplugged-%u", n);
	snprintf(name, sizeof name, "dimm-%u", n);
	json_set_str(a, "qom-type", "memory-backend-memfd");
	json_set_str(a, "id", backend);
	json_set_u64(a, "size", mib << 20);
	json_set_bool(a, "share", true);
	if (hv->enable_hugepages && !str_eq(hv->hugepage_type, "thp"))
		json_set_bool(a, "hugetlb", true);
	if (hv->enable_mem_prealloc)
		json_set_bool(a, "prealloc", true);
	r = qemu_command(q, "object-add", a, -1, NULL, e);
	if (r < 0)
		return r;
	a = device_args("pc-dimm", name);
	json_set_str(a, "memdev", backend);
	r = qemu_command(q, "device_add", a, -1, NULL, e);
	if (r < 0)
		del_by(q, "object-del", "id", backend);
	return r;
}

int qemu_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	const struct vm_config *c = vm->config;
	uint64_t now = c->memory_mib + q->plugged_mib, more;
	bool virtio_mem = c->hv->enable_virtio_mem && c->max_memory_mib > c->memory_mib;
	int r;

	if (mib > c->memory_mib && mib > c->max_memory_mib)
		return err_set(e, ERR_CONFIG, ERANGE,
			       "%llu MiB are more than the VM can get (%llu MiB, default_maxmemory)",
			       (unsigned long long)mib, (unsigned long long)c->max_memory_mib);
	if (virtio_mem) {
		more = mib > c->memory_mib ? mib - c->memory_mib : 0;
		more -= more % 4; /* blocks of virtio-mem: 4 MiB suit every page size of x86 */
		r = resize_virtio_mem(q, more, e);
		if (r < 0)
			return err_wrap(e, "cannot change the VM's memory to %llu MiB", (unsigned long long)mib);
		q->plugged_mib = more;
	} else if (mib > now) {
		more = mib - now;
		more += (MEMORY_BLOCK_MIB - more % MEMORY_BLOCK_MIB) % MEMORY_BLOCK_MIB;
		if (now + more > c->max_memory_mib)
			more = (c->max_memory_mib - now) / MEMORY_BLOCK_MIB * MEMORY_BLOCK_MIB;
		if (!more)
			return err_set(e, ERR_LIMIT, ENOSPC,
				       "memory is plugged in steps of %d MiB, and %llu MiB of %llu are left",
				       MEMORY_BLOCK_MIB, (unsigned long long)(c->max_memory_mib - now),
				       (unsigned long long)c->max_memory_mib);
		r = plug_dimm(q, more, e);
		if (r < 0)
			return err_wrap(e, "cannot add %llu MiB of memory to the VM", (unsigned long long)more);
		q->plugged_mib += more;
	}
	/* DIMMs are not taken out again: a guest can hardly ever free a whole one. */
	*ret = c->memory_mib + q->plugged_mib;
	return 0;
}
