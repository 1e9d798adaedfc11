/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "state/state.h"
#include "virtio/balloon.h"
#include "virtio/fake_counters.h"
#include "virtio/fake_machine.h"

enum { INFLATE, DEFLATE, STATS, HINT, REPORT };

#define F_STATS     (1ULL << 1)
#define F_REPORTING (1ULL << 5)

/* Memory that the balloon is played with: 64 pages of a memfd, apart from the driver's own. */
#define POOL       0x1000000ULL
#define POOL_PFN   (POOL >> 12)
#define POOL_PAGES 64

struct fixture {
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
	int pool_fd;
	uint8_t *pool;
};

static void make(struct fixture *f, struct virtio_balloon_config c, uint64_t features, uint64_t queues)
{
	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(virtio_balloon_new(f->loop, &c, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, features, queues);
	f->m.config_signals = 0;
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	if (sysconf(_SC_PAGESIZE) != 4096)
		return -1;
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	f->pool_fd = memfd_create("pool", MFD_CLOEXEC);
	assert_int_equal(ftruncate(f->pool_fd, POOL_PAGES << 12), 0);
	f->pool = mmap(NULL, POOL_PAGES << 12, PROT_READ | PROT_WRITE, MAP_SHARED, f->pool_fd, 0);
	assert_int_equal(guestmem_add_buffer(f->m.mem, POOL, POOL_PAGES << 12, f->pool), 0);
	memset(f->pool, 0x55, POOL_PAGES << 12);
	make(f, (struct virtio_balloon_config){ .free_page_reporting = true }, ~0ULL, 0x1f);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	fake_machine_fini(&f->m);
	munmap(f->pool, POOL_PAGES << 12);
	close(f->pool_fd);
	loop_free(f->loop);
	free(f);
	return 0;
}

static unsigned held(struct fixture *f)
{
	struct stat st;

	assert_int_equal(fstat(f->pool_fd, &st), 0);
	return (unsigned)(st.st_blocks / 8);
}

static bool pages(struct fixture *f, unsigned queue, const uint32_t *pfn, unsigned n)
{
	struct fake_buf b = { .len = 4 * n };
	uint32_t len;
	le32 v[300];

	for (unsigned i = 0; i < n; i++)
		v[i] = le32_of(pfn[i]);
	b.data = v;
	return fake_request(&f->m, queue, &b, 1, &len) && len == 0;
}

static void test_inflate(void **state)
{
	struct fixture *f = *state;
	/* In no order, with a gap, one twice. */
	const uint32_t pfn[] = { POOL_PFN + 9, POOL_PFN + 3, POOL_PFN + 2, POOL_PFN + 3, POOL_PFN + 4, POOL_PFN + 63 };

	assert_int_equal(held(f), 64);
	assert_true(pages(f, INFLATE, pfn, 6));
	assert_int_equal(held(f), 59);
	assert_int_equal(f->pool[1 << 12], 0x55);
	assert_int_equal(f->pool[5 << 12], 0x55);
	assert_int_equal(f->pool[8 << 12], 0x55);
	assert_int_equal(f->pool[10 << 12], 0x55);
	assert_int_equal(f->pool[3 << 12], 0);
	assert_int_equal(f->m.broken, 0);
	/* Deflating needs nothing: the page is there when it is touched. */
	assert_true(pages(f, DEFLATE, pfn, 6));
	assert_int_equal(counted(f->dev, "inflate_count"), 1);
	assert_int_equal(counted(f->dev, "deflate_count"), 1);
}

static void test_inflate_scattered(void **state)
{
	struct fixture *f = *state;
	le32 pfn[4] = { le32_of(POOL_PFN), le32_of(POOL_PFN + 1), le32_of(POOL_PFN + 2), le32_of(POOL_PFN + 5) };
	struct fake_buf b[] = { { .len = 3, .data = pfn }, { .len = 13, .data = (uint8_t *)pfn + 3 } };
	uint32_t len;

	assert_true(fake_request(&f->m, INFLATE, b, 2, &len));
	assert_int_equal(held(f), 60);
}

static void test_large_request(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 4 * 3000 };
	static le32 pfn[3000];
	uint32_t len;

	for (unsigned i = 0; i < 3000; i++)
		pfn[i] = le32_of(POOL_PFN + i * 7 % 32); /* 32 pages, over and over */
	b.data = pfn;
	assert_true(fake_request(&f->m, INFLATE, &b, 1, &len));
	assert_int_equal(held(f), 32);
}

