/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both engines: the same answers to every request, errors of the host, what a power cut may lose. For the last a double
 * takes the engine's place, which completes when it is told to.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/resource.h>

#include "base/fd.h"
#include "block/fake_disk.h"

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

/* The descriptor of the one ring that there is; -1: none. */
static int ring_fd(void)
{
	char path[32], target[64];

	for (int fd = 0; fd < 256; fd++) {
		ssize_t n;

		snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof target - 1);
		target[n > 0 ? n : 0] = '\0';
		if (strstr(target, "[io_uring]"))
			return fd;
	}
	return -1;
}

static void test_a_ring_can_do_nothing_else(void **state)
{
	struct {
		uint32_t head[4], ops[2];
	} probe = { 0 };
	struct fixture *f = *state;

	if (!has_uring())
		skip();
	make(f, (struct block_config){ .io_uring = true });
	assert_true(ring_fd() >= 0);
	assert_int_equal(syscall(SYS_io_uring_register, ring_fd(), 8 /* IORING_REGISTER_PROBE */, &probe, 1), -1);
	assert_int_equal(errno, EACCES);
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

/* The image as a block device; -1: not here (no root, no loop devices). It goes with its last descriptor. */
static int loop_device(struct fixture *f, char *path, size_t len)
{
	struct loop_config c = { .fd = (uint32_t)f->fd, .info.lo_flags = LO_FLAGS_AUTOCLEAR };
	_cleanup_close_ int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);

	/* Somebody else may be quicker. */
	for (int i = 0; control >= 0 && i < 10; i++) {
		int n = ioctl(control, LOOP_CTL_GET_FREE), fd;

		snprintf(path, len, "/dev/loop%d", n);
		fd = n < 0 ? -1 : open(path, O_RDWR | O_CLOEXEC);
		if (fd >= 0 && ioctl(fd, LOOP_CONFIGURE, &c) == 0)
			return fd;
		fd_close(&fd);
	}
	return -1;
}

static void test_block_device(void **state)
{
	struct fixture *f = *state;
	char path[32];
	int fd = loop_device(f, path, sizeof path), image = f->fd;
	struct block_config_space c;

	if (fd < 0)
		skip();
	f->fd = fd; /* the image itself hears of writes later */
	for (int i = 0; i < 3; i++) {
		make(f, (struct block_config){ .path = path,
					       .flush = true,
					       .discard = true,
					       .serial = "disk-1",
					       .io_uring = i == 1,
					       .direct = i == 2 });
		f->dev->ops->config_read(f->dev, 0, &c, sizeof c);
		assert_int_equal(le64_get(c.capacity), SECTORS);
		each_request(f);
	}
	f->fd = image;
	close(fd);
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
		T(test_a_ring_can_do_nothing_else),
		T(test_direct),
		T(test_block_device),
		T(test_host_errors),
		T(test_flush_completes_after_sync),
		T(test_durability_without_flush),
		cmocka_unit_test(test_durable_trim_is_synced),
		T(test_out_of_order_and_bounded),
		T(test_stalled_queues_go_on),
		T(test_quiesce_and_reset_drain),
		T(test_random_sequence),
		T(test_zeroes_written_where_the_file_cannot),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
