/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "guestmem/guestmem.h"
#include "guestmem/le.h"

#define PAGE 4096

/* Two adjacent regions [0x1000,0x2000) [0x2000,0x3000), a hole, and one more at 0x8000. */
struct fixture {
	struct guestmem *mem;
	_Alignas(8) uint8_t a[PAGE], b[PAGE], c[16];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(guestmem_new(&f->mem), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x1000, PAGE, f->a), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x2000, PAGE, f->b), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x8000, sizeof f->c, f->c), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	guestmem_free(f->mem);
	guestmem_free(NULL);
	free(f);
	return 0;
}

static void test_bounds(void **state)
{
	struct guestmem *mem = ((struct fixture *)*state)->mem;

	assert_true(guestmem_valid(mem, 0x1000, 2 * PAGE));
	assert_true(guestmem_valid(mem, 0x5000, 0));
	assert_true(guestmem_valid(mem, 0x2fff, 1));
	assert_false(guestmem_valid(mem, 0xfff, 1));
	assert_false(guestmem_valid(mem, 0x1000, 2 * PAGE + 1));
	assert_false(guestmem_valid(mem, 0x3000, 1));
	assert_false(guestmem_valid(mem, 0x1000, UINT64_MAX));
	assert_false(guestmem_valid(mem, UINT64_MAX, 2));
	assert_false(guestmem_valid(mem, 0, UINT64_MAX));
}

static void test_top_of_address_space_does_not_wrap(void **state)
{
	struct fixture *f = *state;

	/* [2^64-16, 2^64-8) is allowed, a region that reaches 2^64 is not; nor may an access wrap to address 0. */
	assert_int_equal(guestmem_add_buffer(f->mem, -16ULL, 16, f->a), -EINVAL);
	assert_int_equal(guestmem_add_buffer(f->mem, -16ULL, 15, f->a), 0);
	assert_int_equal(guestmem_add_buffer(f->mem, 0, 16, f->b), 0);
	assert_true(guestmem_valid(f->mem, -16ULL, 15));
	assert_false(guestmem_valid(f->mem, -16ULL, 16));
	assert_false(guestmem_valid(f->mem, -8ULL, 16));
}

static void test_copy_spans_regions(void **state)
{
	struct fixture *f = *state;
	char in[] = "across the seam", out[sizeof in];

	assert_int_equal(guestmem_write(f->mem, 0x2000 - 7, in, sizeof in), 0);
	assert_memory_equal(f->a + PAGE - 7, in, 7);
	assert_memory_equal(f->b, in + 7, sizeof in - 7);
	assert_int_equal(guestmem_read(f->mem, 0x2000 - 7, out, sizeof out), 0);
	assert_string_equal(out, in);
	/* All or nothing. */
	assert_int_equal(guestmem_write(f->mem, 0x3000 - 7, in, sizeof in), -EFAULT);
	assert_int_equal(f->b[PAGE - 7], 0);
	assert_int_equal(guestmem_read(f->mem, 0x3000 - 7, out, sizeof out), -EFAULT);
	assert_int_equal(guestmem_read(f->mem, 0x3000, out, 0), 0);
}

