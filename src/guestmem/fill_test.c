/* SPDX-License-Identifier: Apache-2.0 */
/* Files into guest memory: every way gives the same bytes, and costs what it says. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "guestmem/guestmem.h"
#include "guestmem/smaps_fixture.h"

#define PAGE      4096ULL
#define RAM_PAGES 64
#define RAM       (RAM_PAGES * PAGE)
#define BASE      0x100000ULL
#define HALF      (RAM / 2 + 512) /* where the second region begins: not at a page */
#define FILE_LEN  (40 * PAGE + 123)
#define LARGE     (2ULL << 20)

/* The processor time that passes from one look at the clock to the next. */
static long clock_step;

/* NOLINTNEXTLINE(bugprone-reserved-identifier): the linker's name (--wrap). */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	static long now;

	assert_int_equal(clock, CLOCK_THREAD_CPUTIME_ID);
	now += clock_step;
	*ret = (struct timespec){ .tv_sec = now / 1000000000, .tv_nsec = now % 1000000000 };
	return 0;
}

enum kind { ANONYMOUS, SHARED };
enum way { COPY, COPY_ALL, MAP };

struct fixture {
	struct guestmem *mem;
	uint8_t *ram;
	int memfd, file;
	uint8_t content[FILE_LEN];
	uint64_t dirty;
};

static void count_dirty(void *userdata, gpa_t gpa, uint64_t len)
{
	((struct fixture *)userdata)->dirty += len;
}

/* Data in pages 0 to 9, 20 to 29 and from 38 on; holes between. */
static bool is_hole(size_t page)
{
	return (page >= 10 && page < 20) || (page >= 30 && page < 38);
}

static int make_file(uint8_t *content)
{
	int fd = memfd_create("file", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, FILE_LEN), 0);
	for (size_t at = 0; at < FILE_LEN; at += PAGE) {
		size_t n = FILE_LEN - at < PAGE ? FILE_LEN - at : PAGE;

		if (is_hole(at / PAGE))
			continue;
		for (size_t i = 0; i < n; i++)
			content[at + i] = (uint8_t)(1 + (at + i) % 251);
		assert_int_equal(pwrite(fd, content + at, n, (off_t)at), (ssize_t)n);
	}
	return fd;
}

/* Two adjacent regions in one piece of host memory. */
static void new_memory(struct fixture *f, enum kind kind)
{
	guestmem_free(f->mem);
	if (f->ram)
		munmap(f->ram, RAM);
	if (f->memfd >= 0)
		close(f->memfd);
	f->memfd = kind == SHARED ? memfd_create("ram", MFD_CLOEXEC) : -1;
	assert_true(kind != SHARED || ftruncate(f->memfd, RAM + PAGE) == 0);
	f->ram = mmap(NULL, RAM, PROT_READ | PROT_WRITE, kind == SHARED ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
		      f->memfd, kind == SHARED ? PAGE : 0);
	assert_true(f->ram != MAP_FAILED);
	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_shared(f->mem, BASE, HALF, f->ram, f->memfd, PAGE), 0);
	assert_int_equal(guestmem_add_shared(f->mem, BASE + HALF, RAM - HALF, f->ram + HALF, f->memfd, PAGE + HALF), 0);
	f->dirty = 0;
	guestmem_set_dirty_log(f->mem, count_dirty, f);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	f->memfd = -1;
	f->file = make_file(f->content);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guestmem_free(f->mem);
	if (f->ram)
		munmap(f->ram, RAM);
	if (f->memfd >= 0)
		close(f->memfd);
	close(f->file);
	free(f);
	return 0;
}

static int load(struct fixture *f, enum way way, uint64_t at, uint64_t len, uint64_t offset)
{
	if (way == MAP)
		return guestmem_map(f->mem, BASE + at, len, f->file, offset, true);
	return guestmem_fill(f->mem, BASE + at, len, f->file, offset, way == COPY);
}

/* The file's bytes are where they were loaded, and zeroes all around. */
static void assert_content(const struct fixture *f, uint64_t at, uint64_t len, uint64_t offset)
{
	uint8_t *want = calloc(1, RAM);

	memcpy(want + at, f->content + offset, len);
	assert_memory_equal(f->ram, want, RAM);
	free(want);
}

