/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A VM out of a snapshot's two files. The order: what the files are; a machine of the same shape around the saved
 * memory; its devices as they were made; KVM's interrupt controller and clock, the vCPUs; what the guest told the
 * devices; then the guest hears that it is another one (generation id). Whatever fails, vmm_free() undoes all.
 *
 * The files may come from a stranger: every number is checked before it is used, here or by who uses it for devices
 * that are added for the first time, too. What the guest's registers hold is KVM's affair.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "hw/vmgenid.h"
#include "state/state.h"
#include "vm/machine.h"
#include "vm/snapshot.h"

#define MEMORY_MAX     (1ULL << 44)
#define ELAPSED_MAX_NS (100ULL * 365 * 86400 * 1000000000) /* a snapshot's clock may be wrong: at most 100 years */

static int read_state(const char *path, struct state **ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);

	return fd < 0 ? err_sys(e, errno, "cannot open %s", path) : state_load(fd, path, ret, e);
}

static int check_kind(const struct state *s, struct err *e)
{
	const char *architecture;
	uint64_t version;
	int r = state_get_u64(s, "snapshot-version", &version, e);

	if (r == 0)
		r = state_get_str(s, "architecture", &architecture, e);
	if (r < 0)
		return r;
	if (version != SNAPSHOT_VERSION)
		return err_set(e, ERR_CONFIG, ENOTSUP, "it is of version %llu, and this program restores version %u",
			       (unsigned long long)version, SNAPSHOT_VERSION);
	if (strcmp(architecture, SNAPSHOT_ARCHITECTURE) != 0)
		return err_set(e, ERR_CONFIG, ENOTSUP, "it was saved on %.32s, and this host is %s", architecture,
			       SNAPSHOT_ARCHITECTURE);
	return 0;
}

static int load_u32(const struct state *s, const char *name, uint32_t *ret, struct err *e)
{
	uint64_t n;
	int r = state_get_max(s, name, UINT32_MAX, &n, e);

	if (r == 0)
		*ret = (uint32_t)n;
	return r;
}

static int load_bool(const struct state *s, const char *name, bool *ret, struct err *e)
{
	uint64_t n;
	int r = state_get_max(s, name, 1, &n, e);

	if (r == 0)
		*ret = n;
	return r;
}

/* As the VM was made, checked by who makes it again; the rest is what the restorer says. */
static int load_config(const struct vmm_restore *c, const struct state *s, struct vmm_config *ret, struct err *e)
{
	struct vmm_config n = { .track_dirty = c->track_dirty,
				.serial_in = c->serial_in,
				.serial_out = c->serial_out,
				.seccomp = c->seccomp };
	uint32_t shape = 0, kick_signal = 0;
	int r;

	if ((r = state_get_str(s, "name", &n.name, e)) < 0 || (r = load_u32(s, "shape", &shape, e)) < 0 ||
	    (r = load_u32(s, "vcpus", &n.vcpus, e)) < 0 || (r = load_u32(s, "max-vcpus", &n.max_vcpus, e)) < 0 ||
	    (r = load_u32(s, "threads-per-core", &n.threads_per_core, e)) < 0 ||
	    (r = state_get_max(s, "memory", MEMORY_MAX, &n.memory, e)) < 0 ||
	    (r = load_bool(s, "shared-memory", &n.shared_memory, e)) < 0 ||
	    (r = load_bool(s, "hugepages", &n.hugepages, e)) < 0 ||
	    (r = load_bool(s, "split-irqchip", &n.split_irqchip, e)) < 0 ||
	    (r = load_u32(s, "kick-signal", &kick_signal, e)) < 0)
		return r;
	n.shape = (enum vmm_shape)shape;
	n.kick_signal = (int)kick_signal;
	if (c->uffd_socket && n.shared_memory)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "its memory is shared with other processes, which a page server cannot fill");
	/* A mapping of an ordinary file has no large pages. */
	if (!c->uffd_socket && !n.shared_memory)
		n.hugepages = false;
	*ret = n;
	return 0;
}

