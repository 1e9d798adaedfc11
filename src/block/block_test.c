/* SPDX-License-Identifier: Apache-2.0 */
/* The disk driven by a fake driver on plain memory, over files that are full, truncated, closed, or simply there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "base/fd.h"
#include "block/state.h"
#include "state/state.h"
#include "virtio/fake_machine.h"

#define DISK    (256 * 1024)
#define SECTORS (DISK / BLOCK_SECTOR)

struct fixture {
	char path[64];
	int fd; /* of the image, for looking */
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
	uint64_t acked;
	gpa_t status;
};

static void make(struct fixture *f, struct block_config c)
{
	struct err e = { 0 };

	virtio_device_free(take_ptr(f->dev));
	c.path = c.path ? c.path : f->path;
	if (block_new(f->loop, &c, &f->dev, &e) < 0)
		fail_msg("%s", e.text);
	fake_start(&f->m, f->dev, f->acked, ~0ULL);
	f->status = fake_alloc(&f->m, 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	uint8_t sector[BLOCK_SECTOR];

	/* Where we are (the build folder), not in /tmp: direct I/O and holes need an ordinary file system. */
	strcpy(f->path, "block_test_XXXXXX");
	f->fd = mkstemp(f->path);
	assert_true(f->fd >= 0);
	for (int i = 0; i < SECTORS; i++) {
		memset(sector, i + 1, sizeof sector);
		assert_int_equal(write(f->fd, sector, sizeof sector), sizeof sector);
	}
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	f->acked = ~0ULL;
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	fake_machine_fini(&f->m);
	loop_free(f->loop);
	close(f->fd);
	unlink(f->path);
	free(f);
	return 0;
}

/* Wait for the next answer of the queue, as long as it takes. */
static uint32_t answer(struct fixture *f, unsigned queue)
{
	uint32_t id, len;

	while (!fake_used(&f->m.q[queue], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	return len;
}

/* Header, data and status as one request; returns the status. The status byte is poisoned before. */
static int request_on(struct fixture *f, unsigned queue, uint32_t type, uint64_t sector, struct fake_buf *data,
		      unsigned n, uint32_t *ret_len)
{
	struct block_hdr hdr = { le32_of(type), { 0 }, le64_of(sector) };
	struct fake_buf b[16] = { { .len = sizeof hdr, .data = &hdr } };
	gpa_t mark = f->m.next_data;
	uint32_t len;

	for (unsigned i = 0; i < n; i++)
		b[1 + i] = data[i];
	f->m.ram[f->status] = 0xaa;
	b[n + 1] = (struct fake_buf){ .len = 1, .write = true, .fixed = true, .gpa = f->status };
	fake_send(&f->m, queue, b, n + 2);
	virtio_device_kick(f->dev, queue);
	len = answer(f, queue);
	if (ret_len)
		*ret_len = len;
	for (unsigned i = 0; i < n; i++)
		data[i] = b[1 + i];
	f->m.next_data = mark;
	return f->m.ram[f->status];
}

static int request(struct fixture *f, uint32_t type, uint64_t sector, struct fake_buf *data, unsigned n)
{
	return request_on(f, 0, type, sector, data, n, NULL);
}

static int read_sectors(struct fixture *f, uint64_t sector, uint32_t len, uint8_t **ret)
{
	struct fake_buf b = { .len = len, .write = true };
	int status = request(f, BLOCK_T_IN, sector, &b, 1);

	if (ret)
		*ret = f->m.ram + b.gpa;
	return status;
}

static int write_sectors(struct fixture *f, uint64_t sector, uint8_t byte, uint32_t len)
{
	static uint8_t data[DISK];
	struct fake_buf b = { .len = len, .data = data };

	memset(data, byte, len);
	return request(f, BLOCK_T_OUT, sector, &b, 1);
}

static int trim(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct block_segment seg = { le64_of(sector), le32_of(sectors), le32_of(flags) };
	struct fake_buf b = { .len = sizeof seg, .data = &seg };

	return request(f, type, sector, &b, 1);
}

static uint8_t on_disk(struct fixture *f, uint64_t at)
{
	uint8_t v;

	assert_int_equal(pread(f->fd, &v, 1, (off_t)at), 1);
	return v;
}

/* Every request type, on both engines. */
static void each_request(struct fixture *f)
{
	struct fake_buf b = { .len = BLOCK_ID_SIZE, .write = true };
	uint32_t len;
	uint8_t *data;

	assert_int_equal(read_sectors(f, 3, 1024, &data), BLOCK_S_OK);
	assert_int_equal(data[0], 4);
	assert_int_equal(data[511], 4);
	assert_int_equal(data[512], 5);
	assert_int_equal(write_sectors(f, 5, 0xee, 512), BLOCK_S_OK);
	assert_int_equal(on_disk(f, 5 * 512), 0xee);
	assert_int_equal(on_disk(f, 5 * 512 + 511), 0xee);
	assert_int_equal(on_disk(f, 6 * 512), 7);
	assert_int_equal(read_sectors(f, 5, 512, &data), BLOCK_S_OK);
	assert_int_equal(data[100], 0xee);
	assert_int_equal(request(f, BLOCK_T_FLUSH, 0, NULL, 0), BLOCK_S_OK);
	assert_int_equal(request_on(f, 0, BLOCK_T_GET_ID, 0, &b, 1, &len), BLOCK_S_OK);
	assert_int_equal(len, 21);
	assert_memory_equal(f->m.ram + b.gpa, "disk-1\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 20);
	assert_int_equal(trim(f, BLOCK_T_DISCARD, 8, 8, 0), BLOCK_S_OK);
	assert_int_equal(on_disk(f, 8 * 512), 0);
	assert_int_equal(on_disk(f, 7 * 512 + 511), 8);
	assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, 16, 1, 0), BLOCK_S_OK);
	assert_int_equal(on_disk(f, 16 * 512), 0);
	assert_int_equal(on_disk(f, 17 * 512), 18);
	assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, 24, 8, BLOCK_SEGMENT_UNMAP), BLOCK_S_OK);
	assert_int_equal(on_disk(f, 31 * 512 + 511), 0);
	assert_int_equal(on_disk(f, 32 * 512), 33);
	assert_int_equal(f->m.broken, 0);
}

