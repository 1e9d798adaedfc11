/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The driver of the built-in VMM (include/caisson/vmm.h), which runs on threads of this process: no program to find, no
 * protocol to speak, and what other drivers start as helpers is a device of the library here.
 *
 * Two shapes. "Cloud" (PCI) is the default: it can plug disks and network cards while it runs, which the later
 * containers of a pod need, and its interrupts cost a guest less. "Micro" (virtio-mmio) is chosen by
 * block_device_driver = "virtio-blk-mmio", for kernels without PCI.
 *
 * The guest's console is the serial port: the VMM writes into a pipe that hypervisor/console.h reads. It never blocks
 * on it: what nobody reads in time is lost.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "caisson/vmm.h"

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "hypervisor/builtin.h"
#include "hypervisor/console.h"
#include "hypervisor/guest_params.h"
#include "hypervisor/guest_root.h"

#define CONSOLE_LOG_MAX (1u << 20)
#define GUEST_CID       3
#define UNPLUG_MS       15000

struct builtin_vm {
	struct vm vm;
	struct loop *loop;
	struct vmm *vmm;
	enum vmm_shape shape;
	unsigned n_disks, n_fs;
	uint64_t boot_mib;
	bool has_memory; /* a virtio-mem device */
	int console_write;
	struct loop_source *ended;
};

static struct builtin_vm *builtin_vm_of(struct vm *vm)
{
	return container_of(vm, struct builtin_vm, vm);
}

static enum vmm_shape shape_of(const struct config_hypervisor *hv)
{
	return str_endswith(hv->block_device_driver, "mmio") ? VMM_SHAPE_MICRO : VMM_SHAPE_CLOUD;
}

static bool image_is_pmem(const struct vm_config *c)
{
	return !str_empty(c->image) && str_eq(c->hv->vm_rootfs_driver, "virtio-pmem");
}

/* --- the host --- */

static void capabilities(const struct config_hypervisor *hv, struct vm_capabilities *ret)
{
	bool plugs = shape_of(hv) == VMM_SHAPE_CLOUD;

	*ret = (struct vm_capabilities){
		.block = true,
		.block_hotplug = plugs,
		.block_discard = true,
		.block_resize = true,
		.net_hotplug = plugs,
		.net_passt = true,
		.fs_sharing = true,
		.cpu_hotplug = BUILTIN_CPU_HOTPLUG,
		.memory_hotplug = true,
		.pause = true,
		.snapshot = true,
		.balloon = true,
		.image_boot = true,
		.initrd_boot = true,
		.multi_queue_net = true,
		.tap_fds = true,
	};
}

static int check(const struct config_hypervisor *hv, struct vm_host_report *ret, struct err *e)
{
	*ret = (struct vm_host_report){ .architectures = BUILTIN_ARCH };
	snprintf(ret->path, sizeof ret->path, "built in");
	snprintf(ret->version, sizeof ret->version, "%s", CAISSON_VERSION);
	if (!hypervisor_kvm_usable(ret->reason, sizeof ret->reason)) {
		snprintf(ret->why_not, sizeof ret->why_not, "it runs guests on KVM only");
		return 0;
	}
	ret->usable = true;
	snprintf(ret->acceleration, sizeof ret->acceleration, "kvm");
	capabilities(hv, &ret->can);
	snprintf(ret->why_not, sizeof ret->why_not,
		 "fs_sharing_9p: use virtio-fs; net_user: needs passt; vfio, tdx, sev_snp: not supported yet%s%s",
		 ret->can.cpu_hotplug ? "" : "; cpu_hotplug: not on arm64",
		 ret->can.block_hotplug
			 ? ""
			 : "; block_hotplug, net_hotplug: not with block_device_driver = \"virtio-blk-mmio\"");
	return 0;
}

/* --- the guest's kernel command line --- */

