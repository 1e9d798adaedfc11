/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Memory that comes and goes by blocks, for virtio-mem. What is not plugged is not there: neither to the guest, for
 * which each block is a slot of KVM's while it is plugged, nor to the devices, by guestmem. Were it there, a guest
 * could take all of the region's size from the host, whatever was requested. An access where no block is plugged is one
 * to nowhere: reads give ones, writes are lost.
 *
 * Slots are of one block each, because to change a slot is to remove it for a moment, and the guest uses its neighbours
 * meanwhile; the host's limit of slots is one of blocks then.
 *
 * What stays open: a device's request that was on its way when its block went may still write to it, and a vhost-user
 * server has all of the region mapped. Both write where the guest told them, and the host gets these pages back when
 * the block goes again, or with the VM.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

#include "vm/machine.h"

/* If the caller does not choose: how many in one region are enough, and how large they may become. */
#define BLOCKS     1024
#define BLOCK_MAX  (1ULL << 30)
#define FREE_SLOTS 128 /* for all else: RAM, pmem */

static uint64_t blocks_max(const struct vmm *vm)
{
	unsigned slots = kvm_vm_slots_max(vm->kvm_vm);

	return slots > FREE_SLOTS ? slots - FREE_SLOTS : 1;
}

uint64_t memory_choose_block(const struct vmm *vm, uint64_t size)
{
	uint64_t most = blocks_max(vm) < BLOCKS ? blocks_max(vm) : BLOCKS, block = MEMORY_LARGE_PAGE;

	while (size / block > most && block < BLOCK_MAX && size % (2 * block) == 0)
		block *= 2;
	return block;
}

int memory_check_block(const struct vmm *vm, uint64_t size, uint64_t block, struct err *e)
{
	if (!size || block < MEMORY_LARGE_PAGE || (block & (block - 1)) || size % block)
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"%llu bytes of memory in blocks of %llu: a block is a power of two of 2 MiB or more, and "
			"memory is whole blocks",
			(unsigned long long)size, (unsigned long long)block);
	if (size / block > blocks_max(vm))
		return err_set(
			e, ERR_LIMIT, E2BIG,
			"%llu MiB of memory in blocks of %llu MiB: this host's KVM can do %llu blocks; choose larger "
			"ones, or less memory",
			(unsigned long long)size >> 20, (unsigned long long)block >> 20,
			(unsigned long long)blocks_max(vm));
	return 0;
}

static struct ram *find(struct vmm *vm, gpa_t gpa, uint64_t len)
{
	for (unsigned i = 0; i < vm->memory.n; i++) {
		struct ram *ram = &vm->memory.ram[i];
		uint64_t at = gpa - ram->gpa;

		if (ram->block && gpa >= ram->gpa && at < ram->size && len <= ram->size - at)
			return ram;
	}
	return NULL;
}

static void unmap_blocks(struct vmm *vm, const struct ram *ram, gpa_t gpa, gpa_t end)
{
	for (; gpa < end; gpa += ram->block)
		kvm_vm_unmap(vm->kvm_vm, gpa, ram->block);
}

int memory_plug(struct vmm *vm, gpa_t gpa, uint64_t len)
{
	struct ram *ram = find(vm, gpa, len);
	gpa_t at = gpa;
	int r = ram ? 0 : -EINVAL;

	while (r == 0 && at < gpa + len) {
		r = kvm_vm_map(vm->kvm_vm, at, ram->block, ram->host + (at - ram->gpa),
			       vm->config.track_dirty ? KVM_MAP_LOG : 0);
		at += r == 0 ? ram->block : 0;
	}
	if (r == 0)
		r = guestmem_set_present(vm->mem, gpa, len, true);
	if (r < 0 && ram)
		unmap_blocks(vm, ram, gpa, at);
	return r;
}

static int discard(struct ram *ram, uint64_t at, uint64_t len)
{
	int r = ram->fd >= 0 ? fallocate(ram->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(ram->offset + at),
					 (off_t)len)
			     : madvise(ram->host + at, len, MADV_DONTNEED);

	return r < 0 ? -errno : 0;
}

int memory_unplug(struct vmm *vm, gpa_t gpa, uint64_t len)
{
	struct ram *ram = find(vm, gpa, len);
	int r = ram ? guestmem_set_present(vm->mem, gpa, len, false) : -EINVAL;

	if (r < 0)
		return r;
	/* To get a slot of KVM's removed takes memory. */
	for (gpa_t at = gpa; r == 0 && at < gpa + len; at += ram->block)
		r = kvm_vm_unmap(vm->kvm_vm, at, ram->block);
	if (r == 0)
		r = discard(ram, gpa - ram->gpa, len);
	if (r < 0) { /* The guest has it still, but what it wrote was logged in slots that are gone. */
		unmap_blocks(vm, ram, gpa, gpa + len);
		memory_plug(vm, gpa, len);
		guestmem_mark_dirty(vm->mem, gpa, len);
		return r;
	}
	/* Its zeroes are news to who has a snapshot from before. */
	guestmem_mark_dirty(vm->mem, gpa, len);
	return 0;
}

int memory_take_dirty_blocks(struct vmm *vm, const struct ram *ram, uint64_t *bitmap)
{
	uint64_t pages = ram->block / memory_page();
	size_t words = (pages + 63) / 64;
	_cleanup_free_ uint64_t *log = calloc(words, sizeof *log);
	int r = log ? 0 : -ENOMEM;

	for (uint64_t b = 0; r == 0 && b < ram->size / ram->block; b++) {
		gpa_t gpa = ram->gpa + b * ram->block;

		if (!guestmem_valid(vm->mem, gpa, ram->block))
			continue;
		r = kvm_vm_dirty_get(vm->kvm_vm, gpa, log, words);
		if (r == 0)
			r = kvm_vm_dirty_clear(vm->kvm_vm, gpa, log, words);
		/* Both are powers of two: a block of less than a word lies in one. */
		for (size_t w = 0; r == 0 && w < words; w++)
			bitmap[(b * pages + w * 64) / 64] |= log[w] << b * pages % 64;
	}
	return r;
}
