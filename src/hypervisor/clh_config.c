/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/clh_config.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "base/fd.h"
#include "base/log.h"
#include "hypervisor/guest_params.h"
#include "hypervisor/guest_root.h"
#include "hypervisor/program.h"

/* --- what the configuration comes to --- */

bool clh_uses_virtio_mem(const struct vm_config *c)
{
	return c->hv->enable_virtio_mem;
}

uint64_t clh_hotplug_mib(const struct vm_config *c)
{
	if (c->hv->confidential_guest || c->max_memory_mib <= c->memory_mib)
		return 0;
	return (c->max_memory_mib - c->memory_mib) / CLH_MEMORY_STEP_MIB * CLH_MEMORY_STEP_MIB;
}

uint32_t clh_max_vcpus(const struct vm_config *c)
{
#ifdef __x86_64__
	if (!c->hv->confidential_guest)
		return c->max_vcpus > c->vcpus ? c->max_vcpus : c->vcpus;
#endif
	return c->vcpus; /* arm64 has no hot-plug of vCPUs, nor have confidential guests */
}

/* As in Kata: the older key decides unless vm_rootfs_driver is set. */
static bool image_is_pmem(const struct vm_config *c)
{
	const char *driver = c->hv->vm_rootfs_driver;

	if (str_empty(c->image))
		return false;
	return str_empty(driver) ? !c->hv->disable_image_nvdimm : str_eq(driver, "virtio-pmem");
}

static int look_at_image(struct clh_plan *plan, struct err *e)
{
	const struct vm_config *c = plan->config;
	enum dax_image dax = 0;
	struct stat st;
	int r;

	plan->image_pmem = image_is_pmem(c);
	if (!plan->image_pmem || stat(c->image, &st) < 0) /* who starts the VM tells that it is missing */
		return 0;
	if (st.st_size % (2 << 20))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "the guest image %s cannot be persistent memory: its size is no multiple of 2 MiB; use "
			       "vm_rootfs_driver = \"virtio-blk-pci\"",
			       c->image);
	r = dax_image_read(c->image, (uint64_t)st.st_size, &dax, e);
	plan->image_dax = r == 0 && dax == DAX_IMAGE_PAGES;
	return r;
}

static int check_config(const struct vm_config *c, struct err *e)
{
	const struct config_hypervisor *hv = c->hv;

	if (!str_empty(hv->firmware) && !hv->confidential_guest)
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"firmware: Cloud Hypervisor boots the guest kernel directly; leave firmware empty, or set "
			"confidential_guest");
	if (str_empty(hv->firmware) && hv->confidential_guest)
		return err_set(e, ERR_CONFIG, EINVAL, "confidential_guest: set firmware to %s",
			       hv->sev_snp_guest ? "the guest's IGVM file" : "TD-Shim or TDVF");
	if (hv->sev_snp_guest && !hv->confidential_guest)
		return err_set(e, ERR_CONFIG, EINVAL, "sev_snp_guest needs confidential_guest = true");
	if (hv->num_queues > c->vcpus && hv->num_queues > 1)
		log_warn("num_queues: Cloud Hypervisor gives a disk no more queues than the VM has vCPUs (%u)",
			 c->vcpus);
	if (!str_empty(hv->block_device_driver) && !str_eq(hv->block_device_driver, "virtio-blk-pci") &&
	    !str_eq(hv->block_device_driver, "virtio-blk"))
		log_warn("block_device_driver = \"%s\": Cloud Hypervisor has virtio-blk-pci only",
			 hv->block_device_driver);
	if (c->use_vhost_vsock)
		log_warn("use_vsock: Cloud Hypervisor has its own vsock device and does not use the host kernel's");
	return 0;
}

