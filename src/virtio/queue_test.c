/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "virtio/device.h"
#include "virtio/fake_driver.h"
#include "virtio/iov.h"

#define MEM_SIZE 0x20000
#define DATA     0x8000
#define TABLE    0x4000

struct fixture {
	struct guestmem *mem;
	uint8_t *ram;
	struct fake_queue f;
	struct virtq q;
	struct virtq_chain c;
};

static void begin(struct fixture *x, uint16_t size)
{
	uint16_t at = x->q.next_avail;

	fake_init(&x->f, x->ram, 0x1000, size);
	memset(x->ram, 0, MEM_SIZE);
	fake_attach(&x->f, x->mem, &x->q);
	x->f.avail_idx = x->f.used_idx = at;
	fake_store16(&x->f, x->f.avail + 2, at);
	fake_store16(&x->f, x->f.used + 2, at);
	assert_int_equal(virtq_start(&x->q, 256), 0);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	x->ram = aligned_alloc(4096, MEM_SIZE);
	assert_int_equal(guestmem_new(&x->mem), 0);
	assert_int_equal(guestmem_add_buffer(x->mem, 0, MEM_SIZE, x->ram), 0);
	x->q.event_idx = x->q.indirect = true;
	begin(x, 8);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	guestmem_free(x->mem);
	free(x->ram);
	free(x);
	return 0;
}

static void test_start_checks(void **state)
{
	struct fixture *x = *state;
	const struct virtq good = x->q;
	static const uint16_t sizes[] = { 0, 3, 512 };

	for (size_t i = 0; i < 3; i++) {
		x->q.size = sizes[i];
		assert_int_equal(virtq_start(&x->q, 256), -EINVAL);
		assert_false(x->q.ready);
	}
#define BAD(field, value, error)                                                                                       \
	x->q = good;                                                                                                   \
	x->q.field = (value);                                                                                          \
	assert_int_equal(virtq_start(&x->q, 256), error);                                                              \
	assert_int_equal(virtq_pop(&x->q, &x->c), 0)
	BAD(desc, 0x1008, -EINVAL);
	BAD(avail, 0x1001, -EINVAL);
	BAD(used, 0x1002, -EINVAL);
	BAD(desc, MEM_SIZE - 64, -EFAULT);
	BAD(avail, MEM_SIZE - 20, -EFAULT);
	BAD(used, MEM_SIZE - 68, -EFAULT);
	x->q = good;
	x->q.event_idx = false;
	x->q.avail = MEM_SIZE - 20;
	assert_int_equal(virtq_start(&x->q, 256), 0);
}

static void test_used_index_split_over_regions(void **state)
{
	struct fixture *x = *state;
	_Alignas(8) static uint8_t a[16], b[128];

	/* Valid as a range, but the index itself lies across the seam (regions of odd size). */
	assert_int_equal(guestmem_add_buffer(x->mem, 0x100000, 7, a), 0);
	assert_int_equal(guestmem_add_buffer(x->mem, 0x100007, 121, b + 7), 0);
	x->q.used = 0x100004;
	assert_int_equal(virtq_start(&x->q, 256), -EFAULT);
}

static void test_empty_and_stopped(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(virtq_pop(&x->q, &x->c), 0);
	fake_desc(&x->f, 0, DATA, 16, 0, 0);
	fake_submit(&x->f, 0);
	virtq_stop(&x->q);
	assert_int_equal(virtq_pop(&x->q, &x->c), 0);
	assert_false(virtq_want_kick(&x->q));
	virtq_want_no_kick(&x->q);
	virtq_push(&x->q, 0, 0);
	assert_false(virtq_publish(&x->q));
	assert_int_equal(fake_load16(&x->f, x->f.used + 2), 0);
}