static void test_same_content(void **state)
{
	static const struct {
		uint64_t at, len, offset;
	} cases[] = {
		{ 0, FILE_LEN, 0 },                                  /* everything, over both regions */
		{ 3 * PAGE, 0, 5 },                                  /* nothing */
		{ 3 * PAGE + 7, 11 * PAGE, PAGE + 7 },               /* ragged edges, as in the file */
		{ 3 * PAGE + 7, 11 * PAGE, PAGE + 8 },               /* and not as in the file */
		{ 7, PAGE - 7, 7 },                                  /* up to a page's end */
		{ 100, 200, 100 },                                   /* within a page */
		{ 100, PAGE + 200, 100 },                            /* no page is whole */
		{ PAGE, PAGE, 9 * PAGE },                            /* just a page */
		{ 2 * PAGE, 6 * PAGE, 12 * PAGE },                   /* nothing but a hole */
		{ 2 * PAGE + 9, 30 * PAGE, 10 * PAGE },              /* begins with a hole */
		{ 0, 16 * PAGE, 20 * PAGE },                         /* ends with one */
		{ RAM - 2 * PAGE - 123, 2 * PAGE + 123, 38 * PAGE }, /* up to both ends */
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		for (enum kind kind = ANONYMOUS; kind <= SHARED; kind++)
			for (enum way way = COPY; way <= MAP; way++) {
				new_memory(f, kind);
				assert_int_equal(load(f, way, cases[i].at, cases[i].len, cases[i].offset), 0);
				assert_content(f, cases[i].at, cases[i].len, cases[i].offset);
				assert_int_equal(f->dirty, cases[i].len);
			}
}

/* Holes are left alone in new memory only. */
static void test_holes(void **state)
{
	struct fixture *f = *state;
	struct stat fresh, all;

	new_memory(f, SHARED);
	assert_int_equal(load(f, COPY, 0, FILE_LEN, 0), 0);
	assert_int_equal(fstat(f->memfd, &fresh), 0);
	assert_int_equal(fresh.st_blocks, 23 * PAGE / 512);
	new_memory(f, SHARED);
	memset(f->ram, 0xff, RAM);
	assert_int_equal(load(f, COPY_ALL, 0, FILE_LEN, 0), 0);
	assert_memory_equal(f->ram, f->content, FILE_LEN);
	assert_int_equal(f->ram[FILE_LEN], 0xff);
	assert_int_equal(fstat(f->memfd, &all), 0);
	assert_int_equal(all.st_blocks, RAM / 512);
}

/* Pages that were mapped are the file's until they are written to; those at the edges are copies. */
static void test_mapped(void **state)
{
	struct fixture *f = *state;
	uint8_t other[FILE_LEN], before;

	memset(other, 0xee, sizeof other);
	new_memory(f, ANONYMOUS);
	assert_int_equal(load(f, MAP, PAGE + 7, 6 * PAGE, 7), 0);
	f->ram[3 * PAGE] = 0x55;
	assert_int_equal(pread(f->file, &before, 1, 2 * PAGE), 1);
	assert_int_equal(before, f->content[2 * PAGE]);
	assert_int_equal(pwrite(f->file, other, sizeof other, 0), (ssize_t)sizeof other);
	assert_int_equal(f->ram[PAGE + 7], f->content[7]);
	assert_int_equal(f->ram[2 * PAGE], 0xee);
	assert_int_equal(f->ram[3 * PAGE], 0x55);
	assert_int_equal(f->ram[3 * PAGE + 1], f->content[2 * PAGE + 1]);
	assert_int_equal(f->ram[7 * PAGE - 1], 0xee);
	assert_int_equal(f->ram[7 * PAGE], f->content[6 * PAGE]);
}

/* What others see, and what lies otherwise than in the file, is copied. */
static void test_not_mapped(void **state)
{
	struct fixture *f = *state;
	uint8_t other[FILE_LEN];

	memset(other, 0xee, sizeof other);
	new_memory(f, SHARED);
	assert_int_equal(load(f, MAP, 0, 3 * PAGE, 0), 0);
	assert_int_equal(pwrite(f->file, other, sizeof other, 0), (ssize_t)sizeof other);
	assert_content(f, 0, 3 * PAGE, 0);
	memset(other, 0xdd, sizeof other);
	memset(f->content, 0xee, sizeof f->content);
	new_memory(f, ANONYMOUS);
	assert_int_equal(load(f, MAP, 1, 3 * PAGE, 0), 0);
	assert_int_equal(pwrite(f->file, other, sizeof other, 0), (ssize_t)sizeof other);
	assert_content(f, 1, 3 * PAGE, 0);
}

/* A file that is shorter than it was: an error, wherever it ends. */
static void test_cut(void **state)
{
	static const uint64_t ends[] = { 0,         1,         PAGE - 1,      5 * PAGE,    10 * PAGE,
					 15 * PAGE, 20 * PAGE, 25 * PAGE + 1, FILE_LEN - 1 };
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
		for (enum kind kind = ANONYMOUS; kind <= SHARED; kind++)
			for (enum way way = COPY; way <= MAP; way++) {
				int whole = f->file;

				new_memory(f, kind);
				f->file = make_file(f->content);
				assert_int_equal(ftruncate(f->file, (off_t)ends[i]), 0);
				assert_int_equal(load(f, way, 0, FILE_LEN, 0), -ENODATA);
				assert_int_equal(load(f, way, 0, PAGE, FILE_LEN), -ENODATA);
				close(f->file);
				f->file = whole;
			}
	}
}