static void test_blocks_come_and_go(void **state)
{
	struct fixture *f = *state;
	static _Alignas(8) uint8_t host[8 * 64];
	struct iovec iov[4];
	char in[200];
	uint16_t v;

	assert_int_equal(guestmem_add_sparse(f->mem, 0x10000, sizeof host, host, 48), -EINVAL);
	assert_int_equal(guestmem_add_sparse(f->mem, 0x10000, sizeof host - 1, host, 64), -EINVAL);
	assert_int_equal(guestmem_add_sparse(f->mem, 0x2000, sizeof host, host, 64), -EEXIST);
	assert_int_equal(guestmem_add_sparse(f->mem, 0x10000, sizeof host, host, 64), 0);
	/* Nothing is there. */
	assert_false(guestmem_valid(f->mem, 0x10000, 1));
	assert_int_equal(guestmem_load_le16(f->mem, 0x10000, &v), -EFAULT);
	assert_int_equal(guestmem_discard(f->mem, 0x10000, 1), -EFAULT);
	/* Blocks 1, 2 and 3: what crosses their ends is refused, what crosses their seams is one piece. */
	assert_int_equal(guestmem_set_present(f->mem, 0x10040, 192, true), 0);
	assert_true(guestmem_valid(f->mem, 0x10040, 192));
	assert_false(guestmem_valid(f->mem, 0x10040, 193));
	assert_false(guestmem_valid(f->mem, 0x1003f, 2));
	assert_int_equal(guestmem_iov(f->mem, 0x10050, 150, iov, 4), 1);
	assert_ptr_equal(iov[0].iov_base, host + 0x50);
	assert_int_equal(iov[0].iov_len, 150);
	memset(in, 7, sizeof in);
	assert_int_equal(guestmem_write(f->mem, 0x10048, in, 180), 0);
	assert_int_equal(host[0x48 + 179], 7);
	assert_int_equal(guestmem_write(f->mem, 0x10048, in, 185), -EFAULT);
	/* The one in the middle goes. */
	assert_int_equal(guestmem_set_present(f->mem, 0x10080, 64, false), 0);
	assert_int_equal(guestmem_iov(f->mem, 0x10050, 150, iov, 4), -EFAULT);
	assert_true(guestmem_valid(f->mem, 0x10050, 48));
	assert_true(guestmem_valid(f->mem, 0x100c0, 64));
	assert_int_equal(guestmem_load_le16(f->mem, 0x10080, &v), -EFAULT);
	/* Whole blocks of such a region only. */
	assert_int_equal(guestmem_set_present(f->mem, 0x10020, 64, true), -EINVAL);
	assert_int_equal(guestmem_set_present(f->mem, 0x10000, 32, true), -EINVAL);
	assert_int_equal(guestmem_set_present(f->mem, 0x101c0, 128, true), -EINVAL);
	assert_int_equal(guestmem_set_present(f->mem, 0x1000, 64, true), -EINVAL);
	assert_int_equal(guestmem_set_present(f->mem, 0x30000, 64, true), -EINVAL);
	assert_int_equal(guestmem_remove(f->mem, 0x10000, sizeof host), 0);
}

static void test_integers(void **state)
{
	struct fixture *f = *state;
	uint16_t v16;
	uint32_t v32;
	uint64_t v64;

	assert_int_equal(guestmem_store_le64(f->mem, 0x1008, 0x1122334455667788), 0);
	assert_int_equal(f->a[8], 0x88);
	assert_int_equal(guestmem_load_le16(f->mem, 0x100e, &v16), 0);
	assert_int_equal(v16, 0x1122);
	assert_int_equal(guestmem_load_le32(f->mem, 0x1008, &v32), 0);
	assert_int_equal(v32, 0x55667788);
	assert_int_equal(guestmem_load_le64(f->mem, 0x1008, &v64), 0);
	assert_true(v64 == 0x1122334455667788);
	assert_int_equal(guestmem_store_le16(f->mem, 0x1000, 0xabcd), 0);
	assert_int_equal(guestmem_store_le32(f->mem, 0x1004, 0x01020304), 0);
	assert_memory_equal(f->a, "\xcd\xab\0\0\x04\x03\x02\x01", 8);
	assert_int_equal(guestmem_load_le16(f->mem, 0x1001, &v16), -EINVAL);
	assert_int_equal(guestmem_store_le32(f->mem, 0x1002, 0), -EINVAL);
	assert_int_equal(guestmem_load_le64(f->mem, 0x8010, &v64), -EFAULT);
	assert_int_equal(guestmem_store_le64(f->mem, 0x8010, 0), -EFAULT);
	assert_int_equal(guestmem_store_le16(f->mem, 0x8010, 0), -EFAULT);
	assert_int_equal(guestmem_load_le32(f->mem, 0x8010, &v32), -EFAULT);
}

static void test_integer_may_not_straddle_a_region_end(void **state)
{
	struct fixture *f = *state;
	uint64_t v64;

	assert_int_equal(guestmem_add_buffer(f->mem, 0x9000, 12, f->a), 0);
	assert_int_equal(guestmem_load_le64(f->mem, 0x9008, &v64), -EFAULT);
}

static void test_iov(void **state)
{
	struct fixture *f = *state;
	struct iovec iov[2];

	assert_int_equal(guestmem_iov(f->mem, 0x1010, 16, iov, 2), 1);
	assert_ptr_equal(iov[0].iov_base, f->a + 16);
	assert_int_equal(iov[0].iov_len, 16);
	assert_int_equal(guestmem_iov(f->mem, 0x1ff0, 32, iov, 2), 2);
	assert_ptr_equal(iov[1].iov_base, f->b);
	assert_int_equal(iov[1].iov_len, 16);
	assert_int_equal(guestmem_iov(f->mem, 0x1ff0, 32, iov, 1), -ENOBUFS);
	assert_int_equal(guestmem_iov(f->mem, 0x2ff0, 32, iov, 2), -EFAULT);
	assert_int_equal(guestmem_iov(f->mem, 0x2ff0, 0, iov, 0), 0);
}

