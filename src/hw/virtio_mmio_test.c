/* SPDX-License-Identifier: Apache-2.0 */
/* A driver that knows nothing but the registers, against a fake device and the real vsock device. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/log.h"
#include "base/unix_socket.h"
#include "hw/fake_platform.h"
#include "hw/virtio_mmio.h"
#include "virtio/fake_device.h"
#include "virtio/fake_driver.h"
#include "vsock/packet.h"
#include "vsock/vsock.h"

#define RAM_SIZE 0x40000
#define BASE     0xc0001000ULL
#define GSI      6
#define DATA     0x10000
#define NOTIFY   0x50
#define STATUS   0x70

struct fixture {
	struct loop *loop;
	struct bus *bus;
	struct fake_platform platform;
	struct guestmem *mem;
	uint8_t *ram;
	struct virtio_mmio *m;
	struct fake_device *dev; /* NULL: another */
	struct fake_queue q[FAKE_DEVICE_QUEUES];
	char dir[32], path[40];
};

static void new_mmio(struct fixture *x, struct virtio_device *dev)
{
	assert_int_equal(virtio_mmio_new(&x->platform.platform, x->bus, x->loop, BASE, GSI, dev, &x->m, NULL), 0);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	log_set_level(LOG_LEVEL_ERROR);
	fake_platform_init(&x->platform);
	x->ram = aligned_alloc(4096, RAM_SIZE);
	memset(x->ram, 0, RAM_SIZE);
	assert_int_equal(loop_new(&x->loop, NULL), 0);
	assert_int_equal(bus_new(&x->bus), 0);
	assert_int_equal(guestmem_new(&x->mem), 0);
	assert_int_equal(guestmem_add_buffer(x->mem, 0, RAM_SIZE, x->ram), 0);
	x->dev = fake_device_new(x->mem);
	new_mmio(x, &x->dev->base);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	virtio_mmio_free(x->m);
	assert_int_equal(fake_platform_kicks(&x->platform), 0);
	assert_int_equal(x->platform.irqs[GSI], -1);
	bus_free(x->bus);
	loop_free(x->loop);
	guestmem_free(x->mem);
	free(x->ram);
	if (x->dir[0])
		rmdir(x->dir);
	free(x);
	return 0;
}

static uint32_t rd(struct fixture *x, uint64_t reg)
{
	return (uint32_t)fake_guest_read(x->bus, BASE + reg, 4);
}

/* True: it went to an eventfd. */
static bool wr(struct fixture *x, uint64_t reg, uint32_t value)
{
	return fake_guest_write(&x->platform, x->bus, BASE + reg, value, 4);
}

static unsigned interrupts(struct fixture *x)
{
	return fake_interrupts(x->platform.irqs[GSI]);
}

/* §3.1.1 and §4.2.3, up to DRIVER_OK; n queues of 8 entries. */
static void start(struct fixture *x, unsigned n)
{
	uint64_t offered = 0;

	wr(x, STATUS, 0);
	assert_int_equal(rd(x, STATUS), 0);
	wr(x, STATUS, 1);
	wr(x, STATUS, 3);
	for (uint32_t i = 0; i < 2; i++) {
		wr(x, 0x014, i);
		offered |= (uint64_t)rd(x, 0x010) << 32 * i;
		wr(x, 0x024, i);
		wr(x, 0x020, (uint32_t)(offered >> 32 * i));
	}
	wr(x, STATUS, 11);
	assert_int_equal(rd(x, STATUS), 11);
	for (unsigned i = 0; i < n; i++) {
		struct fake_queue *q = &x->q[i];

		fake_init(q, x->ram, 0x1000 * (i + 1), 8);
		memset(x->ram + q->desc, 0, 0x1000);
		wr(x, 0x030, i);
		assert_int_equal(rd(x, 0x044), 0);
		assert_true(rd(x, 0x034) >= 8);
		wr(x, 0x038, 8);
		wr(x, 0x080, (uint32_t)q->desc);
		wr(x, 0x084, 0);
		wr(x, 0x090, (uint32_t)q->avail);
		wr(x, 0x094, 0);
		wr(x, 0x0a0, (uint32_t)q->used);
		wr(x, 0x0a4, 0);
		wr(x, 0x044, 1);
		assert_int_equal(rd(x, 0x044), 1);
	}
	wr(x, STATUS, 15);
	assert_int_equal(rd(x, STATUS), 15);
}

