/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices are added in a fixed order, because it decides what the guest calls them and where it finds them: balloon,
 * drives (the root first), network interfaces, pmem, vsock, entropy, hot-pluggable memory.
 */
#include "vmm/build.h"

#include <errno.h>
#include <stdio.h>

#define MIB (1024 * 1024ull)

static struct device_id device_id(const char *kind, const char *id)
{
	struct device_id ret;

	snprintf(ret.text, sizeof ret.text, "%s-%s", kind, id);
	return ret;
}

struct device_id drive_device_id(const char *id)
{
	return device_id("drive", id);
}

struct device_id net_device_id(const char *id)
{
	return device_id("net", id);
}

struct device_id pmem_device_id(const char *id)
{
	return device_id("pmem", id);
}

static struct vmm_bucket bucket(const struct bucket *b, bool has)
{
	if (!has || !bucket_limits(b))
		return (struct vmm_bucket){ 0 };
	return (struct vmm_bucket){ .size = b->size, .burst = b->one_time_burst, .refill_ms = b->refill_time };
}

struct vmm_rate build_rate(const struct limiter *l)
{
	return (struct vmm_rate){
		.bytes = bucket(&l->bandwidth, l->has_bandwidth),
		.ops = bucket(&l->ops, l->has_ops),
	};
}

int build_drive(struct vmm *vm, const struct drive *d, struct err *e)
{
	const struct vmm_block block = {
		.path = d->path_on_host,
		.fd = -1,
		.readonly = d->is_read_only,
		.flush = d->cache_type == CACHE_WRITEBACK,
		.io_uring = d->io_engine == IO_ENGINE_ASYNC,
		.rate = build_rate(&d->rate_limiter),
	};

	return vmm_add_block(vm, drive_device_id(d->drive_id).text, &block, e);
}

int build_network_interface(struct vmm *vm, const struct network_interface *n, struct err *e)
{
	const struct vmm_net net = {
		.tap = n->host_dev_name,
		.mac = n->guest_mac,
		.mtu = (uint16_t)n->mtu,
		.rx = build_rate(&n->rx_rate_limiter),
		.tx = build_rate(&n->tx_rate_limiter),
	};

	return vmm_add_net(vm, net_device_id(n->iface_id).text, &net, e);
}

int build_pmem(struct vmm *vm, const struct pmem *p, struct err *e)
{
	const struct vmm_pmem pmem = {
		.path = p->path_on_host,
		.readonly = p->read_only,
		.rate = build_rate(&p->rate_limiter),
	};

	return vmm_add_pmem(vm, pmem_device_id(p->id).text, &pmem, e);
}

static int add_balloon(struct vmm *vm, const struct balloon *b, struct err *e)
{
	const struct vmm_balloon balloon = {
		.bytes = b->amount_mib * MIB,
		.deflate_on_oom = b->deflate_on_oom,
		.free_page_reporting = b->free_page_reporting,
		.stats_interval_s = (uint32_t)b->stats_polling_interval_s,
	};

	return vmm_add_balloon(vm, BUILD_BALLOON_ID, &balloon, e);
}

static int add_vsock(struct config *c, struct vmm *vm, struct err *e)
{
	const struct vmm_vsock vsock = {
		.cid = (uint32_t)c->doc.vsock.guest_cid,
		.uds_path = c->doc.vsock.uds_path,
	};

	config_release_vsock(c);
	return vmm_add_vsock(vm, BUILD_VSOCK_ID, &vsock, e);
}

static int add_entropy(struct vmm *vm, const struct entropy *n, struct err *e)
{
	const struct vmm_rate rate = build_rate(&n->rate_limiter);

	return vmm_add_rng(vm, BUILD_RNG_ID, &rate, e);
}

static int add_memory(struct vmm *vm, const struct memory_hotplug *m, struct err *e)
{
	const struct vmm_memory memory = { .max = m->total_size_mib * MIB, .block = m->block_size_mib * MIB };

	return vmm_add_memory(vm, BUILD_MEMORY_ID, &memory, e);
}

static int add_devices(struct config *c, struct vmm *vm, struct err *e)
{
	const struct document *d = &c->doc;
	int r = d->has_balloon ? add_balloon(vm, &d->balloon, e) : 0;

	for (size_t i = 0; i < d->drives.len && r == 0; i++)
		r = build_drive(vm, body_list_at(&drive_table, &d->drives, i), e);
	for (size_t i = 0; i < d->network_interfaces.len && r == 0; i++)
		r = build_network_interface(vm, body_list_at(&network_interface_table, &d->network_interfaces, i), e);
	for (size_t i = 0; i < d->pmem.len && r == 0; i++)
		r = build_pmem(vm, body_list_at(&pmem_table, &d->pmem, i), e);
	if (r == 0 && d->has_vsock)
		r = add_vsock(c, vm, e);
	if (r == 0 && d->has_entropy)
		r = add_entropy(vm, &d->entropy, e);
	if (r == 0 && d->has_memory_hotplug)
		r = add_memory(vm, &d->memory_hotplug, e);
	return r;
}

int build_vm(struct config *c, const struct build_options *o, struct vmm **ret, struct err *e)
{
	_cleanup_buf_ struct buf cmdline = { 0 };
	const struct machine *m = &c->doc.machine_config;
	struct vmm_config config = {
		.name = o->name,
		.shape = o->pci ? VMM_SHAPE_CLOUD : VMM_SHAPE_MICRO,
		.vcpus = (uint32_t)m->vcpu_count,
		.threads_per_core = m->smt && m->vcpu_count > 1 ? 2 : 1,
		.hugepages = m->huge_pages == HUGE_PAGES_2M,
		.large_pages = m->huge_pages == HUGE_PAGES_TRANSPARENT,
		.track_dirty = m->track_dirty_pages,
		.kernel = c->doc.boot_source.kernel_image_path,
		.initrd = c->doc.boot_source.initrd_path,
		.serial_in = o->serial_in,
		.serial_out = o->serial_out,
		.seccomp = o->seccomp,
		.boot_timer = o->boot_timer,
		.kernel_constant = o->kernel_constant,
		.split_irqchip = o->split_irqchip,
	};
	struct vmm *vm;
	int r;

	if (!c->doc.has_boot_source)
		return err_set(e, ERR_CONFIG, EINVAL, "Cannot start microvm without kernel configuration.");
	if (__builtin_mul_overflow(m->mem_size_mib, MIB, &config.memory))
		return err_set(e, ERR_CONFIG, E2BIG, "Invalid Memory Configuration: mem_size_mib is too large");
	r = config_cmdline(c, o->pci, &cmdline, e);
	if (r < 0)
		return r;
	config.cmdline = cmdline.data;
	r = vmm_new(&config, &vm, e);
	if (r == 0)
		r = add_devices(c, vm, e);
	else
		return r;
	if (r < 0)
		vmm_free(vm);
	else
		*ret = vm;
	return r;
}
