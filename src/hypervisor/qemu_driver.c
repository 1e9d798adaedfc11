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
#include <fcntl.h>
#include <linux/vhost.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "hypervisor/guest_files.h"
#include "hypervisor/qemu.h"
#include "hypervisor/qemu_vm.h"
#include "hypervisor/vsock_service.h"

#define CONSOLE_LOG_MAX (1u << 20)

struct qemu_vm *qemu_vm_of(struct vm *vm)
{
	return container_of(vm, struct qemu_vm, vm);
}

static void on_event(const char *event, struct json_object *data, void *userdata)
{
	struct qemu_vm *q = userdata;
	const char *text;

	log_debug("QEMU: event %s", event);
	if (str_eq(event, "GUEST_PANICKED") || str_eq(event, "GUEST_CRASHLOADED")) {
		q->panicked = true;
	} else if (str_eq(event, "SHUTDOWN")) {
		text = json_get_str(data, "reason");
		snprintf(q->shutdown_reason, sizeof q->shutdown_reason, "%s", text ? text : "unknown");
	} else if (str_eq(event, "STOP")) {
		q->paused = true;
	} else if (str_eq(event, "RESUME")) {
		q->paused = false;
	} else {
		qemu_plugged_event(q, event, data);
	}
}

static void on_qmp(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct qemu_vm *q = userdata;

	/* Broken or closed: nothing more to read. That QEMU ended is told by exit_fd, not here. */
	if (qmp_dispatch(q->qmp) < 0) {
		loop_source_free(q->qmp_source);
		q->qmp_source = NULL;
	}
}

/* --- how it ended --- */

static int explain_exit(struct vm *vm, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);
	char how[96], words[512];
	const char *panic;
	int status;

	if (q->qmp)
		qmp_dispatch(q->qmp);
	console_drain(vm->console);
	if (!q->process)
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM is not running");
	/* The pidfd is readable when the process is a zombie; being reaped is a moment away at most. */
	process_wait(q->process, clock_ms() + 200);
	process_describe(q->process, how, sizeof how);
	process_last_words(q->process, words, sizeof words);
	status = process_status(q->process);
	panic = console_find(vm->console, "Kernel panic");
	if (panic || q->panicked)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest kernel panicked: %s",
			       panic ? panic : "no message on the console");
	if (process_ended(q->process) && WIFEXITED(status) && WEXITSTATUS(status) == 0) {
		if (str_eq(q->shutdown_reason, "guest-reset"))
			return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest rebooted or crashed (reset)");
		if (str_eq(q->shutdown_reason, "guest-shutdown"))
			return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest powered off");
	}
	return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: %s%s%s%s", how, words[0] ? " (" : "", words,
		       words[0] ? ")" : "");
}

int qemu_command(struct qemu_vm *q, const char *command, struct json_object *args, int fd, struct json_object **ret,
		 struct err *e)
{
	int r;

	if (!q->qmp) {
		json_free(args);
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "%s: the VM is not running", command);
	}
	r = qmp_execute(q->qmp, command, args, fd, clock_ms() + QEMU_COMMAND_MS, ret, e);
	if (r == -EPIPE && process_wait(q->process, clock_ms() + 500) == 0) {
		r = vm_explain_exit(&q->vm, e);
		err_wrap(e, "%s", command);
		return r;
	}
	if (r < 0)
		err_wrap(e, "QEMU");
	return r;
}

/* --- prepare --- */