static void test_each_request_plain(void **state)
{
	struct fixture *f = *state;

	make(f, (struct block_config){ .flush = true, .discard = true, .serial = "disk-1" });
	assert_string_equal(block_engine_name(f->dev), "plain");
	each_request(f);
}

static bool has_uring(void)
{
	struct block_engine *e;
	struct loop *loop;
	bool there;

	assert_int_equal(loop_new(&loop, NULL), 0);
	there = block_engine_uring_new(loop, &e) == 0;
	if (there)
		e->ops->free(e);
	loop_free(loop);
	return there;
}

static void test_each_request_uring(void **state)
{
	struct fixture *f = *state;

	make(f, (struct block_config){ .flush = true, .discard = true, .serial = "disk-1", .io_uring = true });
	/* Where the kernel has no io_uring this is the fallback, which has to work as well. */
	assert_string_equal(block_engine_name(f->dev), has_uring() ? "io_uring" : "plain");
	each_request(f);
}

static void test_direct(void **state)
{
	struct fixture *f = *state;
	int fd = open(f->path, O_RDWR | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		skip(); /* a file system without direct I/O */
	close(fd);
	for (int uring = 0; uring < 2; uring++) {
		struct fake_buf b = { .len = 4096, .write = true, .fixed = true, .gpa = 0x20000 };

		make(f,
		     (struct block_config){
			     .flush = true, .discard = true, .serial = "disk-1", .io_uring = uring, .direct = true });
		/* Aligned, then with memory and offset that direct I/O would refuse. */
		assert_int_equal(request(f, BLOCK_T_IN, 64, &b, 1), BLOCK_S_OK);
		assert_int_equal(f->m.ram[0x20000], 65);
		assert_int_equal(f->m.ram[0x20fff], 72);
		b.gpa = 0x20003;
		assert_int_equal(request(f, BLOCK_T_IN, 65, &b, 1), BLOCK_S_OK);
		assert_int_equal(f->m.ram[0x20003], 66);
		if (!uring)
			each_request(f);
	}
}

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

/* What goes wrong on the host is an error of that request and no more. */
static void host_errors(struct fixture *f, bool uring)
{
	struct rlimit old, small = { .rlim_cur = DISK / 2 };
	struct block_device *dev;

	make(f, (struct block_config){ .flush = true, .discard = true, .io_uring = uring });
	dev = container_of(f->dev, struct block_device, base);
	assert_int_equal(ftruncate(f->fd, DISK / 2), 0);
	assert_int_equal(read_sectors(f, SECTORS / 2 - 1, 512, NULL), BLOCK_S_OK);
	assert_int_equal(read_sectors(f, SECTORS / 2 - 1, 1024, NULL), BLOCK_S_IOERR);
	assert_int_equal(read_sectors(f, SECTORS / 2, 512, NULL), BLOCK_S_IOERR);
	/* No room for more, as on a full disk. */
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small.rlim_max = old.rlim_max;
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	assert_int_equal(write_sectors(f, SECTORS / 2 - 1, 5, 512), BLOCK_S_OK);
	assert_int_equal(write_sectors(f, SECTORS / 2, 5, 512), BLOCK_S_IOERR);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(write_sectors(f, SECTORS / 2, 5, 512), BLOCK_S_OK);
	if (!uring) {
		/* A descriptor that answers every call with an error. */
		int fd = dev->file.fd;

		dev->file.fd = open("/", O_PATH | O_CLOEXEC);
		assert_int_equal(read_sectors(f, 0, 512, NULL), BLOCK_S_IOERR);
		assert_int_equal(write_sectors(f, 0, 5, 512), BLOCK_S_IOERR);
		assert_int_equal(request(f, BLOCK_T_FLUSH, 0, NULL, 0), BLOCK_S_IOERR);
		assert_int_equal(trim(f, BLOCK_T_DISCARD, 0, 1, 0), BLOCK_S_IOERR);
		assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, 0, 1, 0), BLOCK_S_IOERR);
		close(dev->file.fd);
		dev->file.fd = fd;
	}
	assert_int_equal(f->m.broken, 0);
	assert_int_equal(ftruncate(f->fd, DISK), 0);
	assert_int_equal(read_sectors(f, SECTORS - 1, 512, NULL), BLOCK_S_OK);
}