static void test_regions(void **state)
{
	struct fixture *f = *state;
	unsigned i;

	assert_int_equal(guestmem_add_buffer(f->mem, 0x4000, 0, f->a), -EINVAL);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x4001, 8, f->a), -EINVAL);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x0, 0x1001, f->a), -EEXIST);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x1800, 8, f->a), -EEXIST);
	assert_int_equal(guestmem_remove(f->mem, 0x1000, 8), -ENOENT);
	assert_int_equal(guestmem_remove(f->mem, 0x1800, PAGE), -ENOENT);
	assert_int_equal(guestmem_remove(f->mem, 0x1000, PAGE), 0);
	assert_false(guestmem_valid(f->mem, 0x1000, 1));
	assert_true(guestmem_valid(f->mem, 0x2000, PAGE));
	assert_true(guestmem_valid(f->mem, 0x8000, 16));
	for (i = 2; guestmem_add_buffer(f->mem, 0x10000 + i * 8, 8, f->a) == 0; i++)
		;
	assert_int_equal(i, GUESTMEM_REGIONS_MAX);
	assert_int_equal(guestmem_add_buffer(f->mem, 0x1000, 8, f->a), -ENOSPC);
	guestmem_clear(f->mem);
	assert_false(guestmem_valid(f->mem, 0x2000, 1));
}

static void test_memfd(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int fd = memfd_create("guestmem", MFD_CLOEXEC), ro = -1;
	char text[8] = { 0 }, path[64];

	assert_int_equal(ftruncate(fd, 4L * PAGE), 0);
	assert_int_equal(pwrite(fd, "page two", 8, 2 * PAGE), 8);
	assert_int_equal(pwrite(fd, "+8bytes", 8, 2 * PAGE + 8), 8);
	/* The offset need not be page aligned. */
	assert_int_equal(guestmem_add_fd(f->mem, 0x100000, PAGE, fd, 2 * PAGE + 8), 0);
	assert_int_equal(guestmem_read(f->mem, 0x100000, text, 8), 0);
	assert_string_equal(text, "+8bytes");
	assert_int_equal(guestmem_write(f->mem, 0x100000, "shared", 7), 0);
	assert_int_equal(pread(fd, text, 8, 2 * PAGE + 8), 8);
	assert_string_equal(text, "shared");

	assert_int_equal(guestmem_add_fd(f->mem, 0x100000, PAGE, fd, 0), -EEXIST);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, PAGE, fd, 1), -EINVAL);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, 2 * PAGE, fd, 3 * PAGE), -EINVAL);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, PAGE, fd, -(uint64_t)PAGE), -EINVAL);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, PAGE, fd, 1ULL << 63), -EINVAL);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, PAGE, -1, 0), -EBADF);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ro = open(path, O_RDONLY | O_CLOEXEC);
	assert_true(ro >= 0);
	assert_int_equal(guestmem_add_fd(f->mem, 0x200000, PAGE, ro, 0), -EACCES);
	assert_int_equal(guestmem_remove(f->mem, 0x100000, PAGE), 0);
}

static gpa_t dirty_gpa;
static uint64_t dirty_len;
static unsigned dirty_calls;

static void on_dirty(void *userdata, gpa_t gpa, uint64_t len)
{
	assert_ptr_equal(userdata, &dirty_calls);
	dirty_gpa = gpa;
	dirty_len = len;
	dirty_calls++;
}

static void test_dirty_log(void **state)
{
	struct fixture *f = *state;

	guestmem_mark_dirty(f->mem, 0x1000, 1);
	guestmem_set_dirty_log(f->mem, on_dirty, &dirty_calls);
	guestmem_write(f->mem, 0x1234, "abc", 3);
	assert_int_equal(dirty_gpa, 0x1234);
	assert_int_equal(dirty_len, 3);
	guestmem_store_le16(f->mem, 0x2000, 1);
	assert_int_equal(dirty_gpa, 0x2000);
	assert_int_equal(dirty_len, 2);
	guestmem_write(f->mem, 0x5000, "abc", 3);
	guestmem_mark_dirty(f->mem, 0x1000, 0);
	assert_int_equal(dirty_calls, 2);
}

/* Pages that a mapping (fd -1: anonymous) or the file behind it holds. */
static int held(uint8_t *map, int fd)
{
	unsigned char there[4];
	struct stat st;
	int n = 0;

	if (fd >= 0) {
		assert_int_equal(fstat(fd, &st), 0);
		return (int)(st.st_blocks * 512 / PAGE);
	}
	assert_int_equal(mincore(map, 4 * PAGE, there), 0);
	for (int i = 0; i < 4; i++)
		n += there[i] & 1;
	return n;
}

