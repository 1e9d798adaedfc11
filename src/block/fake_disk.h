/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk over a file whose sectors hold their number plus one, and its driver; for the tests of this folder only.
 */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "block/state.h"
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

static inline void make(struct fixture *f, struct block_config c)
{
	struct err e = { 0 };

	virtio_device_free(take_ptr(f->dev));
	c.path = c.path ? c.path : f->path;
	if (block_new(f->loop, &c, &f->dev, &e) < 0)
		fail_msg("%s", e.text);
	fake_start(&f->m, f->dev, f->acked, ~0ULL);
	f->status = fake_alloc(&f->m, 1);
}

static inline int setup(void **state)
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

static inline int teardown(void **state)
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
static inline uint32_t answer(struct fixture *f, unsigned queue)
{
	uint32_t id, len;

	while (!fake_used(&f->m.q[queue], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	return len;
}

/* Header, data and status as one request; returns the status. The status byte is poisoned before. */
static inline int request_on(struct fixture *f, unsigned queue, uint32_t type, uint64_t sector, struct fake_buf *data,
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

static inline int request(struct fixture *f, uint32_t type, uint64_t sector, struct fake_buf *data, unsigned n)
{
	return request_on(f, 0, type, sector, data, n, NULL);
}

static inline int read_sectors(struct fixture *f, uint64_t sector, uint32_t len, uint8_t **ret)
{
	struct fake_buf b = { .len = len, .write = true };
	int status = request(f, BLOCK_T_IN, sector, &b, 1);

	if (ret)
		*ret = f->m.ram + b.gpa;
	return status;
}

static inline int write_sectors(struct fixture *f, uint64_t sector, uint8_t byte, uint32_t len)
{
	static uint8_t data[DISK];
	struct fake_buf b = { .len = len, .data = data };

	memset(data, byte, len);
	return request(f, BLOCK_T_OUT, sector, &b, 1);
}

static inline int trim(struct fixture *f, uint32_t type, uint64_t sector, uint32_t sectors, uint32_t flags)
{
	struct block_segment seg = { le64_of(sector), le32_of(sectors), le32_of(flags) };
	struct fake_buf b = { .len = sizeof seg, .data = &seg };

	return request(f, type, sector, &b, 1);
}

static inline uint8_t on_disk(struct fixture *f, uint64_t at)
{
	uint8_t v;

	assert_int_equal(pread(f->fd, &v, 1, (off_t)at), 1);
	return v;
}

static inline gpa_t offer(struct fixture *f, unsigned queue, uint32_t type, uint64_t sector)
{
	struct block_hdr hdr = { le32_of(type), { 0 }, le64_of(sector) };
	struct fake_buf b[3] = { { .len = sizeof hdr, .data = &hdr }, { .len = 512 }, { .len = 1, .write = true } };

	if (type == BLOCK_T_FLUSH)
		b[1] = b[2];
	fake_send(&f->m, queue, b, type == BLOCK_T_FLUSH ? 2 : 3);
	return b[type == BLOCK_T_FLUSH ? 1 : 2].gpa;
}
