/* SPDX-License-Identifier: Apache-2.0 */
/* The bodies of Firecracker's API requests, out of a plan. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"
#include "hypervisor/fc_plan.h"
#include "hypervisor/guest_params.h"
#include "hypervisor/guest_root.h"

#define REFILL_MS 1000

/* Takes body over. */
static int add(struct fc_requests *r, const char *method, char *target, struct json_object *body)
{
	struct fc_request *grown = realloc(r->v, (r->n + 1) * sizeof *grown), *q;

	if (!grown) {
		free(target);
		json_free(body);
		return -ENOMEM;
	}
	r->v = grown;
	q = &grown[r->n++];
	*q = (struct fc_request){ .method = method, .target = target, .body = json_write(body, false) };
	json_free(body);
	return q->target && q->body ? 0 : -ENOMEM;
}

void fc_requests_fini(struct fc_requests *r)
{
	for (size_t i = 0; i < r->n; i++) {
		free(r->v[i].target);
		free(r->v[i].body);
	}
	free(r->v);
	*r = (struct fc_requests){ 0 };
}

/* ---- rate limiters ---- */

/* NULL: no limit. */
static struct json_object *bucket(uint64_t per_second, uint64_t burst)
{
	struct json_object *b;

	if (!per_second)
		return NULL;
	b = json_object_make();
	json_set_u64(b, "size", per_second);
	if (burst)
		json_set_u64(b, "one_time_burst", burst);
	json_set_u64(b, "refill_time", REFILL_MS);
	return b;
}

/* Rates of the configuration are in bit/s; one below a byte is a limit all the same. */
static uint64_t bytes(uint64_t bits)
{
	return bits / 8 + (bits && bits < 8);
}

static void set_limiter(struct json_object *o, const char *key, struct json_object *bandwidth, struct json_object *ops)
{
	struct json_object *limiter;

	if (!bandwidth && !ops)
		return;
	limiter = json_object_make();
	if (bandwidth)
		json_set(limiter, "bandwidth", bandwidth);
	if (ops)
		json_set(limiter, "ops", ops);
	json_set(o, key, limiter);
}

static void set_disk_limiter(struct json_object *o, const struct config_hypervisor *hv)
{
	set_limiter(o, "rate_limiter",
		    bucket(bytes(hv->disk_rate_limiter_bw_max_rate), bytes(hv->disk_rate_limiter_bw_one_time_burst)),
		    bucket(hv->disk_rate_limiter_ops_max_rate, hv->disk_rate_limiter_ops_one_time_burst));
}

/* ---- the kernel ---- */

static int default_params(const struct vm_config *c, struct strv *p)
{
	static const char *const all[] = {
		"console=ttyS0",
#ifdef __x86_64__
		/* The keyboard controller's reset is the one way in which a guest ends. */
		"reboot=k",
		"i8042.noaux",
		"i8042.nomux",
		"i8042.dumbkbd",
		"tsc=reliable",
		"no_timer_check",
		"8250.nr_uarts=1",
#endif
		"pci=off",
		"iommu=off",
		"net.ifnames=0",
		"random.trust_cpu=on",
	};
	int r = 0;

	for (size_t i = 0; i < sizeof all / sizeof *all && r == 0; i++)
		r = strv_add(p, all[i]);
	if (r == 0)
		r = guest_params_any(p);
	return r == 0 ? guest_params_manner(c->hv, p) : r;
}

static int boot_source(const struct vm_config *c, struct fc_requests *out, struct err *e)
{
	_cleanup_strv_ struct strv p = { 0 };
	_cleanup_buf_ struct buf args = { 0 };
	struct json_object *o;
	int r = default_params(c, &p);

	if (r == 0 && (r = guest_root_params(c, false, false, &p, e)) < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++)
		r = strv_add(&p, c->kernel_params.v[i]);
	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	r = guest_params_join(&p, 0, &args, e);
	if (r < 0)
		return r;
	o = json_object_make();
	json_set_str(o, "kernel_image_path", FC_KERNEL);
	if (!str_empty(c->initrd))
		json_set_str(o, "initrd_path", FC_INITRD);
	json_set_str(o, "boot_args", args.data);
	return add(out, "PUT", strdup("/boot-source"), o) < 0 ? err_sys(e, ENOMEM, "boot source") : 0;
}

/* ---- devices ---- */

