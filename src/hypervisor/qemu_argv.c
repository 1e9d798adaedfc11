/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/qemu_argv.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "base/strv.h"

/*
 * What QEMU may not do once it runs. spawn=deny forbids fork and exec: no network scripts, no helpers. Works with KVM
 * and with multi-threaded TCG (7.2).
 */
#define SANDBOX_DEFAULT "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

int qemu_machine_parse(const struct config_hypervisor *hv, const char *arch, enum qemu_machine *ret, struct err *e)
{
	const char *type = hv->machine_type;
	bool x86 = str_eq(arch, "x86_64");

	if (str_empty(type))
		*ret = x86 ? QEMU_Q35 : QEMU_VIRT;
	else if (x86 && str_eq(type, "q35"))
		*ret = QEMU_Q35;
	else if (x86 && str_eq(type, "microvm"))
		*ret = QEMU_MICROVM;
	else if (!x86 && str_eq(type, "virt"))
		*ret = QEMU_VIRT;
	else
		return err_set(e, ERR_CONFIG, EINVAL, "machine_type = \"%s\": on %s use %s", type, arch,
			       x86 ? "\"q35\" or \"microvm\"" : "\"virt\"");
	return 0;
}

bool qemu_has_virtconsole(const struct qemu_plan *plan)
{
	/*
	 * The serial port carries the first messages in any case. virtconsole is faster for a guest that prints a lot,
	 * and is one device more to probe for one that does not: so only with enable_debug.
	 */
	return plan->config->hv->enable_debug && !plan->config->hv->use_legacy_serial &&
	       plan->layout.machine != QEMU_MICROVM;
}

bool qemu_counts_instructions(const struct qemu_plan *p)
{
	return p->layout.machine == QEMU_MICROVM && !p->facts->kvm;
}

static int check_config(const struct vm_config *c, enum qemu_machine machine, const struct qemu_facts *f, struct err *e)
{
	if (c->hv->confidential_guest)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "confidential_guest = true: this driver cannot start TDX or SEV-SNP guests yet, and an "
			       "ordinary one would not be confidential; set it to false");
	if (str_empty(c->image) == str_empty(c->initrd))
		return err_set(e, ERR_CONFIG, EINVAL,
			       str_empty(c->image) ? "neither a guest image nor an initrd is given"
						   : "both a guest image and an initrd are given");
	if (qemu_image_is_pmem(c, machine) && f->image_dax == DAX_IMAGE_BAD)
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"the DAX header of the guest image %s does not fit its size, %llu bytes, and the guest would "
			"not find it: was it cut off? Make it anew, or set disable_image_nvdimm = true",
			c->image, (unsigned long long)f->image_bytes);
	if (qemu_image_is_pmem(c, machine) && f->image_dax == DAX_IMAGE_SELF)
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"the DAX header of the guest image %s makes the guest keep page tables in the image, which "
			"is read-only: write the header for page tables in memory, or set disable_image_nvdimm = true",
			c->image);
	if (!c->vcpus || c->max_vcpus < c->vcpus)
		return err_set(e, ERR_CONFIG, EINVAL, "%u vCPUs of at most %u cannot be", c->vcpus, c->max_vcpus);
	if (c->memory_mib < 64 || (c->max_memory_mib && c->max_memory_mib < c->memory_mib))
		return err_set(e, ERR_CONFIG, EINVAL, "%llu MiB of memory (at most %llu): a VM needs 64 MiB or more",
			       (unsigned long long)c->memory_mib, (unsigned long long)c->max_memory_mib);
	if (c->hv->default_bridges > QEMU_BRIDGES_MAX)
		return err_set(e, ERR_CONFIG, EINVAL, "default_bridges = %u: at most %d", c->hv->default_bridges,
			       QEMU_BRIDGES_MAX);
	if (c->hv->pcie_root_port > 16)
		return err_set(e, ERR_CONFIG, EINVAL, "pcie_root_port = %u: at most 16", c->hv->pcie_root_port);
	if (c->hv->indep_iothreads > 64)
		return err_set(e, ERR_CONFIG, EINVAL, "indep_iothreads = %u: at most 64", c->hv->indep_iothreads);
	return 0;
}

static bool wants_cpu_hotplug(const struct qemu_plan *p)
{
	return p->layout.machine == QEMU_Q35 && p->config->max_vcpus > p->config->vcpus;
}