static int add_defaults(const struct vm_config *c, struct strv *p)
{
	int r = guest_params_any(p);
#ifdef __x86_64__
	static const char *const x86[] = {
		/* No timer but the TSC and the local APIC's: there is nothing to check them against. */
		"tsc=reliable",
		"no_timer_check",
		"reboot=t",
		/* The keyboard controller is there for reset only. */
		"i8042.noaux",
		"i8042.nomux",
		"i8042.dumbkbd",
	};

	for (size_t i = 0; i < sizeof x86 / sizeof *x86 && r == 0; i++)
		r = strv_add(p, x86[i]);
	/* Elsewhere the device tree says that there is none. */
	if (r == 0 && shape_of(c->hv) == VMM_SHAPE_MICRO)
		r = strv_add(p, "pci=off");
#endif
	if (r == 0)
		r = guest_params_manner(c->hv, p);
	return r == 0 ? strv_add(p, BUILTIN_CONSOLE) : r;
}

static int command_line(const struct vm_config *c, struct buf *ret, struct err *e)
{
	_cleanup_strv_ struct strv p = { 0 };
	int r = add_defaults(c, &p);

	if (r == 0 && (r = guest_root_params(c, image_is_pmem(c), image_is_pmem(c), &p, e)) < 0)
		return r;
	for (size_t i = 0; i < c->kernel_params.len && r == 0; i++)
		r = strv_add(&p, c->kernel_params.v[i]);
	return r < 0 ? err_sys(e, -r, "kernel command line") : guest_params_join(&p, 0, ret, e);
}

/* --- prepare --- */

static int open_console(struct builtin_vm *b, struct err *e)
{
	const struct vm_config *c = b->vm.config;
	_cleanup_free_ char *log = c->console_log ? str_printf("%s/console.log", c->run_dir) : NULL;
	int p[2], r;

	if (c->console_log && !log)
		return err_sys(e, ENOMEM, "console");
	if (pipe2(p, O_CLOEXEC | O_NONBLOCK) < 0)
		return err_sys(e, errno, "cannot make a pipe for the console");
	b->console_write = p[1];
	r = console_new(b->loop, p[0], log, CONSOLE_LOG_MAX, "guest: ", &b->vm.console, e);
	if (r == 0)
		fcntl(p[1], F_SETPIPE_SZ, 256 << 10); /* a boot's worth, so that nothing is lost while we wait */
	return r;
}

static uint32_t max_vcpus(const struct vm_config *c)
{
	if (!BUILTIN_CPU_HOTPLUG)
		return c->vcpus;
	return c->max_vcpus < VMM_VCPUS_MAX ? c->max_vcpus : VMM_VCPUS_MAX;
}

/* The one of QEMU's options of a machine that this one has too. */
static int wants_split_irqchip(const struct config_hypervisor *hv, bool *ret, struct err *e)
{
	const char *accelerators = hv->machine_accelerators;

	*ret = str_eq(accelerators, "kernel_irqchip=split");
	if (*ret || str_empty(accelerators) || str_eq(accelerators, "kernel_irqchip=on"))
		return 0;
	return err_set(e, ERR_CONFIG, EINVAL,
		       "machine_accelerators = \"%s\": the built-in VMM has \"kernel_irqchip=on\" and "
		       "\"kernel_irqchip=split\"",
		       accelerators);
}

static int make_vmm(struct builtin_vm *b, struct err *e)
{
	const struct vm_config *c = b->vm.config;
	bool thp = str_eq(c->hv->hugepage_type, "thp");
	_cleanup_buf_ struct buf cmdline = { 0 };
	struct vmm_config v = {
		.name = c->id,
		.shape = b->shape,
		.vcpus = c->vcpus,
		.max_vcpus = max_vcpus(c),
		.memory = c->memory_mib << 20,
		.shared_memory = c->shared_memory,
		.hugepages = c->hv->enable_hugepages && !thp,
		.large_pages = c->hv->enable_hugepages && thp,
		.prealloc = c->hv->enable_mem_prealloc,
		.kernel = c->kernel,
		.initrd = str_empty(c->initrd) ? NULL : c->initrd,
		.serial_in = -1,
		.serial_out = b->console_write,
		.seccomp = !c->hv->disable_seccomp,
	};
	int r = wants_split_irqchip(c->hv, &v.split_irqchip, e);

	if (r == 0)
		r = command_line(c, &cmdline, e);
	if (r < 0)
		return r;
	v.cmdline = cmdline.data;
	return vmm_new(&v, &b->vmm, e);
}

