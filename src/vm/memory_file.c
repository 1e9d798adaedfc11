/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Guest memory in a file: the regions of RAM one behind the other in the order of their addresses, with holes where
 * nothing was ever written. A map with one bit for each page says what is looked at; of a whole memory, pages of zeroes
 * become holes too, and of a difference they are written, so that they overwrite what the base has there.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vm/machine.h"

#define CHUNK        (256u << 10)
#define PAGEMAP_READ 1024 /* pages that are asked for at once */
/* Linux Documentation/admin-guide/mm/pagemap.rst */
#define PAGEMAP_SWAPPED (1ULL << 62)
#define PAGEMAP_PRESENT (1ULL << 63)

static bool get_bit(const uint64_t *bitmap, uint64_t n)
{
	return bitmap[n / 64] & 1ULL << n % 64;
}

/* ---- which pages may hold something ---- */

static void set_bits(uint64_t *bitmap, uint64_t from, uint64_t to)
{
	for (uint64_t n = from; n < to; n++)
		bitmap[n / 64] |= 1ULL << n % 64;
}

static void set_all(const struct ram *ram, uint64_t *bitmap)
{
	set_bits(bitmap, 0, ram->size / memory_page());
}

/* Where the file has data; the region begins at offset in it. */
static void add_file_data(const struct ram *ram, int fd, uint64_t offset, uint64_t *bitmap)
{
	uint64_t page = memory_page(), end = offset + ram->size;
	off_t data, hole;

	for (uint64_t at = offset; at < end; at = (uint64_t)hole) {
		data = lseek(fd, (off_t)at, SEEK_DATA);
		if (data < 0 && errno == ENXIO)
			return; /* the rest is a hole */
		hole = data < 0 ? -1 : lseek(fd, data, SEEK_HOLE);
		if (hole < 0) { /* the file system does not know */
			set_all(ram, bitmap);
			return;
		}
		if ((uint64_t)data >= end)
			return;
		if ((uint64_t)hole > end)
			hole = (off_t)end;
		set_bits(bitmap, ((uint64_t)data - offset) / page, ((uint64_t)hole - offset + page - 1) / page);
	}
}

/* Where the kernel's file is mapped, whether this process has touched it or not. */
static void add_mapped(const struct memory *m, const struct ram *ram, uint64_t *bitmap)
{
	uint64_t page = memory_page(), end = ram->gpa + ram->size, from = m->mapped > ram->gpa ? m->mapped : ram->gpa,
		 to = m->mapped + m->mapped_size;

	if (to > end)
		to = end;
	if (from < to)
		set_bits(bitmap, (from - ram->gpa) / page, (to - ram->gpa + page - 1) / page);
}

/* Which pages this process has, in memory or swapped out. False: it cannot be found out. */
static bool add_own_pages(const struct ram *ram, uint64_t *bitmap)
{
	_cleanup_close_ int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	uint64_t n = ram->size / memory_page(), first = (uintptr_t)ram->host / memory_page();
	uint64_t entries[PAGEMAP_READ];

	for (uint64_t at = 0; at < n;) {
		uint64_t want = n - at < PAGEMAP_READ ? n - at : PAGEMAP_READ;
		ssize_t len = pread(fd, entries, want * 8, (off_t)((first + at) * 8));

		if (len < 8)
			return false;
		for (uint64_t i = 0; i < (uint64_t)len / 8; i++)
			if (entries[i] & (PAGEMAP_PRESENT | PAGEMAP_SWAPPED))
				set_bits(bitmap, at + i, at + i + 1);
		at += (uint64_t)len / 8;
	}
	return true;
}

int memory_find_used(struct vmm *vm, unsigned i, uint64_t *bitmap, struct err *e)
{
	const struct memory *m = &vm->memory;
	const struct ram *ram = &m->ram[i];

	if (m->uffd >= 0) {
		set_all(ram, bitmap); /* what is not here yet, the page server has */
	} else if (ram->fd >= 0) {
		add_file_data(ram, ram->fd, ram->offset, bitmap);
	} else {
		if (m->base >= 0)
			add_file_data(ram, m->base, memory_file_offset(m, i), bitmap);
		add_mapped(m, ram, bitmap);
		if (add_own_pages(ram, bitmap))
			return 0;
		/* Reading large pages would allocate them, and the host may have none left. */
		if (vm->config.hugepages)
			return err_sys(e, errno, "cannot find out from /proc/self/pagemap what memory is in use");
		set_all(ram, bitmap);
	}
	return 0;
}