bool qemu_wants_memory_hotplug(const struct qemu_plan *p)
{
	return p->layout.machine == QEMU_Q35 && p->config->max_memory_mib > p->config->memory_mib;
}

/* Where the next device goes; *r = -ENOSPC with *e: nowhere. */
static void next_place(struct qemu_layout *l, char at[QEMU_PLACE_MAX], int *slot, int *r, struct err *e)
{
	if (*r == 0)
		*r = qemu_place(l, at, QEMU_PLACE_MAX, slot, e);
}

static int end_of_plan(int r, struct err *e)
{
	return r < 0 && r != -ENOSPC ? err_sys(e, -r, "QEMU's command line") : r;
}

/* What other devices are behind: the IOMMU, bridges, spare ports. */
static int plan_bus(struct qemu_plan *p, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	struct qemu_layout *l = &p->layout;
	char at[QEMU_PLACE_MAX] = "";
	int r = 0, slot;

	l->root_slots = l->machine == QEMU_MICROVM ? 0 : 1;
	if (hv->enable_iommu && l->machine == QEMU_Q35)
		option_add(&p->builtin, &r, "-device", "intel-iommu,intremap=on,device-iotlb=on,caching-mode=on");
	/* A bridge's slots take hot-plugged devices by ACPI, which describes each: the guest reads that at boot. */
	for (unsigned i = 0; l->machine == QEMU_Q35 && !p->config->fixed_devices && i < hv->default_bridges; i++) {
		l->root_slots |= UINT32_C(1) << (i + 2);
		l->bridge_slots[i] = 1; /* slot 0 of a conventional bridge is its SHPC's */
		l->n_bridges++;
		option_add(&p->builtin, &r, "-device",
			   "pci-bridge,bus=pcie.0,id=pci-bridge-%u,chassis_nr=%u,shpc=off,addr=0x%x,io-reserve=4k,"
			   "mem-reserve=1m,pref64-reserve=1m",
			   i, i + 1, i + 2);
	}
	for (unsigned i = 0; l->machine != QEMU_MICROVM && i < hv->pcie_root_port; i++) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-device", "pcie-root-port,id=rp%u,%s,chassis=%u,slot=%u,multifunction=off",
			   i, at, i + 16, i);
	}
	return end_of_plan(r, e);
}

/* The SCSI controller, rng, balloon, virtio-mem: at fixed places, before any device of the caller's. */
static int plan_builtin(struct qemu_plan *p, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	struct qemu_layout *l = &p->layout;
	const char *kind = l->machine == QEMU_MICROVM ? "device" : "pci";
	const char *iommu = qemu_iommu_option(p);
	const char *entropy = str_empty(hv->entropy_source) ? "/dev/urandom" : hv->entropy_source;
	_cleanup_free_ char *entropy_path = qemu_escape(entropy);
	int r = entropy_path ? 0 : -ENOMEM, slot;
	char at[QEMU_PLACE_MAX] = "";

	if (hv->enable_iothreads)
		option_add(&p->builtin, &r, "-object", "iothread,id=iothread0");
	for (unsigned i = 0; i < hv->indep_iothreads; i++)
		option_add(&p->builtin, &r, "-object", "iothread,id=indep-iothread-%u", i);
	option_add(&p->builtin, &r, "-object", "rng-random,id=rng0,filename=%s", entropy_path);
	next_place(l, at, &slot, &r, e);
	option_add(&p->builtin, &r, "-device", "virtio-rng-%s,rng=rng0,%s%s", kind, at, iommu);
	if (hv->reclaim_guest_freed_memory) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-device", "virtio-balloon-%s,id=balloon0,free-page-reporting=on,%s%s",
			   kind, at, iommu);
	}
	if (qemu_block_is_scsi(hv, l->machine)) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-device", "virtio-scsi-pci,id=scsi0,%s%s%s", at,
			   hv->enable_iothreads ? ",iothread=iothread0" : "", iommu);
	}
	if (qemu_wants_memory_hotplug(p) && hv->enable_virtio_mem) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-object",
			   "memory-backend-memfd,id=virtiomem,size=%lluM,share=on,reserve=off",
			   (unsigned long long)(p->config->max_memory_mib - p->config->memory_mib));
		option_add(&p->builtin, &r, "-device",
			   "virtio-mem-pci,id=virtiomem0,memdev=virtiomem,requested-size=0,%s", at);
	}
	if (qemu_has_virtconsole(p)) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-device", "virtio-serial-pci,id=serial0,%s%s", at, iommu);
		option_add(&p->builtin, &r, "-device", "virtconsole,id=console0,chardev=console");
	}
	if (l->machine == QEMU_Q35)
		option_add(&p->builtin, &r, "-device", "pvpanic");
	else if (l->machine == QEMU_VIRT) {
		next_place(l, at, &slot, &r, e);
		option_add(&p->builtin, &r, "-device", "pvpanic-pci,%s", at);
	}
	next_place(l, at, &p->vsock_slot, &r, e);
	return end_of_plan(r, e);
}

