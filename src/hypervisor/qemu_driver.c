/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The QEMU driver: the life of a VM.
 *
 * QEMU is a direct child that dies with us. It gets three things from us: one end of a socketpair as its QMP monitor
 * (no path, nobody else can connect), the writing end of a pipe as its console, and the path of our vsock back end,
 * which runs on a thread of its own in this process. start() returns when QEMU answers QMP and the guest runs; the
 * guest itself boots on.
 *
 * QEMU is not trusted once the guest runs: it is a parser of guest bytes. It is sandboxed (-sandbox), every answer is
 * bounded in time and size (codec/qmp.h), and its pidfd tells its death at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "hypervisor/guest_files.h"
#include "hypervisor/qemu.h"
#include "hypervisor/qemu_vm.h"
#include "hypervisor/vhost_vsock.h"
#include "hypervisor/vm_console.h"
#include "hypervisor/vsock_service.h"

struct qemu_vm *qemu_vm_of(struct vm *vm)
{
	return container_of(vm, struct qemu_vm, vm);
}

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	struct qemu_vm *q = userdata;

	log_debug("QEMU: event %s", event);
	if (qmp_vmm_note_event(&q->vmm, event, data))
		return;
	if (str_eq(event, "STOP")) {
		q->paused = true;
	} else if (str_eq(event, "RESUME")) {
		q->paused = false;
	} else {
		qemu_plugged_event(q, event, data);
	}
}

/* --- how it ended --- */

static int explain_exit(struct vm *vm, struct err *e)
{
	return qmp_vmm_explain_exit(&qemu_vm_of(vm)->vmm, vm, e);
}

int qemu_command(struct qemu_vm *q, const char *command, struct json_object *args, int fd, struct json_object **ret,
		 struct err *e)
{
	return qmp_vmm_command(&q->vmm, &q->vm, command, args, fd, QEMU_COMMAND_MS, ret, e);
}

/* --- prepare --- */

static int prepare_vsock(struct qemu_vm *q, const struct vm_config *c, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (c->use_vhost_vsock)
		return vhost_vsock_claim(&q->vm, &q->vsock_fd, &q->guest_cid, e);
	path = str_printf("%s/vsock.sock", c->run_dir);
	if (!path)
		return err_sys(e, ENOMEM, "vsock");
	if (strlen(path) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG,
			       "%s: the path of a Unix socket has at most 107 bytes; use a shorter run directory",
			       path);
	snprintf(q->vm.agent_address, sizeof q->vm.agent_address, "hvsock:%s", path);
	return vsock_service_start(path, q->plan.vsock_socket, &q->vsock, e);
}

static void vm_free(struct vm *vm);

static int prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct qemu_vm *q = calloc(1, sizeof *q);
	int r;

	if (!q)
		return err_sys(e, ENOMEM, "cannot prepare the VM");
	q->vm = (struct vm){ .driver = &qemu_driver, .config = c, .exit_fd = -1, .interrupt_fd = -1 };
	q->vmm.name = "QEMU";
	q->loop = loop;
	q->vsock_fd = -1;
	q->unplug_ms = QEMU_UNPLUG_MS;
	list_init(&q->hotplugged);
	r = qemu_probe(c->hv, false, &q->facts, e);
	if (r == 0)
		r = guest_files_check(c, q->facts.arch, e);
	if (r == 0)
		r = qemu_image_facts(c, &q->facts, e);
	if (r == 0)
		r = qemu_plan_init(&q->plan, c, &q->facts, e);
	if (r == 0)
		r = prepare_vsock(q, c, e);
	if (r < 0) {
		vm_free(&q->vm);
		return r;
	}
	*ret = &q->vm;
	return 0;
}

static int describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
		    struct err *e)
{
	struct qemu_fds fds = { .monitor = 3, .console = 4, .vsock = c->use_vhost_vsock ? 5 : -1, .guest_cid = 3 };
	struct qemu_plan plan = { 0 };
	struct qemu_facts facts;
	int r = qemu_probe(c->hv, false, &facts, e);

	if (r < 0)
		return r;
	/* Without the image the command line can be told all the same; start() is who misses it. */
	if (!str_empty(c->image) && access(c->image, R_OK) == 0)
		r = qemu_image_facts(c, &facts, e);
	if (r == 0)
		r = qemu_plan_init(&plan, c, &facts, e);
	for (size_t i = 0; i < n && r == 0; i++)
		r = qemu_plan_device(&plan, devices[i], e);
	if (r == 0)
		r = qemu_argv(&plan, &fds, ret, e);
	qemu_plan_fini(&plan);
	return r;
}