static void test_host_errors(void **state)
{
	host_errors(*state, false);
	host_errors(*state, true);
}

/*
 * An engine that remembers in which order it was asked and completes when told, in any order: for what a power cut may
 * and may not lose.
 */
struct double_engine {
	struct block_engine base;
	struct block_io *io[BLOCK_INFLIGHT_MAX];
	unsigned n, peak;
};

static void double_submit(struct block_engine *e, struct block_io *io)
{
	struct double_engine *d = container_of(e, struct double_engine, base);

	assert_true(d->n < BLOCK_INFLIGHT_MAX);
	d->io[d->n++] = io;
	if (d->n > d->peak)
		d->peak = d->n;
}

static void double_complete(struct double_engine *d, unsigned i, int result)
{
	struct block_io *io = d->io[i];

	memmove(d->io + i, d->io + i + 1, (--d->n - i) * sizeof *d->io);
	io->complete(io, result);
	d->base.batch_done(d->base.userdata);
}

static void double_drain(struct block_engine *e)
{
	struct double_engine *d = container_of(e, struct double_engine, base);

	while (d->n)
		double_complete(d, 0, 0);
}

static void double_kick(struct block_engine *e)
{
}

static void double_free(struct block_engine *e)
{
	free(container_of(e, struct double_engine, base));
}

static struct double_engine *use_double(struct fixture *f)
{
	static const struct block_engine_ops ops = {
		.name = "double",
		.submit = double_submit,
		.kick = double_kick,
		.drain = double_drain,
		.free = double_free,
	};
	struct double_engine *d = calloc(1, sizeof *d);

	d->base.ops = &ops;
	block_set_engine(container_of(f->dev, struct block_device, base), &d->base);
	return d;
}

static gpa_t offer(struct fixture *f, unsigned queue, uint32_t type, uint64_t sector)
{
	struct block_hdr hdr = { le32_of(type), { 0 }, le64_of(sector) };
	struct fake_buf b[3] = { { .len = sizeof hdr, .data = &hdr }, { .len = 512 }, { .len = 1, .write = true } };

	if (type == BLOCK_T_FLUSH)
		b[1] = b[2];
	fake_send(&f->m, queue, b, type == BLOCK_T_FLUSH ? 2 : 3);
	return b[type == BLOCK_T_FLUSH ? 1 : 2].gpa;
}

static void test_flush_completes_after_sync(void **state)
{
	struct fixture *f = *state;
	struct double_engine *d;
	uint32_t id, len;
	gpa_t write, flush;

	make(f, (struct block_config){ .flush = true });
	d = use_double(f);
	write = offer(f, 0, BLOCK_T_OUT, 0);
	virtio_device_kick(f->dev, 0);
	assert_int_equal(d->n, 1);
	assert_int_equal(d->io[0]->kind, BLOCK_WRITE);
	assert_false(d->io[0]->durable);
	double_complete(d, 0, 0);
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_int_equal(f->m.ram[write], BLOCK_S_OK);
	/* The sync begins after the write completed, and the flush completes after the sync did. */
	flush = offer(f, 0, BLOCK_T_FLUSH, 0);
	virtio_device_kick(f->dev, 0);
	assert_int_equal(d->n, 1);
	assert_int_equal(d->io[0]->kind, BLOCK_SYNC);
	assert_false(fake_used(&f->m.q[0], &id, &len));
	double_complete(d, 0, 0);
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_int_equal(f->m.ram[flush], BLOCK_S_OK);
	/* A sync that failed is a flush that failed. */
	flush = offer(f, 0, BLOCK_T_FLUSH, 0);
	virtio_device_kick(f->dev, 0);
	double_complete(d, 0, -EIO);
	assert_int_equal(f->m.ram[flush], BLOCK_S_IOERR);
}