static int name_files(struct clh_plan *plan, struct err *e)
{
	const char *dir = plan->config->run_dir;

	plan->api_socket = str_printf("%s/clh-api.sock", dir);
	plan->vsock_socket = str_printf("%s/vsock.sock", dir);
	plan->console_dir = str_printf("%s/clh-console", dir);
	plan->console = str_printf("%s/clh-console/fifo", dir);
	if (!plan->api_socket || !plan->vsock_socket || !plan->console_dir || !plan->console)
		return err_sys(e, ENOMEM, "cannot prepare the VM");
	if (strlen(plan->api_socket) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG,
			       "%s: the path of a Unix socket has at most 107 bytes; use a shorter run directory",
			       plan->api_socket);
	return 0;
}

int clh_plan_init(struct clh_plan *plan, const struct vm_config *c, struct err *e)
{
	int r;

	plan->config = c;
	plan->disks = json_array_make();
	plan->nets = json_array_make();
	plan->shares = json_array_make();
	plan->passed_through = json_array_make();
	r = check_config(c, e);
	if (r == 0)
		r = name_files(plan, e);
	if (r == 0)
		r = look_at_image(plan, e);
	if (r == 0 && !str_empty(c->image) && !plan->image_pmem)
		json_add(plan->disks, clh_image(plan, ++plan->n_disks));
	return r;
}

void clh_plan_fini(struct clh_plan *plan)
{
	for (size_t i = 0; i < plan->n_fd_nets; i++) {
		free(plan->fd_nets[i].body);
		for (size_t k = 0; k < plan->fd_nets[i].n_fds; k++)
			fd_close(&plan->fd_nets[i].fds[k]);
		free(plan->fd_nets[i].fds);
	}
	free(plan->fd_nets);
	json_free(plan->disks);
	json_free(plan->nets);
	json_free(plan->shares);
	json_free(plan->passed_through);
	free(plan->api_socket);
	free(plan->vsock_socket);
	free(plan->console_dir);
	free(plan->console);
	*plan = (struct clh_plan){ 0 };
}

/* --- devices that are there from the start --- */

static int plan_fd_net(struct clh_plan *plan, const struct vm_device *d, struct err *e)
{
	_cleanup_json_ struct json_object *o = clh_net(plan->config, d, plan->config->hv->enable_iommu);
	size_t n = clh_net_fds(plan->config, &d->u.net);
	struct clh_fd_net *all, *net;

	all = realloc(plan->fd_nets, (plan->n_fd_nets + 1) * sizeof *all);
	if (!all)
		return err_sys(e, ENOMEM, "network device %s", d->id);
	plan->fd_nets = all;
	net = &all[plan->n_fd_nets++];
	*net = (struct clh_fd_net){ .body = json_write(o, false), .fds = calloc(n, sizeof(int)) };
	if (!net->body || !net->fds)
		return err_sys(e, ENOMEM, "network device %s", d->id);
	for (size_t i = 0; i < n; i++) {
		net->fds[i] = fcntl(d->u.net.tap_fds[i], F_DUPFD_CLOEXEC, 3);
		if (net->fds[i] < 0)
			return err_sys(e, errno, "network device %s", d->id);
		net->n_fds++;
	}
	return 0;
}

static int plan_disk(struct clh_plan *plan, struct vm_device *d, struct err *e)
{
	char bdf[16];

	if (plan->n_disks + 1 >= CLH_SLOTS)
		return err_set(e, ERR_LIMIT, ENOSPC, "disk %s: the VM's PCI bus has no free slot", d->id);
	snprintf(bdf, sizeof bdf, "0000:00:%02x.0", ++plan->n_disks & 0x1f);
	clh_give_address(d, bdf);
	json_add(plan->disks, clh_disk(plan->config, d, plan->n_disks, plan->config->hv->enable_iommu));
	return 0;
}