static void test_chain(void **state)
{
	struct fixture *x = *state;
	uint32_t id, len;

	fake_desc(&x->f, 3, DATA, 10, FAKE_NEXT, 5);
	fake_desc(&x->f, 5, DATA + 100, 20, FAKE_NEXT, 1);
	fake_desc(&x->f, 1, DATA + 200, 30, FAKE_WRITE | FAKE_NEXT, 0);
	fake_desc(&x->f, 0, DATA + 300, 0, FAKE_WRITE, 7);
	fake_submit(&x->f, 3);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	assert_int_equal(x->c.head, 3);
	assert_int_equal(x->c.n_read, 2);
	assert_int_equal(x->c.n_write, 1);
	assert_int_equal(x->c.read_len, 30);
	assert_int_equal(x->c.write_len, 30);
	assert_ptr_equal(virtq_chain_read(&x->c)[1].iov_base, x->ram + DATA + 100);
	assert_ptr_equal(virtq_chain_write(&x->c)->iov_base, x->ram + DATA + 200);
	assert_int_equal(virtq_pop(&x->q, &x->c), 0);
	virtq_push(&x->q, 3, 17);
	assert_false(fake_used(&x->f, &id, &len)); /* not before it is published */
	assert_true(virtq_publish(&x->q));
	assert_false(virtq_publish(&x->q));
	assert_true(fake_used(&x->f, &id, &len));
	assert_int_equal(id, 3);
	assert_int_equal(len, 17);
}

static void test_unpop(void **state)
{
	struct fixture *x = *state;

	fake_desc(&x->f, 2, DATA, 10, FAKE_WRITE, 0);
	fake_submit(&x->f, 2);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	virtq_unpop(&x->q);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	assert_int_equal(x->c.head, 2);
	assert_int_equal(virtq_pop(&x->q, &x->c), 0);
}

static void test_indirect(void **state)
{
	struct fixture *x = *state;

	/* §2.7.5.3.1: direct descriptors may precede; WRITE on the indirect one is ignored. */
	for (uint16_t i = 0; i < 20; i++)
		fake_set_desc(x->ram + TABLE, i, DATA + 16 * i, 16,
			      (i < 19 ? FAKE_NEXT : 0) | (i >= 10 ? FAKE_WRITE : 0), i + 1);
	fake_desc(&x->f, 0, DATA + 0x1000, 5, FAKE_NEXT, 1);
	fake_desc(&x->f, 1, TABLE, 20 * 16, FAKE_INDIRECT | FAKE_WRITE, 0);
	fake_submit(&x->f, 0);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	assert_int_equal(x->c.n_read, 11);
	assert_int_equal(x->c.n_write, 10);
	assert_int_equal(x->c.read_len, 165);
}