static void test_durability_without_flush(void **state)
{
	struct fixture *f = *state;
	struct double_engine *d;
	gpa_t flush;

	/* A driver that cannot flush: each write is durable by itself. */
	f->acked = ~BLOCK_F_FLUSH;
	make(f, (struct block_config){ .flush = true });
	d = use_double(f);
	offer(f, 0, BLOCK_T_OUT, 0);
	virtio_device_kick(f->dev, 0);
	assert_true(d->io[0]->durable);
	/* Not offered: acknowledged at once, and no write waits. */
	make(f, (struct block_config){ .flush = false });
	d = use_double(f);
	flush = offer(f, 0, BLOCK_T_FLUSH, 0);
	f->m.ram[flush] = 0xaa;
	offer(f, 0, BLOCK_T_OUT, 0);
	virtio_device_kick(f->dev, 0);
	assert_int_equal(f->m.ram[flush], BLOCK_S_OK);
	assert_int_equal(d->n, 1);
	assert_false(d->io[0]->durable);
}

static void test_durable_trim_is_synced(void **state)
{
	struct block_io io = { .kind = BLOCK_DISCARD, .durable = true, .offset = 0, .len = 512 };

	assert_false(block_io_advance(&io, 512));
	assert_int_equal(io.kind, BLOCK_SYNC);
	assert_true(block_io_advance(&io, 0));
}

static void test_out_of_order_and_bounded(void **state)
{
	struct fixture *f = *state;
	struct double_engine *d;
	uint32_t id, len;

	make(f, (struct block_config){ .flush = true, .queues = 4, .queue_size = 64 });
	d = use_double(f);
	for (unsigned q = 0; q < 4; q++)
		for (unsigned i = 0; i < 21; i++)
			offer(f, q, BLOCK_T_OUT, i);
	for (unsigned q = 0; q < 4; q++)
		virtio_device_kick(f->dev, q);
	assert_int_equal(d->n, 84);
	double_complete(d, 83, 0); /* queue 3, request 20 */
	assert_true(fake_used(&f->m.q[3], &id, &len));
	assert_int_equal(id, 60);
	assert_false(fake_used(&f->m.q[0], &id, &len));
	double_complete(d, 0, 0);
	assert_true(fake_used(&f->m.q[0], &id, &len));
	assert_int_equal(id, 0);
	/* A driver that offers the same chains again and again is not served beyond the bound. */
	for (int i = 0; i < 10; i++) {
		for (unsigned n = 0; n < 60; n++)
			fake_submit(&f->m.q[1], 0);
		virtio_device_kick(f->dev, 1);
	}
	assert_int_equal(d->peak, BLOCK_INFLIGHT_MAX);
	virtio_device_reset(f->dev);
	assert_int_equal(d->n, 0);
}

static void test_stalled_queues_go_on(void **state)
{
	struct fixture *f = *state;
	struct double_engine *d;
	unsigned done = 0;
	uint32_t id, len;

	make(f, (struct block_config){ .flush = true, .queues = 8, .queue_size = 64 });
	d = use_double(f);
	for (unsigned q = 0; q < 8; q++) {
		for (unsigned i = 0; i < 20; i++)
			offer(f, q, BLOCK_T_OUT, i);
		virtio_device_kick(f->dev, q);
	}
	assert_int_equal(d->n, BLOCK_INFLIGHT_MAX);
	while (done < 160) {
		while (d->n)
			double_complete(d, d->n - 1, 0);
		for (unsigned q = 0; q < 8; q++)
			while (fake_used(&f->m.q[q], &id, &len))
				done++;
		assert_int_equal(loop_run_once(f->loop, done < 160 ? -1 : 0), 0);
	}
}