/* What every guest has: entropy, the agent's channel, a balloon when freed memory shall go back, room to grow. */
static int add_fixed_devices(struct builtin_vm *b, struct err *e)
{
	const struct vm_config *c = b->vm.config;
	_cleanup_free_ char *uds = str_printf("%s/vsock.sock", c->run_dir);
	struct vmm_vsock vsock = { .cid = GUEST_CID, .uds_path = uds };
	struct vmm_balloon balloon = { .deflate_on_oom = true, .free_page_reporting = true };
	struct vmm_memory memory = { .max = (c->max_memory_mib - c->memory_mib) / 128 * 128 << 20 };
	int r;

	if (!uds)
		return err_sys(e, ENOMEM, "vsock");
	snprintf(b->vm.agent_address, sizeof b->vm.agent_address, "hvsock:%s", uds);
	r = vmm_add_vsock(b->vmm, "vsock", &vsock, e);
	if (r == 0)
		r = vmm_add_rng(b->vmm, "rng", NULL, e);
	if (r == 0 && c->hv->reclaim_guest_freed_memory)
		r = vmm_add_balloon(b->vmm, "balloon", &balloon, e);
	if (r == 0 && memory.max) {
		r = vmm_add_memory(b->vmm, "memory", &memory, e);
		b->has_memory = r == 0;
	}
	return r;
}

static int add_image(struct builtin_vm *b, struct err *e)
{
	const struct vm_config *c = b->vm.config;
	struct vmm_block block = { .path = c->image, .fd = -1, .readonly = true };
	struct vmm_pmem pmem = { .path = c->image, .readonly = true };

	if (str_empty(c->image))
		return 0;
	if (image_is_pmem(c))
		return vmm_add_pmem(b->vmm, "image", &pmem, e);
	b->n_disks++;
	return vmm_add_block(b->vmm, "image", &block, e);
}

static void vm_free(struct vm *vm)
{
	struct builtin_vm *b;

	if (!vm)
		return;
	b = builtin_vm_of(vm);
	vmm_free(b->vmm);
	console_free(vm->console);
	fd_close(&b->console_write);
	free(b);
}

static int prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct builtin_vm *b;
	char why[256];
	int r;

	if (!hypervisor_kvm_usable(why, sizeof why))
		return err_set(e, ERR_HYPERVISOR, ENODEV, "the built-in VMM cannot run here: %s", why);
	if (c->use_vhost_vsock)
		log_warn("use_vsock: the built-in VMM has its own vsock device and does not use the host kernel's");
	b = calloc(1, sizeof *b);
	if (!b)
		return err_sys(e, ENOMEM, "cannot make a VM");
	b->vm = (struct vm){ .driver = &builtin_driver, .config = c, .exit_fd = -1, .interrupt_fd = -1 };
	b->loop = loop;
	b->console_write = -1;
	b->shape = shape_of(c->hv);
	b->boot_mib = c->memory_mib;
	r = open_console(b, e);
	if (r == 0)
		r = make_vmm(b, e);
	if (r == 0)
		r = add_image(b, e);
	if (r == 0)
		r = add_fixed_devices(b, e);
	if (r < 0) {
		vm_free(&b->vm);
		return r;
	}
	*ret = &b->vm;
	return 0;
}

/* --- devices --- */

static void fill_address(struct builtin_vm *b, struct vm_device *d, unsigned disk)
{
	char path[VMM_PCI_PATH_SIZE];

	if (vmm_pci_path(b->vmm, d->id, path) == 0) {
		d->address_kind = VM_ADDRESS_PCI;
		snprintf(d->address, sizeof d->address, "%s", path);
	} else if (d->kind == VM_DEVICE_BLOCK && disk < 26) {
		d->address_kind = VM_ADDRESS_DEVICE;
		snprintf(d->address, sizeof d->address, "/dev/vd%c", (char)('a' + disk));
	}
}

