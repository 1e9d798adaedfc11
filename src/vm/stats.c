/* SPDX-License-Identifier: Apache-2.0 */
/* What devices and vCPUs have counted, for who wants to tell of it. */
#include <stdio.h>

#include "virtio/device.h"
#include "vm/devices.h"

typedef void count_fn(void *userdata, const struct vmm_count *c);

/* The numbers as they are, inside the device's loop. Returns their names; NULL: there are none. */
static const char *const *read_counters(struct vm_device *d, uint64_t ret[VIRTIO_COUNTERS_MAX])
{
	const char *const *names = NULL;
	bool gone;

	loop_enter(d->loop);
	pthread_mutex_lock(&d->vm->lock);
	gone = d->gone;
	pthread_mutex_unlock(&d->vm->lock);
	if (!gone)
		names = d->dev->counter_names;
	for (unsigned i = 0; names && names[i]; i++)
		ret[i] = d->dev->counters[i];
	loop_leave(d->loop);
	return names;
}

static void tell_device(struct vm_device *d, count_fn *fn, void *userdata)
{
	struct vmm_count c = { .kind = device_kind_name(d->kind), .id = d->id };
	uint64_t value[VIRTIO_COUNTERS_MAX];
	const char *const *names = read_counters(d, value);

	for (unsigned i = 0; names && names[i]; i++) {
		c.name = names[i];
		c.value = value[i];
		fn(userdata, &c);
	}
}

static void tell_vcpu(const struct kvm_vcpu *v, unsigned index, count_fn *fn, void *userdata)
{
	struct kvm_vcpu_counts n;
	char id[16];

	snprintf(id, sizeof id, "%u", index);
	kvm_vcpu_count(v, &n);
	fn(userdata, &(struct vmm_count){ "vcpu", id, "exit_io_in", n.io_in });
	fn(userdata, &(struct vmm_count){ "vcpu", id, "exit_io_out", n.io_out });
	fn(userdata, &(struct vmm_count){ "vcpu", id, "exit_mmio_read", n.mmio_read });
	fn(userdata, &(struct vmm_count){ "vcpu", id, "exit_mmio_write", n.mmio_write });
	fn(userdata, &(struct vmm_count){ "vcpu", id, "failures", n.failures });
}

void vmm_stats(struct vmm *vm, void (*fn)(void *userdata, const struct vmm_count *c), void *userdata)
{
	struct vm_device *d;

	list_foreach (d, &vm->devices, struct vm_device, node)
		tell_device(d, fn, userdata);
	for (unsigned i = 0; i < vm->config.max_vcpus; i++)
		if (vm->vcpus[i].kvm)
			tell_vcpu(vm->vcpus[i].kvm, i, fn, userdata);
}
