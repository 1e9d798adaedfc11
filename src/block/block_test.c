/* SPDX-License-Identifier: Apache-2.0 */
/* What requests are answered, what the guest is told, and what the host can change. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "block/fake_disk.h"
#include "state/state.h"
#include "virtio/fake_counters.h"

static void test_scattered(void **state)
{
	struct fixture *f = *state;
	struct block_hdr hdr = { le32_of(BLOCK_T_IN), { 0 }, le64_of(2) };
	const uint8_t *h = (const uint8_t *)&hdr;
	uint8_t data[512];
	struct fake_buf in[] = {
		{ .len = 1, .data = h },
		{ .len = 0 },
		{ .len = 10, .data = h + 1 },
		{ .len = 5, .data = h + 11 },
		{ .len = 3, .write = true },
		{ .len = 0, .write = true },
		/* The status lies in the last byte of a buffer that data fills to the brim. */
		{ .len = 510, .write = true },
	};
	struct fake_buf out[4] = { { .len = 20 }, { .len = 508 }, { .len = 1, .write = true } };
	uint8_t first[20];
	uint32_t len;

	make(f, (struct block_config){ .flush = true });
	f->m.ram[FAKE_DATA + 600] = 0xaa;
	assert_true(fake_request(&f->m, 0, in, 7, &len));
	assert_int_equal(len, 513);
	assert_int_equal(f->m.ram[in[4].gpa], 3);
	assert_int_equal(f->m.ram[in[6].gpa + 508], 3);
	assert_int_equal(f->m.ram[in[6].gpa + 509], BLOCK_S_OK);
	/* Header and data in one descriptor. */
	hdr.type = le32_of(BLOCK_T_OUT);
	memcpy(first, &hdr, sizeof hdr);
	memset(first + sizeof hdr, 0x77, 4);
	memset(data, 0x78, sizeof data);
	out[0].data = first;
	out[1].data = data;
	assert_true(fake_request(&f->m, 0, out, 3, &len));
	assert_int_equal(len, 1);
	assert_int_equal(f->m.ram[out[2].gpa], BLOCK_S_OK);
	assert_int_equal(on_disk(f, 1024 + 3), 0x77);
	assert_int_equal(on_disk(f, 1024 + 4), 0x78);
	assert_int_equal(on_disk(f, 1024 + 511), 0x78);
}

static void test_out_of_range(void **state)
{
	struct fixture *f = *state;
	struct stat st;

	make(f, (struct block_config){ .flush = true, .discard = true });
	assert_int_equal(read_sectors(f, SECTORS - 1, 512, NULL), BLOCK_S_OK);
	assert_int_equal(read_sectors(f, SECTORS - 1, 1024, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, SECTORS, 512, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, UINT64_MAX, 512, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, UINT64_MAX / 512, 512, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, 0, 513, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, SECTORS, 0, NULL), BLOCK_S_OK);
	assert_int_equal(write_sectors(f, SECTORS - 1, 1, 1024), BLOCK_S_IOERR);
	assert_int_equal(write_sectors(f, SECTORS, 1, 512), BLOCK_S_IOERR);
	assert_int_equal(write_sectors(f, 1ULL << 55, 1, 512), BLOCK_S_IOERR);
	assert_int_equal(write_sectors(f, 0, 1, 100), BLOCK_S_IOERR);
	assert_int_equal(trim(f, BLOCK_T_DISCARD, SECTORS - 1, 2, 0), BLOCK_S_IOERR);
	assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, UINT64_MAX, 2, 0), BLOCK_S_IOERR);
	assert_int_equal(trim(f, BLOCK_T_DISCARD, 0, UINT32_MAX, 0), BLOCK_S_IOERR);
	assert_int_equal(trim(f, BLOCK_T_DISCARD, SECTORS, 0, 0), BLOCK_S_OK);
	assert_int_equal(counted(f->dev, "invalid_reqs_count"), 12);
	assert_int_equal(counted(f->dev, "read_bytes"), 512);
	assert_int_equal(counted(f->dev, "write_bytes"), 0);
	assert_int_equal(on_disk(f, DISK - 1), SECTORS & 0xff);
	assert_int_equal(on_disk(f, 0), 1);
	assert_int_equal(fstat(f->fd, &st), 0);
	assert_int_equal(st.st_size, DISK);
	assert_int_equal(f->m.broken, 0);
}

