/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The StratoVirt driver: the life of a VM.
 *
 * StratoVirt is a direct child that dies with us. It gets the writing end of a pipe as its console and an open
 * /dev/vhost-vsock with a free CID, for it has no other vsock device: the agent is reached by the host kernel's vsock.
 * Its monitor is a Unix socket that it makes in the VM's private directory; we connect when it is there. start()
 * returns when StratoVirt answers QMP and the guest runs; the guest itself boots on.
 *
 * It runs under its own seccomp filter and is not trusted once the guest runs: every answer is bounded in time and size
 * (codec/qmp.h), and its pidfd tells its death at once. A guest that resets itself on q35 would be started anew; it is
 * ended instead, as every other VMM here ends it.
 */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/unix_socket.h"
#include "hypervisor/guest_files.h"
#include "hypervisor/stratovirt.h"
#include "hypervisor/stratovirt_vm.h"
#include "hypervisor/vhost_vsock.h"
#include "hypervisor/vm_console.h"

struct stratovirt_vm *stratovirt_vm_of(struct vm *vm)
{
	return container_of(vm, struct stratovirt_vm, vm);
}

int stratovirt_command(struct stratovirt_vm *s, const char *command, struct json_object *args, int fd,
		       struct json_object **ret, struct err *e)
{
	return qmp_vmm_command(&s->vmm, &s->vm, command, args, fd, s->command_ms, ret, e);
}

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	struct stratovirt_vm *s = userdata;

	log_debug("StratoVirt: event %s", event);
	if (qmp_vmm_note_event(&s->vmm, event, data))
		return;
	if (str_eq(event, "STOP")) {
		s->paused = true;
	} else if (str_eq(event, "RESUME")) {
		s->paused = false;
	} else if (str_eq(event, "RESET")) {
		s->reset = true;
		process_stop(s->vmm.process, 0);
	} else {
		stratovirt_plugged_event(s, event, data);
	}
}

static int explain_exit(struct vm *vm, struct err *e)
{
	struct stratovirt_vm *s = stratovirt_vm_of(vm);
	int r = qmp_vmm_explain_exit(&s->vmm, vm, e);

	if (e && e->domain == ERR_GUEST)
		return r;
	if (s->reset)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest rebooted or crashed (reset)");
	/* Power-off and triple fault look the same from here, and only some of them are told by an event. */
	if (s->vmm.process && process_ended(s->vmm.process) && process_status(s->vmm.process) == 0)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest powered off or rebooted");
	return r;
}

/* --- prepare --- */

static void vm_free(struct vm *vm);

static int check_host(struct err *e)
{
	char why[160];

	return hypervisor_kvm_usable(why, sizeof why)
		       ? 0
		       : err_set(e, ERR_HYPERVISOR, ENODEV, "StratoVirt cannot run here: %s", why);
}

static int prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct stratovirt_vm *s = calloc(1, sizeof *s);
	int r;

	if (!s)
		return err_sys(e, ENOMEM, "cannot prepare the VM");
	s->vm = (struct vm){ .driver = &stratovirt_driver, .config = c, .exit_fd = -1, .interrupt_fd = -1 };
	s->vmm.name = "StratoVirt";
	s->loop = loop;
	s->vsock_fd = -1;
	s->unplug_ms = STRATOVIRT_UNPLUG_MS;
	s->command_ms = STRATOVIRT_COMMAND_MS;
	list_init(&s->plugged);
	r = stratovirt_find(c->hv, &s->facts, e);
	if (r == 0)
		r = check_host(e);
	if (r == 0)
		r = guest_files_check(c, s->facts.arch, e);
	if (r == 0)
		r = stratovirt_check_kernel(c, s->facts.arch, e);
	if (r == 0)
		r = stratovirt_plan_init(&s->plan, c, &s->facts, e);
	if (r == 0)
		r = vhost_vsock_claim(&s->vm, &s->vsock_fd, &s->guest_cid, e);
	if (r < 0) {
		vm_free(&s->vm);
		return r;
	}
	*ret = &s->vm;
	return 0;
}

static int describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
		    struct err *e)
{
	struct stratovirt_fds fds = { .console = 3, .vsock = 4, .guest_cid = 3 };
	struct stratovirt_plan plan = { 0 };
	struct stratovirt_facts facts;
	int r = stratovirt_find(c->hv, &facts, e);

	if (r == 0)
		r = stratovirt_plan_init(&plan, c, &facts, e);
	for (size_t i = 0; i < n && r == 0; i++)
		r = stratovirt_plan_device(&plan, devices[i], e);
	if (r == 0)
		r = stratovirt_argv(&plan, &fds, ret, e);
	stratovirt_plan_fini(&plan);
	return r;
}

/* --- devices --- */

static int add_cold(struct stratovirt_vm *s, struct vm_device *d, struct err *e)
{
	int *theirs, r = inherit_taps(&s->inherit, d, &theirs, e);

	if (r == 0)
		r = stratovirt_plan_device(&s->plan, d, e);
	if (d->kind == VM_DEVICE_NET)
		d->u.net.tap_fds = theirs;
	return r;
}

