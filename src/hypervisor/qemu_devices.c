/* SPDX-License-Identifier: Apache-2.0 */
/* Cold-plugged devices on QEMU's command line: disks, network, shared directories; and who sits in which slot. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/strv.h"
#include "hypervisor/qemu_argv.h"

char *qemu_escape(const char *s)
{
	_cleanup_buf_ struct buf b = { 0 };

	for (; *s; s++)
		if (buf_append(&b, s, 1) < 0 || (*s == ',' && buf_append(&b, ",", 1) < 0))
			return NULL;
	return buf_take(&b);
}

const char *qemu_iommu_option(const struct qemu_plan *plan)
{
	if (!plan->config->hv->enable_iommu_platform)
		return "";
	/* Only modern virtio-pci has the feature, and QEMU insists on being told so. */
	return plan->layout.machine == QEMU_MICROVM ? ",iommu_platform=on" : ",disable-legacy=on,iommu_platform=on";
}

int qemu_scsi_take(struct qemu_layout *l)
{
	for (unsigned id = 0; id < 256; id++)
		if (!(l->scsi_ids[id / 32] & (UINT32_C(1) << (id % 32)))) {
			l->scsi_ids[id / 32] |= UINT32_C(1) << (id % 32);
			return (int)id;
		}
	return -ENOSPC;
}

int qemu_place(struct qemu_layout *l, char *ret, size_t size, int *slot, struct err *e)
{
	if (l->machine == QEMU_MICROVM) {
		/*
		 * virtio-mmio transports are filled from the last one downwards by QEMU when it may choose; chosen
		 * here in ascending order, so that the first disk is vda.
		 */
		*slot = slot_take(&l->root_slots, 0);
		if (*slot < 0 || *slot >= 8)
			return err_set(e, ERR_LIMIT, ENOSPC,
				       "microvm has 8 devices at most: use machine_type = \"q35\"");
		snprintf(ret, size, "bus=virtio-mmio-bus.%d", *slot);
		return 0;
	}
	*slot = slot_take(&l->root_slots, 1);
	if (*slot < 0)
		return err_set(e, ERR_LIMIT, ENOSPC, "all 30 PCI slots of the VM are taken");
	snprintf(ret, size, "bus=pcie.0,addr=0x%x", *slot);
	return 0;
}

static const char *transport(const struct qemu_layout *l)
{
	return l->machine == QEMU_MICROVM ? "device" : "pci";
}

bool qemu_block_is_scsi(const struct config_hypervisor *hv, enum qemu_machine machine)
{
	return machine != QEMU_MICROVM && str_eq(hv->block_device_driver, "virtio-scsi");
}

void qemu_block_options(const struct config_hypervisor *hv, const char *path, struct qemu_block_options *ret)
{
	struct stat st;

	*ret = (struct qemu_block_options){
		.driver = stat(path, &st) == 0 && S_ISBLK(st.st_mode) ? "host_device" : "file",
		.aio = str_empty(hv->block_device_aio) ? "threads" : hv->block_device_aio,
		.set_cache = hv->block_device_cache_set,
		.direct = hv->block_device_cache_set && hv->block_device_cache_direct,
		.no_flush = hv->block_device_cache_set && hv->block_device_cache_noflush,
	};
	/* Linux AIO works with O_DIRECT only; QEMU refuses the combination. */
	if (str_eq(ret->aio, "native"))
		ret->set_cache = ret->direct = true;
}

/* -blockdev: the host's side of a disk. */
static int add_block_node(struct qemu_plan *plan, const char *node, const char *path, bool readonly, bool discard)
{
	_cleanup_free_ char *file = qemu_escape(path);
	struct qemu_block_options o;
	int r = file ? 0 : -ENOMEM;

	qemu_block_options(plan->config->hv, path, &o);
	option_add(&plan->devices, &r, "-blockdev", "driver=%s,node-name=%s,filename=%s,aio=%s,read-only=%s%s%s%s",
		   o.driver, node, file, o.aio, readonly ? "on" : "off", discard ? ",discard=unmap" : "",
		   !o.set_cache ? ""
		   : o.direct   ? ",cache.direct=on"
				: ",cache.direct=off",
		   !o.set_cache ? ""
		   : o.no_flush ? ",cache.no-flush=on"
				: ",cache.no-flush=off");
	return r;
}