static void test_quiesce_and_reset_drain(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	for (int uring = 0; uring < 2; uring++) {
		make(f, (struct block_config){ .flush = true, .io_uring = uring });
		for (unsigned i = 0; i < 20; i++)
			offer(f, 0, BLOCK_T_OUT, i);
		virtio_device_kick(f->dev, 0);
		virtio_device_quiesce(f->dev);
		assert_int_equal(container_of(f->dev, struct block_device, base)->inflight, 0);
		for (unsigned i = 0; i < 20; i++)
			assert_true(fake_used(&f->m.q[0], &id, &len));
		for (unsigned i = 0; i < 20; i++)
			offer(f, 0, BLOCK_T_OUT, i);
		virtio_device_kick(f->dev, 0);
		virtio_device_reset(f->dev);
		assert_int_equal(container_of(f->dev, struct block_device, base)->inflight, 0);
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

/* A random sequence gives the same bytes and the same answers as a model in memory, on both engines. */
static void random_sequence(struct fixture *f, bool uring, bool direct)
{
	static uint8_t model[DISK], disk[DISK], data[8 * BLOCK_SECTOR];
	uint64_t seed = 42;

	make(f, (struct block_config){ .flush = true, .discard = true, .io_uring = uring, .direct = direct });
	assert_int_equal(pread(f->fd, model, DISK, 0), DISK);
	for (int i = 0; i < 2000; i++) {
		uint64_t r = seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
		uint64_t sector = (r >> 33) % (SECTORS + 4);
		uint32_t len = ((r >> 20) % 8 + 1) * BLOCK_SECTOR, cut = (uint32_t)(r >> 50) % len;
		bool inside = sector * BLOCK_SECTOR + len <= DISK;
		struct fake_buf b[2] = { { .len = cut }, { .len = len - cut } };
		int expect = inside ? BLOCK_S_OK : BLOCK_S_IOERR;

		switch ((r >> 60) & 3) {
		case 0:
			b[0].write = b[1].write = true;
			assert_int_equal(request(f, BLOCK_T_IN, sector, b, 2), expect);
			if (inside)
				assert_memory_equal(f->m.ram + b[0].gpa, model + sector * BLOCK_SECTOR, len);
			break;
		case 1:
		case 2:
			memset(data, (int)(r >> 8), len);
			b[0].data = data;
			b[1].data = data + cut;
			assert_int_equal(request(f, BLOCK_T_OUT, sector, b, 2), expect);
			if (inside)
				memcpy(model + sector * BLOCK_SECTOR, data, len);
			break;
		default:
			assert_int_equal(trim(f, BLOCK_T_WRITE_ZEROES, sector, len / BLOCK_SECTOR, r >> 9 & 1), expect);
			if (inside)
				memset(model + sector * BLOCK_SECTOR, 0, len);
		}
	}
	assert_int_equal(pread(f->fd, disk, DISK, 0), DISK);
	assert_memory_equal(model, disk, DISK);
}

static void test_random_sequence(void **state)
{
	int fd = open(((struct fixture *)*state)->path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	random_sequence(*state, false, false);
	random_sequence(*state, true, false);
	if (fd >= 0)
		random_sequence(*state, false, true);
	close(fd);
}

static void test_zeroes_written_where_the_file_cannot(void **state)
{
	struct fixture *f = *state;
	struct block_file file;
	struct err e = { 0 };
	struct block_io io = {
		.kind = BLOCK_ZERO, .zero_written = true, .offset = 512, .len = 200 * 1024, .file = &file
	};
	int parts = 0, r;

	assert_int_equal(block_file_open(&file, f->path, false, false, &e), 0);
	while ((r = block_io_step(&io)) == 0)
		parts++;
	assert_int_equal(r, 1);
	assert_int_equal(on_disk(f, 511), 1);
	assert_int_equal(on_disk(f, 512), 0);
	assert_int_equal(on_disk(f, 512 + 200 * 1024 - 1), 0);
	assert_int_not_equal(on_disk(f, 512 + 200 * 1024), 0);
	block_file_close(&file);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_each_request_plain),
		T(test_each_request_uring),
		T(test_direct),
		T(test_scattered),
		T(test_out_of_range),
		T(test_unsupported),
		T(test_readonly),
		T(test_malformed_breaks),
		T(test_host_errors),
		T(test_flush_completes_after_sync),
		T(test_durability_without_flush),
		cmocka_unit_test(test_durable_trim_is_synced),
		T(test_out_of_order_and_bounded),
		T(test_stalled_queues_go_on),
		T(test_quiesce_and_reset_drain),
		T(test_config_space),
		T(test_bad_config),
		T(test_default_serial),
		T(test_change_medium),
		T(test_rate),
		T(test_save_load),
		T(test_random_sequence),
		T(test_zeroes_written_where_the_file_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