int qemu_plan_init(struct qemu_plan *plan, const struct vm_config *c, const struct qemu_facts *f, struct err *e)
{
	int r;

	plan->config = c;
	plan->facts = f;
	r = qemu_machine_parse(c->hv, f->arch, &plan->layout.machine, e);
	if (r == 0)
		r = check_config(c, plan->layout.machine, f, e);
	/* See add_accel(). Processors that take turns wait for each other's turns: the second did not come up in a
	 * minute. */
	if (r == 0 && qemu_counts_instructions(plan) && c->vcpus > 1)
		r = err_set(e, ERR_CONFIG, ENOTSUP,
			    "machine_type = \"microvm\" without KVM can have one vCPU, not %u: use \"q35\"", c->vcpus);
	if (r < 0)
		return r;
	plan->vsock_socket = str_printf("%s/vsock-device.sock", c->run_dir);
	if (!plan->vsock_socket)
		return err_sys(e, ENOMEM, "QEMU's command line");
	if (strlen(plan->vsock_socket) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG,
			       "%s: the path of a Unix socket has at most 107 bytes; use a shorter run directory",
			       plan->vsock_socket);
	r = plan_bus(plan, e);
	if (r == 0)
		r = plan_builtin(plan, e);
	if (r == 0 && !str_empty(c->image) && !qemu_image_is_pmem(c, plan->layout.machine)) {
		struct vm_device image = { .kind = VM_DEVICE_BLOCK,
					   .id = (char *)(uintptr_t) "image",
					   .u.block = { .path = c->image, .readonly = true } };

		r = qemu_plan_device(plan, &image, e);
	}
	return r;
}

void qemu_plan_fini(struct qemu_plan *plan)
{
	strv_fini(&plan->builtin);
	strv_fini(&plan->devices);
	free(plan->vsock_socket);
	plan->vsock_socket = NULL;
}

/*
 * microvm's ACPI tables say "hardware-reduced", so Linux uses neither PIT nor PM timer, and its only tick is the local
 * APIC's timer. It learns that timer's rate at boot, by looking at it at the first and the last of 100 ms of the TSC.
 * Under emulation both go on while the virtual CPU does not run: on a busy host the rate came out wrong by half, and
 * whenever the CPU was kept from running for the 100 ms the kernel said "APIC frequency too slow, disabling apic timer"
 * and was left without any tick, so that the first sleep never ended. Other machines correct the rate by their PM
 * timer. No kernel parameter helps: nolapic_timer takes the only tick away, and the rate cannot be given.
 * Hence -icount: virtual time, which TSC and timer both show, goes on by executed instructions (adjusted to real time
 * over the long run) and, when the guest sleeps, by the clock. The rate is then exact, whatever the host does. A boot
 * takes half as much CPU time again, and there can be one vCPU only.
 *
 * Translated code is kept, and would take up to 1 GiB beside the guest's memory in a few minutes: more than sizing
 * keeps free for QEMU (vmm_memory_mib), so that the limit of the pod's cgroup killed it. With 32 MiB all of QEMU stays
 * below that, at a few percent more CPU time.
 */
#define TRANSLATED_MIB "32"

static void add_accel(const struct qemu_plan *p, struct strv *a, int *r)
{
	if (p->facts->kvm) {
		option_add(a, r, "-accel", "kvm");
	} else if (qemu_counts_instructions(p)) {
		option_add(a, r, "-accel", "tcg,thread=single,tb-size=" TRANSLATED_MIB);
		option_add(a, r, "-icount", "shift=auto");
	} else {
		option_add(a, r, "-accel", "tcg,thread=multi,tb-size=" TRANSLATED_MIB);
	}
}