static int check_block(const struct config_hypervisor *hv, const struct vm_device *d, struct err *e)
{
	const uint32_t sizes[] = { hv->block_device_logical_sector_size, hv->block_device_physical_sector_size };

	for (size_t i = 0; i < 2; i++)
		if (sizes[i] && (sizes[i] < 512 || sizes[i] > 65536 || (sizes[i] & (sizes[i] - 1))))
			return err_set(e, ERR_CONFIG, EINVAL,
				       "block_device_%s_sector_size = %u: use a power of two from 512 to 65536",
				       i ? "physical" : "logical", sizes[i]);
	if (!str_empty(hv->block_device_aio) && !str_eq(hv->block_device_aio, "threads") &&
	    !str_eq(hv->block_device_aio, "native") && !str_eq(hv->block_device_aio, "io_uring"))
		return err_set(e, ERR_CONFIG, EINVAL, "block_device_aio = \"%s\": use threads, native or io_uring",
			       hv->block_device_aio);
	return device_check_serial(d, e);
}

static void sector_options(const struct config_hypervisor *hv, char *ret, size_t size)
{
	int n = 0;

	ret[0] = 0;
	if (hv->block_device_logical_sector_size)
		n = snprintf(ret, size, ",logical_block_size=%u", hv->block_device_logical_sector_size);
	if (hv->block_device_physical_sector_size)
		snprintf(ret + n, size - (size_t)n, ",physical_block_size=%u", hv->block_device_physical_sector_size);
}

static int add_scsi_disk(struct qemu_plan *plan, struct vm_device *d, const char *node, struct err *e)
{
	const char *serial = d->u.block.serial;
	char sectors[80];
	int r = 0, id = qemu_scsi_take(&plan->layout);

	if (id < 0)
		return err_set(e, ERR_LIMIT, ENOSPC, "all 256 SCSI targets of the VM are taken");
	sector_options(plan->config->hv, sectors, sizeof sectors);
	option_add(&plan->devices, &r, "-device",
		   "scsi-hd,id=dev-%s,drive=%s,bus=scsi0.0,channel=0,scsi-id=%d,lun=0%s%s,share-rw=on%s", d->id, node,
		   id, str_empty(serial) ? "" : ",serial=", str_empty(serial) ? "" : serial, sectors);
	d->address_kind = VM_ADDRESS_SCSI;
	snprintf(d->address, sizeof d->address, "%d:0", id);
	return r < 0 ? err_sys(e, -r, "disk %s", d->id) : 0;
}

/* The iothread that serves the next virtio-blk device, as ",iothread=…" or "". */
static void iothread_option(struct qemu_plan *plan, char *ret, size_t size)
{
	const struct config_hypervisor *hv = plan->config->hv;

	ret[0] = 0;
	if (hv->indep_iothreads)
		snprintf(ret, size, ",iothread=indep-iothread-%u", plan->layout.next_iothread++ % hv->indep_iothreads);
	else if (hv->enable_iothreads)
		snprintf(ret, size, ",iothread=iothread0");
}

static int add_virtio_disk(struct qemu_plan *plan, struct vm_device *d, const char *node, struct err *e)
{
	const struct config_hypervisor *hv = plan->config->hv;
	const char *serial = d->u.block.serial;
	char sectors[80], iothread[48], bus[QEMU_PLACE_MAX], queues[64] = "";
	int r, slot;

	r = qemu_place(&plan->layout, bus, sizeof bus, &slot, e);
	if (r < 0) {
		err_wrap(e, "disk %s", d->id);
		return r;
	}
	sector_options(hv, sectors, sizeof sectors);
	iothread_option(plan, iothread, sizeof iothread);
	if (hv->num_queues > 1)
		snprintf(queues, sizeof queues, ",num-queues=%u",
			 (unsigned)(hv->num_queues > 64 ? 64 : hv->num_queues));
	if (hv->queue_size)
		snprintf(queues + strlen(queues), sizeof queues - strlen(queues), ",queue-size=%u", hv->queue_size);
	option_add(&plan->devices, &r, "-device",
		   "virtio-blk-%s,id=dev-%s,drive=%s,%s%s%s,config-wce=off,share-rw=on%s%s%s%s",
		   transport(&plan->layout), d->id, node, bus,
		   str_empty(serial) ? "" : ",serial=", str_empty(serial) ? "" : serial, queues, sectors, iothread,
		   qemu_iommu_option(plan));
	if (plan->layout.machine == QEMU_MICROVM) {
		d->address_kind = VM_ADDRESS_DEVICE;
		snprintf(d->address, sizeof d->address, "/dev/vd%c", 'a' + (int)plan->layout.n_blk);
	} else {
		d->address_kind = VM_ADDRESS_PCI;
		snprintf(d->address, sizeof d->address, "%02x", slot);
	}
	plan->layout.n_blk++;
	return r < 0 ? err_sys(e, -r, "disk %s", d->id) : 0;
}