static void test_beyond_memory(void **state)
{
	struct fixture *f = *state;

	for (enum way way = COPY; way <= MAP; way++) {
		new_memory(f, ANONYMOUS);
		assert_int_equal(load(f, way, RAM - PAGE, PAGE + 1, 0), -EFAULT);
		assert_int_equal(load(f, way, RAM, 1, 0), -EFAULT);
		assert_int_equal(load(f, way, UINT64_MAX - BASE, 2, 0), -EFAULT);
		assert_content(f, 0, 0, 0);
		assert_int_equal(f->dirty, 0);
	}
}

/* A descriptor that cannot be written to at a place: the mapping is filled instead. */
static void test_not_a_file(void **state)
{
	struct fixture *f = *state;
	int pipes[2];

	assert_int_equal(pipe(pipes), 0);
	new_memory(f, ANONYMOUS);
	guestmem_clear(f->mem);
	assert_int_equal(guestmem_add_shared(f->mem, BASE, RAM, f->ram, pipes[1], 0), 0);
	assert_int_equal(load(f, COPY, 0, FILE_LEN, 0), 0);
	assert_content(f, 0, FILE_LEN, 0);
	close(pipes[0]);
	close(pipes[1]);
}

/*
 * The large pages that lie wholly in what is filled, one after the other as long as they come quickly; private memory's
 * only. The file: a page and five large pages; it goes to the last page of the first one of six.
 */
static void test_large_pages(void **state)
{
	static const struct {
		enum kind kind;
		long step;
		unsigned asked; /* a bit for each large page */
	} cases[] = { { ANONYMOUS, 10000, 0x3e }, { ANONYMOUS, 5000000, 0x02 }, { SHARED, 10000, 0 } };
	uint64_t len = PAGE + 5 * LARGE, size = 6 * LARGE;
	struct fixture *f = *state;
	uint8_t *content = malloc(len);

	if (!large_pages_possible())
		skip();
	for (size_t i = 0; i < len; i++)
		content[i] = (uint8_t)(1 + i % 251);
	assert_int_equal(ftruncate(f->file, 0), 0);
	assert_int_equal(pwrite(f->file, content, len, 0), (ssize_t)len);
	for (size_t c = 0; c < sizeof cases / sizeof *cases; c++) {
		bool shared = cases[c].kind == SHARED;
		int fd = shared ? memfd_create("ram", MFD_CLOEXEC) : -1;
		uint8_t *map, *ram;

		assert_true(!shared || ftruncate(fd, (off_t)(size + LARGE)) == 0);
		map = mmap(NULL, size + LARGE, PROT_READ | PROT_WRITE,
			   shared ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS, fd, 0);
		assert_true(map != MAP_FAILED);
		ram = map + (-(uintptr_t)map & (LARGE - 1));
		assert_int_equal(guestmem_new(&f->mem), 0);
		assert_int_equal(guestmem_add_shared(f->mem, BASE, size, ram, fd, (uint64_t)(ram - map)), 0);
		clock_step = cases[c].step;
		assert_int_equal(load(f, COPY, LARGE - PAGE, len, 0), 0);
		assert_memory_equal(ram + LARGE - PAGE, content, len);
		for (unsigned i = 0; i < 6; i++)
			assert_int_equal(large_asked(ram + i * LARGE), cases[c].asked >> i & 1);
		guestmem_free(f->mem);
		f->mem = NULL;
		munmap(map, size + LARGE);
		if (shared)
			close(fd);
	}
	free(content);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(test_same_content), T(test_holes),         T(test_mapped),     T(test_not_mapped),
		T(test_cut),          T(test_beyond_memory), T(test_not_a_file), T(test_large_pages),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