static int add_device(struct vm *vm, struct vm_device *device, struct err *e)
{
	struct stratovirt_vm *s = stratovirt_vm_of(vm);

	return s->running ? stratovirt_plug(s, device, e) : add_cold(s, device, e);
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	struct stratovirt_vm *s = stratovirt_vm_of(vm);

	if (!s->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "device %s cannot be removed: the VM is not running", id);
	return stratovirt_unplug(s, id, e);
}

/* --- start --- */

/* Our environment, with its log at a level at which the last lines say what went wrong. */
static int environment(const struct vm_config *c, struct strv *ret)
{
	int r = strv_addf(ret, "STRATOVIRT_LOG_LEVEL=%s", c->hv->enable_debug ? "info" : "error");

	for (char **p = environ; *p && r == 0; p++)
		if (!str_after(*p, "STRATOVIRT_LOG_LEVEL="))
			r = strv_add(ret, *p);
	return r;
}

static int spawn(struct stratovirt_vm *s, int console, struct err *e)
{
	struct stratovirt_fds fds = { .console = console, .vsock = s->vsock_fd, .guest_cid = s->guest_cid };
	_cleanup_strv_ struct strv argv = { 0 }, env = { 0 };
	const int own[] = { console, s->vsock_fd };
	struct spawn child = { .path = s->facts.path, .stdin_fd = -1, .cwd = "/", .netns = s->vm.config->netns };
	_cleanup_free_ int *keep = inherit_keep(&s->inherit, own, sizeof own / sizeof *own, &child.n_keep_fds);
	int r;

	if (!keep || environment(s->vm.config, &env) < 0)
		return err_sys(e, ENOMEM, "cannot start StratoVirt");
	r = stratovirt_argv(&s->plan, &fds, &argv, e);
	if (r < 0)
		return r;
	child.keep_fds = keep;
	child.argv = argv.v;
	child.env = env.v;
	return process_start(s->loop, &child, s->vmm.name, &s->vmm.process, e);
}

/* It listens a moment after it was started; -EPIPE when it ends instead. */
static int connect_monitor(struct stratovirt_vm *s, uint64_t deadline, int *ret_fd, struct err *e)
{
	int r;

	while ((r = unix_connect(s->plan.monitor, ret_fd)) < 0) {
		struct pollfd p = { .fd = process_exit_fd(s->vmm.process), .events = POLLIN };

		if (r != -ENOENT && r != -ECONNREFUSED && r != -EAGAIN && r != -EINTR)
			return err_sys(e, -r, "cannot connect to the monitor %s", s->plan.monitor);
		if (clock_ms() >= deadline)
			return err_set(e, ERR_HYPERVISOR, ETIMEDOUT, "no answer from the monitor in time");
		if (poll(&p, 1, 2) > 0)
			return err_set(e, ERR_HYPERVISOR, EPIPE, "it ended before it had a monitor");
	}
	return 0;
}

/* Which StratoVirt is it? Its monitor's greeting tells; -version would be one more process for each VM. */
static int take_version(struct stratovirt_vm *s, struct err *e)
{
	const char *package = json_get_str(json_get_object(qmp_greeting(s->vmm.qmp), "version"), "package");
	int r = stratovirt_take_version(&s->facts, package ? str_after(package, "StratoVirt-") : NULL, e);

	if (r == -EPROTO)
		return err_set(e, ERR_HYPERVISOR, EPROTO, "%s is not StratoVirt: its monitor greets as \"%.40s\"",
			       s->facts.path, package ? package : "");
	if (r == 0)
		log_info("StratoVirt %u.%u runs the guest on KVM", s->facts.major, s->facts.minor);
	return r;
}

/* 2.3 and 2.4 start q35 by UEFI only. */
static bool wants_firmware(const struct stratovirt_vm *s)
{
	return s->plan.layout.machine == STRATOVIRT_Q35 && str_empty(s->vm.config->hv->firmware) &&
	       s->facts.major == 2 && s->facts.minor < 5;
}

