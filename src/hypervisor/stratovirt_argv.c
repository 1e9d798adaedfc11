/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/stratovirt_argv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/log.h"
#include "hypervisor/guest_params.h"
#include "hypervisor/guest_root.h"

/* What StratoVirt itself takes. */
#define MEMORY_MIN_MIB 128
#define MEMORY_MAX_MIB (512u * 1024)
#define VCPUS_MAX      254

/* What it puts on the kernel's command line for each device of microvm: " virtio_mmio.device=512@0xf0100000:15". */
#define MMIO_PARAM_LEN 40

int stratovirt_machine_parse(const struct config_hypervisor *hv, const char *arch, enum stratovirt_machine *ret,
			     struct err *e)
{
	const char *type = hv->machine_type;
	bool x86 = str_eq(arch, "x86_64");

	if (str_empty(type))
		*ret = x86 ? STRATOVIRT_Q35 : STRATOVIRT_VIRT;
	else if (str_eq(type, "microvm"))
		*ret = STRATOVIRT_MICROVM;
	else if (x86 && str_eq(type, "q35"))
		*ret = STRATOVIRT_Q35;
	else if (!x86 && str_eq(type, "virt"))
		*ret = STRATOVIRT_VIRT;
	else
		return err_set(e, ERR_CONFIG, EINVAL,
			       "machine_type = \"%s\": StratoVirt on %s has \"%s\" and \"microvm\"", type, arch,
			       x86 ? "q35" : "virt");
	return 0;
}

unsigned stratovirt_ports(const struct config_hypervisor *hv, enum stratovirt_machine machine)
{
	unsigned bridges = hv->default_bridges > 5 ? 5 : hv->default_bridges;

	return machine == STRATOVIRT_MICROVM ? 0 : bridges * STRATOVIRT_PORTS;
}

int stratovirt_check_path(const char *what, const char *path, struct err *e)
{
	if (str_empty(path) || strpbrk(path, ",=\n"))
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"%s: StratoVirt cannot be told the path \"%s\": it takes none with a comma or an equals sign",
			what, path ? path : "");
	return 0;
}

static int check_machine(const struct stratovirt_plan *p, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;

	if (p->layout.machine == STRATOVIRT_MICROVM && !str_empty(hv->firmware))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "firmware = \"%s\": the machine microvm boots a kernel and has no firmware",
			       hv->firmware);
	if (!str_empty(hv->firmware_volume) && str_empty(hv->firmware))
		return err_set(e, ERR_CONFIG, EINVAL, "firmware_volume is set without firmware");
	return 0;
}

static int check_config(const struct stratovirt_plan *p, struct err *e)
{
	const struct vm_config *c = p->config;

	if (c->hv->confidential_guest)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "confidential_guest = true: StratoVirt has no confidential guests; set it to false");
	if (str_empty(c->image) == str_empty(c->initrd))
		return err_set(e, ERR_CONFIG, EINVAL,
			       str_empty(c->image) ? "neither a guest image nor an initrd is given"
						   : "both a guest image and an initrd are given");
	if (!c->vcpus || c->max_vcpus < c->vcpus || c->vcpus > VCPUS_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "%u vCPUs of at most %u cannot be (StratoVirt: %d)", c->vcpus,
			       c->max_vcpus, VCPUS_MAX);
	if (c->memory_mib < MEMORY_MIN_MIB || c->memory_mib > MEMORY_MAX_MIB)
		return err_set(e, ERR_CONFIG, EINVAL, "%llu MiB of memory: StratoVirt takes %d to %u MiB",
			       (unsigned long long)c->memory_mib, MEMORY_MIN_MIB, MEMORY_MAX_MIB);
	if (c->hv->default_bridges > 5)
		return err_set(e, ERR_CONFIG, EINVAL, "default_bridges = %u: at most 5", c->hv->default_bridges);
	return check_machine(p, e);
}

const char *stratovirt_transport(const struct stratovirt_layout *l)
{
	return l->machine == STRATOVIRT_MICROVM ? "device" : "pci";
}

int stratovirt_place(struct stratovirt_layout *l, char *ret, size_t size, int *slot, struct err *e)
{
	*slot = -1;
	ret[0] = 0;
	if (l->machine == STRATOVIRT_MICROVM) {
		if (l->n_mmio == STRATOVIRT_MMIO)
			return err_set(e, ERR_LIMIT, ENOSPC,
				       "microvm has interrupts for %d devices besides disks and network cards",
				       STRATOVIRT_MMIO);
		l->n_mmio++;
		return 0;
	}
	*slot = slot_take(&l->slots, 1);
	if (*slot < 0)
		return err_set(e, ERR_LIMIT, ENOSPC, "all 30 PCI slots of the VM are taken");
	snprintf(ret, size, ",bus=pcie.0,addr=0x%x", (unsigned)*slot);
	return 0;
}