int clh_plan_device(struct clh_plan *plan, struct vm_device *d, struct err *e)
{
	const struct vm_config *c = plan->config;
	int r = clh_check_device(plan, d, e);

	if (r < 0)
		return r;
	d->address_kind = VM_ADDRESS_NONE;
	d->address[0] = 0;
	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		return plan_disk(plan, d, e);
	case VM_DEVICE_NET:
		if (d->u.net.n_tap_fds)
			return plan_fd_net(plan, d, e);
		json_add(plan->nets, clh_net(c, d, c->hv->enable_iommu));
		return 0;
	case VM_DEVICE_FS:
		json_add(plan->shares, clh_fs(c, d));
		return 0;
	case VM_DEVICE_VFIO:
		json_add(plan->passed_through, clh_vfio(c, d, c->hv->enable_iommu));
		return 0;
	case VM_DEVICE_9P:
		break;
	}
	return -ENOTSUP; /* not reached: clh_check_device() knows the kinds */
}

/* --- the guest kernel's command line --- */

static int add_defaults(const struct vm_config *c, struct strv *p)
{
	int r = 0;

#ifdef __x86_64__
	/* The paravirtual clock and the local APIC are all the timers that there are. */
	if ((r = strv_add(p, "tsc=reliable")) < 0 || (r = strv_add(p, "no_timer_check")) < 0 ||
	    (r = strv_add(p, "noreplace-smp")) < 0)
		return r;
#endif
	r = guest_params_any(p);
	/* Added memory becomes movable, so that it can be taken out again: as with QEMU (qemu_root.c). */
	if (r == 0 && clh_hotplug_mib(c))
		r = strv_add(p, "memory_hotplug.online_policy=auto-movable");
	if (r == 0)
		r = guest_params_manner(c->hv, p);
	/* The serial port is there from the first line on, so that a panic before any driver is seen, too. */
	if (r == 0)
		r = strv_add(p, str_eq(HOST_ARCH, "aarch64") ? "console=ttyAMA0" : "console=ttyS0");
	return r;
}

static int command_line(const struct clh_plan *plan, struct buf *ret, struct err *e)
{
	const struct vm_config *c = plan->config;
	_cleanup_strv_ struct strv p = { 0 };
	int r = add_defaults(c, &p);

	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	r = guest_root_params(c, plan->image_pmem, plan->image_dax, &p, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++)
		r = strv_add(&p, c->kernel_params.v[i]);
	return r < 0 ? err_sys(e, -r, "kernel command line") : guest_params_join(&p, 0, ret, e);
}

/* --- vm.create --- */

static struct json_object *cpus(const struct vm_config *c)
{
	struct json_object *o = json_object_make();

	json_set_u64(o, "boot_vcpus", c->vcpus);
	json_set_u64(o, "max_vcpus", clh_max_vcpus(c));
	if (c->hv->disable_nested_virtualization)
		json_set_bool(o, "nested", false);
	return o;
}

static struct json_object *memory(const struct vm_config *c)
{
	const struct config_hypervisor *hv = c->hv;
	struct json_object *o = json_object_make();
	uint64_t more = clh_hotplug_mib(c);

	json_set_u64(o, "size", c->memory_mib << 20);
	json_set_bool(o, "shared", c->shared_memory);
	/* Transparent huge pages are on without asking. */
	if (hv->enable_hugepages && !str_eq(hv->hugepage_type, "thp"))
		json_set_bool(o, "hugepages", true);
	if (hv->enable_mem_prealloc)
		json_set_bool(o, "prefault", true);
	if (more) {
		json_set_str(o, "hotplug_method", clh_uses_virtio_mem(c) ? "VirtioMem" : "Acpi");
		json_set_u64(o, "hotplug_size", more << 20);
	}
	return o;
}

static struct json_object *payload(const struct vm_config *c, const char *command_line)
{
	struct json_object *o = json_object_make();

	json_set_str(o, "kernel", c->kernel);
	json_set_str(o, "cmdline", command_line);
	if (!str_empty(c->initrd))
		json_set_str(o, "initramfs", c->initrd);
	if (c->hv->confidential_guest)
		json_set_str(o, c->hv->sev_snp_guest ? "igvm" : "firmware", c->hv->firmware);
	return o;
}