/* What is missing in a StratoVirt that was built without it, or is older than its version says. */
static void give_advice(const struct stratovirt_vm *s, struct err *e)
{
	if (strstr(e->text, "Unsupported device"))
		err_append(e, "; build StratoVirt with the features vhost_vsock and virtio_rng");
	else if (strstr(e->text, "FwCfg") || wants_firmware(s))
		err_append(e, "; this StratoVirt boots q35 from UEFI firmware only: set firmware, or machine_type = "
			      "\"microvm\" with a kernel that has CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
}

/* One that ended before it had a monitor may be too old for its command line, or no StratoVirt at all. */
static int start_failed(struct stratovirt_vm *s, int code, struct err *e)
{
	int r = qmp_vmm_start_failed(&s->vmm, &s->vm, s->facts.path, code, e);
	struct err why = { 0 };

	if (r == -EIO && !s->facts.major) {
		int asked = stratovirt_ask_version(&s->facts, &why);

		if (asked == -ENOTSUP || asked == -EPROTO) {
			*e = why;
			r = asked;
		}
	}
	give_advice(s, e);
	unlink(s->plan.monitor);
	return r;
}

static int start(struct vm *vm, struct err *e)
{
	struct stratovirt_vm *s = stratovirt_vm_of(vm);
	const struct vm_config *c = s->vm.config;
	uint64_t bound = STRATOVIRT_START_MS + (c->hv->enable_mem_prealloc ? STRATOVIRT_PREALLOC_MS : 0);
	uint64_t deadline = clock_ms() + (c->start_timeout_ms ? c->start_timeout_ms : bound);
	_cleanup_close_ int console = -1, monitor = -1;
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	if (s->vmm.process)
		return err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
	r = vm_open_console(&s->vm, s->loop, &console, e);
	if (r < 0)
		return r;
	r = spawn(s, console, e);
	fd_close(&console);
	if (r < 0) {
		console_free(s->vm.console);
		s->vm.console = NULL;
		return r;
	}
	s->vm.exit_fd = process_exit_fd(s->vmm.process);
	r = connect_monitor(s, deadline, &monitor, e);
	if (r == 0)
		r = qmp_vmm_open(&s->vmm, s->loop, &monitor, on_event, s, deadline, e);
	if (r == 0)
		r = take_version(s, e);
	if (r < 0)
		return start_failed(s, r, e);
	/* StratoVirt has its duplicates of what it inherited. */
	inherit_fini(&s->inherit);
	fd_close(&s->vsock_fd);
	s->running = true;
	return 0;
}

/* --- while it runs --- */

static int pause_vm(struct vm *vm, struct err *e)
{
	return stratovirt_command(stratovirt_vm_of(vm), "stop", NULL, -1, NULL, e);
}

static int resume_vm(struct vm *vm, struct err *e)
{
	return stratovirt_command(stratovirt_vm_of(vm), "cont", NULL, -1, NULL, e);
}

/* 2.5.0 saves a q35 that booted without firmware and then fails to restore it: no place for its SMBIOS tables. */
static int no_snapshot(struct vm *vm, const char *dir, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "snapshots of StratoVirt's VMs are not supported");
}

static int no_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "StratoVirt's driver cannot change the number of vCPUs");
}

static int no_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "StratoVirt's driver cannot change the size of the memory");
}

static int info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	return qmp_vmm_info(&stratovirt_vm_of(vm)->vmm, vm, "query-cpus", "thread_id", STRATOVIRT_COMMAND_MS, ret, e);
}

/* --- end --- */

static void stop_all(struct stratovirt_vm *s)
{
	s->running = false;
	qmp_vmm_end(&s->vmm);
	if (s->vmm.process)
		unlink(s->plan.monitor); /* left behind when it was killed */
}

/* Its x86 machines have no power button, and its monitor's system_powerdown there ends the VM without a word to it. */
static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct stratovirt_vm *s = stratovirt_vm_of(vm);

	if (s->vmm.process && !process_ended(s->vmm.process))
		qmp_vmm_quit(&s->vmm);
	stop_all(s);
	return 0;
}

static void vm_free(struct vm *vm)
{
	struct stratovirt_vm *s;

	if (!vm)
		return;
	s = stratovirt_vm_of(vm);
	stop_all(s);
	stratovirt_plugged_fini(s);
	qmp_vmm_fini(&s->vmm);
	console_free(vm->console);
	inherit_fini(&s->inherit);
	fd_close(&s->vsock_fd);
	stratovirt_plan_fini(&s->plan);
	free(s);
}

static const char *const aliases[] = { "strato", NULL };

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
					     "firmware",
					     "firmware_volume",
					     "disable_seccomp",
					     "default_vcpus",
					     "default_bridges",
					     "default_memory",
					     "enable_mem_prealloc",
					     "enable_hugepages",
					     "reclaim_guest_freed_memory",
					     "disable_block_device_use",
					     "shared_fs",
					     "virtio_fs_daemon",
					     "valid_virtio_fs_daemon_paths",
					     "virtio_fs_extra_args",
					     "virtio_fs_cache",
					     "block_device_driver",
					     "block_device_cache_set",
					     "block_device_cache_direct",
					     "network_queues",
					     "entropy_source",
					     "enable_debug",
					     "disable_guest_selinux",
					     "guest_hook_path",
					     NULL };

const struct hypervisor_driver stratovirt_driver = {
	.name = "stratovirt",
	.aliases = aliases,
	.honoured_keys = honoured_keys,
	.needs_kvm = true,
	.no_elf_kernel = true,
	.check = stratovirt_check,
	.capabilities = stratovirt_capabilities,
	.describe = describe,
	.prepare = prepare,
	.add_device = add_device,
	.remove_device = remove_device,
	.start = start,
	.pause = pause_vm,
	.resume = resume_vm,
	.save = no_snapshot,
	.restore = no_snapshot,
	.resize_vcpus = no_resize_vcpus,
	.resize_memory = no_resize_memory,
	.info = info,
	.explain_exit = explain_exit,
	.stop = stop,
	.free = vm_free,
};
