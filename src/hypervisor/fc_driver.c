/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Firecracker driver: the life of a VM.
 *
 * Firecracker, or the jailer that becomes it, is a direct child that dies with us. It runs in a folder of its own
 * (fc_folder.h) and is configured over its API socket, not by a file: each request that it refuses has an answer that
 * says why, and the socket is needed for pausing, snapshots and disks anyway. The guest's serial console is its
 * standard output; log and metrics come through FIFOs, so that nothing that it writes can fill a disk.
 *
 * Firecracker is not trusted once the guest runs: rest.h bounds each answer, its own system call filter is on, and its
 * pidfd tells its death at once.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/log.h"
#include "codec/json.h"
#include "hypervisor/fc.h"
#include "hypervisor/fc_vm.h"
#include "hypervisor/vm_console.h"

#define LOG_MAX (256u << 10)

struct fc_vm *fc_vm_of(struct vm *vm)
{
	return container_of(vm, struct fc_vm, vm);
}

int fc_call(struct fc_vm *f, const char *method, const char *target, const char *body, unsigned timeout_ms,
	    struct err *e)
{
	int r;

	if (!f->process)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "%s %s: the VM is not running", method, target);
	r = rest_call(&f->rest, method, target, body, NULL, 0, clock_ms() + timeout_ms, NULL, e);
	if (r == -EPIPE && f->running && process_wait(f->process, clock_ms() + PROCESS_END_MS) == 0) {
		r = vm_explain_exit(&f->vm, e);
		err_wrap(e, "%s %s", method, target);
	}
	return r;
}

/* --- prepare --- */

static int name_sockets(struct fc_vm *f, struct err *e)
{
	_cleanup_free_ char *vsock = str_printf("%s/" FC_VSOCK, f->folder.path);

	f->api = str_printf("%s/" FC_API, f->folder.path);
	if (!vsock || !f->api)
		return err_sys(e, ENOMEM, "cannot name Firecracker's sockets");
	if (strlen(vsock) >= sizeof((struct sockaddr_un){ 0 }).sun_path)
		return err_set(e, ERR_CONFIG, ENAMETOOLONG,
			       "%s: the path of a Unix socket has at most 107 bytes; use a shorter run directory",
			       vsock);
	snprintf(f->vm.agent_address, sizeof f->vm.agent_address, "hvsock:%s", vsock);
	rest_init(&f->rest, "Firecracker", f->api);
	return 0;
}

static void vm_free(struct vm *vm);

static int prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct fc_vm *f;
	char why[256];
	int r;

	if (!hypervisor_kvm_usable(why, sizeof why))
		return err_set(e, ERR_HYPERVISOR, ENODEV, "Firecracker cannot run here: %s", why);
	f = calloc(1, sizeof *f);
	if (!f)
		return err_sys(e, ENOMEM, "cannot prepare the VM");
	f->vm = (struct vm){ .driver = &firecracker_driver, .config = c, .exit_fd = -1, .interrupt_fd = -1 };
	f->loop = loop;
	rest_init(&f->rest, "Firecracker", NULL);
	if (!str_empty(c->hv->block_device_driver) && !str_endswith(c->hv->block_device_driver, "mmio"))
		log_warn("block_device_driver = \"%s\" has no effect: Firecracker's disks are on virtio-mmio",
			 c->hv->block_device_driver);
	if (c->use_vhost_vsock)
		log_warn("use_vsock: Firecracker has its own vsock device and does not use the host kernel's");
	r = fc_find(c->hv, f->program, sizeof f->program, e);
	if (r == 0)
		r = fc_check_files(c, e);
	if (r == 0)
		r = fc_plan_init(&f->plan, c, e);
	if (r == 0)
		r = fc_folder_init(&f->folder, c->run_dir, !str_empty(c->hv->jailer_path), f->program, e);
	if (r == 0)
		r = name_sockets(f, e);
	if (r < 0) {
		vm_free(&f->vm);
		return r;
	}
	*ret = &f->vm;
	return 0;
}

static int add_device(struct vm *vm, struct vm_device *device, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);

	return f->running ? fc_slots_add(f, device, e) : fc_plan_device(&f->plan, device, e);
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);

	if (!f->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "device %s cannot be removed: the VM is not running", id);
	return fc_slots_remove(f, id, e);
}

static int resize_block(struct vm *vm, const struct vm_device *disk, struct err *e)
{
	return fc_slots_resize(fc_vm_of(vm), disk->id, e);
}

/* --- what will be done --- */

static int describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
		    struct err *e)
{
	struct fc_requests requests = { 0 };
	struct fc_plan plan = { 0 };
	char program[256];
	int r = fc_find(c->hv, program, sizeof program, e);