static void test_malformed_breaks(void **state)
{
	struct fixture *f = *state;
	le32 outside[] = { le32_of(POOL_PFN + 1), le32_of(POOL_PFN + 64) };
	struct fake_buf bad[] = { { .len = 7 },
				  { .len = 4 * 4097, .fixed = true, .gpa = FAKE_DATA },
				  { .len = 8, .data = outside } };
	static const char *const why[] = { "a balloon request that is no list of pages",
					   "a balloon request that is no list of pages",
					   "a balloon page outside of guest memory" };
	uint32_t last = UINT32_MAX, len;

	for (int i = 0; i < 3; i++) {
		make(f, (struct virtio_balloon_config){ 0 }, ~0ULL, 7);
		assert_false(fake_request(&f->m, INFLATE, &bad[i], 1, &len));
		assert_string_equal(f->m.why, why[i]);
	}
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~0ULL, 7);
	assert_false(pages(f, INFLATE, &last, 1));
	assert_int_equal(f->m.broken, 1);
}

static void report(struct fixture *f, unsigned queue)
{
	struct fake_buf b[] = { { .len = 4 << 12, .write = true, .fixed = true, .gpa = POOL },
				{ .len = 2 << 12, .write = true, .fixed = true, .gpa = POOL + (8 << 12) } };
	uint32_t len;

	memset(f->pool, 0x55, POOL_PAGES << 12);
	assert_true(fake_request(&f->m, queue, b, 2, &len));
	assert_int_equal(held(f), 58);
	assert_int_equal(f->pool[4 << 12], 0x55);
}

static void test_free_page_reporting(void **state)
{
	struct fixture *f = *state;
	struct virtio_balloon_config c = { .free_page_reporting = true };
	struct fake_buf b = { .len = 1 << 12, .write = true, .fixed = true, .gpa = POOL };
	uint32_t len;

	/* At its place in the specification, and where drivers without gaps put it. */
	report(f, REPORT);
	make(f, c, ~0ULL, 0xf);
	report(f, STATS + 1);
	make(f, c, ~F_STATS, 0x7);
	report(f, STATS);
	/* Not negotiated: nothing is read from that queue. */
	make(f, c, ~F_REPORTING, 0x1f);
	assert_false(fake_request(&f->m, REPORT, &b, 1, &len));
	make(f, (struct virtio_balloon_config){ 0 }, ~0ULL, 0x1f);
	assert_int_equal(f->dev->acked & F_REPORTING, 0);
}

static gpa_t put_stats(struct fixture *f, uint16_t tag, uint64_t value)
{
	struct {
		le16 tag;
		le64 value;
	} __attribute__((packed))
	s[3] = { { le16_of(4), le64_of(1000) }, { le16_of(tag), le64_of(value) }, { le16_of(99), le64_of(1) } };
	/* The last one is cut off. */
	struct fake_buf b = { .len = sizeof s - 1, .data = s };

	fake_send(&f->m, STATS, &b, 1);
	virtio_device_kick(f->dev, STATS);
	return b.gpa;
}