/* --- devices before start --- */

static int add_cold(struct qemu_vm *q, struct vm_device *d, struct err *e)
{
	int *theirs, r = inherit_taps(&q->inherit, d, &theirs, e);

	if (r == 0)
		r = qemu_plan_device(&q->plan, d, e);
	if (d->kind == VM_DEVICE_NET)
		d->u.net.tap_fds = theirs;
	return r;
}

static int add_device(struct vm *vm, struct vm_device *device, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);

	return q->running ? qemu_hotplug_add(q, device, e) : add_cold(q, device, e);
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);

	if (!q->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "device %s cannot be removed: the VM is not running", id);
	return qemu_hotplug_remove(q, id, e);
}

/* --- start --- */

static int spawn_qemu(struct qemu_vm *q, const struct qemu_fds *fds, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	const int own[] = { fds->monitor, fds->console, fds->vsock };
	struct spawn s = { .path = q->facts.path, .stdin_fd = -1, .cwd = "/", .netns = q->vm.config->netns };
	_cleanup_free_ int *keep = inherit_keep(&q->inherit, own, sizeof own / sizeof *own, &s.n_keep_fds);
	int r;

	if (!keep)
		return err_sys(e, ENOMEM, "cannot start QEMU");
	r = qemu_argv(&q->plan, fds, &argv, e);
	if (r < 0)
		return r;
	s.keep_fds = keep;
	s.argv = argv.v;
	return process_start(q->loop, &s, q->vmm.name, &q->vmm.process, e);
}

static int take_version(struct qemu_vm *q, struct err *e)
{
	struct json_object *v = json_get_object(json_get_object(qmp_greeting(q->vmm.qmp), "version"), "qemu");
	uint64_t major = 0, minor = 0;

	json_get_u64(v, "major", &major);
	json_get_u64(v, "minor", &minor);
	q->facts.major = (unsigned)major;
	q->facts.minor = (unsigned)minor;
	if (q->facts.kvm)
		log_info("QEMU %u.%u with KVM", q->facts.major, q->facts.minor);
	else
		log_info("QEMU %u.%u emulates the CPU: %s", q->facts.major, q->facts.minor, q->facts.kvm_why);
	return qemu_check_version(&q->facts, e);
}

static int start(struct vm *vm, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	_cleanup_close_ int ours = -1, theirs = -1, console = -1;
	uint64_t bound = QEMU_START_MS + (vm->config->hv->enable_mem_prealloc ? QEMU_PREALLOC_MS : 0);
	uint64_t deadline = clock_ms() + (vm->config->start_timeout_ms ? vm->config->start_timeout_ms : bound);
	struct qemu_fds fds;
	struct err local = { 0 };
	int pair[2], r;

	e = e ? e : &local;
	if (q->vmm.process)
		return err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "cannot make the monitor's socket");
	ours = pair[0];
	theirs = pair[1];
	r = vm_open_console(vm, q->loop, &console, e);
	if (r < 0)
		return r;
	fds = (struct qemu_fds){
		.monitor = theirs, .console = console, .vsock = q->vsock_fd, .guest_cid = q->guest_cid
	};
	r = spawn_qemu(q, &fds, e);
	fd_close(&theirs);
	fd_close(&console);
	if (r < 0) {
		console_free(vm->console);
		vm->console = NULL;
		return r;
	}
	vm->exit_fd = process_exit_fd(q->vmm.process);
	r = qmp_vmm_open(&q->vmm, q->loop, &ours, on_event, q, deadline, e);
	if (r == 0)
		r = take_version(q, e);
	if (r < 0)
		return qmp_vmm_start_failed(&q->vmm, vm, q->facts.path, r, e);
	/* QEMU has its duplicates of what it inherited. */
	inherit_fini(&q->inherit);
	fd_close(&q->vsock_fd);
	q->running = true;
	return 0;
}

/* --- while it runs --- */

static int pause_vm(struct vm *vm, struct err *e)
{
	return qemu_command(qemu_vm_of(vm), "stop", NULL, -1, NULL, e);
}

static int resume_vm(struct vm *vm, struct err *e)
{
	return qemu_command(qemu_vm_of(vm), "cont", NULL, -1, NULL, e);
}