void stratovirt_port_address(const struct stratovirt_layout *l, unsigned port, struct vm_device *d)
{
	d->address_kind = VM_ADDRESS_PCI;
	snprintf(d->address, sizeof d->address, "%02x/00", l->first_port_slot + port);
}

/* Root ports, rng, balloon, vsock: at fixed places, before any other device. */
static int plan_builtin(struct stratovirt_plan *p, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	struct stratovirt_layout *l = &p->layout;
	const char *kind = stratovirt_transport(l);
	const char *entropy = str_empty(hv->entropy_source) ? "/dev/urandom" : hv->entropy_source;
	int r = stratovirt_check_path("entropy_source", entropy, e), slot;
	char at[40];

	if (r < 0)
		return r;
	l->slots = 1;
	l->n_ports = p->config->fixed_devices ? 0 : stratovirt_ports(hv, l->machine);
	for (unsigned i = 0; i < l->n_ports; i++) {
		if ((r = stratovirt_place(l, at, sizeof at, &slot, e)) < 0)
			return r;
		l->first_port_slot = i ? l->first_port_slot : (unsigned)slot;
		option_add(&p->builtin, &r, "-device", "pcie-root-port,id=port%u,port=0x%x%s", i, i, at);
	}
	option_add(&p->builtin, &r, "-object", "rng-random,id=rng0,filename=%s", entropy);
	if (r == 0 && (r = stratovirt_place(l, at, sizeof at, &slot, e)) < 0)
		return r;
	option_add(&p->builtin, &r, "-device", "virtio-rng-%s,id=rng,rng=rng0%s", kind, at);
	if (r == 0 && hv->reclaim_guest_freed_memory) {
		if ((r = stratovirt_place(l, at, sizeof at, &slot, e)) < 0)
			return r;
		option_add(&p->builtin, &r, "-device", "virtio-balloon-%s,id=balloon0,free-page-reporting=true%s", kind,
			   at);
	}
	if (r == 0 && (r = stratovirt_place(l, at, sizeof at, &p->vsock_slot, e)) < 0)
		return r;
	return r < 0 ? err_sys(e, -r, "StratoVirt's command line") : 0;
}

static void warn_of_driver(const struct stratovirt_plan *p)
{
	const char *driver = p->config->hv->block_device_driver;

	if (str_eq(driver, "virtio-scsi") || str_eq(driver, "virtio-pmem") || str_eq(driver, "nvdimm"))
		log_warn("block_device_driver = \"%s\": StratoVirt's disks are virtio-blk devices all the same",
			 driver);
}

int stratovirt_plan_init(struct stratovirt_plan *plan, const struct vm_config *c, const struct stratovirt_facts *f,
			 struct err *e)
{
	struct vm_device image = { .kind = VM_DEVICE_BLOCK,
				   .id = (char *)(uintptr_t) "image",
				   .u.block = { .path = c->image, .readonly = true } };
	int r;

	plan->config = c;
	plan->facts = f;
	r = stratovirt_machine_parse(c->hv, f->arch, &plan->layout.machine, e);
	if (r == 0)
		r = check_config(plan, e);
	if (r < 0)
		return r;
	warn_of_driver(plan);
	plan->monitor = str_printf("%s/qmp.sock", c->run_dir);
	if (!plan->monitor)
		return err_sys(e, ENOMEM, "StratoVirt's command line");
	if (strlen(plan->monitor) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG,
			       "%s: the path of a Unix socket has at most 107 bytes; use a shorter run directory",
			       plan->monitor);
	r = stratovirt_check_path("the run directory", plan->monitor, e);
	if (r == 0)
		r = plan_builtin(plan, e);
	/* The first disk, because root= names /dev/vda. */
	return r == 0 && !str_empty(c->image) ? stratovirt_plan_device(plan, &image, e) : r;
}

void stratovirt_plan_fini(struct stratovirt_plan *plan)
{
	strv_fini(&plan->builtin);
	strv_fini(&plan->devices);
	free(plan->monitor);
	plan->monitor = NULL;
}

