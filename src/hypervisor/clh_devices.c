/* SPDX-License-Identifier: Apache-2.0 */
/* Disks, network cards, shared directories and passed-through devices, as Cloud Hypervisor wants them described. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hypervisor/clh_config.h"

#define REFILL_MS 1000 /* of a token bucket; Kata's choice, too */

void clh_device_id(const char *id, char *ret, size_t size)
{
	snprintf(ret, size, "dev-%s", id);
}

static struct json_object *device(const struct vm_device *d)
{
	struct json_object *o = json_object_make();
	char id[48];

	clh_device_id(d->id, id, sizeof id);
	json_set_str(o, "id", id);
	return o;
}

/* rate: tokens in a second; 0: no limit. */
static void set_bucket(struct json_object *limiter, const char *key, uint64_t rate, uint64_t burst)
{
	struct json_object *b;

	if (!rate)
		return;
	b = json_object_make();
	json_set_u64(b, "size", rate);
	if (burst)
		json_set_u64(b, "one_time_burst", burst);
	json_set_u64(b, "refill_time", REFILL_MS);
	json_set(limiter, key, b);
}

/* Kata's keys count bits, Cloud Hypervisor bytes. */
static void set_limiter(struct json_object *o, uint64_t bits, uint64_t burst_bits, uint64_t ops, uint64_t burst_ops)
{
	struct json_object *limiter;

	if (!bits && !ops)
		return;
	limiter = json_object_make();
	set_bucket(limiter, "bandwidth", bits ? bits / 8 + !(bits / 8) : 0, burst_bits / 8);
	set_bucket(limiter, "ops", ops, burst_ops);
	json_set(o, "rate_limiter_config", limiter);
}

static void set_disk_limiter(struct json_object *o, const struct config_hypervisor *hv)
{
	set_limiter(o, hv->disk_rate_limiter_bw_max_rate, hv->disk_rate_limiter_bw_one_time_burst,
		    hv->disk_rate_limiter_ops_max_rate, hv->disk_rate_limiter_ops_one_time_burst);
}

/* It serves no more queues than there are vCPUs at boot. */
static uint64_t at_most_vcpus(uint64_t queues, const struct vm_config *c)
{
	return queues < 1 ? 1 : queues > c->vcpus ? c->vcpus : queues;
}

/* What all disks have, the guest image among them. */
static void set_disk(struct json_object *o, const struct vm_config *c, const char *path, bool readonly, bool iommu)
{
	const struct config_hypervisor *hv = c->hv;

	json_set_str(o, "path", path);
	json_set_bool(o, "readonly", readonly);
	json_set_bool(o, "direct", hv->block_device_cache_set && hv->block_device_cache_direct);
	json_set_u64(o, "num_queues", at_most_vcpus(hv->num_queues, c));
	if (hv->queue_size)
		json_set_u64(o, "queue_size", hv->queue_size);
	/* Never guessed from the content, which the guest writes. */
	json_set_str(o, "image_type", "Raw");
	if (iommu)
		json_set_bool(o, "iommu", true);
	set_disk_limiter(o, hv);
}

struct json_object *clh_disk(const struct vm_config *c, const struct vm_device *d, unsigned slot, bool iommu)
{
	struct json_object *o = device(d);

	set_disk(o, c, d->u.block.path, d->u.block.readonly, iommu);
	json_set_bool(o, "sparse", d->u.block.discard);
	if (!str_empty(d->u.block.serial))
		json_set_str(o, "serial", d->u.block.serial);
	if (slot)
		json_set_u64(o, "pci_device_id", slot);
	return o;
}

struct json_object *clh_image(const struct clh_plan *plan, unsigned slot)
{
	const struct vm_config *c = plan->config;
	struct json_object *o = json_object_make();

	json_set_str(o, "id", "image");
	if (plan->image_pmem) {
		json_set_str(o, "file", c->image);
		/* A private mapping: what the guest writes never reaches the file. */
		json_set_bool(o, "discard_writes", true);
		if (c->hv->enable_iommu)
			json_set_bool(o, "iommu", true);
		return o;
	}
	set_disk(o, c, c->image, true, c->hv->enable_iommu);
	json_set_u64(o, "pci_device_id", slot);
	return o;
}

size_t clh_net_fds(const struct vm_config *c, const struct vm_net *net)
{
	return net->n_tap_fds ? (size_t)at_most_vcpus(net->n_tap_fds, c) : 0;
}

struct json_object *clh_net(const struct vm_config *c, const struct vm_device *d, bool iommu)
{
	const struct config_hypervisor *hv = c->hv;
	const struct vm_net *n = &d->u.net;
	uint64_t pairs = n->n_tap_fds ? clh_net_fds(c, n) : at_most_vcpus(hv->network_queues, c);
	struct json_object *o = device(d);

	if (!n->n_tap_fds)
		json_set_str(o, "tap", n->tap);
	if (n->mac[0])
		json_set_str(o, "mac", n->mac);
	if (n->mtu)
		json_set_u64(o, "mtu", n->mtu);
	json_set_u64(o, "num_queues", 2 * pairs);
	if (iommu)
		json_set_bool(o, "iommu", true);
	set_limiter(o, hv->net_rate_limiter_bw_max_rate, hv->net_rate_limiter_bw_one_time_burst,
		    hv->net_rate_limiter_ops_max_rate, hv->net_rate_limiter_ops_one_time_burst);
	return o;
}