static void add_machine(const struct qemu_plan *p, struct strv *a, int *r)
{
	const struct config_hypervisor *hv = p->config->hv;
	const char *extra = hv->machine_accelerators;
	_cleanup_buf_ struct buf m = { 0 };

	switch (p->layout.machine) {
	case QEMU_Q35:
		/*
		 * Nothing that a container needs and much that a kernel probes: no floppy, VGA, USB, SATA, SMBus, HPET,
		 * VMware port. (Boot time is within noise of the full machine; it is fewer lines of attack.) Not
		 * graphics=off: SeaBIOS would then print on the guest's console. Not i8042=off: reboot=k, which Kata
		 * asks for, then takes 6 s instead of none.
		 */
		*r = buf_puts(&m, "q35,vmport=off,hpet=off,usb=off,sata=off,smbus=off");
		if (*r == 0 && str_empty(hv->firmware) && !hv->pflashes.len)
			*r = buf_puts(&m, ",smm=off");
		break;
	case QEMU_MICROVM:
		/* ACPI: Debian's kernel finds virtio-mmio devices there and nowhere else. */
		*r = buf_puts(&m, "microvm,acpi=on,rtc=on,pcie=off,usb=off");
		break;
	case QEMU_VIRT:
		*r = buf_puts(&m, p->facts->kvm ? "virt,gic-version=host" : "virt,gic-version=3");
		if (*r == 0 && hv->enable_iommu)
			*r = buf_puts(&m, ",iommu=smmuv3");
		break;
	}
	if (*r == 0 && qemu_image_is_pmem(p->config, p->layout.machine))
		*r = buf_puts(&m, ",nvdimm=on");
	/* A vIOMMU that remaps interrupts needs the I/O APIC in QEMU; under TCG it is there anyway. */
	if (*r == 0 && p->facts->kvm && p->layout.machine == QEMU_Q35)
		*r = buf_puts(&m, hv->enable_iommu ? ",kernel_irqchip=split" : ",kernel_irqchip=on");
	if (*r == 0)
		*r = buf_puts(&m, ",memory-backend=memory");
	if (*r == 0 && !str_empty(extra))
		*r = buf_printf(&m, ",%s", extra);
	option_add(a, r, "-machine", "%s", m.data ? m.data : "");
	add_accel(p, a, r);
	/*
	 * erms=off: the guest's kernel clears and copies memory with "rep stosb" and "rep movsb" where a processor says
	 * that it is good at them, and emulation goes byte by byte. Without, it takes eight at a time.
	 */
	option_add(a, r, "-cpu", "%s%s%s",
		   p->facts->kvm                    ? "host"
		   : p->layout.machine == QEMU_VIRT ? "max"
						    : "max,erms=off",
		   str_empty(hv->cpu_features) ? "" : ",", str_empty(hv->cpu_features) ? "" : hv->cpu_features);
	if (p->layout.machine == QEMU_MICROVM)
		/* vhost-user devices refuse the legacy interface, which is the default of virtio-mmio. */
		option_add(a, r, "-global", "virtio-mmio.force-legacy=false");
	else if (p->layout.machine == QEMU_Q35 && p->facts->kvm && !hv->enable_iommu)
		option_add(a, r, "-global", "kvm-pit.lost_tick_policy=discard");
}

/*
 * An emulated machine has room for a second CPU, even if none ever comes. Of one that can have a single CPU, QEMU
 * supposes that nobody else looks at its memory, and translates memory barriers and locked instructions into ordinary
 * ones (CF_PARALLEL is off). But virtiofsd and our vsock device are other processes. Each side of a ring writes its own
 * index, passes a barrier, and looks at the other's to see whether to notify it; without the guest's barrier both
 * could see the old one, and the guest waited for ever for an answer that was there: in one laboratory of some hundred.
 * With -icount (microvm) there is no such switch, and that remains.
 */