static int kernel_command_line(const struct stratovirt_plan *p, struct buf *ret, struct err *e)
{
	_cleanup_strv_ struct strv k = { 0 };
	const struct vm_config *c = p->config;
	bool x86 = str_eq(p->facts->arch, "x86_64"), micro = p->layout.machine == STRATOVIRT_MICROVM;
	size_t devices = STRATOVIRT_DISKS + STRATOVIRT_NICS + p->layout.n_mmio;
	int r = x86 ? guest_params_x86(&k) : 0;

	if (r == 0)
		r = guest_params_any(&k);
	/* There is neither, and a kernel that looks for them takes its time. */
	if (r == 0 && micro && x86)
		r = strv_add(&k, "pci=off") < 0 ? -ENOMEM : strv_add(&k, "acpi=off");
	/*
	 * Linux finds the machine's ECAM window reserved nowhere, does without it, and then leaves hot-plug to an ACPI
	 * that knows nothing of it; it is told to see to the root ports itself.
	 */
	if (r == 0 && p->layout.n_ports && p->layout.machine == STRATOVIRT_Q35)
		r = strv_add(&k, "pcie_ports=native");
	if (r == 0)
		r = guest_params_manner(c->hv, &k);
	if (r == 0)
		r = strv_add(&k, x86 ? "console=ttyS0" : "console=ttyAMA0");
	if (r < 0)
		return err_sys(e, -r, "kernel command line");
	r = guest_root_params(c, false, false, &k, e);
	if (r < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++) {
		/*
		 * By the keyboard controller q35 would start the guest anew, and there is no way to tell it not to
		 * (QEMU's -no-reboot); microvm has none. A triple fault ends both.
		 */
		if (!str_eq(c->kernel_params.v[i], "reboot=k"))
			r = strv_add(&k, c->kernel_params.v[i]);
	}
	return r < 0 ? err_sys(e, -r, "kernel command line")
		     : guest_params_join(&k, micro && x86 ? devices * MMIO_PARAM_LEN : 0, ret, e);
}

static void add_machine(const struct stratovirt_plan *p, struct strv *a, int *r)
{
	static const char *const names[] = { "microvm", "q35", "virt" };
	const struct vm_config *c = p->config;

	option_add(a, r, "-machine", "type=%s,dump-guest-core=off%s", names[p->layout.machine],
		   c->shared_memory ? ",mem-share=on" : "");
	option_add(a, r, "-smp", "%u", c->vcpus);
	option_add(a, r, "-m", "%lluM", (unsigned long long)c->memory_mib);
	if (c->hv->enable_hugepages)
		option_add(a, r, "-mem-path", "/dev/hugepages");
	if (*r == 0 && c->hv->enable_mem_prealloc)
		*r = strv_add(a, "-mem-prealloc");
}

static int add_firmware(const struct config_hypervisor *hv, struct strv *a, int *r, struct err *e)
{
	if (str_empty(hv->firmware))
		return 0;
	if (stratovirt_check_path("firmware", hv->firmware, e) < 0 ||
	    (!str_empty(hv->firmware_volume) && stratovirt_check_path("firmware_volume", hv->firmware_volume, e) < 0))
		return -EINVAL;
	option_add(a, r, "-drive", "file=%s,if=pflash,unit=0,readonly=true", hv->firmware);
	if (!str_empty(hv->firmware_volume))
		option_add(a, r, "-drive", "file=%s,if=pflash,unit=1", hv->firmware_volume);
	return 0;
}

static void add_vsock(const struct stratovirt_plan *p, const struct stratovirt_fds *fds, struct strv *a, int *r)
{
	char at[40] = "";

	if (p->vsock_slot >= 0)
		snprintf(at, sizeof at, ",bus=pcie.0,addr=0x%x", (unsigned)p->vsock_slot);
	/* The CID is set on the descriptor already; StratoVirt sets the same again. */
	option_add(a, r, "-device", "vhost-vsock-%s,id=vsock0,guest-cid=%u,vhostfd=%d%s",
		   stratovirt_transport(&p->layout), fds->guest_cid, fds->vsock, at);
}

int stratovirt_argv(const struct stratovirt_plan *p, const struct stratovirt_fds *fds, struct strv *ret, struct err *e)
{
	const struct vm_config *c = p->config;
	_cleanup_strv_ struct strv a = { 0 };
	_cleanup_buf_ struct buf append = { 0 };
	int r = kernel_command_line(p, &append, e);

	if (r < 0)
		return r;
	r = strv_add(&a, p->facts->path);
	option_add(&a, &r, "-name", "sandbox-%s", c->id);
	add_machine(p, &a, &r);
	option_add(&a, &r, "-qmp", "unix:%s,server,nowait", p->monitor);
	/* Opening the descriptor's name gives the pipe, and StratoVirt writes into it what the guest says at once. */
	option_add(&a, &r, "-serial", "file,path=/proc/self/fd/%d", fds->console);
	if (r == 0 && c->hv->disable_seccomp)
		r = strv_add(&a, "-disable-seccomp");
	if (add_firmware(c->hv, &a, &r, e) < 0)
		return -EINVAL;
	option_add(&a, &r, "-kernel", "%s", c->kernel);
	if (!str_empty(c->initrd))
		option_add(&a, &r, "-initrd", "%s", c->initrd);
	option_add(&a, &r, "-append", "%s", append.data ? append.data : "");
	option_add_all(&a, &p->builtin, &r);
	add_vsock(p, fds, &a, &r);
	option_add_all(&a, &p->devices, &r);
	if (r < 0)
		return err_sys(e, -r, "StratoVirt's command line");
	*ret = a;
	a = (struct strv){ 0 };
	return 0;
}