static int open_memory(const struct vmm_restore *c, uint64_t size, int *ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r;

	if (!c->memory_path)
		return err_set(e, ERR_CONFIG, EINVAL, "a memory file or a page server is needed");
	fd = open(c->memory_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", c->memory_path);
	r = memory_file_check(fd, c->memory_path, size, e);
	if (r == 0)
		*ret = take_fd(&fd);
	return r;
}

/* How large a file of all memory is. */
static int memory_size(const struct state *s, uint64_t *ret, struct err *e)
{
	uint64_t n, size, sum = 0;
	int r = state_get_max(s, "regions", RAM_MAX, &n, e);

	for (unsigned i = 0; r == 0 && i < n; i++) {
		const struct state *region = state_get_child_n(s, "region", i, e);

		r = region ? state_get_max(region, "size", MEMORY_MAX, &size, e) : -ENOENT;
		if (r == 0)
			sum += size;
	}
	if (r == 0)
		*ret = sum;
	return r;
}

static int check_region(const struct ram *ram, const struct state *s, struct err *e)
{
	uint64_t gpa, size;
	int r = s ? state_get_u64(s, "gpa", &gpa, e) : -ENOENT;

	if (r == 0)
		r = state_get_u64(s, "size", &size, e);
	if (r == 0 && (gpa != ram->gpa || size != ram->size))
		r = err_set(e, ERR_CONFIG, EINVAL, "memory was in other places when it was saved");
	return r;
}

/* Are memory and what the machine makes of addresses as they were? */
static int check_layout(const struct vmm *vm, const struct state *s, struct err *e)
{
	const struct state *ram = state_get_child(s, "ram", e), *config = state_get_child(s, "config", e);
	uint64_t n, bits;
	int r = ram && config ? state_get_u64(ram, "regions", &n, e) : -ENOENT;

	if (r == 0)
		r = state_get_u64(config, "address-bits", &bits, e);
	if (r < 0)
		return r;
	if (bits != vm->kvm->phys_bits)
		return err_set(e, ERR_CONFIG, ENOTSUP,
			       "the guest was told of addresses of %llu bits, and this host's processor has %u",
			       (unsigned long long)bits, vm->kvm->phys_bits);
	if (n != vm->memory.n)
		return err_set(e, ERR_CONFIG, EINVAL, "memory was in other places when it was saved");
	for (unsigned i = 0; r == 0 && i < vm->memory.n; i++)
		r = check_region(&vm->memory.ram[i], state_get_child_n(ram, "region", i, e), e);
	return r;
}

/*
 * Do state and memory belong together? The generation id tells: it lies in guest memory, and is another one after each
 * start and restore. A difference that was not merged into its base has a hole there.
 */
static int check_generation(struct vmm *vm, const struct state *s, struct err *e)
{
	uint8_t saved[VMGENID_LEN], found[VMGENID_LEN];
	int r = state_get_bytes(s, "generation", saved, sizeof saved, e);

	if (r < 0)
		return r;
	r = board_generation(vm, found);
	if (r < 0)
		return err_sys(e, -r, "cannot read the virtual machine's generation id");
	if (memcmp(saved, found, sizeof saved) != 0)
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"state and memory belong to different snapshots, or the memory is a difference that was not "
			"merged into its base");
	return 0;
}

static uint64_t elapsed_since(uint64_t wall_time)
{
	uint64_t now = snapshot_wall_time(), elapsed = now > wall_time ? now - wall_time : 0;

	return elapsed < ELAPSED_MAX_NS ? elapsed : ELAPSED_MAX_NS;
}

static int load_vcpu(struct vmm *vm, unsigned i, const struct state *s, uint64_t elapsed_ns, struct err *e)
{
	struct vcpu_thread *t = &vm->vcpus[i];
	const struct state *child;
	bool made = false;
	int r = load_bool(s, "made", &made, e);

	if (r == 0)
		r = load_bool(s, "enabled", &t->enabled, e);
	if (r < 0 || !made)
		return r;
	child = state_get_child(s, "state", e);
	r = child ? vcpu_new(vm, i, e) : -ENOENT;
	if (r == 0)
		r = kvm_vcpu_load(t->kvm, child, elapsed_ns, e);
	if (r == 0)
		kvm_vcpu_was_paused(t->kvm);
	return r;
}