static void add_cpus(const struct qemu_plan *p, struct strv *a, int *r)
{
	const struct vm_config *c = p->config;
	uint32_t max = wants_cpu_hotplug(p) ? c->max_vcpus : c->vcpus;

	if (!p->facts->kvm && !qemu_counts_instructions(p) && max < 2)
		max = 2;
	if (max > c->vcpus)
		option_add(a, r, "-smp", "%u,maxcpus=%u", c->vcpus, max);
	else
		option_add(a, r, "-smp", "%u", c->vcpus);
}

static void add_memory(const struct qemu_plan *p, struct strv *a, int *r)
{
	const struct vm_config *c = p->config;
	bool pmem = qemu_image_is_pmem(c, p->layout.machine);
	bool huge = c->hv->enable_hugepages && !str_eq(c->hv->hugepage_type, "thp");
	unsigned long long max = c->memory_mib + c->hv->memory_offset;
	_cleanup_free_ char *image = pmem ? qemu_escape(c->image) : NULL;

	if (qemu_wants_memory_hotplug(p))
		max = c->max_memory_mib + c->hv->memory_offset;
	if (pmem) /* the image takes room of the hot-plug area; DIMMs there are aligned to 1 GiB */
		max += p->facts->image_bytes / (1024 * 1024) + 1024;
	if (pmem || qemu_wants_memory_hotplug(p))
		option_add(a, r, "-m", "%lluM,slots=%u,maxmem=%lluM", (unsigned long long)c->memory_mib,
			   c->hv->memory_slots ? c->hv->memory_slots : 10, max);
	else
		option_add(a, r, "-m", "%lluM", (unsigned long long)c->memory_mib);
	/* share=on always: the vsock back end reaches the guest's memory through this descriptor. */
	option_add(a, r, "-object", "memory-backend-memfd,id=memory,size=%lluM,share=on%s%s",
		   (unsigned long long)c->memory_mib, huge ? ",hugetlb=on" : "",
		   c->hv->enable_mem_prealloc ? ",prealloc=on" : "");
	if (pmem) {
		if (!image)
			*r = -ENOMEM;
		option_add(a, r, "-object", "memory-backend-file,id=image,mem-path=%s,size=%llu,share=on,readonly=on",
			   image, (unsigned long long)p->facts->image_bytes);
		option_add(a, r, "-device", "nvdimm,id=nvdimm0,memdev=image,unarmed=on");
	}
}

static int add_monitors(const struct qemu_plan *p, const struct qemu_fds *fds, struct strv *a, int *r, struct err *e)
{
	const struct config_hypervisor *hv = p->config->hv;
	const char *mode = hv->extra_monitor_socket;
	_cleanup_free_ char *path = NULL, *escaped = NULL;

	option_add(a, r, "-chardev", "socket,id=monitor,fd=%d", fds->monitor);
	option_add(a, r, "-mon", "chardev=monitor,mode=control");
	if (str_empty(mode) || !hv->enable_debug)
		return 0;
	if (!str_eq(mode, "hmp") && !str_eq(mode, "qmp") && !str_eq(mode, "qmp-pretty"))
		return err_set(e, ERR_CONFIG, EINVAL, "extra_monitor_socket = \"%s\": use hmp, qmp or qmp-pretty",
			       mode);
	path = str_printf("%s/debug-monitor.sock", p->config->run_dir);
	escaped = path ? qemu_escape(path) : NULL;
	if (!escaped)
		*r = -ENOMEM;
	option_add(a, r, "-chardev", "socket,id=debug-monitor,path=%s,server=on,wait=off", escaped);
	option_add(a, r, "-mon", "chardev=debug-monitor,mode=%s%s", str_eq(mode, "hmp") ? "readline" : "control",
		   str_eq(mode, "qmp-pretty") ? ",pretty=on" : "");
	return 0;
}

static void add_console(const struct qemu_plan *p, const struct qemu_fds *fds, struct strv *a, int *r)
{
	/* A pipe, by way of an fd set: unlike a socket it holds many short writes, and a full one never blocks QEMU.
	 * append=on: else QEMU truncates it, which a pipe refuses. */
	option_add(a, r, "-add-fd", "fd=%d,set=1,opaque=console", fds->console);
	option_add(a, r, "-chardev", "file,id=console,path=/dev/fdset/1,append=on%s",
		   qemu_has_virtconsole(p) ? ",mux=on" : "");
	option_add(a, r, "-serial", "chardev:console");
}