static void test_unsupported(void **state)
{
	struct fixture *f = *state;
	static const uint32_t types[] = { 2, 3, 5, 7, 10, 14, 0x80000000, UINT32_MAX };
	struct block_segment two[2] = { 0 };
	struct fake_buf b = { .len = sizeof two, .data = two };

	make(f, (struct block_config){ .discard = true });
	for (size_t i = 0; i < sizeof types / sizeof *types; i++)
		assert_int_equal(request(f, types[i], 0, NULL, 0), BLOCK_S_UNSUPP);
	/* §5.2.6.2: unknown flags; unmap belongs to write-zeroes. */
	assert_int_equal(trim(f, BLOCK_T_DISCARD, 0, 1, BLOCK_SEGMENT_UNMAP), BLOCK_S_UNSUPP);
	assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, 0, 1, 2), BLOCK_S_UNSUPP);
	/* More segments than we said we take, and less than one. */
	assert_int_equal(request(f, BLOCK_T_DISCARD, 0, &b, 1), BLOCK_S_IOERR);
	b.len = 15;
	assert_int_equal(request(f, BLOCK_T_WRITE_ZEROES, 0, &b, 1), BLOCK_S_IOERR);
	/* Offered, but not negotiated. */
	f->acked = ~BLOCK_F_DISCARD;
	make(f, (struct block_config){ .discard = true });
	assert_int_equal(trim(f, BLOCK_T_DISCARD, 0, 1, 0), BLOCK_S_UNSUPP);
	assert_int_equal(on_disk(f, 0), 1);
}

static void test_readonly(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	make(f, (struct block_config){ .readonly = true, .flush = true, .discard = true });
	assert_int_equal(f->dev->features & (BLOCK_F_RO | BLOCK_F_FLUSH | BLOCK_F_DISCARD), BLOCK_F_RO);
	assert_int_equal(fcntl(container_of(f->dev, struct block_device, base)->file.fd, F_GETFL) & O_ACCMODE,
			 O_RDONLY);
	assert_int_equal(read_sectors(f, 0, 512, NULL), BLOCK_S_OK);
	assert_int_equal(write_sectors(f, 0, 9, 512), BLOCK_S_IOERR);
	assert_int_equal(trim(f, BLOCK_T_DISCARD, 0, 1, 0), BLOCK_S_UNSUPP);
	assert_int_equal(request(f, BLOCK_T_FLUSH, 0, NULL, 0), BLOCK_S_OK);
	assert_int_equal(counted(f->dev, "flush_count"), 1);
	assert_int_equal(on_disk(f, 0), 1);
	/* A descriptor that cannot write does not become a disk that can; and stays ours. */
	struct block_config c = { .fd = open(f->path, O_RDONLY | O_CLOEXEC) };

	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(block_new(f->loop, &c, &f->dev, &e), -EBADF);
	assert_true(fcntl(c.fd, F_GETFD) >= 0);
	c.readonly = true;
	assert_int_equal(block_new(f->loop, &c, &f->dev, &e), 0);
}

static void test_malformed_breaks(void **state)
{
	struct fixture *f = *state;
	struct block_hdr hdr = { 0 };
	struct fake_buf no_status = { .len = 16, .data = &hdr };
	struct fake_buf short_hdr[] = { { .len = 15, .data = &hdr }, { .len = 1, .write = true } };
	struct fake_buf only_status = { .len = 513, .write = true };
	const struct {
		struct fake_buf *bufs;
		unsigned n;
	} bad[] = { { &no_status, 1 }, { short_hdr, 2 }, { &only_status, 1 } };
	uint32_t len;

	for (size_t i = 0; i < 3; i++) {
		make(f, (struct block_config){ .flush = true });
		assert_false(fake_request(&f->m, 0, bad[i].bufs, bad[i].n, &len));
		assert_int_equal(f->m.broken, 1);
		assert_string_equal(f->m.why, "a disk request without room for header or status");
		/* Until the reset, then as new. */
		virtio_device_kick(f->dev, 0);
		virtio_device_reset(f->dev);
		fake_start(&f->m, f->dev, ~0ULL, ~0ULL);
		assert_int_equal(read_sectors(f, 0, 512, NULL), BLOCK_S_OK);
	}
}