/* As many buffers as one request may have (a disk's seg_max and two), in a table behind one descriptor. */
static void test_longest_chain(void **state)
{
	struct fixture *x = *state;

	for (uint16_t i = 0; i < VIRTQ_CHAIN_MAX; i++)
		fake_set_desc(x->ram + TABLE, i, DATA + 4 * i, 4, i < VIRTQ_CHAIN_MAX - 1 ? FAKE_NEXT : 0, i + 1);
	fake_desc(&x->f, 0, TABLE, VIRTQ_CHAIN_MAX * 16, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	assert_int_equal(x->c.n_read, VIRTQ_CHAIN_MAX);
	assert_int_equal(x->c.read_len, 4 * VIRTQ_CHAIN_MAX);
}

static void expect_broken(struct fixture *x, const char *why)
{
	assert_int_equal(virtq_pop(&x->q, &x->c), -EPROTO);
	assert_true(x->q.broken);
	assert_string_equal(x->q.why, why);
	/* And it stays so. */
	assert_int_equal(virtq_pop(&x->q, &x->c), -EPROTO);
	assert_false(virtq_want_kick(&x->q));
	virtq_push(&x->q, 0, 0);
	assert_false(virtq_publish(&x->q));
	virtq_break(&x->q, "something else");
	assert_string_equal(x->q.why, why);
	x->q.next_avail = 0;
	begin(x, 8);
}

static void test_violations(void **state)
{
	struct fixture *x = *state;

	fake_submit(&x->f, 8);
	expect_broken(x, "a descriptor index beyond its table");

	fake_desc(&x->f, 0, DATA, 1, FAKE_NEXT, 8);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor index beyond its table");

	fake_store16(&x->f, x->f.avail + 2, 9);
	expect_broken(x, "the available index jumped by more than the queue's size");

	fake_desc(&x->f, 0, DATA, 1, FAKE_NEXT, 1);
	fake_desc(&x->f, 1, DATA, 1, FAKE_NEXT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor chain that loops or is too long");

	fake_desc(&x->f, 0, DATA, 1, FAKE_NEXT | FAKE_WRITE, 1);
	fake_desc(&x->f, 1, DATA, 1, 0, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a readable descriptor behind a writable one");

	fake_desc(&x->f, 0, MEM_SIZE - 4, 5, 0, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor outside guest memory");

	fake_desc(&x->f, 0, UINT64_MAX, UINT32_MAX, 0, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor outside guest memory");
}

static void test_indirect_violations(void **state)
{
	struct fixture *x = *state;
	static const uint32_t bad_len[] = { 0, 8, 17, UINT32_MAX };

	for (size_t i = 0; i < 4; i++) {
		fake_desc(&x->f, 0, TABLE, bad_len[i], FAKE_INDIRECT, 0);
		fake_submit(&x->f, 0);
		expect_broken(x, "a bad indirect descriptor");
	}
	fake_desc(&x->f, 0, TABLE, 16, FAKE_INDIRECT | FAKE_NEXT, 1);
	fake_submit(&x->f, 0);
	expect_broken(x, "a bad indirect descriptor");

	fake_set_desc(x->ram + TABLE, 0, TABLE, 16, FAKE_INDIRECT, 0);
	fake_desc(&x->f, 0, TABLE, 16, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a bad indirect descriptor");

	fake_desc(&x->f, 0, MEM_SIZE - 16, 32, FAKE_INDIRECT, 0);
	fake_set_desc(x->ram + MEM_SIZE - 16, 0, DATA, 1, FAKE_NEXT, 1);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor table outside guest memory");

	fake_set_desc(x->ram + TABLE, 0, DATA, 1, FAKE_NEXT, 0);
	fake_desc(&x->f, 0, TABLE, 16, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor chain that loops or is too long");

	fake_set_desc(x->ram + TABLE, 0, DATA, 1, FAKE_NEXT, 0);
	fake_desc(&x->f, 0, TABLE, 16 * 2000, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor chain that loops or is too long");

	x->q.indirect = false;
	fake_desc(&x->f, 0, TABLE, 16, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a bad indirect descriptor");
}

static void test_chain_length_overflow(void **state)
{
	struct fixture *x = *state;
	static _Alignas(8) uint8_t one[8];

	/* 4 GiB of one-region memory is not needed: the sum is checked before the addresses. */
	fake_desc(&x->f, 0, DATA, 16, FAKE_NEXT, 1);
	fake_desc(&x->f, 1, DATA, UINT32_MAX - 15, 0, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor chain longer than 2^32 bytes");

	/* More pieces than fit: memory of many regions of 8 bytes. */
	for (gpa_t i = 0; i < 60; i++)
		assert_int_equal(guestmem_add_buffer(x->mem, 0x100000 + 8 * i, 8, one), 0);
	for (uint16_t i = 0; i < 20; i++)
		fake_set_desc(x->ram + TABLE, i, 0x100000, 480, i < 19 ? FAKE_NEXT : 0, i + 1);
	fake_desc(&x->f, 0, TABLE, 20 * 16, FAKE_INDIRECT, 0);
	fake_submit(&x->f, 0);
	expect_broken(x, "a descriptor chain of too many pieces");
}

static void test_index_wraps(void **state)
{
	struct fixture *x = *state;
	uint32_t id, len;

	x->q.next_avail = 65530;
	begin(x, 8);
	for (int i = 0; i < 20; i++) {
		fake_desc(&x->f, i % 8, DATA, 8, FAKE_WRITE, 0);
		fake_submit(&x->f, i % 8);
		assert_int_equal(virtq_pop(&x->q, &x->c), 1);
		assert_int_equal(x->c.head, i % 8);
		virtq_push(&x->q, x->c.head, i);
		virtq_publish(&x->q);
		assert_true(fake_used(&x->f, &id, &len));
		assert_int_equal(id, i % 8);
		assert_int_equal(len, i);
	}
	assert_int_equal(x->q.next_avail, 14);
}

static void push_one(struct fixture *x)
{
	fake_desc(&x->f, 0, DATA, 8, FAKE_WRITE, 0);
	fake_submit(&x->f, 0);
	assert_int_equal(virtq_pop(&x->q, &x->c), 1);
	virtq_push(&x->q, 0, 0);
}

static void test_event_index(void **state)
{
	struct fixture *x = *state;

	push_one(x);
	assert_true(virtq_publish(&x->q)); /* the first is always told */
	fake_set_used_event(&x->f, 3);
	push_one(x);
	assert_false(virtq_publish(&x->q)); /* used 1 → 2 */
	push_one(x);
	assert_false(virtq_publish(&x->q)); /* 3: entry 2 */
	push_one(x);
	assert_true(virtq_publish(&x->q)); /* entry 3 */
	push_one(x);
	assert_false(virtq_publish(&x->q));
	/* A batch that passes over the event. */
	fake_set_used_event(&x->f, 6);
	push_one(x);
	push_one(x);
	push_one(x);
	assert_true(virtq_publish(&x->q));

	assert_false(virtq_want_kick(&x->q));
	assert_int_equal(fake_avail_event(&x->f), 8);
	fake_submit(&x->f, 0);
	assert_true(virtq_want_kick(&x->q));
}

static void test_flags_without_event_index(void **state)
{
	struct fixture *x = *state;

	x->q.event_idx = false;
	begin(x, 8);
	push_one(x);
	assert_true(virtq_publish(&x->q));
	fake_store16(&x->f, x->f.avail, 1);
	push_one(x);
	assert_false(virtq_publish(&x->q));
	virtq_want_no_kick(&x->q);
	assert_int_equal(fake_load16(&x->f, x->f.used), 1);
	assert_false(virtq_want_kick(&x->q));
	assert_int_equal(fake_load16(&x->f, x->f.used), 0);
}

static void test_memory_goes_away(void **state)
{
	struct fixture *x = *state;

	push_one(x);
	guestmem_clear(x->mem);
	assert_int_equal(virtq_pop(&x->q, &x->c), -EPROTO);
	x->q.broken = false;
	x->q.avail_idx++;
	assert_int_equal(virtq_pop(&x->q, &x->c), -EPROTO);
	x->q.broken = false;
	assert_false(virtq_publish(&x->q));
	assert_true(x->q.broken);
	x->q.broken = false;
	virtq_push(&x->q, 0, 0);
	assert_true(x->q.broken);
	x->q.broken = false;
	assert_false(virtq_want_kick(&x->q));
	assert_true(x->q.broken);
	/* The used ring is there, the available ring is gone. */
	x->q.broken = false;
	assert_int_equal(guestmem_add_buffer(x->mem, x->q.used & ~7ULL, 256, x->ram + (x->q.used & ~7ULL)), 0);
	x->q.avail = 0x10;
	assert_false(virtq_publish(&x->q));
	assert_true(x->q.broken);
}

static void test_iov(void **state)
{
	char a[4] = "abc", b[4] = "def", out[8] = { 0 };
	struct iovec v[] = { { a, 3 }, { NULL, 0 }, { b, 3 } }, s[3];

	assert_int_equal(iov_read(v, 3, 2, out, 3), 3);
	assert_string_equal(out, "cde");
	assert_int_equal(iov_read(v, 3, 4, out, 8), 2);
	assert_int_equal(iov_read(v, 3, 6, out, 8), 0);
	assert_int_equal(iov_write(v, 3, 1, "XYZ", 3), 3);
	assert_string_equal(a, "aXY");
	assert_string_equal(b, "Zef");
	assert_int_equal(iov_slice(v, 3, 1, 100, s, 3), 2);
	assert_ptr_equal(s[0].iov_base, a + 1);
	assert_int_equal(s[0].iov_len, 2);
	assert_int_equal(s[1].iov_len, 3);
	assert_int_equal(iov_slice(v, 3, 3, 2, s, 3), 1);
	assert_ptr_equal(s[0].iov_base, b);
	assert_int_equal(s[0].iov_len, 2);
	assert_int_equal(iov_slice(v, 3, 0, 6, s, 1), 1);
}

static void test_config_copy(void **state)
{
	uint8_t out[8];

	memset(out, 0xff, sizeof out);
	virtio_config_copy("abcd", 4, 2, out, 4);
	assert_memory_equal(out, "cd\0\0\xff", 5);
	virtio_config_copy("abcd", 4, 4, out, 2);
	assert_memory_equal(out, "\0\0\0\0", 4);
	virtio_config_copy("abcd", 4, UINT32_MAX, out, 8);
	assert_memory_equal(out, "\0\0\0\0\0\0\0\0", 8);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_start_checks),
		T(test_used_index_split_over_regions),
		T(test_empty_and_stopped),
		T(test_chain),
		T(test_unpop),
		T(test_indirect),
		T(test_longest_chain),
		T(test_violations),
		T(test_indirect_violations),
		T(test_chain_length_overflow),
		T(test_index_wraps),
		T(test_event_index),
		T(test_flags_without_event_index),
		T(test_memory_goes_away),
		cmocka_unit_test(test_iov),
		cmocka_unit_test(test_config_copy),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