static struct json_object *machine_config(const struct vm_config *c)
{
	struct json_object *o = json_object_make();

	json_set_u64(o, "vcpu_count", c->vcpus);
	json_set_u64(o, "mem_size_mib", c->memory_mib);
	if (c->hv->enable_hugepages)
		json_set_str(o, "huge_pages", "2M");
	return o;
}

static struct json_object *drive(const struct config_hypervisor *hv, const struct fc_drive *d)
{
	bool noflush = hv->block_device_cache_set && hv->block_device_cache_noflush;
	struct json_object *o = json_object_make();

	json_set_str(o, "drive_id", d->id);
	json_set_str(o, "path_on_host", d->name);
	/* "root" would add root=/dev/vda to the command line, which has it already, with a partition. */
	json_set_bool(o, "is_root_device", false);
	json_set_bool(o, "is_read_only", d->readonly);
	/* "Unsafe", the default, lets no flush of the guest reach the disk. */
	json_set_str(o, "cache_type", d->readonly || noflush ? "Unsafe" : "Writeback");
	json_set_str(o, "io_engine", str_eq(hv->block_device_aio, "io_uring") ? "Async" : "Sync");
	set_disk_limiter(o, hv);
	return o;
}

static struct json_object *network_interface(const struct fc_plan *p, const struct fc_net *n)
{
	const struct config_hypervisor *hv = p->config->hv;
	struct json_object *o = json_object_make();

	json_set_str(o, "iface_id", n->id);
	json_set_str(o, "host_dev_name", n->tap);
	if (n->mac[0])
		json_set_str(o, "guest_mac", n->mac);
	if (n->mtu && !p->no_mtu)
		json_set_u64(o, "mtu", n->mtu);
	set_limiter(o, "rx_rate_limiter", bucket(bytes(hv->rx_rate_limiter_max_rate), 0), NULL);
	set_limiter(o, "tx_rate_limiter", bucket(bytes(hv->tx_rate_limiter_max_rate), 0), NULL);
	return o;
}

static struct json_object *vsock(void)
{
	struct json_object *o = json_object_make();

	json_set_u64(o, "guest_cid", FC_GUEST_CID);
	json_set_str(o, "uds_path", FC_VSOCK);
	return o;
}

/* Not inflated: it is there to tell which pages the guest has freed. */
static struct json_object *balloon(void)
{
	struct json_object *o = json_object_make();

	json_set_u64(o, "amount_mib", 0);
	json_set_bool(o, "deflate_on_oom", true);
	json_set_bool(o, "free_page_reporting", true);
	return o;
}

static struct json_object *instance_start(void)
{
	struct json_object *o = json_object_make();

	json_set_str(o, "action_type", "InstanceStart");
	return o;
}

char *fc_patch_drive(const struct fc_plan *p, const char *id, const char *name)
{
	_cleanup_json_ struct json_object *o = json_object_make();

	json_set_str(o, "drive_id", id);
	json_set_str(o, "path_on_host", name);
	set_disk_limiter(o, p->config->hv);
	return json_write(o, false);
}

int fc_plan_requests(const struct fc_plan *p, struct fc_requests *ret, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	int r = add(ret, "PUT", strdup("/machine-config"), machine_config(p->config));

	if (r == 0 && p->cpu_template)
		r = add(ret, "PUT", strdup("/cpu-config"), json_ref(p->cpu_template));
	if (r == 0 && (r = boot_source(p->config, ret, e)) < 0)
		return r;
	for (size_t i = 0; i < p->n_drives && r == 0; i++)
		r = add(ret, "PUT", str_printf("/drives/%s", p->drives[i].id), drive(hv, &p->drives[i]));
	for (size_t i = 0; i < p->n_nets && r == 0; i++)
		r = add(ret, "PUT", str_printf("/network-interfaces/%s", p->nets[i].id),
			network_interface(p, &p->nets[i]));
	if (r == 0)
		r = add(ret, "PUT", strdup("/vsock"), vsock());
	if (r == 0)
		r = add(ret, "PUT", strdup("/entropy"), json_object_make());
	if (r == 0 && hv->reclaim_guest_freed_memory)
		r = add(ret, "PUT", strdup("/balloon"), balloon());
	if (r == 0)
		r = add(ret, "PUT", strdup("/actions"), instance_start());
	return r < 0 ? err_sys(e, -r, "cannot make the requests for Firecracker") : 0;
}