static int no_snapshot(struct vm *vm, const char *dir, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "snapshots of QEMU's VMs are not supported");
}

static int info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	return qmp_vmm_info(&qemu_vm_of(vm)->vmm, vm, "query-cpus-fast", "thread-id", QEMU_COMMAND_MS, ret, e);
}

/* --- end --- */

static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);

	q->running = false;
	if (!q->vmm.process || process_ended(q->vmm.process)) {
		qmp_vmm_end(&q->vmm);
		return 0;
	}
	/* The guest first (ACPI power button), if there is time for that; then QEMU, which flushes its disks; then -9.
	 */
	if (grace_ms > 0 && q->vmm.qmp &&
	    qmp_execute(q->vmm.qmp, "system_powerdown", NULL, -1, clock_ms() + 500, NULL, NULL) == 0)
		process_wait(q->vmm.process, clock_ms() + (uint64_t)grace_ms);
	qmp_vmm_quit(&q->vmm);
	qmp_vmm_end(&q->vmm);
	return 0;
}

static void vm_free(struct vm *vm)
{
	struct qemu_vm *q;

	if (!vm)
		return;
	q = qemu_vm_of(vm);
	qmp_vmm_end(&q->vmm);
	vsock_service_stop(q->vsock);
	qemu_plugged_fini(q);
	qmp_vmm_fini(&q->vmm);
	console_free(vm->console);
	inherit_fini(&q->inherit);
	fd_close(&q->vsock_fd);
	qemu_plan_fini(&q->plan);
	free(q);
}

static const char *const aliases[] = { "qemu-system", NULL };

/* What this driver, or the runtime on its behalf, acts upon. The rest of Kata's keys are warned about. */
static const char *const honoured_keys[] = { "path",
					     "valid_hypervisor_paths",
					     "enable_annotations",
					     "kernel",
					     "image",
					     "initrd",
					     "kernel_params",
					     "kernel_verity_params",
					     "rootfs_type",
					     "machine_type",
					     "machine_accelerators",
					     "cpu_features",
					     "firmware",
					     "firmware_volume",
					     "pflashes",
					     "default_vcpus",
					     "default_maxvcpus",
					     "default_bridges",
					     "default_memory",
					     "memory_slots",
					     "default_maxmemory",
					     "memory_offset",
					     "enable_virtio_mem",
					     "enable_mem_prealloc",
					     "enable_hugepages",
					     "hugepage_type",
					     "reclaim_guest_freed_memory",
					     "disable_block_device_use",
					     "shared_fs",
					     "virtio_fs_daemon",
					     "valid_virtio_fs_daemon_paths",
					     "virtio_fs_queue_size",
					     "virtio_fs_extra_args",
					     "virtio_fs_cache",
					     "msize_9p",
					     "block_device_driver",
					     "block_device_aio",
					     "block_device_cache_set",
					     "block_device_cache_direct",
					     "block_device_cache_noflush",
					     "block_device_logical_sector_size",
					     "block_device_physical_sector_size",
					     "num_queues",
					     "queue_size",
					     "network_queues",
					     "enable_iothreads",
					     "indep_iothreads",
					     "enable_iommu",
					     "enable_iommu_platform",
					     "enable_debug",
					     "extra_monitor_socket",
					     "disable_image_nvdimm",
					     "vm_rootfs_driver",
					     "pcie_root_port",
					     "disable_vhost_net",
					     "entropy_source",
					     "valid_entropy_sources",
					     "use_legacy_serial",
					     "disable_guest_selinux",
					     "seccomp_sandbox",
					     "confidential_guest",
					     "guest_hook_path",
					     "overhead_vcpus",
					     "overhead_memory",
					     NULL };

const struct hypervisor_driver qemu_driver = {
	.name = "qemu",
	.aliases = aliases,
	.honoured_keys = honoured_keys,
	.vmm_memory_mib = 60,
	.check = qemu_check,
	.capabilities = qemu_capabilities,
	.describe = describe,
	.prepare = prepare,
	.add_device = add_device,
	.remove_device = remove_device,
	.start = start,
	.pause = pause_vm,
	.resume = resume_vm,
	.save = no_snapshot,
	.restore = no_snapshot,
	.resize_vcpus = qemu_resize_vcpus,
	.resize_memory = qemu_resize_memory,
	.resize_block = qemu_resize_block,
	.info = info,
	.explain_exit = explain_exit,
	.stop = stop,
	.free = vm_free,
};
