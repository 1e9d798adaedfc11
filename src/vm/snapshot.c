/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A paused VM into two files: its state as a tree of values, and its memory.
 *
 * Devices come before vCPUs, since what they finish while they are saved may still raise an interrupt. Both files are
 * written under other names and made durable before the first of them is renamed; and the log of written pages begins
 * anew only then. So a snapshot that fails leaves the VM, and what was there before, as they were.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "hw/vmgenid.h"
#include "state/state.h"
#include "vm/machine.h"
#include "vm/snapshot.h"
#include "vm/whole_file.h"

struct pages {
	uint64_t *used[RAM_MAX];  /* what is written to the file */
	uint64_t *dirty[RAM_MAX]; /* what was taken from the log */
};

/* ---- the state ---- */

static void save_config(const struct vmm *vm, struct state *s)
{
	const struct vmm_config *c = &vm->config;

	state_put_str(s, "name", c->name);
	state_put_u64(s, "shape", c->shape);
	state_put_u64(s, "vcpus", c->vcpus);
	state_put_u64(s, "max-vcpus", c->max_vcpus);
	state_put_u64(s, "threads-per-core", c->threads_per_core);
	state_put_u64(s, "memory", c->memory);
	state_put_u64(s, "shared-memory", c->shared_memory);
	state_put_u64(s, "hugepages", c->hugepages);
	state_put_u64(s, "split-irqchip", c->split_irqchip);
	state_put_u64(s, "kick-signal", (uint64_t)c->kick_signal);
	state_put_u64(s, "address-bits", vm->kvm->phys_bits);
}

static void save_ram(const struct vmm *vm, struct state *s)
{
	state_put_u64(s, "regions", vm->memory.n);
	for (unsigned i = 0; i < vm->memory.n; i++) {
		struct state *region = state_child_n(s, "region", i);

		state_put_u64(region, "gpa", vm->memory.ram[i].gpa);
		state_put_u64(region, "size", vm->memory.ram[i].size);
	}
}

static int save_vcpus(struct vmm *vm, struct state *s, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < vm->config.max_vcpus; i++) {
		struct vcpu_thread *t = &vm->vcpus[i];
		struct state *child = state_child_n(s, "vcpu", i);

		state_put_u64(child, "made", t->made);
		state_put_u64(child, "enabled", t->enabled);
		if (t->made)
			r = kvm_vcpu_save(t->kvm, state_child(child, "state"), e);
	}
	return r;
}

uint64_t snapshot_wall_time(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

/* Inside the loop. */
static int save_machine(struct vmm *vm, struct state *s, struct err *e)
{
	uint8_t generation[VMGENID_LEN];
	int r = board_generation(vm, generation);

	if (r < 0)
		return err_sys(e, -r, "cannot read the virtual machine's generation id");
	state_put_u64(s, "snapshot-version", SNAPSHOT_VERSION);
	state_put_str(s, "architecture", SNAPSHOT_ARCHITECTURE);
	state_put_bytes(s, "generation", generation, sizeof generation);
	save_config(vm, state_child(s, "config"));
	save_ram(vm, state_child(s, "ram"));
	r = devices_save(vm, state_child(s, "devices"), e);
	board_save(vm->board, state_child(s, "board"));
	/* The clocks, as near to each other as can be. */
	if (r == 0)
		r = kvm_vm_save(vm->kvm_vm, state_child(s, "vm"), e);
	state_put_u64(s, "wall-time", snapshot_wall_time());
	return r < 0 ? r : save_vcpus(vm, state_child(s, "vcpus"), e);
}

static int write_state(struct vmm *vm, const struct vmm_snapshot *c, int fd, struct err *e)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	int r = state_new(&s);

	if (r < 0)
		return err_sys(e, -r, "cannot save the machine's state to %s", c->state_path);
	if (c->note)
		state_put_str(s, "note", c->note);
	loop_enter(vm->loop);
	r = save_machine(vm, s, e);
	loop_leave(vm->loop);
	return r < 0 ? r : state_save(s, fd, c->state_path, e);
}

