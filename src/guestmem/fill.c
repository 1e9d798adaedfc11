/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files into guest memory: kernels, initrds.
 *
 * What this costs is page faults and the zeroing of pages, not the copy. So the ways, from the cheapest:
 * a private mapping of the file touches nothing at all; a memory file is filled by sendfile(2), which makes its pages
 * without a fault of ours for each; other memory is read into. Holes in the file are skipped: a third of Debian's
 * kernel is zeroes (guest/build makes holes of them). Large pages (MADV_HUGEPAGE) make the best case of the last twice
 * as quick and the worst five times as slow, when the host has to make them first: they are asked for one after the
 * other, until one takes longer than small ones would. The guest keeps them, and runs its kernel quicker.
 *
 * The file may shrink while we read: that is an error, not a signal, as nobody here reads through a mapping of it.
 */
#include <errno.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "guestmem/region.h"

#define LARGE_PAGE (2ULL << 20)
/* What 512 small pages take. Where everything is slower, under emulation say, the first large page is the last. */
#define LARGE_PAGE_NS 1000000

static int read_all(uint8_t *host, uint64_t len, int fd, uint64_t offset)
{
	while (len) {
		ssize_t n = pread(fd, host, len, (off_t)offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		host += n;
		offset += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

static int64_t cpu_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Into the memory file itself. Stops early, without an error, where the kernel cannot do that. */
static int send_all(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset, uint64_t *sent)
{
	off_t from = (off_t)offset;

	*sent = 0;
	if (lseek(r->file, (off_t)(r->file_offset + at), SEEK_SET) < 0)
		return 0;
	while (*sent < len) {
		ssize_t n = sendfile(r->file, fd, &from, len - *sent);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EINVAL || errno == ENOSYS))
			return 0;
		if (n <= 0)
			return n < 0 ? -errno : -ENODATA;
		*sent += (uint64_t)n;
	}
	return 0;
}

static int copy_run(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset)
{
	uint64_t sent = 0;
	int e = r->file >= 0 ? send_all(r, at, len, fd, offset, &sent) : 0;

	return e < 0 ? e : read_all(r->host + at + sent, len - sent, fd, offset + sent);
}

/* The first run of data in [from, end): [*ret_start, *ret_end), empty at the end when there is none. */
static int find_data(int fd, uint64_t from, uint64_t end, uint64_t *ret_start, uint64_t *ret_end)
{
	off_t data = lseek(fd, (off_t)from, SEEK_DATA), hole;
	struct stat st;

	if (data < 0 && errno == ENXIO) { /* a hole up to the file's end, if that is where it was */
		*ret_start = *ret_end = end;
		return fstat(fd, &st) < 0 ? -errno : (uint64_t)st.st_size < end ? -ENODATA : 0;
	}
	hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
	if (hole < 0) { /* it does not know holes */
		*ret_start = from;
		*ret_end = end;
		return 0;
	}
	*ret_start = (uint64_t)data < end ? (uint64_t)data : end;
	*ret_end = (uint64_t)hole < end ? (uint64_t)hole : end;
	return 0;
}

static int fill_runs(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset, bool fresh)
{
	uint64_t end = offset + len, from = offset, start = offset, stop = end;
	int e = 0;

	while (e == 0 && from < end) {
		if (fresh)
			e = find_data(fd, from, end, &start, &stop);
		if (e == 0 && start < stop)
			e = copy_run(r, at + (start - offset), stop - start, fd, start);
		from = stop;
	}
	return e;
}

/* In pieces: each large page of private memory that lies wholly in it is asked for just before it is filled. */
static int fill_region(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset, bool fresh)
{
	uint64_t done = -(uintptr_t)(r->host + at) & (LARGE_PAGE - 1);
	bool quick = r->file < 0;
	int64_t start;
	int e;

	if (done > len)
		done = len;
	e = fill_runs(r, at, done, fd, offset, fresh);
	for (; e == 0 && quick && len - done >= LARGE_PAGE; done += LARGE_PAGE) {
		madvise(r->host + at + done, LARGE_PAGE, MADV_HUGEPAGE);
		start = cpu_ns();
		e = fill_runs(r, at + done, LARGE_PAGE, fd, offset + done, fresh);
		quick = cpu_ns() - start < LARGE_PAGE_NS;
	}
	return e < 0 ? e : fill_runs(r, at + done, len - done, fd, offset + done, fresh);
}

/* Of [host, host+len), which will be the file's bytes from offset on: the whole pages, if they lie as in the file. */
static bool whole_pages(const uint8_t *host, uint64_t len, uint64_t offset, uint64_t *ret_skip, uint64_t *ret_len)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), skip = -(uintptr_t)host & (page - 1);

	if (((uintptr_t)host ^ offset) & (page - 1) || len < skip + page)
		return false;
	*ret_skip = skip;
	*ret_len = (len - skip) & ~(page - 1);
	return true;
}

static int map_region(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset, bool fresh)
{
	uint8_t *host = r->host + at;
	uint64_t skip, n;
	void *map;
	int e;

	if (r->file >= 0 || !whole_pages(host, len, offset, &skip, &n))
		return fill_region(r, at, len, fd, offset, fresh);
	map = mmap(host + skip, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, fd,
		   (off_t)(offset + skip));
	if (map == MAP_FAILED)
		return -errno;
	/* As the memory that it replaces. */
	madvise(map, n, MADV_DONTDUMP);
	madvise(map, n, MADV_DONTFORK);
	/* The ragged edges. */
	e = read_all(host, skip, fd, offset);
	return e < 0 ? e : read_all(host + skip + n, len - skip - n, fd, offset + skip + n);
}

typedef int fill_fn(const struct guestmem_region *r, uint64_t at, uint64_t len, int fd, uint64_t offset, bool fresh);

static int each_region(struct guestmem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset, bool fresh, fill_fn *fn)
{
	int e = guestmem_valid(mem, gpa, len) ? 0 : -EFAULT;

	if (e == 0)
		guestmem_mark_dirty(mem, gpa, len);
	while (e == 0 && len) {
		const struct guestmem_region *r = guestmem_find(mem, gpa);
		uint64_t at = gpa - r->gpa, n = len < r->size - at ? len : r->size - at;

		e = fn(r, at, n, fd, offset, fresh);
		gpa += n;
		offset += n;
		len -= n;
	}
	return e;
}

int guestmem_fill(struct guestmem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset, bool fresh)
{
	return each_region(mem, gpa, len, fd, offset, fresh, fill_region);
}

int guestmem_map(struct guestmem *mem, gpa_t gpa, uint64_t len, int fd, uint64_t offset, bool fresh)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	/* A page beyond the file's end would kill us by SIGBUS. */
	if ((uint64_t)st.st_size < offset || (uint64_t)st.st_size - offset < len)
		return -ENODATA;
	return each_region(mem, gpa, len, fd, offset, fresh, map_region);
}