static void add_firmware(const struct qemu_plan *p, struct strv *a, int *r)
{
	const struct config_hypervisor *hv = p->config->hv;
	_cleanup_free_ char *code = qemu_escape(hv->firmware ? hv->firmware : ""),
			    *vars = qemu_escape(hv->firmware_volume ? hv->firmware_volume : "");
	unsigned unit = 0;

	if (!code || !vars) {
		*r = -ENOMEM;
		return;
	}
	if (*code && *vars) {
		option_add(a, r, "-drive", "if=pflash,unit=%u,format=raw,readonly=on,file=%s", unit++, code);
		option_add(a, r, "-drive", "if=pflash,unit=%u,format=raw,file=%s", unit++, vars);
	} else if (*code) {
		option_add(a, r, "-bios", "%s", hv->firmware);
	}
	for (size_t i = 0; i < hv->pflashes.len; i++) {
		_cleanup_free_ char *file = qemu_escape(hv->pflashes.v[i]);

		if (!file)
			*r = -ENOMEM;
		option_add(a, r, "-drive", "if=pflash,unit=%u,format=raw,file=%s", unit++, file);
	}
}

static void add_vsock(const struct qemu_plan *p, const struct qemu_fds *fds, struct strv *a, int *r)
{
	bool pci = p->layout.machine != QEMU_MICROVM;
	const char *kind = pci ? "pci" : "device";
	_cleanup_free_ char *socket = qemu_escape(p->vsock_socket);
	char at[40];

	snprintf(at, sizeof at, pci ? "bus=pcie.0,addr=0x%x" : "bus=virtio-mmio-bus.%d", (unsigned)p->vsock_slot);
	if (fds->vsock >= 0) {
		/* The CID is set on the descriptor already; QEMU sets the same again. */
		option_add(a, r, "-device", "vhost-vsock-%s,id=vsock0,vhostfd=%d,guest-cid=%u,%s", kind, fds->vsock,
			   fds->guest_cid, at);
		return;
	}
	if (!socket)
		*r = -ENOMEM;
	option_add(a, r, "-chardev", "socket,id=vsock,path=%s", socket);
	option_add(a, r, "-device", "vhost-user-vsock-%s,id=vsock0,chardev=vsock,%s", kind, at);
}

int qemu_argv(const struct qemu_plan *p, const struct qemu_fds *fds, struct strv *ret, struct err *e)
{
	const struct vm_config *c = p->config;
	const char *sandbox = str_empty(c->hv->seccomp_sandbox) ? SANDBOX_DEFAULT : c->hv->seccomp_sandbox;
	_cleanup_strv_ struct strv a = { 0 };
	_cleanup_buf_ struct buf append = { 0 };
	int r = qemu_kernel_command_line(p, &append, e);

	if (r < 0)
		return r;
	r = strv_add(&a, p->facts->path);
	option_add(&a, &r, "-name", "guest=sandbox-%s,debug-threads=on", c->id);
	if (!str_eq(sandbox, "off"))
		option_add(&a, &r, "-sandbox", "%s", sandbox);
	if (r == 0)
		r = strv_add(&a, "-no-user-config");
	if (r == 0)
		r = strv_add(&a, "-nodefaults");
	option_add(&a, &r, "-display", "none");
	if (r == 0)
		r = strv_add(&a, "-no-reboot");
	add_machine(p, &a, &r);
	add_cpus(p, &a, &r);
	add_memory(p, &a, &r);
	option_add(&a, &r, "-rtc", "base=utc,clock=host%s", p->layout.machine == QEMU_VIRT ? "" : ",driftfix=slew");
	if (add_monitors(p, fds, &a, &r, e) < 0)
		return -EINVAL;
	add_console(p, fds, &a, &r);
	add_firmware(p, &a, &r);
	option_add(&a, &r, "-kernel", "%s", c->kernel);
	if (!str_empty(c->initrd))
		option_add(&a, &r, "-initrd", "%s", c->initrd);
	option_add(&a, &r, "-append", "%s", append.data ? append.data : "");
	option_add_all(&a, &p->builtin, &r);
	add_vsock(p, fds, &a, &r);
	option_add_all(&a, &p->devices, &r);
	if (r < 0)
		return err_sys(e, -r, "QEMU's command line");
	*ret = a;
	a = (struct strv){ 0 };
	return 0;
}