static void submit(struct fixture *x, unsigned queue)
{
	fake_desc(&x->q[queue], 0, DATA, 16, FAKE_WRITE, 0);
	fake_submit(&x->q[queue], 0);
}

/* Take a used buffer, and ask for an interrupt with the next one. */
static bool used(struct fixture *x, unsigned queue)
{
	uint32_t id, len;
	bool got = fake_used(&x->q[queue], &id, &len) && len == 16;

	fake_set_used_event(&x->q[queue], x->q[queue].used_idx);
	return got;
}

static void test_identity(void **state)
{
	struct fixture *x = *state;

	assert_int_equal(rd(x, 0x000), 0x74726976);
	assert_int_equal(rd(x, 0x004), 2);
	assert_int_equal(rd(x, 0x008), FAKE_DEVICE_TYPE);
	assert_int_equal(rd(x, STATUS), 0);
	/* Shared memory: no region, whatever is selected. */
	wr(x, 0x0ac, 1);
	for (uint64_t reg = 0x0b0; reg <= 0x0bc; reg += 4)
		assert_int_equal(rd(x, reg), UINT32_MAX);
	assert_int_equal(rd(x, 0x0c0), 0); /* queue reset */
	assert_int_equal(fake_platform_kicks(&x->platform), FAKE_DEVICE_QUEUES);
}

static void test_kick_by_eventfd(void **state)
{
	struct fixture *x = *state;

	start(x, 3);
	interrupts(x);
	submit(x, 1);
	assert_true(wr(x, NOTIFY, 1));
	assert_false(used(x, 1));
	assert_int_equal(loop_run_once(x->loop, 0), 0);
	assert_true(used(x, 1));
	assert_int_equal(x->ram[DATA], FAKE_FILL);
	assert_int_equal(interrupts(x), 1);
	assert_int_equal(rd(x, 0x060), 1);
	wr(x, 0x064, 2);
	assert_int_equal(rd(x, 0x060), 1);
	wr(x, 0x064, 1);
	assert_int_equal(rd(x, 0x060), 0);
	assert_int_equal(x->dev->kicks[0] + x->dev->kicks[2], 2); /* at the start only */
}

static void test_kick_by_bus(void **state)
{
	struct fixture *x = *state;
	bool freed = false;

	/* A machine that has no eventfds to give. */
	x->dev->freed = &freed;
	virtio_mmio_free(x->m);
	assert_true(freed);
	x->platform.fail_kicks = true;
	x->dev = fake_device_new(x->mem);
	new_mmio(x, &x->dev->base);
	assert_int_equal(fake_platform_kicks(&x->platform), 0);
	start(x, 1);
	interrupts(x);
	submit(x, 0);
	assert_false(wr(x, NOTIFY, 0));
	assert_true(used(x, 0));
	assert_int_equal(interrupts(x), 1);
	wr(x, NOTIFY, 1);
	wr(x, NOTIFY, 3);
	wr(x, NOTIFY, UINT32_MAX);
	assert_int_equal(x->dev->kicks[1], 1); /* a queue that is off has no requests */
	assert_int_equal(rd(x, STATUS), 15);
}

static void test_config(void **state)
{
	struct fixture *x = *state;
	uint32_t generation;

	start(x, 1);
	fake_guest_write(&x->platform, x->bus, BASE + 0x103, 0xabcd, 2);
	fake_guest_write(&x->platform, x->bus, BASE + 0x108, 0x1122334455667788, 8);
	fake_guest_write(&x->platform, x->bus, BASE + 0x10f, 0xffff, 2); /* over the end */
	assert_int_equal(fake_guest_read(x->bus, BASE + 0x100, 8), 0x000000abcd000000);
	assert_int_equal(fake_guest_read(x->bus, BASE + 0x10f, 4), 0x11);
	assert_int_equal(fake_guest_read(x->bus, BASE + 0x110, 8), 0);
	assert_int_equal(fake_guest_read(x->bus, BASE + 0xff8, 8), 0);

	generation = rd(x, 0x0fc);
	interrupts(x);
	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_true(rd(x, 0x0fc) != generation);
	assert_int_equal(rd(x, 0x060), 2);
	assert_int_equal(interrupts(x), 1);
	/* Nobody to tell after a reset. */
	wr(x, STATUS, 0);
	assert_int_equal(rd(x, 0x060), 0);
	x->dev->base.transport->ops->signal_config(x->dev->base.transport);
	assert_int_equal(interrupts(x), 0);
}