/* All but the first and last half page of four pages: the two whole pages between go, and nothing else. */
static void discard_in(struct fixture *f, uint8_t *map, int fd, int left, int expect)
{
	struct iovec iov;

	assert_int_equal(guestmem_add_buffer(f->mem, 0x100000, 4 * PAGE, map), 0);
	memset(map, 0x11, 4 * PAGE);
	assert_int_equal(guestmem_discard(f->mem, 0x100000 + PAGE / 2, 3 * PAGE), 0);
	assert_int_equal(held(map, fd), left);
	assert_int_equal(map[PAGE - 1], 0x11);
	assert_int_equal(map[PAGE], expect);
	assert_int_equal(map[3 * PAGE - 1], expect);
	assert_int_equal(map[3 * PAGE], 0x11);
	memset(map, 0x22, 4 * PAGE);
	assert_int_equal(guestmem_iov(f->mem, 0x100000, PAGE, &iov, 1), 1);
	assert_int_equal(guestmem_discard_iov(f->mem, &iov, 1), 0);
	assert_int_equal(map[0], expect);
	assert_int_equal(map[PAGE], 0x22);
	/* Less than a page, nothing, and what is not there. */
	assert_int_equal(guestmem_discard(f->mem, 0x100000 + PAGE + 1, PAGE - 1), 0);
	assert_int_equal(guestmem_discard(f->mem, 0x100000 + PAGE, 0), 0);
	assert_int_equal(map[PAGE], 0x22);
	assert_int_equal(guestmem_discard(f->mem, 0x100000 + 3 * PAGE, 2 * PAGE), -EFAULT);
	assert_int_equal(map[3 * PAGE], 0x22);
	assert_int_equal(guestmem_remove(f->mem, 0x100000, 4 * PAGE), 0);
	munmap(map, 4 * PAGE);
}

static void test_discard(void **state)
{
	struct fixture *f = *state;
	int fd = memfd_create("ram", MFD_CLOEXEC), old = memfd_create("snapshot", MFD_CLOEXEC);
	uint8_t *map;

	if (sysconf(_SC_PAGESIZE) != PAGE)
		skip();
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	discard_in(f, map, -1, 2, 0);
	/* Shared: the memfd itself gets smaller. */
	assert_int_equal(ftruncate(fd, 4 * PAGE), 0);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	discard_in(f, map, fd, 2, 0);
	/* A private mapping of a snapshot, which keeps its content. */
	assert_int_equal(ftruncate(old, 4 * PAGE), 0);
	for (int i = 0; i < 4 * PAGE; i++)
		assert_int_equal(pwrite(old, "s", 1, i), 1);
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, old, 0);
	discard_in(f, map, old, 4, 's');
	close(fd);
	close(old);
}

static void test_discard_is_dirty(void **state)
{
	struct fixture *f = *state;

	guestmem_set_dirty_log(f->mem, on_dirty, &dirty_calls);
	dirty_calls = 0;
	assert_int_equal(guestmem_discard(f->mem, 0x1000, 16), 0);
	assert_int_equal(dirty_calls, 1);
	assert_int_equal(dirty_gpa, 0x1000);
	assert_int_equal(dirty_len, 16);
}

static void test_le(void **state)
{
	le16 a = le16_of(0x1234);
	le32 b = le32_of(0x12345678);
	le64 c = le64_of(0x123456789abcdef0);

	assert_memory_equal(&a, "\x34\x12", 2);
	assert_memory_equal(&b, "\x78\x56\x34\x12", 4);
	assert_memory_equal(&c, "\xf0\xde\xbc\x9a\x78\x56\x34\x12", 8);
	assert_int_equal(le16_get(a), 0x1234);
	assert_int_equal(le32_get(b), 0x12345678);
	assert_true(le64_get(c) == 0x123456789abcdef0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_top_of_address_space_does_not_wrap, setup, teardown),
		cmocka_unit_test_setup_teardown(test_copy_spans_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_blocks_come_and_go, setup, teardown),
		cmocka_unit_test_setup_teardown(test_integers, setup, teardown),
		cmocka_unit_test_setup_teardown(test_integer_may_not_straddle_a_region_end, setup, teardown),
		cmocka_unit_test_setup_teardown(test_iov, setup, teardown),
		cmocka_unit_test_setup_teardown(test_regions, setup, teardown),
		cmocka_unit_test_setup_teardown(test_memfd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_dirty_log, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard, setup, teardown),
		cmocka_unit_test_setup_teardown(test_discard_is_dirty, setup, teardown),
		cmocka_unit_test(test_le),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
