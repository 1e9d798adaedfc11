/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The Cloud Hypervisor driver: the life of a VM.
 *
 * Cloud Hypervisor is a direct child that dies with us (clh_start.c). It is told what the VM is by vm.create, gets tap
 * queues with vm.add-net, and runs the guest with vm.boot; when start() returns the guest boots on. The vsock device is
 * its own, with the same CONNECT protocol on a Unix socket that our back end for other hypervisors has.
 *
 * Cloud Hypervisor is not trusted once the guest runs: it is a parser of guest bytes. It has its own seccomp filters
 * and, on request, Landlock; every answer is bounded in time and size (rest.h), and its pidfd tells its death at once.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "hypervisor/clh.h"
#include "hypervisor/clh_vm.h"
#include "hypervisor/guest_files.h"
#include "hypervisor/program.h"

#define API "/api/v1/"

struct clh_vm *clh_vm_of(struct vm *vm)
{
	return container_of(vm, struct clh_vm, vm);
}

/* --- how it ended --- */

static int explain_exit(struct vm *vm, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	char how[96], words[512];
	const char *panic;
	int status;

	clh_drain_events(q);
	console_drain(vm->console);
	if (!q->process)
		return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM is not running");
	/* The pidfd is readable when the process is a zombie; being reaped is a moment away at most. */
	process_wait(q->process, clock_ms() + 200);
	panic = console_find(vm->console, "Kernel panic");
	if (panic || q->panicked)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest kernel panicked: %s",
			       panic ? panic : "no message on the console");
	if (q->resetting)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest rebooted or crashed (reset)");
	status = process_status(q->process);
	if (process_ended(q->process) && WIFEXITED(status) && WEXITSTATUS(status) == 0 && !q->stopped)
		return err_set(e, ERR_GUEST, EOWNERDEAD, "the VM ended: the guest powered off");
	process_describe(q->process, how, sizeof how);
	process_last_words(q->process, words, sizeof words);
	return err_set(e, ERR_HYPERVISOR, EOWNERDEAD, "the VM ended: %s%s%s%s", how, words[0] ? " (" : "", words,
		       words[0] ? ")" : "");
}

/* --- requests --- */

static int call_until(struct clh_vm *q, const char *method, const char *action, const char *body, const int *fds,
		      size_t n_fds, uint64_t deadline_ms, char **ret, struct err *e)
{
	char target[64];

	snprintf(target, sizeof target, API "%s", action);
	return rest_call(&q->rest, method, target, body, fds, n_fds, deadline_ms, ret, e);
}

int clh_call(struct clh_vm *q, const char *method, const char *action, struct json_object *body, const int *fds,
	     size_t n_fds, unsigned timeout_ms, char **ret, struct err *e)
{
	_cleanup_free_ char *text = body ? json_write(body, false) : NULL;
	bool short_of_memory = body && !text;
	int r;

	json_free(body);
	if (!q->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "%s: the VM is not running", action);
	if (short_of_memory)
		return err_sys(e, ENOMEM, "%s", action);
	r = call_until(q, method, action, text, fds, n_fds, clock_ms() + timeout_ms, ret, e);
	/* The connection ends a moment before the process does. */
	if (r < 0 && vm_wait_exit(&q->vm, r == -EPIPE ? PROCESS_END_MS : 0)) {
		r = vm_explain_exit(&q->vm, e);
		err_wrap(e, "%s", action);
	}
	return r;
}

int clh_put(struct clh_vm *q, const char *action, struct json_object *body, struct err *e)
{
	return clh_call(q, "PUT", action, body, NULL, 0, CLH_COMMAND_MS, NULL, e);
}

/* --- prepare --- */

static void vm_free(struct vm *vm);

static int check_host(const struct vm_config *c, struct err *e)
{
	char why[256];

	if (!hypervisor_kvm_usable(why, sizeof why))
		return err_set(e, ERR_HYPERVISOR, ENODEV, "Cloud Hypervisor cannot run here: %s", why);
	if (c->hv->enable_landlock && !clh_host_has_landlock())
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "enable_landlock: this host's kernel has no Landlock as of Linux 6.2");
	return 0;
}

static int prepare(struct loop *loop, const struct vm_config *c, struct vm **ret, struct err *e)
{
	struct clh_vm *q = calloc(1, sizeof *q);
	int r;

	if (!q)
		return err_sys(e, ENOMEM, "cannot prepare the VM");
	q->vm = (struct vm){ .driver = &clh_driver, .config = c, .exit_fd = -1, .interrupt_fd = -1 };
	q->loop = loop;
	q->events_fd = -1;
	q->rest.fd = -1;
	q->unplug_ms = CLH_UNPLUG_MS;
	q->memory_mib = c->memory_mib;
	list_init(&q->hotplugged);
	r = check_host(c, e);
	if (r == 0)
		r = clh_probe(c->hv, false, &q->facts, e);
	if (r == 0)
		r = guest_files_check(c, HOST_ARCH, e);
	if (r == 0)
		r = clh_plan_init(&q->plan, c, e);
	if (r < 0) {
		vm_free(&q->vm);
		return r;
	}
	rest_init(&q->rest, "Cloud Hypervisor", q->plan.api_socket);
	snprintf(q->vm.agent_address, sizeof q->vm.agent_address, "hvsock:%s", q->plan.vsock_socket);
	*ret = &q->vm;
	return 0;
}