static int add_block(struct builtin_vm *b, const struct vm_device *d, struct err *e)
{
	const struct config_hypervisor *hv = b->vm.config->hv;
	struct vmm_block c = {
		.path = d->u.block.path,
		.fd = -1,
		.readonly = d->u.block.readonly,
		.flush = !(hv->block_device_cache_set && hv->block_device_cache_noflush),
		.discard = d->u.block.discard,
		.direct = hv->block_device_cache_set && hv->block_device_cache_direct,
		.io_uring = true,
		.own_thread = hv->enable_iothreads,
		.queues = hv->num_queues,
		.queue_size = hv->queue_size,
		.serial = str_empty(d->u.block.serial) ? NULL : d->u.block.serial,
	};

	if (b->shape == VMM_SHAPE_MICRO && b->n_disks >= 26)
		return err_set(e, ERR_LIMIT, ENOSPC, "disk %s: this machine has no room for more than 26 disks", d->id);
	return vmm_add_block(b->vmm, d->id, &c, e);
}

static int add_net(struct builtin_vm *b, const struct vm_device *d, struct err *e)
{
	const struct vm_net *n = &d->u.net;
	_cleanup_free_ int *fds = NULL;
	struct vmm_net c = { .mac = n->mac[0] ? n->mac : NULL, .mtu = (uint16_t)n->mtu };
	int r = 0;

	if (str_eq(n->mode, "passt")) {
		c.socket = n->socket;
	} else if (!str_eq(n->mode, "tap")) {
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"the built-in VMM has no user-mode network of its own: install passt (Debian: apt install "
			"passt)");
	} else if (!n->n_tap_fds) {
		c.tap = n->tap;
		c.queue_pairs = b->vm.config->hv->network_queues;
	} else {
		/* The caller closes its own. */
		fds = calloc(n->n_tap_fds, sizeof *fds);
		if (!fds)
			return err_sys(e, ENOMEM, "network device %s", d->id);
		for (; c.n_tap_fds < n->n_tap_fds && r == 0; c.n_tap_fds++) {
			fds[c.n_tap_fds] = fcntl(n->tap_fds[c.n_tap_fds], F_DUPFD_CLOEXEC, 3);
			if (fds[c.n_tap_fds] < 0)
				r = err_sys(e, errno, "network device %s", d->id);
		}
		c.tap_fds = fds;
	}
	if (r == 0)
		r = vmm_add_net(b->vmm, d->id, &c, e);
	for (size_t i = 0; r < 0 && i < c.n_tap_fds; i++)
		fd_close(&fds[i]);
	return r;
}

static int add_device(struct vm *vm, struct vm_device *d, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);
	struct vmm_fs fs;
	int r = -ENOTSUP;

	switch (d->kind) {
	case VM_DEVICE_BLOCK:
		r = add_block(b, d, e);
		break;
	case VM_DEVICE_NET:
		r = add_net(b, d, e);
		break;
	case VM_DEVICE_FS:
		fs = (struct vmm_fs){ .tag = d->u.fs.tag, .socket = d->u.fs.socket, .queue_size = d->u.fs.queue_size };
		r = vmm_add_fs(b->vmm, d->id, &fs, e);
		break;
	case VM_DEVICE_9P:
		err_set(e, ERR_CONFIG, ENOTSUP, "the built-in VMM has no 9p: use shared_fs = \"virtio-fs\"");
		break;
	case VM_DEVICE_VFIO:
		err_set(e, ERR_CONFIG, ENOTSUP, "the built-in VMM cannot pass on host devices yet");
		break;
	}
	if (r < 0)
		return r;
	fill_address(b, d, b->n_disks);
	b->n_disks += d->kind == VM_DEVICE_BLOCK;
	return 0;
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	return vmm_remove(builtin_vm_of(vm)->vmm, id, (int)vm_unplug_ms(vm, UNPLUG_MS), e);
}