static int plan_block(struct qemu_plan *plan, struct vm_device *d, struct err *e)
{
	char node[24];
	int r = check_block(plan->config->hv, d, e);

	if (r < 0)
		return r;
	snprintf(node, sizeof node, "disk%u", plan->layout.n_disks++);
	r = add_block_node(plan, node, d->u.block.path, d->u.block.readonly, d->u.block.discard);
	if (r < 0)
		return err_sys(e, -r, "disk %s", d->id);
	/* The guest image stays on virtio-blk: its root= names /dev/vda. */
	return qemu_block_is_scsi(plan->config->hv, plan->layout.machine) && !str_eq(d->id, "image")
		       ? add_scsi_disk(plan, d, node, e)
		       : add_virtio_disk(plan, d, node, e);
}

size_t qemu_net_queues(const struct config_hypervisor *hv, const struct vm_net *net)
{
	if (!str_eq(net->mode, "tap"))
		return 1;
	if (net->n_tap_fds)
		return net->n_tap_fds;
	return hv->network_queues > 1 ? (hv->network_queues > 256 ? 256 : hv->network_queues) : 1;
}

/* "tcp:HOSTIP:HOSTPORT:GUESTPORT" → QEMU's hostfwd. */
static int add_hostfwd(struct buf *b, const char *publish, struct err *e)
{
	_cleanup_free_ char *copy = strdup(publish);
	char *guest = copy ? strrchr(copy, ':') : NULL, *host, *ip;
	uint64_t port;

	if (!copy)
		return err_sys(e, ENOMEM, "published port");
	if (!guest)
		goto wrong;
	*guest++ = 0;
	host = strrchr(copy, ':');
	if (!host)
		goto wrong;
	*host++ = 0;
	ip = strchr(copy, ':');
	if (!ip || str_to_u64(host, 10, &port) < 0 || port > 65535 || str_to_u64(guest, 10, &port) < 0 || !port ||
	    port > 65535)
		goto wrong;
	*ip++ = 0;
	if ((!str_eq(copy, "tcp") && !str_eq(copy, "udp")) || strspn(ip, "0123456789.") != strlen(ip))
		goto wrong;
	return buf_printf(b, ",hostfwd=%s:%s:%s-:%s", copy, ip, host, guest) < 0 ? err_sys(e, ENOMEM, "published port")
										 : 0;
wrong:
	return err_set(e, ERR_CONFIG, EINVAL,
		       "published port \"%s\": QEMU's user network takes tcp|udp:IPV4:HOSTPORT:GUESTPORT", publish);
}

static int tap_netdev(const struct qemu_plan *plan, const struct vm_net *net, size_t queues, struct buf *b)
{
	bool vhost = plan->facts->vhost_net && !plan->config->hv->disable_vhost_net;
	int r = buf_printf(b, ",vhost=%s", vhost ? "on" : "off");

	if (!net->n_tap_fds) {
		r = r < 0 ? r : buf_printf(b, ",ifname=%s,script=no,downscript=no", net->tap);
		return r == 0 && queues > 1 ? buf_printf(b, ",queues=%zu", queues) : r;
	}
	for (size_t i = 0; i < net->n_tap_fds && r == 0; i++)
		r = buf_printf(b, "%s%d", i ? ":" : queues > 1 ? ",fds=" : ",fd=", net->tap_fds[i]);
	return r;
}