static void vm_free(struct vm *vm)
{
	struct clh_vm *q;

	if (!vm)
		return;
	q = clh_vm_of(vm);
	clh_stop_all(q);
	clh_hotplug_fini(q);
	process_free(q->process);
	console_free(vm->console);
	clh_plan_fini(&q->plan);
	free(q);
}

/* The command line, then each request. */
static int describe(const struct vm_config *c, struct vm_device *const *devices, size_t n, struct strv *ret,
		    struct err *e)
{
	struct clh_plan plan = { 0 };
	struct clh_facts facts;
	char *body = NULL;
	int r = clh_probe(c->hv, false, &facts, e);

	if (r < 0)
		return r;
	r = clh_plan_init(&plan, c, e);
	for (size_t i = 0; i < n && r == 0; i++)
		r = clh_plan_device(&plan, devices[i], e);
	if (r == 0)
		r = clh_argv(&plan, facts.path, 3, 4, ret, e);
	if (r == 0)
		r = clh_create_body(&plan, &body, e);
	if (r == 0 && strv_addf(ret, "PUT " API "vm.create %s", body) < 0)
		r = err_sys(e, ENOMEM, "cannot describe the VM");
	for (size_t i = 0; i < plan.n_fd_nets && r == 0; i++)
		if (strv_addf(ret, "PUT " API "vm.add-net %s (with %zu descriptors)", plan.fd_nets[i].body,
			      plan.fd_nets[i].n_fds) < 0)
			r = err_sys(e, ENOMEM, "cannot describe the VM");
	if (r == 0 && strv_add(ret, "PUT " API "vm.boot") < 0)
		r = err_sys(e, ENOMEM, "cannot describe the VM");
	free(body);
	clh_plan_fini(&plan);
	return r;
}

/* --- devices --- */

static int add_device(struct vm *vm, struct vm_device *device, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);

	return q->running ? clh_hotplug_add(q, device, e) : clh_plan_device(&q->plan, device, e);
}

static int remove_device(struct vm *vm, const char *id, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);

	if (!q->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "device %s cannot be removed: the VM is not running", id);
	return clh_hotplug_remove(q, id, e);
}

/* --- start --- */

/* The slot of a disk as vm.info tells it; its parent is the PCI device. */
static const char *bdf_of(const struct json_object *tree, const char *id)
{
	struct json_object *node = json_get_object(tree, id);
	const char *bdf = json_get_str(node, "pci_bdf"), *parent = json_get_str(node, "parent");

	return bdf || !parent ? bdf : json_get_str(json_get_object(tree, parent), "pci_bdf");
}

/*
 * The agent finds disks by their slots, which were foretold: a container whose root is another container's disk would
 * be worse than no container.
 */
static int check_slots(struct clh_vm *q, uint64_t deadline_ms, struct err *e)
{
	_cleanup_json_ struct json_object *info = NULL;
	_cleanup_free_ char *text = NULL;
	struct json_object *tree;
	int r;

	if (!json_array_len(q->plan.disks))
		return 0;
	r = call_until(q, "GET", "vm.info", NULL, NULL, 0, deadline_ms, &text, e);
	if (r < 0)
		return r;
	r = json_parse(text, strlen(text), REST_BODY_MAX, &info, e);
	if (r < 0) {
		err_wrap(e, "Cloud Hypervisor's answer to vm.info");
		return r;
	}
	tree = json_get_object(info, "device_tree");
	for (size_t i = 0; i < json_array_len(q->plan.disks); i++) {
		const char *id = json_get_str(json_array_at(q->plan.disks, i), "id"), *bdf = bdf_of(tree, id);
		char expected[16];

		snprintf(expected, sizeof expected, "0000:00:%02x.0", (unsigned)(i + 1) & 0x1f);
		if (!str_eq(bdf, expected))
			return err_set(e, ERR_PROTOCOL, EPROTO,
				       "Cloud Hypervisor %u.%u put disk %s at %s and not at %s", q->facts.major,
				       q->facts.minor, id, bdf ? bdf : "no address", expected);
	}
	return 0;
}

static int make_and_boot(struct clh_vm *q, uint64_t deadline_ms, struct err *e)
{
	_cleanup_free_ char *body = NULL;
	int r = clh_create_body(&q->plan, &body, e);

	if (r == 0)
		r = call_until(q, "PUT", "vm.create", body, NULL, 0, deadline_ms, NULL, e);
	for (size_t i = 0; i < q->plan.n_fd_nets && r == 0; i++) {
		struct clh_fd_net *n = &q->plan.fd_nets[i];

		r = call_until(q, "PUT", "vm.add-net", n->body, n->fds, n->n_fds, deadline_ms, NULL, e);
	}
	if (r == 0)
		r = call_until(q, "PUT", "vm.boot", NULL, NULL, 0, deadline_ms, NULL, e);
	if (r == 0)
		r = check_slots(q, deadline_ms, e);
	return r;
}