static struct block_config_space config(struct fixture *f)
{
	struct block_config_space c;

	f->dev->ops->config_read(f->dev, 0, &c, sizeof c);
	return c;
}

static void test_config_space(void **state)
{
	struct fixture *f = *state;
	struct block_config_space c;

	make(f, (struct block_config){ .flush = true, .discard = true, .queues = 3, .queue_size = 128 });
	c = config(f);
	assert_int_equal(sizeof c, 72);
	assert_int_equal(offsetof(struct block_config_space, max_discard_sectors), 36);
	assert_int_equal(le64_get(c.capacity), SECTORS);
	assert_int_equal(le32_get(c.seg_max), 126);
	assert_int_equal(le32_get(c.blk_size), 512);
	assert_int_equal(le16_get(c.num_queues), 3);
	assert_int_equal(le32_get(c.max_discard_sectors), BLOCK_DISCARD_MAX);
	assert_int_equal(le32_get(c.max_write_zeroes_seg), 1);
	assert_true(f->dev->features & BLOCK_F_MQ);
	make(f, (struct block_config){ 0 });
	c = config(f);
	assert_int_equal(le32_get(c.max_discard_sectors), 0);
	assert_int_equal(f->dev->features & (BLOCK_F_MQ | BLOCK_F_FLUSH | BLOCK_F_DISCARD | BLOCK_F_RO), 0);
}

static void test_bad_config(void **state)
{
	struct fixture *f = *state;
	struct virtio_device *dev;
	struct err e = { 0 };
	const struct block_config bad[] = {
		{ .path = f->path, .queues = BLOCK_QUEUES_MAX + 1 },
		{ .path = f->path, .queue_size = 100 },
		{ .path = f->path, .queue_size = 2 },
		{ .path = f->path, .queue_size = 2048 },
		{ .path = f->path, .serial = "123456789012345678901" },
		{ .path = "/", .readonly = true },
		{ .path = "/dev/null" },
		{ .path = "/nonexistent/disk" },
		{ .path = NULL, .fd = -1 },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_true(block_new(f->loop, &bad[i], &dev, &e) < 0);
		assert_true(err_is_set(&e));
		e = (struct err){ 0 };
	}
}

static void test_default_serial(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 32, .write = true };
	char id[64];
	struct stat st;
	uint32_t len;

	assert_int_equal(fstat(f->fd, &st), 0);
	snprintf(id, sizeof id, "%ju%ju%ju", (uintmax_t)st.st_dev, (uintmax_t)st.st_rdev, (uintmax_t)st.st_ino);
	id[20] = 0;
	make(f, (struct block_config){ 0 });
	assert_int_equal(request_on(f, 0, BLOCK_T_GET_ID, 0, &b, 1, &len), BLOCK_S_OK);
	assert_int_equal(len, 21);
	assert_memory_equal(f->m.ram + b.gpa, id, strlen(id));
	/* A small buffer gets what fits, none gets none. */
	b.len = 3;
	assert_int_equal(request_on(f, 0, BLOCK_T_GET_ID, 0, &b, 1, &len), BLOCK_S_OK);
	assert_int_equal(len, 4);
	assert_int_equal(request_on(f, 0, BLOCK_T_GET_ID, 0, NULL, 0, &len), BLOCK_S_OK);
	assert_int_equal(len, 1);
}