/* ---- the memory ---- */

static void free_pages(struct pages *p)
{
	for (unsigned i = 0; i < RAM_MAX; i++) {
		free(p->used[i]);
		free(p->dirty[i]);
	}
}

/* Which pages go into the file; what the log told is taken. */
static int choose_pages(struct vmm *vm, bool diff, struct pages *p, struct err *e)
{
	int r = 0;

	for (unsigned i = 0; r == 0 && i < vm->memory.n; i++) {
		size_t words = memory_words(&vm->memory.ram[i]);

		if (vm->config.track_dirty) {
			uint64_t *dirty = calloc(words, sizeof *dirty);

			r = dirty ? memory_take_dirty(vm, i, dirty, words) : -ENOMEM;
			p->dirty[i] = dirty;
		}
		if (r < 0)
			return err_sys(e, -r, "cannot find out what memory was written");
		if (diff)
			continue;
		p->used[i] = calloc(words, sizeof *p->used[i]);
		if (!p->used[i])
			return err_sys(e, ENOMEM, "cannot save guest memory");
		r = memory_find_used(vm, i, p->used[i], e);
	}
	return r;
}

static int write_memory(struct vmm *vm, const struct whole_file *f, bool diff, const struct pages *p, struct err *e)
{
	int r = ftruncate(f->fd, (off_t)memory_file_offset(&vm->memory, vm->memory.n)) < 0 ? -errno : 0;

	for (unsigned i = 0; r == 0 && i < vm->memory.n; i++)
		r = memory_write(vm, i, diff ? p->dirty[i] : p->used[i], diff, f->fd);
	return r < 0 ? err_sys(e, -r, "cannot write guest memory to %s", f->path) : 0;
}

/* ---- both ---- */

/* Both are complete. A state without its memory is worth nothing. */
static int publish(struct whole_file *state, struct whole_file *memory, struct err *e)
{
	int r = whole_file_publish(memory, e);

	if (r < 0)
		return r;
	r = whole_file_publish(state, e);
	if (r < 0)
		unlink(memory->path);
	return r;
}

static int write_files(struct vmm *vm, const struct vmm_snapshot *c, struct pages *p, struct err *e)
{
	struct whole_file state = { .fd = -1 }, memory = { .fd = -1 };
	int r = whole_file_create(&state, c->state_path, e);

	if (r == 0)
		r = whole_file_create(&memory, c->memory_path, e);
	if (r == 0)
		r = write_state(vm, c, state.fd, e);
	/* Not before the state: for that KVM writes the tables of arm64's ITS into guest memory. */
	if (r == 0)
		r = choose_pages(vm, c->diff, p, e);
	if (r == 0)
		r = write_memory(vm, &memory, c->diff, p, e);
	if (r == 0)
		r = whole_file_sync(&state, e);
	if (r == 0)
		r = whole_file_sync(&memory, e);
	if (r == 0)
		r = publish(&state, &memory, e);
	whole_file_drop(&state);
	whole_file_drop(&memory);
	return r;
}

static int check(struct vmm *vm, const struct vmm_snapshot *c, struct err *e)
{
	if (vmm_state(vm) != VMM_PAUSED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot save the virtual machine: pause it first");
	if (!c->state_path || !c->memory_path || !strcmp(c->state_path, c->memory_path))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "a snapshot is two files, one for the state and one for the memory");
	if (c->diff && !vm->config.track_dirty)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "cannot save a difference: the virtual machine does not keep track of written pages "
			       "(track_dirty)");
	return 0;
}

int vmm_snapshot(struct vmm *vm, const struct vmm_snapshot *c, struct err *e)
{
	struct pages p = { 0 };
	int r = check(vm, c, e);

	if (r < 0)
		return r;
	r = write_files(vm, c, &p, e);
	for (unsigned i = 0; r < 0 && i < vm->memory.n; i++)
		if (p.dirty[i])
			memory_put_dirty(vm, i, p.dirty[i]);
	free_pages(&p);
	return r;
}
