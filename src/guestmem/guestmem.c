/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A short array of regions, searched from the one that matched last: a guest has one to four regions, and a device
 * stays within one for long. Blocks of a sparse region may go between the check of a range and its use: then it ends
 * early, and what was used of it is still mapped.
 */
#include "guestmem/guestmem.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "guestmem/le.h"
#include "guestmem/region.h"

int guestmem_new(struct guestmem **ret)
{
	struct guestmem *mem = calloc(1, sizeof *mem);

	if (!mem)
		return -ENOMEM;
	*ret = mem;
	return 0;
}

static void region_unmap(struct guestmem_region *r)
{
	if (r->map)
		munmap(r->map, r->map_len);
	free(r->present);
}

void guestmem_clear(struct guestmem *mem)
{
	for (unsigned i = 0; i < mem->n; i++)
		region_unmap(&mem->regions[i]);
	mem->n = 0;
}

void guestmem_free(struct guestmem *mem)
{
	if (!mem)
		return;
	guestmem_clear(mem);
	free(mem);
}

static int check_new(const struct guestmem *mem, gpa_t gpa, uint64_t size)
{
	uint64_t end;

	if (!size || __builtin_add_overflow(gpa, size, &end))
		return -EINVAL;
	for (unsigned i = 0; i < mem->n; i++)
		if (gpa < mem->regions[i].gpa + mem->regions[i].size && mem->regions[i].gpa < end)
			return -EEXIST;
	return mem->n == GUESTMEM_REGIONS_MAX ? -ENOSPC : 0;
}

int guestmem_add_buffer(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host)
{
	int r = check_new(mem, gpa, size);

	if (r < 0)
		return r;
	/* An aligned guest address must be an aligned host address: the integer accesses are atomic. */
	if (((uintptr_t)host ^ gpa) & 7)
		return -EINVAL;
	mem->regions[mem->n++] = (struct guestmem_region){ .gpa = gpa, .size = size, .host = host, .file = -1 };
	return 0;
}

int guestmem_add_shared(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host, int fd, uint64_t offset)
{
	int r = guestmem_add_buffer(mem, gpa, size, host);

	if (r == 0) {
		mem->regions[mem->n - 1].file = fd;
		mem->regions[mem->n - 1].file_offset = offset;
	}
	return r;
}

int guestmem_add_sparse(struct guestmem *mem, gpa_t gpa, uint64_t size, void *host, uint64_t block)
{
	_Atomic uint64_t *present;
	int r;

	if (!block || (block & (block - 1)) || size % block)
		return -EINVAL;
	present = calloc((size_t)((size / block + 63) / 64), sizeof *present);
	if (!present)
		return -ENOMEM;
	r = guestmem_add_buffer(mem, gpa, size, host);
	if (r < 0) {
		free(present);
		return r;
	}
	mem->regions[mem->n - 1].present = present;
	mem->regions[mem->n - 1].block = block;
	return 0;
}

int guestmem_add_fd(struct guestmem *mem, gpa_t gpa, uint64_t size, int fd, uint64_t offset)
{
	uint64_t skew = offset & ((uint64_t)sysconf(_SC_PAGESIZE) - 1), end;
	struct stat st;
	void *map;
	int r = check_new(mem, gpa, size);

	if (r < 0)
		return r;
	if (((offset ^ gpa) & 7) || __builtin_add_overflow(offset, size, &end) || end > INT64_MAX)
		return -EINVAL;
	if (fstat(fd, &st) < 0)
		return -errno;
	/* A mapping beyond the end would kill us by SIGBUS at the first access. */
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size < end)
		return -EINVAL;
	map = mmap(NULL, size + skew, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, (off_t)(offset - skew));
	if (map == MAP_FAILED)
		return -errno;
	/* Guest memory is large and not ours: keep it out of core files, and out of what this process forks. */
	madvise(map, size + skew, MADV_DONTDUMP);
	madvise(map, size + skew, MADV_DONTFORK);
	mem->regions[mem->n++] = (struct guestmem_region){
		.gpa = gpa, .size = size, .host = (uint8_t *)map + skew, .map = map, .map_len = size + skew, .file = -1
	};
	return 0;
}