/* Every offset, every width, in both directions: only aligned 32-bit accesses mean anything below the configuration. */
static void test_widths(void **state)
{
	struct fixture *x = *state;
	static const uint32_t widths[] = { 1, 2, 4, 8 };

	start(x, 1);
	for (size_t w = 0; w < 4; w++) {
		for (uint64_t reg = 0; reg < 0x100; reg++) {
			bool whole = widths[w] == 4 && reg % 4 == 0;

			if (whole)
				continue;
			assert_int_equal(fake_guest_read(x->bus, BASE + reg, widths[w]), 0);
			fake_guest_write(&x->platform, x->bus, BASE + reg, 0, widths[w]);
		}
	}
	assert_int_equal(rd(x, STATUS), 15);
	assert_int_equal(rd(x, 0x044), 1);
	/* Every register with every kind of value: the device takes it, and comes back after a reset. */
	for (uint64_t reg = 0; reg < VIRTIO_MMIO_SIZE; reg += 4) {
		static const uint32_t values[] = { 0, 1, 3, 11, 15, 0xff, 0x100, 0x80000000, UINT32_MAX };

		rd(x, reg);
		for (size_t i = 0; i < sizeof values / sizeof *values; i++)
			wr(x, reg, values[i]);
	}
	loop_run_once(x->loop, 0);
	start(x, 3);
	submit(x, 2);
	wr(x, NOTIFY, 2);
	loop_run_once(x->loop, 0);
	assert_true(used(x, 2));
	/* Across the end of the page nobody is there. */
	assert_int_equal(fake_guest_read(x->bus, BASE + 0xffc, 8), UINT64_MAX);
}

static void test_wide_status_is_no_reset(void **state)
{
	struct fixture *x = *state;

	start(x, 1);
	wr(x, STATUS, 0x100);
	assert_int_equal(rd(x, STATUS), 15);
}

static void test_needs_reset(void **state)
{
	struct fixture *x = *state;

	start(x, 1);
	interrupts(x);
	fake_submit(&x->q[0], 77); /* beyond the table */
	wr(x, NOTIFY, 0);
	loop_run_once(x->loop, 0);
	assert_int_equal(rd(x, STATUS), 15 | 64);
	assert_int_equal(rd(x, 0x060) & 2, 2);
	assert_true(interrupts(x) >= 1);
	wr(x, NOTIFY, 0);
	loop_run_once(x->loop, 0);
	assert_int_equal(rd(x, STATUS), 15 | 64);
	start(x, 1);
	submit(x, 0);
	wr(x, NOTIFY, 0);
	loop_run_once(x->loop, 0);
	assert_true(used(x, 0));
}

static void test_reset_in_the_middle(void **state)
{
	struct fixture *x = *state;

	start(x, 2);
	x->dev->hold = true;
	submit(x, 0);
	wr(x, NOTIFY, 0);
	loop_run_once(x->loop, 0);
	assert_true(x->dev->holding);
	submit(x, 1);
	assert_true(wr(x, NOTIFY, 1)); /* on its way while the reset happens */
	wr(x, STATUS, 0);
	loop_run_once(x->loop, 0);
	assert_false(used(x, 0));
	assert_false(used(x, 1));
	assert_int_equal(rd(x, 0x060), 0);
	x->dev->hold = false;
	start(x, 2);
	submit(x, 1);
	wr(x, NOTIFY, 1);
	loop_run_once(x->loop, 0);
	assert_true(used(x, 1));
}