static int resize_block(struct vm *vm, const struct vm_device *disk, struct err *e)
{
	return vmm_update_block(builtin_vm_of(vm)->vmm, disk->id, disk->u.block.path, NULL, e);
}

/* Each device as one line; there is no command line to show. */
static int describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
		    struct err *e)
{
	static const char *const kinds[] = { "block", "net", "fs", "9p", "vfio" };
	_cleanup_buf_ struct buf cmdline = { 0 };
	int r = command_line(c, &cmdline, e);

	if (r < 0)
		return r;
	r = strv_addf(ret, "built-in VMM, shape %s", shape_of(c->hv) == VMM_SHAPE_CLOUD ? "cloud" : "micro");
	if (r == 0)
		r = strv_addf(ret, "kernel=%s", c->kernel);
	if (r == 0 && !str_empty(c->initrd))
		r = strv_addf(ret, "initrd=%s", c->initrd);
	if (r == 0 && !str_empty(c->image))
		r = strv_addf(ret, "image=%s", c->image);
	if (r == 0)
		r = strv_addf(ret, "cmdline=%s", cmdline.data);
	for (size_t i = 0; i < n && r == 0; i++)
		r = strv_addf(ret, "%s=%s", kinds[devices[i]->kind], devices[i]->id);
	return r < 0 ? err_sys(e, -r, "cannot describe the VM") : 0;
}

/* --- life --- */

static int start(struct vm *vm, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);
	int r = vmm_start(b->vmm, e);

	if (r < 0)
		return r;
	vm->exit_fd = vmm_exit_fd(b->vmm);
	log_info("the built-in VMM runs the guest on KVM");
	return 0;
}

static int pause_vm(struct vm *vm, struct err *e)
{
	return vmm_pause(builtin_vm_of(vm)->vmm, e);
}

static int resume_vm(struct vm *vm, struct err *e)
{
	return vmm_resume(builtin_vm_of(vm)->vmm, e);
}

static int save(struct vm *vm, const char *dir, struct err *e)
{
	_cleanup_free_ char *state = str_printf("%s/state", dir), *memory = str_printf("%s/memory", dir);
	struct vmm_snapshot s = { .state_path = state, .memory_path = memory };

	if (!state || !memory)
		return err_sys(e, ENOMEM, "snapshot");
	return vmm_snapshot(builtin_vm_of(vm)->vmm, &s, e);
}

/* In place of the VM that prepare() made, with this VM's own sockets; paused. */
static int restore(struct vm *vm, const char *dir, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);
	_cleanup_free_ char *state = str_printf("%s/state", dir), *memory = str_printf("%s/memory", dir);
	_cleanup_free_ char *uds = str_printf("%s/vsock.sock", vm->config->run_dir);
	struct vmm_override overrides[] = { { "vsock", uds } };
	struct vmm_restore c = {
		.state_path = state,
		.memory_path = memory,
		.serial_in = -1,
		.serial_out = b->console_write,
		.seccomp = !vm->config->hv->disable_seccomp,
		.overrides = overrides,
		.n_overrides = 1,
	};
	int r;

	if (!state || !memory || !uds)
		return err_sys(e, ENOMEM, "snapshot");
	vmm_free(take_ptr(b->vmm));
	r = vmm_restore(&c, &b->vmm, e);
	if (r == 0)
		vm->exit_fd = vmm_exit_fd(b->vmm);
	return r;
}

static int resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	return vmm_set_vcpus(builtin_vm_of(vm)->vmm, vcpus, ret, e);
}

static int resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);
	struct vmm_memory_status status;
	uint64_t more;
	int r;

	if (!b->has_memory)
		return err_set(e, ERR_CONFIG, ENOTSUP, "memory cannot be resized: set default_maxmemory");
	r = vmm_memory_status(b->vmm, &status, e);
	if (r < 0)
		return r;
	/* Whole blocks, rounded up. */
	more = ((mib > b->boot_mib ? mib - b->boot_mib : 0) << 20) + status.block - 1;
	r = vmm_set_memory(b->vmm, more / status.block * status.block, e);
	if (r == 0)
		r = vmm_memory_status(b->vmm, &status, e);
	if (r == 0)
		*ret = b->boot_mib + (status.requested >> 20);
	return r;
}