static void change_medium(struct fixture *f, bool uring)
{
	char other[] = "block_test_XXXXXX";
	int fd = mkstemp(other);
	struct err e = { 0 };
	uint8_t *data;

	assert_int_equal(write(fd, "new", 3), 3);
	assert_int_equal(ftruncate(fd, 4096), 0);
	close(fd);
	make(f, (struct block_config){ .flush = true, .io_uring = uring });
	assert_int_equal(read_sectors(f, 0, 512, NULL), BLOCK_S_OK);
	f->m.config_signals = 0;
	assert_int_equal(block_set_path(f->dev, "/nonexistent", &e), -ENOENT);
	assert_int_equal(f->m.config_signals, 0);
	assert_int_equal(read_sectors(f, 0, 512, &data), BLOCK_S_OK);
	assert_int_equal(data[0], 1);
	/* Requests under way go to the old medium. */
	f->m.ram[offer(f, 0, BLOCK_T_OUT, 20) - 512] = 0x5a;
	virtio_device_kick(f->dev, 0);
	assert_int_equal(block_set_path(f->dev, other, &e), 0);
	answer(f, 0);
	assert_int_equal(on_disk(f, 20 * 512), 0x5a);
	assert_int_equal(f->m.config_signals, 1);
	assert_int_equal(le64_get(config(f).capacity), 8);
	assert_int_equal(read_sectors(f, 0, 512, &data), BLOCK_S_OK);
	assert_memory_equal(data, "new", 3);
	assert_int_equal(read_sectors(f, 8, 512, NULL), BLOCK_S_IOERR);
	/* The same, grown. */
	assert_int_equal(truncate(other, 8192 + 100), 0);
	assert_int_equal(block_set_path(f->dev, other, &e), 0);
	assert_int_equal(f->m.config_signals, 2);
	assert_int_equal(read_sectors(f, 15, 512, NULL), BLOCK_S_OK);
	assert_int_equal(read_sectors(f, 16, 512, NULL), BLOCK_S_IOERR);
	unlink(other);
}

static void test_change_medium(void **state)
{
	change_medium(*state, false);
	change_medium(*state, true);
}

static void test_rate(void **state)
{
	struct fixture *f = *state;
	struct block_config c = { .rate.ops = { .size = 2, .refill_ms = 1000 * 3600 } };
	struct rate_config off = { 0 };
	uint32_t id, len;

	make(f, c);
	for (int i = 0; i < 4; i++)
		offer(f, 0, BLOCK_T_OUT, (uint64_t)i);
	virtio_device_kick(f->dev, 0);
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_int_equal(loop_run_once(f->loop, 0), 0);
	virtio_device_kick(f->dev, 0);
	assert_false(fake_used(&f->m.q[0], &id, &len));
	/* In an hour, or when the limit goes. */
	block_set_rate(f->dev, &off);
	answer(f, 0);
	answer(f, 0);
	assert_int_equal(counted(f->dev, "write_count"), 4);
	assert_true(counted(f->dev, "rate_limiter_throttled_events") >= 1);
	assert_int_equal(counted(f->dev, "rate_limiter_event_count"), 1);
	/* Bytes. */
	c = (struct block_config){ .rate.bytes = { .size = 1024, .refill_ms = 1000 * 3600 } };
	make(f, c);
	for (int i = 0; i < 4; i++)
		offer(f, 0, BLOCK_T_OUT, (uint64_t)i);
	virtio_device_kick(f->dev, 0);
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_false(fake_used(&f->m.q[0], &id, &len));
}

static void test_save_load(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct fake_buf b = { .len = 20, .write = true };
	struct block_config c = { .path = f->path, .serial = "saved" };
	struct err e = { 0 };

	make(f, c);
	assert_int_equal(state_new(&s), 0);
	virtio_device_quiesce(f->dev);
	f->dev->ops->save(f->dev, s);
	virtio_device_free(take_ptr(f->dev));
	/* Restored over a copy that has grown: the same id, and the guest hears of the size. */
	assert_int_equal(ftruncate(f->fd, DISK * 2), 0);
	c.serial = NULL;
	assert_int_equal(block_new(f->loop, &c, &f->dev, &e), 0);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), 0);
	f->m.config_signals = 0;
	fake_start(&f->m, f->dev, ~0ULL, ~0ULL);
	assert_int_equal(f->m.config_signals, 1);
	assert_int_equal(request(f, BLOCK_T_GET_ID, 0, &b, 1), BLOCK_S_OK);
	assert_memory_equal(f->m.ram + b.gpa, "saved", 6);
	state_put_str(s, "serial", "123456789012345678901");
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_scattered),        T(test_out_of_range), T(test_unsupported), T(test_readonly),
		T(test_malformed_breaks), T(test_config_space), T(test_bad_config),  T(test_default_serial),
		T(test_change_medium),    T(test_rate),         T(test_save_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