	if (r == 0)
		r = fc_argv(c, program, ret, e);
	if (r == 0)
		r = fc_plan_init(&plan, c, e);
	for (size_t i = 0; i < n && r == 0; i++)
		r = fc_plan_device(&plan, devices[i], e);
	if (r == 0)
		r = fc_plan_placeholders(&plan, e);
	if (r == 0)
		r = fc_plan_requests(&plan, &requests, e);
	if (r == 0 && (strv_addf(ret, FC_KERNEL " -> %s", c->kernel) < 0 ||
		       (!str_empty(c->initrd) && strv_addf(ret, FC_INITRD " -> %s", c->initrd) < 0)))
		r = err_sys(e, ENOMEM, "cannot describe the VM");
	for (size_t i = 0; i < plan.n_drives && r == 0; i++)
		if (plan.drives[i].path && strv_addf(ret, "%s -> %s", plan.drives[i].name, plan.drives[i].path) < 0)
			r = err_sys(e, ENOMEM, "cannot describe the VM");
	for (size_t i = 0; i < requests.n && r == 0; i++)
		if (strv_addf(ret, "%s %s %s", requests.v[i].method, requests.v[i].target, requests.v[i].body) < 0)
			r = err_sys(e, ENOMEM, "cannot describe the VM");
	fc_requests_fini(&requests);
	fc_plan_fini(&plan);
	return r;
}

/* --- start --- */

static int open_stream(struct fc_vm *f, const char *name, const char *prefix, struct console **ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/firecracker.%s", f->vm.config->run_dir, name);
	int fd = -1, r;

	if (!path)
		return err_sys(e, ENOMEM, "cannot capture Firecracker's %s", name);
	r = fc_folder_fifo(&f->folder, name, &fd, e);
	return r < 0 ? r : console_new(f->loop, fd, path, LOG_MAX, prefix, ret, e);
}

static int fill_folder(struct fc_vm *f, struct err *e)
{
	const struct vm_config *c = f->vm.config;
	bool placeholders = false;
	int r = fc_folder_make(&f->folder, e);

	if (r == 0)
		r = fc_folder_bring(&f->folder, FC_KERNEL, c->kernel, e);
	if (r == 0 && !str_empty(c->initrd))
		r = fc_folder_bring(&f->folder, FC_INITRD, c->initrd, e);
	for (size_t i = 0; i < f->plan.n_drives && r == 0; i++) {
		const struct fc_drive *d = &f->plan.drives[i];

		placeholders |= !d->path;
		r = d->path ? fc_folder_bring(&f->folder, d->name, d->path, e) : 0;
	}
	return r == 0 && placeholders ? fc_folder_touch(&f->folder, FC_EMPTY, e) : r;
}

static int spawn_firecracker(struct fc_vm *f, struct err *e)
{
	const struct vm_config *c = f->vm.config;
	_cleanup_strv_ struct strv argv = { 0 };
	_cleanup_close_ int console = -1;
	struct spawn s = { .stdin_fd = -1, .cwd = f->folder.path, .netns = c->netns };
	int r = vm_open_console(&f->vm, f->loop, &console, e);

	if (r == 0)
		r = open_stream(f, "log", "VMM: ", &f->log, e);
	if (r == 0)
		r = open_stream(f, "metrics", NULL, &f->metrics, e);
	if (r == 0)
		r = fc_argv(c, f->program, &argv, e);
	if (r < 0)
		return r;
	s.path = argv.v[0];
	s.argv = argv.v;
	s.stdout_fd = console;
	r = process_start(f->loop, &s, "Firecracker", &f->process, e);
	if (r == 0)
		f->vm.exit_fd = f->rest.exit_fd = process_exit_fd(f->process);
	return r;
}

/* Which Firecracker is it? Asked here and not by --version, which would be one more process for each VM. */
static int take_version(struct fc_vm *f, uint64_t deadline_ms, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_free_ char *answer = NULL;
	const char *text;
	int r = rest_call(&f->rest, "GET", "/version", NULL, NULL, 0, deadline_ms, &answer, e);

	if (r < 0)
		return r;
	if (json_parse(answer, strlen(answer), REST_BODY_MAX, &o, NULL) < 0 ||
	    !(text = json_get_str(o, "firecracker_version")) || fc_version_parse(text, &f->version) < 0)
		return err_set(e, ERR_PROTOCOL, EPROTO, "GET /version: no version in \"%.60s\"", answer);
	log_info("Firecracker %s%s", text, f->folder.jailed ? " in its jail" : "");
	return fc_version_check(&f->version, f->vm.config->hv, f->program, e);
}

static void stop_all(struct fc_vm *f)
{
	f->running = false;
	if (f->process)
		process_stop(f->process, 0);
	rest_fini(&f->rest);
}

