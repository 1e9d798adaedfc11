/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The guest's RAM: one memfd or anonymous memory, in one or two pieces around the hole below 4 GiB. Mapped on a 2 MiB
 * boundary, so that the host may use large pages.
 *
 * Of a restored VM it is a private mapping of the memory file, so that all who restore the same one share its pages
 * until they write to them; but memory that is shared with other processes has to be a memfd, and is copied.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <linux/mman.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "vm/machine.h"

#define LARGE_PAGE MEMORY_LARGE_PAGE

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

static int make_memfd(struct vmm *vm, uint64_t size, int *ret, struct err *e)
{
	unsigned flags = MFD_CLOEXEC | (vm->config.hugepages ? MFD_HUGETLB | MFD_HUGE_2MB : 0);
	int fd = memfd_create("guest-memory", flags);

	if (fd < 0)
		return err_sys(e, errno, "cannot make shared memory for the guest");
	if (ftruncate(fd, (off_t)size) < 0) {
		int code = errno;

		close(fd);
		return err_sys(e, code, "cannot make %llu MiB of shared memory for the guest",
			       (unsigned long long)size >> 20);
	}
	*ret = fd;
	return 0;
}

/* mmap(2) at a multiple of 2 MiB: reserve more, map over the right part, give the rest back. */
static void *map_aligned(uint64_t size, int flags, int fd, uint64_t offset)
{
	uint8_t *area = mmap(NULL, size + LARGE_PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	uint64_t skip;
	void *p;

	if (area == MAP_FAILED)
		return MAP_FAILED;
	skip = (LARGE_PAGE - (uintptr_t)area % LARGE_PAGE) % LARGE_PAGE;
	p = mmap(area + skip, size, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, (off_t)offset);
	if (p == MAP_FAILED) {
		int code = errno;

		munmap(area, size + LARGE_PAGE);
		errno = code;
		return MAP_FAILED;
	}
	if (skip)
		munmap(area, skip);
	munmap(area + skip + size, LARGE_PAGE - skip);
	return p;
}

static int map_ram(struct vmm *vm, struct ram *ram, struct err *e)
{
	const struct memory *m = &vm->memory;
	/*
	 * Large pages are reserved for RAM: without, a lack of them would be a SIGBUS while the guest runs. Where
	 * blocks come and go, most of the region is never there.
	 */
	int reserve = vm->config.hugepages && !ram->block ? 0 : MAP_NORESERVE;
	void *p;
	int r;

	if (ram->fd >= 0)
		p = map_aligned(ram->size, MAP_SHARED | reserve, ram->fd, ram->offset);
	else if (m->base >= 0)
		p = map_aligned(ram->size, MAP_PRIVATE | reserve, m->base,
				memory_file_offset(m, (unsigned)(ram - m->ram)));
	else /* of 2 MiB also where the host's default is another size */
		p = map_aligned(ram->size,
				MAP_PRIVATE | MAP_ANONYMOUS | reserve |
					(vm->config.hugepages ? MAP_HUGETLB | MAP_HUGE_2MB : 0),
				-1, 0);
	if (p == MAP_FAILED) {
		r = err_sys(e, errno, "cannot map %llu MiB of guest memory", (unsigned long long)ram->size >> 20);
		if (vm->config.hugepages)
			err_append(e, ": are enough large pages reserved (vm.nr_hugepages)?");
		return r;
	}
	ram->host = p;
	/* Shared memory gets large pages only where the host's administrator lets it
	 * (transparent_hugepage/shmem_enabled: advise), who means us then. */
	if (vm->config.large_pages || ram->fd >= 0)
		madvise(p, ram->size, MADV_HUGEPAGE);
	madvise(p, ram->size, MADV_DONTDUMP);
	/* A process that the host program forks shall not hold the guest's memory, nor make us copy what is written. */
	madvise(p, ram->size, MADV_DONTFORK);
	return 0;
}

/* Touch every page, so that it is there before the guest runs, and a lack of memory is an error now. */
static int populate(struct ram *ram, struct err *e)
{
	if (madvise(ram->host, ram->size, MADV_POPULATE_WRITE) == 0)
		return 0;
	if (errno != EINVAL) /* before Linux 5.14 */
		return err_sys(e, errno, "cannot allocate %llu MiB of guest memory in advance",
			       (unsigned long long)ram->size >> 20);
	for (uint64_t i = 0; i < ram->size; i += 4096)
		((volatile uint8_t *)ram->host)[i] = 0;
	return 0;
}

uint64_t memory_page(void)
{
	return (uint64_t)sysconf(_SC_PAGESIZE);
}

size_t memory_words(const struct ram *ram)
{
	return (ram->size / memory_page() + 63) / 64;
}

uint64_t memory_file_offset(const struct memory *m, unsigned i)
{
	uint64_t offset = 0;

	for (unsigned k = 0; k < i; k++)
		offset += m->ram[k].size;
	return offset;
}

static void on_device_write(void *userdata, gpa_t gpa, uint64_t len)
{
	struct memory *m = userdata;
	uint64_t page = memory_page();

	/* The range may go on from one region into the next. */
	for (unsigned i = 0; i < m->n; i++) {
		struct ram *ram = &m->ram[i];
		gpa_t from = gpa > ram->gpa ? gpa : ram->gpa;
		gpa_t end = gpa + len < ram->gpa + ram->size ? gpa + len : ram->gpa + ram->size;

		if (from >= end)
			continue;
		for (uint64_t p = (from - ram->gpa) / page; p <= (end - 1 - ram->gpa) / page; p++)
			__atomic_fetch_or(&ram->host_dirty[p / 64], 1ULL << p % 64, __ATOMIC_RELAXED);
	}
}

/* Shared memory of a restored VM is a copy. */
static int copy_ram(const struct memory *m, struct ram *ram, struct err *e)
{
	int r = 0;

	if (m->source && m->source->fd >= 0 && ram->fd >= 0)
		r = memory_read(ram, m->source->fd, memory_file_offset(m, (unsigned)(ram - m->ram)));
	return r < 0 ? err_sys(e, -r, "cannot read %s", m->source->path) : 0;
}

static int add_ram(struct vmm *vm, struct ram *ram, bool prealloc, struct err *e)
{
	int r = map_ram(vm, ram, e);

	if (r == 0 && prealloc)
		r = populate(ram, e);
	if (r == 0)
		r = copy_ram(&vm->memory, ram, e);
	if (r < 0)
		return r;
	r = ram->block ? guestmem_add_sparse(vm->mem, ram->gpa, ram->size, ram->host, ram->block)
		       : guestmem_add_shared(vm->mem, ram->gpa, ram->size, ram->host, ram->fd, ram->offset);
	if (r == 0 && !ram->block)
		r = kvm_vm_map(vm->kvm_vm, ram->gpa, ram->size, ram->host, vm->config.track_dirty ? KVM_MAP_LOG : 0);
	if (r < 0)
		return err_sys(e, -r, "KVM does not take %llu MiB of guest memory",
			       (unsigned long long)ram->size >> 20);
	if (vm->config.track_dirty) {
		ram->host_dirty = calloc(memory_words(ram), sizeof *ram->host_dirty);
		if (!ram->host_dirty)
			return err_sys(e, ENOMEM, "cannot track written pages");
	}
	return 0;
}

/* RAM goes on as far as the configuration says, but not into the window of BARs, nor to where there are no addresses.
 */
int memory_place(struct vmm *vm, struct err *e)
{
	const struct ram *last;
	gpa_t base, end, ram_end;

	board_ram(vm->config.memory, &vm->memory);
	last = &vm->memory.ram[vm->memory.n - 1];
	ram_end = last->gpa + last->size;
	board_region(vm, &base, &end);
	if (vm->config.shape != VMM_SHAPE_CLOUD)
		end *= 2; /* there are no BARs behind it */
	if (ram_end <= end)
		return 0;
	return err_set(e, ERR_LIMIT, E2BIG,
		       "%llu MiB of memory are too much: with this host's %u address bits such a machine can have %llu "
		       "MiB",
		       (unsigned long long)vm->config.memory >> 20, vm->kvm->phys_bits,
		       (unsigned long long)(end - (ram_end - vm->config.memory)) >> 20);
}

int memory_new(struct vmm *vm, const struct memory_source *source, struct err *e)
{
	struct memory *m = &vm->memory;
	int r = memory_place(vm, e);

	if (r < 0)
		return r;
	r = guestmem_new(&vm->mem);
	if (r < 0)
		return err_sys(e, -r, "cannot make guest memory");
	m->source = source;
	if (source && source->fd >= 0 && !vm->config.shared_memory) {
		m->base = fcntl(source->fd, F_DUPFD_CLOEXEC, 3);
		if (m->base < 0)
			return err_sys(e, errno, "cannot open %s", source->path);
	}
	r = vm->config.shared_memory ? make_memfd(vm, vm->config.memory, &m->fd, e) : 0;
	for (unsigned i = 0; r == 0 && i < m->n; i++) {
		m->ram[i].fd = m->fd;
		r = add_ram(vm, &m->ram[i], vm->config.prealloc, e);
	}
	if (r == 0 && vm->config.track_dirty)
		guestmem_set_dirty_log(vm->mem, on_device_write, m);
	return r;
}

int memory_loaded(struct vmm *vm, struct err *e)
{
	const struct memory_source *source = vm->memory.source;

	vm->memory.source = NULL;
	return source->page_server ? page_server_connect(vm, source->page_server, e) : 0;
}

int memory_add_room(struct vmm *vm, gpa_t gpa, uint64_t size, uint64_t block, struct err *e)
{
	struct memory *m = &vm->memory;
	struct ram *ram = &m->ram[m->n];
	int r = 0;

	if (m->n == RAM_MAX)
		return err_set(e, ERR_LIMIT, ENOSPC, "no more than %d regions of memory are possible", RAM_MAX);
	*ram = (struct ram){ .gpa = gpa, .size = size, .fd = -1, .block = block };
	if (vm->config.shared_memory)
		r = make_memfd(vm, size, &ram->fd, e);
	if (r == 0)
		r = add_ram(vm, ram, false, e);
	m->n++; /* also half-built: it is removed or freed like a whole one */
	return r;
}

static void release_ram(struct ram *ram)
{
	if (ram->host)
		munmap(ram->host, ram->size);
	free(ram->host_dirty);
	if (ram->block)
		fd_close(&ram->fd);
}

void memory_remove_room(struct vmm *vm, gpa_t gpa)
{
	struct memory *m = &vm->memory;

	for (unsigned i = 0; i < m->n; i++) {
		struct ram *ram = &m->ram[i];

		if (!ram->block || ram->gpa != gpa)
			continue;
		/* Nothing is plugged yet; a half-built one may not be there either. */
		guestmem_remove(vm->mem, gpa, ram->size);
		release_ram(ram);
		memmove(ram, ram + 1, (--m->n - i) * sizeof *ram);
		return;
	}
}

void memory_free(struct vmm *vm)
{
	for (unsigned i = 0; i < vm->memory.n; i++)
		release_ram(&vm->memory.ram[i]);
	vm->memory.n = 0;
	fd_close(&vm->memory.fd);
	fd_close(&vm->memory.base);
	fd_close(&vm->memory.uffd);
	guestmem_free(vm->mem);
	vm->mem = NULL;
}

int memory_take_dirty(struct vmm *vm, unsigned i, uint64_t *bitmap, size_t n_words)
{
	struct ram *ram = &vm->memory.ram[i];
	int r = ram->block ? memory_take_dirty_blocks(vm, ram, bitmap)
			   : kvm_vm_dirty_get(vm->kvm_vm, ram->gpa, bitmap, n_words);

	if (r == 0 && !ram->block)
		r = kvm_vm_dirty_clear(vm->kvm_vm, ram->gpa, bitmap, n_words);
	for (size_t w = 0; r == 0 && ram->host_dirty && w < n_words; w++)
		bitmap[w] |= __atomic_exchange_n(&ram->host_dirty[w], 0, __ATOMIC_RELAXED);
	return r;
}

void memory_put_dirty(struct vmm *vm, unsigned i, const uint64_t *bitmap)
{
	struct ram *ram = &vm->memory.ram[i];

	for (size_t w = 0; w < memory_words(ram); w++)
		__atomic_fetch_or(&ram->host_dirty[w], bitmap[w], __ATOMIC_RELAXED);
}