int guestmem_remove(struct guestmem *mem, gpa_t gpa, uint64_t size)
{
	for (unsigned i = 0; i < mem->n; i++) {
		if (mem->regions[i].gpa != gpa || mem->regions[i].size != size)
			continue;
		region_unmap(&mem->regions[i]);
		mem->regions[i] = mem->regions[--mem->n];
		return 0;
	}
	return -ENOENT;
}

static const struct guestmem_region *find(struct guestmem *mem, gpa_t gpa)
{
	unsigned last = atomic_load_explicit(&mem->last, memory_order_relaxed);

	if (last < mem->n && gpa - mem->regions[last].gpa < mem->regions[last].size)
		return &mem->regions[last];
	for (unsigned i = 0; i < mem->n; i++) {
		if (gpa - mem->regions[i].gpa < mem->regions[i].size) {
			atomic_store_explicit(&mem->last, i, memory_order_relaxed);
			return &mem->regions[i];
		}
	}
	return NULL;
}

const struct guestmem_region *guestmem_find(struct guestmem *mem, gpa_t gpa)
{
	return find(mem, gpa);
}

int guestmem_set_present(struct guestmem *mem, gpa_t gpa, uint64_t len, bool present)
{
	const struct guestmem_region *r = find(mem, gpa);
	uint64_t off = r ? gpa - r->gpa : 0;

	if (!r || !r->present || off % r->block || len % r->block || len > r->size - off)
		return -EINVAL;
	for (uint64_t i = off / r->block; i < (off + len) / r->block; i++) {
		if (present)
			atomic_fetch_or(&r->present[i / 64], 1ULL << i % 64);
		else
			atomic_fetch_and(&r->present[i / 64], ~(1ULL << i % 64));
	}
	return 0;
}

/* How much of [off, off+len), which is in the region, is there before the first block that is not. */
static uint64_t present(const struct guestmem_region *r, uint64_t off, uint64_t len)
{
	uint64_t at = off;

	while (at < off + len && atomic_load(&r->present[at / r->block / 64]) >> at / r->block % 64 & 1)
		at = (at / r->block + 1) * r->block;
	return at - off < len ? at - off : len;
}

/* The longest piece of [gpa, gpa+len) that lies in one region; len > 0. */
static uint8_t *piece(struct guestmem *mem, gpa_t gpa, uint64_t len, size_t *ret_len)
{
	const struct guestmem_region *r = find(mem, gpa);
	uint64_t left;

	*ret_len = 0;
	if (!r)
		return NULL;
	left = r->size - (gpa - r->gpa);
	if (left > len)
		left = len;
	if (r->present)
		left = present(r, gpa - r->gpa, left);
	if (!left)
		return NULL;
	*ret_len = left;
	return r->host + (gpa - r->gpa);
}

bool guestmem_valid(struct guestmem *mem, gpa_t gpa, uint64_t len)
{
	while (len) {
		size_t n;

		if (!piece(mem, gpa, len, &n))
			return false;
		/* Does not wrap: regions end below 2^64 (check_new). */
		gpa += n;
		len -= n;
	}
	return true;
}

/* The compiler may not go back to guest memory for what was copied before this point. */
static inline void fetched(void)
{
	__asm__ volatile("" ::: "memory");
}

static int copy(struct guestmem *mem, gpa_t gpa, uint8_t *data, size_t len, bool write)
{
	if (!guestmem_valid(mem, gpa, len))
		return -EFAULT;
	while (len) {
		size_t n;
		uint8_t *host = piece(mem, gpa, len, &n);

		if (!host) /* gone since */
			return -EFAULT;
		if (write)
			memcpy(host, data, n);
		else
			memcpy(data, host, n);
		data += n;
		gpa += n;
		len -= n;
	}
	fetched();
	return 0;
}

int guestmem_read(struct guestmem *mem, gpa_t gpa, void *dst, size_t len)
{
	return copy(mem, gpa, dst, len, false);
}