/* Nothing is left of an attempt to start. */
static void unstart(struct fc_vm *f)
{
	stop_all(f);
	process_free(f->process);
	f->process = NULL;
	console_free(f->log);
	console_free(f->metrics);
	console_free(f->vm.console);
	f->log = f->metrics = f->vm.console = NULL;
	f->vm.exit_fd = f->rest.exit_fd = -1;
	fc_folder_fini(&f->folder);
}

/* Run Firecracker, and hear which one it is. */
static int launch(struct fc_vm *f, uint64_t deadline, struct err *e)
{
	int r = spawn_firecracker(f, e);

	if (r == 0)
		r = rest_wait(&f->rest, deadline, e);
	if (r == 0)
		r = take_version(f, deadline, e);
	return r < 0 ? fc_explain_start(f, r, e) : 0;
}

static int send_requests(struct fc_vm *f, const struct fc_requests *requests, uint64_t deadline, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < requests->n && r == 0; i++)
		r = rest_call(&f->rest, requests->v[i].method, requests->v[i].target, requests->v[i].body, NULL, 0,
			      deadline, NULL, e);
	if (r < 0)
		return fc_explain_start(f, r, e);
	f->running = true;
	fc_slots_init(f);
	return 0;
}

/* What the requests leave out for an old one. */
static int adapt_requests(struct fc_vm *f, struct fc_requests *requests, struct err *e)
{
	f->plan.no_mtu = !fc_version_has_mtu(&f->version);
	if (!f->plan.no_mtu)
		return 0;
	fc_requests_fini(requests);
	return fc_plan_requests(&f->plan, requests, e);
}

static uint64_t start_ms(const struct fc_vm *f)
{
	return f->vm.config->start_timeout_ms ? f->vm.config->start_timeout_ms : FC_START_MS;
}

static int check_fresh(const struct fc_vm *f, struct err *e)
{
	return f->folder.path && !f->process ? 0 : err_set(e, ERR_HYPERVISOR, EALREADY, "the VM was started before");
}

static int start(struct vm *vm, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);
	struct fc_requests requests = { 0 };
	uint64_t deadline = clock_ms() + start_ms(f);
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	r = check_fresh(f, e);
	if (r < 0)
		return r;
	f->rest.interrupt_fd = vm->interrupt_fd;
	r = fc_plan_placeholders(&f->plan, e);
	if (r == 0)
		r = fill_folder(f, e);
	if (r == 0)
		r = fc_plan_requests(&f->plan, &requests, e);
	if (r == 0)
		r = launch(f, deadline, e);
	if (r == 0)
		r = adapt_requests(f, &requests, e);
	if (r == 0)
		r = send_requests(f, &requests, deadline, e);
	fc_requests_fini(&requests);
	/* From here on signals are the container's. */
	f->rest.interrupt_fd = -1;
	if (r < 0)
		unstart(f);
	return r;
}

/* --- while it runs --- */

static int set_state(struct vm *vm, const char *body, struct err *e)
{
	return fc_call(fc_vm_of(vm), "PATCH", "/vm", body, FC_COMMAND_MS, e);
}

static int pause_vm(struct vm *vm, struct err *e)
{
	return set_state(vm, "{\"state\":\"Paused\"}", e);
}

static int resume_vm(struct vm *vm, struct err *e)
{
	return set_state(vm, "{\"state\":\"Resumed\"}", e);
}

/* The VM must be paused, and Firecracker says so when it is not. */
static int save(struct vm *vm, const char *dir, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);
	int r;

	if (!f->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "snapshot: the VM is not running");
	r = fc_folder_bring(&f->folder, FC_SNAPSHOT, dir, e);
	if (r == 0) {
		r = fc_call(f, "PUT", "/snapshot/create",
			    "{\"snapshot_type\":\"Full\",\"snapshot_path\":\"" FC_SNAPSHOT "/state\","
			    "\"mem_file_path\":\"" FC_SNAPSHOT "/memory\"}",
			    FC_SNAPSHOT_MS, e);
		fc_folder_drop(&f->folder, FC_SNAPSHOT);
	}
	return r;
}

/* In place of start(): the same devices must have been added. The guest is paused; the memory file stays in use. */
static int restore(struct vm *vm, const char *dir, struct err *e)
{
	static char target[] = "/snapshot/load",
		    body[] = "{\"snapshot_path\":\"" FC_SNAPSHOT "/state\",\"mem_backend\":{\"backend_type\":\"File\","
			     "\"backend_path\":\"" FC_SNAPSHOT "/memory\"},\"resume_vm\":false}";
	struct fc_request load = { "PUT", target, body };
	const struct fc_requests requests = { &load, 1 };
	struct fc_vm *f = fc_vm_of(vm);
	uint64_t deadline = clock_ms() + start_ms(f) + FC_SNAPSHOT_MS;
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	r = check_fresh(f, e);
	if (r < 0)
		return r;
	r = fc_plan_placeholders(&f->plan, e);
	if (r == 0)
		r = fill_folder(f, e);
	if (r == 0)
		r = fc_folder_bring(&f->folder, FC_SNAPSHOT, dir, e);
	if (r == 0)
		r = launch(f, deadline, e);
	if (r == 0)
		r = send_requests(f, &requests, deadline, e);
	if (r < 0)
		unstart(f);
	return r;
}

