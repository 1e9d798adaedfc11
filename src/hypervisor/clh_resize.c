/* SPDX-License-Identifier: Apache-2.0 */
/*
 * More or fewer vCPUs, more or less memory, a larger disk in a running VM.
 *
 * vm.resize starts what then takes the guest: a vCPU is gone when its thread is. Memory modules (ACPI) come in steps of
 * 128 MiB and stay; virtio-mem goes both ways.
 */
#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "hypervisor/clh_vm.h"
#include "hypervisor/console.h"

#define VIRTIO_MEM_STEP_MIB 4 /* blocks of virtio-mem: suits every page size of x86 */

/* The threads that are vCPUs have names: "vcpu0". */
static int list_vcpus(const struct clh_vm *q, struct vm_process_info *ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("/proc/%d/task", (int)process_pid(q->process));
	_cleanup_closedir_ DIR *tasks = path ? opendir(path) : NULL;
	struct dirent *entry;

	*ret = (struct vm_process_info){ .vmm_pid = process_pid(q->process) };
	if (!tasks)
		return err_sys(e, errno, "cannot look at Cloud Hypervisor's threads");
	while ((entry = readdir(tasks)) && ret->n_vcpus < sizeof ret->vcpu_tids / sizeof ret->vcpu_tids[0]) {
		_cleanup_free_ char *file = str_printf("%s/%s/comm", path, entry->d_name), *name = NULL;
		uint64_t tid;

		if (str_to_u64(entry->d_name, 10, &tid) < 0 || !file || file_read(file, 64, &name, NULL) < 0)
			continue;
		if (str_after(name, "vcpu"))
			ret->vcpu_tids[ret->n_vcpus++] = (pid_t)tid;
	}
	return 0;
}

int clh_info(struct vm *vm, struct vm_process_info *ret, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);

	if (!q->running)
		return err_set(e, ERR_HYPERVISOR, ENOTCONN, "the VM is not running");
	return list_vcpus(q, ret, e);
}

/* vCPUs that shall go are waited for; those that come have their names a moment later. */
static int wait_vcpus(struct clh_vm *q, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	uint64_t deadline = clock_ms() + q->unplug_ms;
	struct vm_process_info info;

	for (;;) {
		int r = list_vcpus(q, &info, e);

		if (r < 0)
			return r;
		*ret = (uint32_t)info.n_vcpus;
		if (*ret == sizeof info.vcpu_tids / sizeof info.vcpu_tids[0] && vcpus > *ret)
			*ret = vcpus; /* more than are listed */
		if (*ret == vcpus || clock_ms() >= deadline)
			return 0;
		if (vm_wait_exit(&q->vm, 20))
			return vm_explain_exit(&q->vm, e);
		console_drain(q->vm.console);
	}
}

int clh_resize_vcpus(struct vm *vm, uint32_t vcpus, uint32_t *ret, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	struct json_object *body;
	uint32_t now = vcpus;
	int r;

	if (!vcpus || vcpus > clh_max_vcpus(vm->config))
		return err_set(e, ERR_CONFIG, ERANGE,
			       "%u vCPUs are not what the VM can get (1 to %u, default_maxvcpus)", vcpus,
			       clh_max_vcpus(vm->config));
	body = json_object_make();
	json_set_u64(body, "desired_vcpus", vcpus);
	r = clh_put(q, "vm.resize", body, e);
	if (r == 0)
		r = wait_vcpus(q, vcpus, &now, e);
	if (r < 0) {
		err_wrap(e, "cannot change the VM to %u vCPUs", vcpus);
		return r;
	}
	*ret = now;
	return 0;
}

/* What the VM gets when mib are asked for. */
static uint64_t possible_mib(const struct clh_vm *q, uint64_t mib)
{
	const struct vm_config *c = q->vm.config;
	uint64_t step = clh_uses_virtio_mem(c) ? VIRTIO_MEM_STEP_MIB : CLH_MEMORY_STEP_MIB;
	uint64_t more = mib > c->memory_mib ? mib - c->memory_mib : 0;

	more = (more + step - 1) / step * step;
	if (more > clh_hotplug_mib(c))
		more = clh_hotplug_mib(c);
	mib = c->memory_mib + more;
	return mib < q->memory_mib && !clh_uses_virtio_mem(c) ? q->memory_mib : mib;
}

int clh_resize_memory(struct vm *vm, uint64_t mib, uint64_t *ret, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	const struct vm_config *c = vm->config;
	struct json_object *body;
	int r;

	if (mib > c->memory_mib && mib > c->max_memory_mib)
		return err_set(e, ERR_CONFIG, ERANGE,
			       "%llu MiB are more than the VM can get (%llu MiB, default_maxmemory)",
			       (unsigned long long)mib, (unsigned long long)c->max_memory_mib);
	mib = possible_mib(q, mib);
	if (mib != q->memory_mib) {
		/* It answers once all of it has been taken from the host, which is as slow as at the start. */
		unsigned ms = CLH_COMMAND_MS + (c->hv->enable_mem_prealloc ? CLH_PREALLOC_MS : 0);

		body = json_object_make();
		json_set_u64(body, "desired_ram", mib << 20);
		r = clh_call(q, "PUT", "vm.resize", body, NULL, 0, ms, NULL, e);
		if (r < 0) {
			err_wrap(e, "cannot change the VM's memory to %llu MiB", (unsigned long long)mib);
			return r;
		}
		q->memory_mib = mib;
	}
	*ret = mib;
	return 0;
}

/*
 * Cloud Hypervisor is told a size, not to look: of a file it makes it so (v51 fails there where it is a block device).
 * The size is the file's own, which a file that somebody lets grow at this very moment would lose again.
 */
int clh_resize_block(struct vm *vm, const struct vm_device *disk, struct err *e)
{
	struct clh_vm *q = clh_vm_of(vm);
	struct json_object *body;
	uint64_t size;
	char id[48];
	int r = file_size(disk->u.block.path, &size);

	if (r < 0)
		return err_sys(e, -r, "size of %s", disk->u.block.path);
	if (size % 512)
		return err_set(e, ERR_CONFIG, EINVAL, "%s has %llu bytes, which are no whole number of sectors",
			       disk->u.block.path, (unsigned long long)size);
	clh_device_id(disk->id, id, sizeof id);
	body = json_object_make();
	json_set_str(body, "id", id);
	json_set_u64(body, "desired_size", size);
	return clh_put(q, "vm.resize-disk", body, e);
}