static int plan_net(struct qemu_plan *plan, struct vm_device *d, struct err *e)
{
	struct vm_net *net = &d->u.net;
	size_t queues = qemu_net_queues(plan->config->hv, net);
	_cleanup_buf_ struct buf b = { 0 };
	_cleanup_free_ char *socket = NULL;
	char bus[QEMU_PLACE_MAX], mq[48] = "", mtu[32] = "";
	int r, slot;

	if (str_eq(net->mode, "tap")) {
		if (!net->n_tap_fds && (str_empty(net->tap) || strpbrk(net->tap, ", ")))
			return err_set(e, ERR_CONFIG, EINVAL, "network device %s: no tap interface is named", d->id);
		r = buf_printf(&b, "tap,id=net-%s", d->id);
		r = r < 0 ? r : tap_netdev(plan, net, queues, &b);
	} else if (str_eq(net->mode, "user")) {
		r = buf_printf(&b, "user,id=net-%s", d->id);
		for (size_t i = 0; i < net->publish.len && r == 0; i++) {
			r = add_hostfwd(&b, net->publish.v[i], e);
			if (r < 0)
				return r;
		}
	} else if (str_eq(net->mode, "passt")) {
		socket = qemu_escape(net->socket ? net->socket : "");
		r = socket ? buf_printf(&b, "stream,id=net-%s,server=off,addr.type=unix,addr.path=%s", d->id, socket)
			   : -ENOMEM;
	} else {
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: QEMU knows no mode \"%s\"", d->id,
			       net->mode ? net->mode : "");
	}
	net_choose_mac(plan->config, d->id, net);
	option_add(&plan->devices, &r, "-netdev", "%s", b.data ? b.data : "");
	if (r < 0)
		return err_sys(e, -r, "network device %s", d->id);
	r = qemu_place(&plan->layout, bus, sizeof bus, &slot, e);
	if (r < 0) {
		err_wrap(e, "network device %s", d->id);
		return r;
	}
	if (queues > 1 && plan->layout.machine == QEMU_MICROVM)
		snprintf(mq, sizeof mq, ",mq=on");
	else if (queues > 1)
		snprintf(mq, sizeof mq, ",mq=on,vectors=%zu", 2 * queues + 2);
	if (net->mtu)
		snprintf(mtu, sizeof mtu, ",host_mtu=%u", net->mtu);
	/* romfile=: no network boot, and the ROM file belongs to a package that may be absent. */
	option_add(&plan->devices, &r, "-device", "virtio-net-%s,id=dev-%s,netdev=net-%s,mac=%s,%s%s%s%s%s",
		   transport(&plan->layout), d->id, d->id, net->mac, bus, mq, mtu,
		   plan->layout.machine == QEMU_MICROVM ? "" : ",romfile=", qemu_iommu_option(plan));
	if (plan->layout.machine != QEMU_MICROVM) {
		d->address_kind = VM_ADDRESS_PCI;
		snprintf(d->address, sizeof d->address, "%02x", slot);
	}
	return r < 0 ? err_sys(e, -r, "network device %s", d->id) : 0;
}

static int plan_fs(struct qemu_plan *plan, struct vm_device *d, struct err *e)
{
	const char *source = d->kind == VM_DEVICE_9P ? d->u.fs.path : d->u.fs.socket;
	_cleanup_free_ char *path = qemu_escape(source ? source : "");
	uint32_t queue = d->u.fs.queue_size ? d->u.fs.queue_size : plan->config->hv->virtio_fs_queue_size;
	char bus[QEMU_PLACE_MAX];
	int r = device_check_tag(d, e), slot;

	if (r < 0)
		return r;
	r = qemu_place(&plan->layout, bus, sizeof bus, &slot, e);
	if (r < 0) {
		err_wrap(e, "shared directory %s", d->id);
		return r;
	}
	r = path ? 0 : -ENOMEM;
	if (d->kind == VM_DEVICE_9P) {
		option_add(&plan->devices, &r, "-fsdev", "local,id=fs-%s,path=%s,security_model=none,multidevs=remap%s",
			   d->id, path, d->u.fs.readonly ? ",readonly=on" : "");
		option_add(&plan->devices, &r, "-device", "virtio-9p-%s,id=dev-%s,fsdev=fs-%s,mount_tag=%s,%s",
			   transport(&plan->layout), d->id, d->id, d->u.fs.tag, bus);
	} else {
		option_add(&plan->devices, &r, "-chardev", "socket,id=fs-%s,path=%s", d->id, path);
		option_add(&plan->devices, &r, "-device",
			   "vhost-user-fs-%s,id=dev-%s,chardev=fs-%s,tag=%s,%s,queue-size=%u", transport(&plan->layout),
			   d->id, d->id, d->u.fs.tag, bus, queue ? queue : 1024);
	}
	if (plan->layout.machine != QEMU_MICROVM) {
		d->address_kind = VM_ADDRESS_PCI;
		snprintf(d->address, sizeof d->address, "%02x", slot);
	}
	return r < 0 ? err_sys(e, -r, "shared directory %s", d->id) : 0;
}

int qemu_plan_device(struct qemu_plan *plan, struct vm_device *device, struct err *e)
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
	case VM_DEVICE_9P:
		return plan_fs(plan, device, e);
	case VM_DEVICE_VFIO:
		break;
	}
	return err_set(e, ERR_CONFIG, ENOTSUP, "device %s: QEMU's driver knows no such kind", device->id);
}