static int no_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "Firecracker cannot change the number of CPUs of a running VM");
}

static int no_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	return err_set(e, ERR_HYPERVISOR, ENOTSUP, "Firecracker cannot change the memory of a running VM");
}

/* The threads of the virtual CPUs are known by their names: "fc_vcpu N". */
static int info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);
	_cleanup_closedir_ DIR *tasks = NULL;
	char path[64];
	struct dirent *d;

	if (!f->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "the VM is not running");
	*ret = (struct vm_process_info){ .vmm_pid = process_pid(f->process) };
	snprintf(path, sizeof path, "/proc/%d/task", (int)ret->vmm_pid);
	tasks = opendir(path);
	if (!tasks)
		return err_sys(e, errno, "cannot read %s", path);
	while ((d = readdir(tasks))) {
		_cleanup_free_ char *comm = str_printf("%s/comm", d->d_name), *name = NULL;
		uint64_t tid, index;
		const char *number;

		if (!comm || str_to_u64(d->d_name, 10, &tid) < 0 || tid > INT32_MAX ||
		    file_read_at(dirfd(tasks), comm, 64, &name, NULL) < 0)
			continue;
		name[strcspn(name, "\n")] = 0;
		number = str_after(name, "fc_vcpu ");
		if (!number || str_to_u64(number, 10, &index) < 0 || index >= FC_VCPUS_MAX)
			continue;
		ret->vcpu_tids[index] = (pid_t)tid;
		if (ret->n_vcpus <= index)
			ret->n_vcpus = index + 1;
	}
	return 0;
}

/* --- end --- */

/* The guest first, if there is time for that; Firecracker itself has nothing to write back. */
static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct fc_vm *f = fc_vm_of(vm);

#ifdef __x86_64__
	if (f->running && grace_ms > 0 && !process_ended(f->process) &&
	    rest_call(&f->rest, "PUT", "/actions", "{\"action_type\":\"SendCtrlAltDel\"}", NULL, 0, clock_ms() + 500,
		      NULL, NULL) == 0)
		process_wait(f->process, clock_ms() + (uint64_t)grace_ms);
#endif
	stop_all(f);
	return 0;
}

static void vm_free(struct vm *vm)
{
	struct fc_vm *f;

	if (!vm)
		return;
	f = fc_vm_of(vm);
	unstart(f);
	fc_plan_fini(&f->plan);
	free(f->api);
	free(f);
}

static const char *const aliases[] = { "fc", NULL };

/* What this driver, or the runtime on its behalf, acts upon. The rest of Kata's keys are warned about. */
static const char *const honoured_keys[] = {
	"path",
	"valid_hypervisor_paths",
	"jailer_path",
	"valid_jailer_paths",
	"enable_annotations",
	"kernel",
	"image",
	"initrd",
	"kernel_params",
	"kernel_verity_params",
	"rootfs_type",
	"cpu_template",
	"default_vcpus",
	"default_memory",
	"default_bridges",
	"enable_hugepages",
	"reclaim_guest_freed_memory",
	"shared_fs",
	"block_device_driver",
	"block_device_aio",
	"block_device_cache_set",
	"block_device_cache_noflush",
	"disk_rate_limiter_bw_max_rate",
	"disk_rate_limiter_bw_one_time_burst",
	"disk_rate_limiter_ops_max_rate",
	"disk_rate_limiter_ops_one_time_burst",
	"rx_rate_limiter_max_rate",
	"tx_rate_limiter_max_rate",
	"enable_debug",
	"disable_guest_selinux",
	"disable_seccomp",
	"guest_hook_path",
	NULL,
};

const struct hypervisor_driver firecracker_driver = {
	.name = "firecracker",
	.aliases = aliases,
	.honoured_keys = honoured_keys,
	.vmm_memory_mib = 8,
	.needs_kvm = true,
	.check = fc_check,
	.capabilities = fc_capabilities,
	.describe = describe,
	.prepare = prepare,
	.add_device = add_device,
	.remove_device = remove_device,
	.start = start,
	.pause = pause_vm,
	.resume = resume_vm,
	.save = save,
	.restore = restore,
	.resize_vcpus = no_resize_vcpus,
	.resize_block = resize_block,
	.resize_memory = no_resize_memory,
	.info = info,
	.explain_exit = fc_explain_exit,
	.stop = stop,
	.free = vm_free,
};