struct json_object *clh_fs(const struct vm_config *c, const struct vm_device *d)
{
	struct json_object *o = device(d);
	uint32_t queue = d->u.fs.queue_size ? d->u.fs.queue_size : c->hv->virtio_fs_queue_size;

	json_set_str(o, "tag", d->u.fs.tag);
	json_set_str(o, "socket", d->u.fs.socket);
	json_set_u64(o, "num_queues", 1);
	json_set_u64(o, "queue_size", queue ? queue : 1024);
	return o;
}

struct json_object *clh_vfio(const struct vm_config *c, const struct vm_device *d, bool iommu)
{
	struct json_object *o = device(d);

	json_set_str(o, "path", d->u.vfio.path);
	if (iommu)
		json_set_bool(o, "iommu", true);
	return o;
}

static int check_net(const struct vm_device *d, struct err *e)
{
	const struct vm_net *n = &d->u.net;

	if (str_eq(n->mode, "user") || str_eq(n->mode, "passt"))
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"network device %s: Cloud Hypervisor has no user-mode network and does not speak passt's "
			"stream protocol; use a tap",
			d->id);
	if (!str_eq(n->mode, "tap"))
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: Cloud Hypervisor knows no mode \"%s\"", d->id,
			       n->mode ? n->mode : "");
	if (!n->n_tap_fds && str_empty(n->tap))
		return err_set(e, ERR_CONFIG, EINVAL, "network device %s: no tap interface is named", d->id);
	return 0;
}

static int check_block(const struct clh_plan *plan, const struct vm_device *d, struct err *e)
{
	const struct config_hypervisor *hv = plan->config->hv;

	if (str_empty(d->u.block.path))
		return err_set(e, ERR_CONFIG, EINVAL, "disk %s: no path is given", d->id);
	/* VirtIO 1.2 §5.2.6.1: 20 bytes. */
	if (d->u.block.serial && strlen(d->u.block.serial) > 20)
		return err_set(e, ERR_CONFIG, EINVAL, "disk %s: the serial \"%s\" has more than 20 characters", d->id,
			       d->u.block.serial);
	/* A file without a name: Landlock has no rule for such. */
	if (hv->enable_landlock && str_after(d->u.block.path, "/proc/"))
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "disk %s: a root file system that is packed for the VM cannot be used with "
			       "enable_landlock",
			       d->id);
	return 0;
}

static int check_fs(const struct clh_plan *plan, const struct vm_device *d, struct err *e)
{
	/* VirtIO 1.2 §5.11.4: 36 bytes. */
	if (str_empty(d->u.fs.tag) || strlen(d->u.fs.tag) > 36)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "shared directory %s: the tag \"%s\" must have 1 to 36 characters", d->id,
			       d->u.fs.tag ? d->u.fs.tag : "");
	if (str_empty(d->u.fs.socket))
		return err_set(e, ERR_CONFIG, EINVAL, "shared directory %s: no socket of a server is named", d->id);
	if (!plan->config->shared_memory && !plan->config->hv->enable_hugepages)
		return err_set(e, ERR_CONFIG, EINVAL, "shared directory %s: the VM was not planned with shared memory",
			       d->id);
	return 0;
}

int clh_check_device(const struct clh_plan *plan, const struct vm_device *d, struct err *e)
{
	if (str_empty(d->id) || strspn(d->id, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(d->id) ||
	    strlen(d->id) > 32)
		return err_set(e, ERR_CONFIG, EINVAL, "device id \"%s\": use 1 to 32 of a-z, 0-9 and -",
			       d->id ? d->id : "");
	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		return check_block(plan, d, e);
	case VM_DEVICE_NET:
		return check_net(d, e);
	case VM_DEVICE_FS:
		return check_fs(plan, d, e);
	case VM_DEVICE_9P:
		return err_set(e, ERR_CONFIG, ENOTSUP, "Cloud Hypervisor has no 9p: use shared_fs = \"virtio-fs\"");
	case VM_DEVICE_VFIO:
		if (!str_empty(d->u.vfio.path))
			return 0;
		return err_set(e, ERR_CONFIG, EINVAL, "device %s: no host device is named", d->id);
	}
	return err_set(e, ERR_CONFIG, ENOTSUP, "device %s: Cloud Hypervisor's driver knows no such kind", d->id);
}

void clh_give_address(struct vm_device *d, const char *bdf)
{
	unsigned segment, bus, slot, function;
	int n = 0;

	d->address_kind = VM_ADDRESS_NONE;
	d->address[0] = 0;
	if (!bdf || sscanf(bdf, "%4x:%2x:%2x.%1x%n", &segment, &bus, &slot, &function, &n) != 4 || bdf[n])
		return;
	if (segment || bus || function || slot >= CLH_SLOTS)
		return;
	d->address_kind = VM_ADDRESS_PCI;
	snprintf(d->address, sizeof d->address, "%02x", slot);
}