static int info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	*ret = (struct vm_process_info){ .vmm_pid = getpid() };
	ret->n_vcpus = vmm_vcpu_threads(builtin_vm_of(vm)->vmm, ret->vcpu_tids, 64);
	return 0;
}

struct counter_sink {
	vm_counter_fn fn;
	void *userdata;
};

static void pass_counter(void *userdata, const struct vmm_count *c)
{
	struct counter_sink *sink = userdata;

	sink->fn(c->kind, c->id, c->name, c->value, sink->userdata);
}

static int counters(struct vm *vm, vm_counter_fn fn, void *userdata, struct err *e)
{
	vmm_stats(builtin_vm_of(vm)->vmm, pass_counter, &(struct counter_sink){ fn, userdata });
	return 0;
}

static int explain_exit(struct vm *vm, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);
	struct vmm_exit x = { 0 };
	const char *panic;

	console_drain(vm->console);
	if (b->vmm)
		vmm_exit_info(b->vmm, &x);
	panic = console_find(vm->console, "Kernel panic");
	if (panic || x.end == VMM_END_PANIC)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest kernel panicked: %s",
			       panic ? panic : "no message on the console");
	switch (x.end) {
	case VMM_END_POWEROFF:
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest powered off");
	case VMM_END_RESET:
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest rebooted or crashed (reset)%s%s",
			       x.text[0] ? ": " : "", x.text);
	case VMM_END_ERROR:
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: %s", x.text);
	case VMM_END_STOPPED:
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: it was stopped");
	default:
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM is not running");
	}
}

static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct builtin_vm *b = builtin_vm_of(vm);

	if (!b->vmm)
		return 0;
	if (grace_ms > 0 && vmm_state(b->vmm) == VMM_RUNNING && vmm_power_button(b->vmm, NULL) == 0)
		vm_wait_exit(vm, grace_ms);
	vmm_stop(b->vmm);
	return 0;
}

static const char *const aliases[] = { "dragonball", NULL };

/* What this driver, or the runtime on its behalf, acts upon. The rest of Kata's keys are warned about. */
static const char *const honoured_keys[] = {
	"enable_annotations",
	"kernel",
	"image",
	"initrd",
	"kernel_params",
	"kernel_verity_params",
	"machine_accelerators",
	"rootfs_type",
	"default_vcpus",
	"default_maxvcpus",
	"default_memory",
	"default_maxmemory",
	"enable_mem_prealloc",
	"enable_hugepages",
	"hugepage_type",
	"reclaim_guest_freed_memory",
	"shared_fs",
	"virtio_fs_daemon",
	"valid_virtio_fs_daemon_paths",
	"virtio_fs_queue_size",
	"virtio_fs_extra_args",
	"virtio_fs_cache",
	"block_device_driver",
	"block_device_cache_set",
	"block_device_cache_direct",
	"block_device_cache_noflush",
	"num_queues",
	"queue_size",
	"network_queues",
	"enable_iothreads",
	"enable_debug",
	"vm_rootfs_driver",
	"disable_guest_selinux",
	"disable_seccomp",
	"guest_hook_path",
	"overhead_vcpus",
	"overhead_memory",
	NULL,
};

const struct hypervisor_driver builtin_driver = {
	.name = "builtin",
	.aliases = aliases,
	.honoured_keys = honoured_keys,
	.needs_kvm = true,
	.check = check,
	.capabilities = capabilities,
	.describe = describe,
	.prepare = prepare,
	.add_device = add_device,
	.remove_device = remove_device,
	.start = start,
	.pause = pause_vm,
	.resume = resume_vm,
	.save = save,
	.restore = restore,
	.resize_vcpus = resize_vcpus,
	.resize_memory = resize_memory,
	.resize_block = resize_block,
	.info = info,
	.counters = counters,
	.vmm_memory_mib = 24,
	.explain_exit = explain_exit,
	.stop = stop,
	.free = vm_free,
};