int guestmem_write(struct guestmem *mem, gpa_t gpa, const void *src, size_t len)
{
	int r = copy(mem, gpa, (uint8_t *)(uintptr_t)src, len, true);

	if (r == 0)
		guestmem_mark_dirty(mem, gpa, len);
	return r;
}

static int integer(struct guestmem *mem, gpa_t gpa, size_t size, void **ret)
{
	size_t n;

	if (gpa & (size - 1))
		return -EINVAL;
	*ret = piece(mem, gpa, size, &n);
	return *ret && n == size ? 0 : -EFAULT;
}

#define DEFINE_ACCESS(bits)                                                                                            \
	int guestmem_load_le##bits(struct guestmem *mem, gpa_t gpa, uint##bits##_t *ret)                               \
	{                                                                                                              \
		void *p;                                                                                               \
		int r = integer(mem, gpa, bits / 8, &p);                                                               \
                                                                                                                       \
		if (r == 0)                                                                                            \
			*ret = le##bits##toh(__atomic_load_n((uint##bits##_t *)p, __ATOMIC_SEQ_CST));                  \
		return r;                                                                                              \
	}                                                                                                              \
                                                                                                                       \
	int guestmem_store_le##bits(struct guestmem *mem, gpa_t gpa, uint##bits##_t value)                             \
	{                                                                                                              \
		void *p;                                                                                               \
		int r = integer(mem, gpa, bits / 8, &p);                                                               \
                                                                                                                       \
		if (r < 0)                                                                                             \
			return r;                                                                                      \
		__atomic_store_n((uint##bits##_t *)p, htole##bits(value), __ATOMIC_SEQ_CST);                           \
		guestmem_mark_dirty(mem, gpa, bits / 8);                                                               \
		return 0;                                                                                              \
	}

DEFINE_ACCESS(16)
DEFINE_ACCESS(32)
DEFINE_ACCESS(64)

ssize_t guestmem_iov(struct guestmem *mem, gpa_t gpa, uint64_t len, struct iovec *iov, size_t max)
{
	size_t used = 0;

	if (!guestmem_valid(mem, gpa, len))
		return -EFAULT;
	while (len) {
		size_t n;

		if (used == max)
			return -ENOBUFS;
		iov[used].iov_base = piece(mem, gpa, len, &n);
		if (!iov[used].iov_base) /* gone since */
			return -EFAULT;
		iov[used++].iov_len = n;
		gpa += n;
		len -= n;
	}
	return (ssize_t)used;
}

void guestmem_set_dirty_log(struct guestmem *mem, guestmem_dirty_fn fn, void *userdata)
{
	mem->dirty = fn;
	mem->dirty_userdata = userdata;
}

void guestmem_mark_dirty(struct guestmem *mem, gpa_t gpa, uint64_t len)
{
	if (mem->dirty && len)
		mem->dirty(mem->dirty_userdata, gpa, len);
}

static int discard(uint8_t *host, size_t len)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE), start = ((uintptr_t)host + page - 1) & ~(page - 1),
		  end = ((uintptr_t)host + len) & ~(page - 1);

	if (start >= end)
		return 0;
	/* Shared memory goes away only with its backing; private memory has none to remove, which is told by these. */
	if (madvise((void *)start, end - start, MADV_REMOVE) == 0)
		return 0;
	if (errno != EINVAL && errno != EACCES)
		return -errno;
	return madvise((void *)start, end - start, MADV_DONTNEED) < 0 ? -errno : 0;
}

int guestmem_discard(struct guestmem *mem, gpa_t gpa, uint64_t len)
{
	int r = 0;

	if (!guestmem_valid(mem, gpa, len))
		return -EFAULT;
	guestmem_mark_dirty(mem, gpa, len);
	while (len && r == 0) {
		size_t n;
		uint8_t *host = piece(mem, gpa, len, &n);

		if (!host) /* gone since */
			return -EFAULT;
		r = discard(host, n);
		gpa += n;
		len -= n;
	}
	return r;
}

int guestmem_discard_iov(struct guestmem *mem, const struct iovec *iov, size_t n)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++)
		r = discard(iov[i].iov_base, iov[i].iov_len);
	return r;
}