static void test_statistics(void **state)
{
	struct fixture *f = *state;
	struct virtio_balloon_stats s;
	uint32_t id, len;

	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.valid, 0);
	put_stats(f, 0, 77);
	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.valid, 1 << 4 | 1 << 0);
	assert_int_equal(s.value[4], 1000);
	assert_int_equal(s.value[0], 77);
	/* The buffer stays with us until the interval is over; kicking again changes nothing. */
	virtio_device_kick(f->dev, STATS);
	assert_false(fake_used(&f->m.q[STATS], &id, &len));
	virtio_balloon_set_interval(f->dev, 1);
	while (!fake_used(&f->m.q[STATS], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	put_stats(f, 15, 5);
	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.valid, 1 << 4 | 1 << 15);
	/* And again. */
	while (!fake_used(&f->m.q[STATS], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	put_stats(f, 16, 1); /* unknown: skipped */
	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.valid, 1 << 4);
	assert_true(counted(f->dev, "stats_updates_count") >= 2);
	virtio_balloon_set_interval(f->dev, 0);
	virtio_device_reset(f->dev);
	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.valid, 0);
}

static void test_statistics_of_a_broken_ring(void **state)
{
	struct fixture *f = *state;

	fake_submit(&f->m.q[STATS], FAKE_QUEUE_SIZE); /* no such descriptor */
	virtio_device_kick(f->dev, STATS);
	assert_int_equal(f->m.broken, 1);
}

static void config(struct fixture *f, uint32_t *num_pages, uint32_t *actual)
{
	le32 c[4];

	f->dev->ops->config_read(f->dev, 0, c, sizeof c);
	*num_pages = le32_get(c[0]);
	*actual = le32_get(c[1]);
	assert_int_equal(le32_get(c[2]) | le32_get(c[3]), 0);
}

static void test_target(void **state)
{
	struct fixture *f = *state;
	struct virtio_balloon_config huge = { .bytes = 1ULL << 45 };
	struct virtio_balloon_stats s;
	struct virtio_device *dev;
	uint32_t pages_wanted, actual;
	le32 v = le32_of(300);

	assert_int_equal(virtio_balloon_set_target(f->dev, 2 << 20), 0);
	assert_int_equal(f->m.config_signals, 1);
	config(f, &pages_wanted, &actual);
	assert_int_equal(pages_wanted, 512);
	f->dev->ops->config_write(f->dev, 4, &v, 4);
	f->dev->ops->config_write(f->dev, 0, &v, 4); /* read-only */
	f->dev->ops->config_write(f->dev, 5, &v, 4);
	f->dev->ops->config_write(f->dev, 4, &v, 2);
	config(f, &pages_wanted, &actual);
	assert_int_equal(pages_wanted, 512);
	assert_int_equal(actual, 300);
	virtio_balloon_get_stats(f->dev, &s);
	assert_int_equal(s.target, 2 << 20);
	assert_int_equal(s.actual, 300 << 12);
	assert_int_equal(virtio_balloon_set_target(f->dev, 1ULL << 44), -ERANGE);
	assert_int_equal(virtio_balloon_new(f->loop, &huge, &dev, NULL), -ERANGE);
}

static void test_save_load(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct virtio_balloon_stats st;
	le32 v = le32_of(7);
	struct err e = { 0 };

	assert_int_equal(virtio_balloon_set_target(f->dev, 40960), 0);
	f->dev->ops->config_write(f->dev, 4, &v, 4);
	assert_int_equal(state_new(&s), 0);
	f->dev->ops->save(f->dev, s);
	make(f, (struct virtio_balloon_config){ 0 }, ~0ULL, 7);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), 0);
	virtio_balloon_get_stats(f->dev, &st);
	assert_int_equal(st.target, 40960);
	assert_int_equal(st.actual, 7 << 12);
	state_put_u64(s, "actual", 1ULL << 32);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_inflate),
		T(test_inflate_scattered),
		T(test_large_request),
		T(test_malformed_breaks),
		T(test_free_page_reporting),
		T(test_statistics),
		T(test_statistics_of_a_broken_ring),
		T(test_target),
		T(test_save_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