static int start(struct vm *vm, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	uint64_t bound = CLH_START_MS + (vm->config->hv->enable_mem_prealloc ? CLH_PREALLOC_MS : 0);
	uint64_t deadline = clock_ms() + (vm->config->start_timeout_ms ? vm->config->start_timeout_ms : bound);
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	r = clh_launch(q, deadline, e);
	if (r < 0)
		return r;
	r = make_and_boot(q, deadline, e);
	if (r < 0)
		return clh_launch_failed(q, r, e);
	clh_remove_console(q);
	/* Cloud Hypervisor has its duplicates. */
	for (size_t i = 0; i < q->plan.n_fd_nets; i++)
		for (size_t k = 0; k < q->plan.fd_nets[i].n_fds; k++)
			fd_close(&q->plan.fd_nets[i].fds[k]);
	/* From here on signals are the container's. */
	q->rest.interrupt_fd = -1;
	q->running = true;
	return 0;
}

/* --- while it runs --- */

static int pause_vm(struct vm *vm, struct err *e)
{
	return clh_put(clh_vm_of(vm), "vm.pause", NULL, e);
}

static int resume_vm(struct vm *vm, struct err *e)
{
	return clh_put(clh_vm_of(vm), "vm.resume", NULL, e);
}

/* --- end --- */

static int stop(struct vm *vm, int grace_ms, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);

	if (!q->process || process_ended(q->process)) {
		clh_stop_all(q);
		return 0;
	}
	q->rest.interrupt_fd = -1; /* who is interrupted wants this all the more */
	/* The guest first (ACPI power button), if there is time for that; then Cloud Hypervisor; then -9. */
	if (grace_ms > 0 && q->running &&
	    call_until(q, "PUT", "vm.power-button", NULL, NULL, 0, clock_ms() + 500, NULL, NULL) == 0)
		process_wait(q->process, clock_ms() + (uint64_t)grace_ms);
	if (!process_ended(q->process)) {
		q->stopped = true;
		if (q->running &&
		    call_until(q, "PUT", "vmm.shutdown", NULL, NULL, 0, clock_ms() + 500, NULL, NULL) == 0)
			process_wait(q->process, clock_ms() + 1000);
	}
	clh_stop_all(q);
	return 0;
}

static const char *const aliases[] = { "cloud-hypervisor", NULL };

/* What this driver, or the runtime on its behalf, acts upon. The rest of Kata's keys are warned about. */
static const char *const honoured_keys[] = {
	"path",
	"valid_hypervisor_paths",
	"enable_annotations",
	"kernel",
	"image",
	"initrd",
	"kernel_params",
	"kernel_verity_params",
	"rootfs_type",
	"vm_rootfs_driver",
	"disable_image_nvdimm",
	"firmware",
	"disable_seccomp",
	"enable_landlock",
	"default_vcpus",
	"default_maxvcpus",
	"default_memory",
	"default_maxmemory",
	"overhead_vcpus",
	"overhead_memory",
	"enable_virtio_mem",
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
	"disable_block_device_use",
	"block_device_driver",
	"block_device_cache_set",
	"block_device_cache_direct",
	"num_queues",
	"queue_size",
	"disk_rate_limiter_bw_max_rate",
	"disk_rate_limiter_bw_one_time_burst",
	"disk_rate_limiter_ops_max_rate",
	"disk_rate_limiter_ops_one_time_burst",
	"network_queues",
	"net_rate_limiter_bw_max_rate",
	"net_rate_limiter_bw_one_time_burst",
	"net_rate_limiter_ops_max_rate",
	"net_rate_limiter_ops_one_time_burst",
	"enable_iommu",
	"enable_debug",
	"hypervisor_loglevel",
	"disable_nested_virtualization",
	"disable_guest_selinux",
	"guest_hook_path",
	"confidential_guest",
	"sev_snp_guest",
	NULL,
};

const struct hypervisor_driver clh_driver = {
	.name = "clh",
	.aliases = aliases,
	.honoured_keys = honoured_keys,
	.vmm_memory_mib = 16,
	.needs_kvm = true,
	.check = clh_check,
	.capabilities = clh_capabilities,
	.describe = describe,
	.prepare = prepare,
	.add_device = add_device,
	.remove_device = remove_device,
	.start = start,
	.pause = pause_vm,
	.resume = resume_vm,
	.save = clh_save,
	.restore = clh_restore,
	.resize_vcpus = clh_resize_vcpus,
	.resize_memory = clh_resize_memory,
	.resize_block = clh_resize_block,
	.info = clh_info,
	.counters = clh_counters,
	.explain_exit = explain_exit,
	.stop = stop,
	.free = vm_free,
};