static struct json_object *console(const char *mode, const char *file)
{
	struct json_object *o = json_object_make();

	json_set_str(o, "mode", mode);
	if (file)
		json_set_str(o, "file", file);
	return o;
}

/* What every guest has, and what single keys ask for. */
static void add_fixed_devices(struct json_object *o, const struct clh_plan *plan)
{
	const struct config_hypervisor *hv = plan->config->hv;
	struct json_object *rng = json_object_make(), *vsock = json_object_make(), *balloon, *pmem;

	json_set_str(rng, "src", "/dev/urandom");
	json_set_str(vsock, "id", "vsock");
	json_set_u64(vsock, "cid", CLH_GUEST_CID);
	json_set_str(vsock, "socket", plan->vsock_socket);
	if (hv->enable_iommu) {
		json_set_bool(rng, "iommu", true);
		json_set_bool(vsock, "iommu", true);
	}
	json_set(o, "rng", rng);
	json_set(o, "vsock", vsock);
	if (hv->reclaim_guest_freed_memory) {
		balloon = json_object_make();
		json_set_u64(balloon, "size", 0);
		json_set_bool(balloon, "deflate_on_oom", true);
		json_set_bool(balloon, "free_page_reporting", true);
		json_set(o, "balloon", balloon);
	}
	if (plan->image_pmem) {
		pmem = json_array_make();
		json_add(pmem, clh_image(plan, 0));
		json_set(o, "pmem", pmem);
	}
}

static void add_array(struct json_object *o, const char *key, struct json_object *array)
{
	if (json_array_len(array))
		json_set(o, key, json_ref(array));
}

int clh_create_body(const struct clh_plan *plan, char **ret, struct err *e)
{
	const struct vm_config *c = plan->config;
	_cleanup_json_ struct json_object *o = json_object_make();
	_cleanup_buf_ struct buf cmdline = { 0 };
	struct json_object *platform;
	int r = command_line(plan, &cmdline, e);

	if (r < 0)
		return r;
	json_set(o, "cpus", cpus(c));
	json_set(o, "memory", memory(c));
	json_set(o, "payload", payload(c, cmdline.data));
	add_array(o, "disks", plan->disks);
	add_array(o, "net", plan->nets);
	add_array(o, "fs", plan->shares);
	add_array(o, "devices", plan->passed_through);
	add_fixed_devices(o, plan);
	json_set(o, "serial", console("File", plan->console));
	json_set(o, "console", console("Off", NULL));
	if (c->hv->confidential_guest) {
		platform = json_object_make();
		json_set_bool(platform, c->hv->sev_snp_guest ? "sev_snp" : "tdx", true);
		json_set(o, "platform", platform);
	}
	if (c->hv->enable_landlock)
		json_set_bool(o, "landlock_enable", true);
	*ret = json_write(o, false);
	return *ret ? 0 : err_sys(e, ENOMEM, "cannot describe the VM to Cloud Hypervisor");
}

int clh_argv(const struct clh_plan *plan, const char *path, int api, int events, struct strv *ret, struct err *e)
{
	const struct config_hypervisor *hv = plan->config->hv;
	int r = strv_add(ret, path);

	if (r == 0)
		r = strv_add(ret, "--api-socket");
	if (r == 0)
		r = strv_addf(ret, "fd=%d", api);
	if (r == 0)
		r = strv_add(ret, "--event-monitor");
	if (r == 0)
		r = strv_addf(ret, "fd=%d", events);
	if (r == 0)
		r = strv_add(ret, "--seccomp");
	if (r == 0)
		r = strv_add(ret, hv->disable_seccomp ? "false" : "true");
	for (uint32_t i = 0; i < hv->hypervisor_loglevel && hv->enable_debug && r == 0; i++)
		r = strv_add(ret, "-v");
	return r < 0 ? err_sys(e, -r, "cannot start Cloud Hypervisor") : 0;
}