/* ---- writing ---- */

static bool is_zero(const uint8_t *page, uint64_t size)
{
	return !page[0] && !memcmp(page, page + 1, size - 1);
}

/* len bytes of the region, by themselves or in buf. Shared memory is read as a file, so that holes stay holes. */
static const uint8_t *view(const struct ram *ram, uint64_t at, uint64_t len, uint8_t *buf)
{
	if (ram->fd < 0)
		return ram->host + at;
	return pread(ram->fd, buf, len, (off_t)(ram->offset + at)) == (ssize_t)len ? buf : NULL;
}

static int write_at(int fd, const uint8_t *data, uint64_t len, uint64_t at)
{
	while (len) {
		ssize_t n = pwrite(fd, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		data += n;
		at += (uint64_t)n;
		len -= (uint64_t)n;
	}
	return 0;
}

/* n pages from page first on; without those of zeroes unless zeroes. The region begins at offset in the file. */
static int write_run(const struct ram *ram, uint64_t first, uint64_t n, bool zeroes, int fd, uint64_t offset,
		     uint8_t *buf)
{
	uint64_t page = memory_page(), at = first * page, len = n * page, from = 0, to;
	const uint8_t *data = view(ram, at, len, buf);
	int r = data ? 0 : -EIO;

	while (r == 0 && from < len) {
		while (!zeroes && from < len && is_zero(data + from, page))
			from += page;
		for (to = from; to < len && (zeroes || !is_zero(data + to, page)); to += page)
			;
		r = write_at(fd, data + from, to - from, offset + at + from);
		from = to;
	}
	return r;
}

int memory_write(struct vmm *vm, unsigned i, const uint64_t *bitmap, bool zeroes, int fd)
{
	const struct ram *ram = &vm->memory.ram[i];
	uint64_t pages = ram->size / memory_page(), most = CHUNK / memory_page(), from = 0, to;
	_cleanup_free_ uint8_t *buf = malloc(CHUNK);
	int r = buf ? 0 : -ENOMEM;

	while (r == 0 && from < pages) {
		if (!bitmap[from / 64]) {
			from = (from / 64 + 1) * 64;
			continue;
		}
		if (!get_bit(bitmap, from)) {
			from++;
			continue;
		}
		for (to = from; to < pages && to - from < most && get_bit(bitmap, to); to++)
			;
		r = write_run(ram, from, to - from, zeroes, fd, memory_file_offset(&vm->memory, i), buf);
		from = to;
	}
	return r;
}

/* ---- reading ---- */

int memory_file_check(int fd, const char *path, uint64_t size, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot read %s", path);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_CONFIG, EINVAL, "%s is not a file of guest memory", path);
	if ((uint64_t)st.st_size != size)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s has %llu bytes, and the virtual machine that was saved had %llu bytes of memory: it "
			       "belongs to another snapshot, or is cut off",
			       path, (unsigned long long)st.st_size, (unsigned long long)size);
	return 0;
}

int memory_read(const struct ram *ram, int fd, uint64_t offset)
{
	uint64_t page = memory_page(), pages = ram->size / page;
	_cleanup_free_ uint64_t *bitmap = calloc(memory_words(ram), sizeof *bitmap);

	if (!bitmap)
		return -ENOMEM;
	add_file_data(ram, fd, offset, bitmap);
	for (uint64_t from = 0, to; from < pages; from = to) {
		for (to = from; to < pages && get_bit(bitmap, to); to++)
			;
		for (uint64_t at = from * page; at < to * page;) {
			ssize_t n = pread(fd, ram->host + at, to * page - at, (off_t)(offset + at));

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0)
				return n < 0 ? -errno : -ENODATA;
			at += (uint64_t)n;
		}
		while (to < pages && !get_bit(bitmap, to))
			to++;
	}
	return 0;
}