static void test_move(void **state)
{
	struct fixture *x = *state;
	struct state *s;

	start(x, 2);
	submit(x, 0);
	wr(x, NOTIFY, 0);
	loop_run_once(x->loop, 0);
	assert_true(used(x, 0));
	submit(x, 0);
	wr(x, NOTIFY, 0); /* the device has not seen it when the machine stops */
	wr(x, 0x030, 1);
	assert_int_equal(state_new(&s), 0);
	virtio_mmio_pause(x->m);
	loop_run_once(x->loop, 0);
	virtio_mmio_save(x->m, s);
	virtio_mmio_free(x->m);

	x->dev = fake_device_new(x->mem);
	new_mmio(x, &x->dev->base);
	assert_int_equal(virtio_mmio_load(x->m, s, NULL), 0);
	state_free(s);
	assert_int_equal(rd(x, STATUS), 15);
	assert_int_equal(rd(x, 0x060), 1); /* not acknowledged yet */
	assert_int_equal(rd(x, 0x044), 1);
	assert_false(used(x, 0));
	virtio_mmio_resume(x->m);
	assert_true(used(x, 0));
	assert_true(interrupts(x) >= 1);
	submit(x, 1);
	wr(x, NOTIFY, 1);
	loop_run_once(x->loop, 0);
	assert_true(used(x, 1));
	assert_int_equal(x->dev->requests, 3);
}

static void test_load_refuses(void **state)
{
	struct fixture *x = *state;
	struct err e = { 0 };
	struct state *s;

	assert_int_equal(state_new(&s), 0);
	assert_true(virtio_mmio_load(x->m, s, &e) < 0);
	assert_true(err_is_set(&e));
	state_free(s);
}

static void test_place_taken(void **state)
{
	struct fixture *x = *state;
	struct fake_device *dev = fake_device_new(x->mem);
	struct virtio_mmio *m = NULL;
	struct err e = { 0 };

	/* The interrupt, then the address; nothing stays behind, and the device stays ours. */
	assert_true(virtio_mmio_new(&x->platform.platform, x->bus, x->loop, BASE + 0x1000, GSI, &dev->base, &m, &e) <
		    0);
	assert_true(virtio_mmio_new(&x->platform.platform, x->bus, x->loop, BASE + 0x800, 7, &dev->base, &m, &e) < 0);
	assert_int_equal(e.code, EEXIST);
	assert_null(m);
	assert_int_equal(x->platform.irqs[7], -1);
	assert_int_equal(fake_platform_kicks(&x->platform), FAKE_DEVICE_QUEUES);
	virtio_device_free(&dev->base);
	virtio_mmio_free(NULL);
}

static void test_vsock(void **state)
{
	struct fixture *x = *state;
	struct virtio_device *dev;
	struct vsock_hdr hdr;
	int fd = -1;

	virtio_mmio_free(x->m);
	snprintf(x->dir, sizeof x->dir, "/tmp/mmio_test_XXXXXX");
	assert_non_null(mkdtemp(x->dir));
	snprintf(x->path, sizeof x->path, "%s/v", x->dir);
	assert_int_equal(vsock_device_new(x->loop, x->path, 5, &dev, NULL), 0);
	dev->mem = x->mem;
	new_mmio(x, dev);
	assert_int_equal(rd(x, 0x008), 19);
	start(x, 3);
	assert_int_equal(fake_guest_read(x->bus, BASE + 0x100, 8), 5); /* guest_cid */
	fake_desc(&x->q[0], 0, DATA, 4096, FAKE_WRITE, 0);
	fake_submit(&x->q[0], 0);
	wr(x, NOTIFY, 0);
	interrupts(x);
	assert_int_equal(unix_connect(x->path, &fd), 0);
	assert_int_equal(send(fd, "CONNECT 7\n", 10, MSG_NOSIGNAL), 10);
	for (int i = 0; i < 1000 && !(rd(x, 0x060) & 1); i++)
		assert_int_equal(loop_run_once(x->loop, 100), 0);
	assert_true(interrupts(x) >= 1);
	memcpy(&hdr, x->ram + DATA, sizeof hdr);
	assert_int_equal(le16_get(hdr.op), VSOCK_OP_REQUEST);
	assert_int_equal(le32_get(hdr.dst_port), 7);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_identity, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_by_eventfd, setup, teardown),
		cmocka_unit_test_setup_teardown(test_kick_by_bus, setup, teardown),
		cmocka_unit_test_setup_teardown(test_config, setup, teardown),
		cmocka_unit_test_setup_teardown(test_widths, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wide_status_is_no_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_needs_reset, setup, teardown),
		cmocka_unit_test_setup_teardown(test_reset_in_the_middle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_refuses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_place_taken, setup, teardown),
		cmocka_unit_test_setup_teardown(test_vsock, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