/* The host kernel's vsock: claim a free CID on a descriptor that QEMU inherits. */
static int claim_cid(struct qemu_vm *q, struct err *e)
{
	_cleanup_close_ int fd = open("/dev/vhost-vsock", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return err_sys(e, errno, "cannot open /dev/vhost-vsock");
	for (unsigned i = 0; i < 50; i++) {
		uint32_t x;
		uint64_t cid;

		if (getrandom(&x, sizeof x, 0) != sizeof x)
			return err_sys(e, errno, "cannot choose a vsock CID");
		cid = 3 + x % (UINT32_MAX - 4u);
		if (ioctl(fd, VHOST_VSOCK_SET_GUEST_CID, &cid) == 0) {
			q->guest_cid = (uint32_t)cid;
			q->vsock_fd = take_fd(&fd);
			snprintf(q->vm.agent_address, sizeof q->vm.agent_address, "vsock:%u", q->guest_cid);
			return 0;
		}
		if (errno != EADDRINUSE)
			return err_sys(e, errno, "cannot claim a vsock CID");
	}
	return err_set(e, ERR_SYSTEM, EADDRINUSE, "no free vsock CID was found");
}

static int prepare_vsock(struct qemu_vm *q, const struct vm_config *c, struct err *e)
{
	_cleanup_free_ char *path = NULL;

	if (c->use_vhost_vsock)
		return claim_cid(q, e);
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

/* The caller's descriptors are closed with the device: keep duplicates, whose numbers go into the command line. */
static int add_cold(struct qemu_vm *q, struct vm_device *d, struct err *e)
{
	size_t n = d->kind == VM_DEVICE_NET ? d->u.net.n_tap_fds : 0;
	_cleanup_free_ int *dup = NULL;
	int *theirs, *all, r;

	if (!n)
		return qemu_plan_device(&q->plan, d, e);
	all = realloc(q->fds, (q->n_fds + n) * sizeof *all);
	if (!all)
		return err_sys(e, ENOMEM, "network device %s", d->id);
	q->fds = all;
	dup = calloc(n, sizeof *dup);
	if (!dup)
		return err_sys(e, ENOMEM, "network device %s", d->id);
	for (size_t i = 0; i < n; i++) {
		dup[i] = fcntl(d->u.net.tap_fds[i], F_DUPFD_CLOEXEC, 3);
		if (dup[i] < 0)
			return err_sys(e, errno, "network device %s", d->id);
		q->fds[q->n_fds++] = dup[i];
	}
	theirs = d->u.net.tap_fds;
	d->u.net.tap_fds = dup;
	r = qemu_plan_device(&q->plan, d, e);
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

/* Everything that start() made, but the process's words: those are still to be read. */
static void stop_all(struct qemu_vm *q)
{
	q->running = false;
	if (q->process)
		process_stop(q->process, 0);
	loop_source_free(q->qmp_source);
	q->qmp_source = NULL;
}

/* QMP did not come up. Was it QEMU that ended? Then its own words are the reason. */
static int start_failed(struct qemu_vm *q, int code, struct err *e)
{
	char how[96], words[512];

	if (code == -EPIPE && process_wait(q->process, clock_ms() + 1000) == 0) {
		process_describe(q->process, how, sizeof how);
		process_last_words(q->process, words, sizeof words);
		err_set(e, ERR_HYPERVISOR, EIO, "QEMU (%s) did not start: %s%s%s", q->facts.path, how,
			words[0] ? ": " : "", words);
	} else {
		process_last_words(q->process, words, sizeof words);
		err_wrap(e, "QEMU (%s) did not start", q->facts.path);
		if (words[0])
			err_append(e, "; it printed: %s", words);
	}
	stop_all(q);
	process_free(q->process);
	q->process = NULL;
	qmp_free(q->qmp);
	q->qmp = NULL;
	console_free(q->vm.console);
	q->vm.console = NULL;
	q->vm.exit_fd = -1;
	return err_is_set(e) ? -e->code : code;
}

static int spawn_qemu(struct qemu_vm *q, const struct qemu_fds *fds, struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_free_ int *keep = calloc(q->n_fds + 3, sizeof *keep);
	struct spawn s = { .path = q->facts.path, .stdin_fd = -1, .cwd = "/", .netns = q->vm.config->netns };
	int r;

	if (!keep)
		return err_sys(e, ENOMEM, "cannot start QEMU");
	r = qemu_argv(&q->plan, fds, &argv, e);
	if (r < 0)
		return r;
	keep[s.n_keep_fds++] = fds->monitor;
	keep[s.n_keep_fds++] = fds->console;
	if (fds->vsock >= 0)
		keep[s.n_keep_fds++] = fds->vsock;
	for (size_t i = 0; i < q->n_fds; i++)
		keep[s.n_keep_fds++] = q->fds[i];
	s.keep_fds = keep;
	s.argv = argv.v;
	return process_start(q->loop, &s, "QEMU", &q->process, e);
}

static int open_console(struct qemu_vm *q, int *ret_write_end, struct err *e)
{
	const struct vm_config *c = q->vm.config;
	_cleanup_free_ char *log = c->console_log ? str_printf("%s/console.log", c->run_dir) : NULL;
	int p[2], r;

	if (c->console_log && !log)
		return err_sys(e, ENOMEM, "console");
	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot make a pipe for the console");
	r = console_new(q->loop, p[0], log, CONSOLE_LOG_MAX, "guest: ", &q->vm.console, e);
	if (r < 0) {
		close(p[1]);
		return r;
	}
	*ret_write_end = p[1];
	return 0;
}

static int take_version(struct qemu_vm *q, struct err *e)
{
	struct json_object *v = json_get_object(json_get_object(qmp_greeting(q->qmp), "version"), "qemu");
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
	if (q->process)
		return err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "cannot make the monitor's socket");
	ours = pair[0];
	theirs = pair[1];
	r = open_console(q, &console, e);
	if (r < 0)
		return r;
	fds = (struct qemu_fds){
		.monitor = theirs, .console = console, .vsock = q->vsock_fd, .guest_cid = q->guest_cid
	};
	r = spawn_qemu(q, &fds, e);
	fd_close(&theirs);
	fd_close(&console);
	if (r == 0) {
		r = qmp_new(ours, on_event, q, &q->qmp);
		if (r < 0) {
			err_sys(e, -r, "monitor");
			return start_failed(q, r, e);
		}
		ours = -1;
	}
	if (r < 0) {
		console_free(vm->console);
		vm->console = NULL;
		return r;
	}
	vm->exit_fd = process_exit_fd(q->process);
	r = qmp_handshake(q->qmp, deadline, e);
	if (r == 0)
		r = take_version(q, e);
	if (r < 0)
		return start_failed(q, r, e);
	r = loop_add_io(q->loop, qmp_fd(q->qmp), EPOLLIN, on_qmp, q, &q->qmp_source);
	if (r < 0) {
		err_sys(e, -r, "monitor");
		return start_failed(q, r, e);
	}
	/* QEMU has its duplicates of what it inherited. */
	for (size_t i = 0; i < q->n_fds; i++)
		fd_close(&q->fds[i]);
	q->n_fds = 0;
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
	struct qemu_vm *q = qemu_vm_of(vm);
	_cleanup_json_ struct json_object *cpus = NULL;
	int r = qemu_command(q, "query-cpus-fast", NULL, -1, &cpus, e);

	if (r < 0)
		return r;
	*ret = (struct vm_process_info){ .vmm_pid = process_pid(q->process) };
	for (size_t i = 0; i < json_array_len(cpus) && ret->n_vcpus < 64; i++) {
		uint64_t tid;

		if (json_get_u64(json_array_at(cpus, i), "thread-id", &tid) == 0 && tid <= INT32_MAX)
			ret->vcpu_tids[ret->n_vcpus++] = (pid_t)tid;
	}
	return 0;
}

/* --- end --- */

static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct qemu_vm *q = qemu_vm_of(vm);

	if (!q->process || process_ended(q->process)) {
		stop_all(q);
		return 0;
	}
	/* The guest first (ACPI power button), if there is time for that; then QEMU, which flushes its disks; then -9.
	 */
	if (grace_ms > 0 && q->qmp &&
	    qmp_execute(q->qmp, "system_powerdown", NULL, -1, clock_ms() + 500, NULL, NULL) == 0)
		process_wait(q->process, clock_ms() + (uint64_t)grace_ms);
	if (!process_ended(q->process) && q->qmp &&
	    qmp_execute(q->qmp, "quit", NULL, -1, clock_ms() + 500, NULL, NULL) == 0)
		process_wait(q->process, clock_ms() + 1000);
	if (q->qmp)
		qmp_dispatch(q->qmp);
	stop_all(q);
	return 0;
}

static void vm_free(struct vm *vm)
{
	struct qemu_vm *q;

	if (!vm)
		return;
	q = qemu_vm_of(vm);
	stop_all(q);
	vsock_service_stop(q->vsock);
	qemu_plugged_fini(q);
	qmp_free(q->qmp);
	process_free(q->process);
	console_free(vm->console);
	for (size_t i = 0; i < q->n_fds; i++)
		fd_close(&q->fds[i]);
	free(q->fds);
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
	.info = info,
	.explain_exit = explain_exit,
	.stop = stop,
	.free = vm_free,
};