static int load_cpus(struct vmm *vm, const struct state *s, struct err *e)
{
	const struct state *chips = state_get_child(s, "vm", e), *vcpus = state_get_child(s, "vcpus", e), *child;
	uint64_t wall_time;
	int r = chips && vcpus ? state_get_u64(s, "wall-time", &wall_time, e) : -ENOENT;

	if (r < 0)
		return r;
	/* Told anew each time: this may take a while, and all clocks shall agree in the end. */
	r = kvm_vm_load(vm->kvm_vm, chips, elapsed_since(wall_time), e);
	for (unsigned i = 0; r == 0 && i < vm->config.max_vcpus; i++) {
		child = state_get_child_n(vcpus, "vcpu", i, e);
		r = child ? load_vcpu(vm, i, child, elapsed_since(wall_time), e) : -ENOENT;
	}
	return r;
}

/* Inside the loop. */
static int load_devices(struct vmm *vm, const struct state *s, struct err *e)
{
	const struct state *board = state_get_child(s, "board", e), *devices = state_get_child(s, "devices", e);
	int r = board && devices ? board_load(vm->board, board, e) : -ENOENT;

	if (r == 0)
		r = devices_load(vm, devices, e);
	return r;
}

static int load_machine(struct vmm *vm, const struct vmm_restore *c, const struct state *s, struct err *e)
{
	const struct state *devices = state_get_child(s, "devices", e);
	int r = devices ? devices_restore(vm, devices, c->overrides, c->n_overrides, e) : -ENOENT;

	if (r == 0)
		r = check_layout(vm, s, e);
	if (r == 0)
		r = memory_loaded(vm, e);
	if (r == 0)
		r = check_generation(vm, s, e);
	if (r == 0)
		r = load_cpus(vm, s, e);
	if (r < 0)
		return r;
	loop_enter(vm->loop);
	r = load_devices(vm, s, e);
	if (r == 0) {
		r = board_renew_generation(vm);
		if (r < 0)
			err_sys(e, -r, "cannot make the virtual machine's generation id");
	}
	loop_leave(vm->loop);
	return r < 0 ? r : machine_start_paused(vm, e);
}

/* Snapshots need not have one. */
static int load_note(struct vmm *vm, const struct state *s, struct err *e)
{
	struct err absent = { 0 };
	const char *note;
	int r = state_get_str(s, "note", &note, &absent);

	if (r < 0)
		return r == -ENOENT ? 0 : err_set(e, absent.domain, absent.code, "%s", absent.text);
	vm->note = strdup(note);
	return vm->note ? 0 : err_sys(e, ENOMEM, "cannot read the snapshot's note");
}

const char *vmm_note(const struct vmm *vm)
{
	return vm->note;
}

/* Everything behind the reading of the state file. */
static int restore(const struct vmm_restore *c, const struct state *s, struct vmm **ret, struct err *e)
{
	_cleanup_close_ int fd = -1;
	struct memory_source source = { .path = c->memory_path, .page_server = c->uffd_socket };
	const struct state *config, *ram;
	struct vmm_config n;
	struct vmm *vm = NULL;
	uint64_t size;
	int r = check_kind(s, e);

	if (r < 0)
		return r;
	config = state_get_child(s, "config", e);
	ram = config ? state_get_child(s, "ram", e) : NULL;
	r = ram ? load_config(c, config, &n, e) : -ENOENT;
	if (r == 0)
		r = memory_size(ram, &size, e);
	if (r == 0 && !c->uffd_socket)
		r = open_memory(c, size, &fd, e);
	source.fd = fd;
	if (r == 0)
		r = machine_new(&n, &source, &vm, e);
	if (r < 0)
		return r;
	r = load_note(vm, s, e);
	if (r == 0)
		r = load_machine(vm, c, s, e);
	if (r < 0) {
		vmm_free(vm);
		return r;
	}
	*ret = vm;
	return 0;
}

int vmm_restore(const struct vmm_restore *c, struct vmm **ret, struct err *e)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	int r = read_state(c->state_path, &s, e);

	if (r < 0)
		return r;
	r = restore(c, s, ret, e);
	if (r < 0)
		err_wrap(e, "cannot restore %s", c->state_path);
	return r;
}
