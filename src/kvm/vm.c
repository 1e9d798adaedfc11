/* SPDX-License-Identifier: Apache-2.0 */
/* Creation, memory slots and kicks. Routes are in routes.c, what differs between architectures in vm_x86.c. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "kvm/vm_internal.h"

struct kvm *kvm_vm_kvm(struct kvm_vm *vm)
{
	return vm->kvm;
}

int kvm_vm_fd(const struct kvm_vm *vm)
{
	return vm->fd;
}

bool kvm_vm_split(const struct kvm_vm *vm)
{
	return vm->split;
}

static int enable_manual_dirty_log(struct kvm_vm *vm, struct err *e)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
				      .args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE } };

	if (!(kvm_capability(vm->kvm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) & KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE))
		return err_set(e, ERR_HYPERVISOR, ENOTSUP,
			       "this host's KVM lacks KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2, which tracking of written "
			       "pages needs");
	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap) < 0)
		return err_sys(e, errno, "cannot enable KVM's dirty log");
	return 0;
}

/* KVM_CREATE_VM is interrupted by any signal that is pending. */
static int create(struct kvm *kvm)
{
	int fd;

	do
		fd = ioctl(kvm->fd, KVM_CREATE_VM, (unsigned long)kvm->vm_type);
	while (fd < 0 && errno == EINTR);
	return fd;
}

int kvm_vm_new(struct kvm *kvm, bool track_dirty, struct kvm_vm **ret, struct err *e)
{
	_cleanup_(kvm_vm_free_p) struct kvm_vm *vm = calloc(1, sizeof *vm);
	int r;

	if (!vm)
		return err_sys(e, ENOMEM, "cannot create a virtual machine");
	pthread_mutex_init(&vm->lock, NULL);
	vm->kvm = kvm;
	vm->gic = vm->its = -1;
	vm->track_dirty = track_dirty;
	vm->fd = create(kvm);
	if (vm->fd < 0)
		return err_sys(e, errno, "KVM cannot create a virtual machine");
	r = track_dirty ? enable_manual_dirty_log(vm, e) : 0;
	if (r < 0)
		return r;
	*ret = take_ptr(vm);
	return 0;
}

int kvm_vm_set_up(struct kvm_vm *vm, const struct kvm_vm_config *c, struct err *e)
{
	int r;

	vm->split = c->split_irqchip;
	r = kvm_vm_set_up_arch(vm, c, e);
	if (r < 0)
		return r;
	kvm_routes_init(vm);
	r = kvm_routes_commit(vm);
	return r < 0 ? err_sys(e, -r, "KVM does not take the table of interrupts") : 0;
}

void kvm_vm_free(struct kvm_vm *vm)
{
	if (!vm)
		return;
	fd_close(&vm->its);
	fd_close(&vm->gic);
	fd_close(&vm->fd);
	pthread_mutex_destroy(&vm->lock);
	free(vm->mpidr);
	free(vm);
}

unsigned kvm_vm_slots_max(const struct kvm_vm *vm)
{
	return vm->kvm->max_slots < KVM_SLOTS_MAX ? vm->kvm->max_slots : KVM_SLOTS_MAX;
}

static struct slot *find_slot(struct kvm_vm *vm, gpa_t gpa)
{
	for (unsigned i = 0; i < vm->n_slots; i++)
		if (vm->slots[i].size && vm->slots[i].gpa == gpa)
			return &vm->slots[i];
	return NULL;
}

static int set_slot(struct kvm_vm *vm, struct slot *s, gpa_t gpa, uint64_t size, void *host, unsigned flags)
{
	struct kvm_userspace_memory_region region = {
		.slot = (uint32_t)(s - vm->slots),
		.flags = (flags & KVM_MAP_READONLY ? KVM_MEM_READONLY : 0) |
			 (flags & KVM_MAP_LOG ? KVM_MEM_LOG_DIRTY_PAGES : 0),
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)host,
	};

	return ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

int kvm_vm_map(struct kvm_vm *vm, gpa_t gpa, uint64_t size, void *host, unsigned flags)
{
	struct slot *s = vm->slots;
	int r;

	if (!size)
		return -EINVAL;
	pthread_mutex_lock(&vm->lock);
	while (s < vm->slots + vm->n_slots && s->size)
		s++;
	if (s - vm->slots >= (long)kvm_vm_slots_max(vm))
		r = -ENOSPC;
	else
		r = set_slot(vm, s, gpa, size, host, flags);
	if (r == 0) {
		*s = (struct slot){ .gpa = gpa, .size = size };
		if (s == vm->slots + vm->n_slots)
			vm->n_slots++;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_vm_unmap(struct kvm_vm *vm, gpa_t gpa, uint64_t size)
{
	struct slot *s;
	int r = -ENOENT;

	pthread_mutex_lock(&vm->lock);
	s = find_slot(vm, gpa);
	if (s && s->size == size)
		r = set_slot(vm, s, gpa, 0, NULL, 0);
	if (r == 0)
		s->size = 0;
	while (vm->n_slots && !vm->slots[vm->n_slots - 1].size)
		vm->n_slots--;
	pthread_mutex_unlock(&vm->lock);
	return r;
}

/* The slot at gpa, if its bitmap has n_words. */
static struct slot *logged_slot(struct kvm_vm *vm, gpa_t gpa, size_t n_words)
{
	struct slot *s = find_slot(vm, gpa);
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);

	return s && (s->size / page + 63) / 64 == n_words ? s : NULL;
}

int kvm_vm_dirty_get(struct kvm_vm *vm, gpa_t gpa, uint64_t *bitmap, size_t n_words)
{
	struct kvm_dirty_log log = { .dirty_bitmap = bitmap };
	struct slot *s;
	int r = -EINVAL;

	pthread_mutex_lock(&vm->lock);
	s = logged_slot(vm, gpa, n_words);
	if (s) {
		log.slot = (uint32_t)(s - vm->slots);
		r = ioctl(vm->fd, KVM_GET_DIRTY_LOG, &log) < 0 ? -errno : 0;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_vm_dirty_clear(struct kvm_vm *vm, gpa_t gpa, const uint64_t *bitmap, size_t n_words)
{
	/* The kernel only reads it. */
	struct kvm_clear_dirty_log log = { .dirty_bitmap = (void *)(uintptr_t)bitmap };
	struct slot *s;
	int r = -EINVAL;

	if (!vm->track_dirty)
		return 0;
	pthread_mutex_lock(&vm->lock);
	s = logged_slot(vm, gpa, n_words);
	if (s) {
		log.slot = (uint32_t)(s - vm->slots);
		log.num_pages = (uint32_t)(s->size / (uint64_t)sysconf(_SC_PAGESIZE));
		r = ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &log) < 0 ? -errno : 0;
	}
	pthread_mutex_unlock(&vm->lock);
	return r;
}

int kvm_vm_ioeventfd(struct kvm_vm *vm, enum bus_space space, uint64_t addr, uint32_t len, const uint64_t *match,
		     int fd, bool on)
{
	struct kvm_ioeventfd io = {
		.datamatch = match ? *match : 0,
		.addr = addr,
		.len = len,
		.fd = fd,
		.flags = (space == BUS_PIO ? KVM_IOEVENTFD_FLAG_PIO : 0) | (match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0) |
			 (on ? 0 : KVM_IOEVENTFD_FLAG_DEASSIGN),
	};

	return ioctl(vm->fd, KVM_IOEVENTFD, &io) < 0 ? -errno : 0;
}
