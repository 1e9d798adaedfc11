/* SPDX-License-Identifier: Apache-2.0 */
/* virtio-mem against a host that keeps its own book of what is plugged. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "state/state.h"
#include "virtio/fake_counters.h"
#include "virtio/fake_machine.h"
#include "virtio/mem.h"

#define BLOCK  0x200000ULL
#define ADDR   (BLOCK * 100)
#define BLOCKS 20

enum { PLUG, UNPLUG, UNPLUG_ALL, STATE };
enum { ACK, NACK, BUSY, ERROR };
enum { PLUGGED, UNPLUGGED, MIXED };

struct fixture {
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
	bool host[BLOCKS]; /* what the host believes */
	int fail;          /* what it says instead */
	unsigned calls;
	uint16_t state; /* of the last answer */
};

static int change(struct fixture *f, gpa_t gpa, uint64_t len, bool plug)
{
	f->calls++;
	if (f->fail)
		return f->fail;
	assert_true(gpa >= ADDR && gpa % BLOCK == 0 && len && len % BLOCK == 0);
	assert_true(gpa + len <= ADDR + BLOCKS * BLOCK);
	for (uint64_t i = (gpa - ADDR) / BLOCK; i < (gpa - ADDR + len) / BLOCK; i++) {
		assert_int_equal(f->host[i], !plug);
		f->host[i] = plug;
	}
	return 0;
}

static int on_plug(void *userdata, gpa_t gpa, uint64_t len)
{
	return change(userdata, gpa, len, true);
}

static int on_unplug(void *userdata, gpa_t gpa, uint64_t len)
{
	return change(userdata, gpa, len, false);
}

static const struct virtio_mem_host host = { on_plug, on_unplug };

static struct virtio_mem_config config(struct fixture *f)
{
	return (struct virtio_mem_config){
		.addr = ADDR,
		.size = BLOCKS * BLOCK,
		.block = BLOCK,
		.requested = 10 * BLOCK,
		.host = &host,
		.userdata = f,
	};
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	struct virtio_mem_config c = config(f);

	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	assert_int_equal(virtio_mem_new(f->loop, &c, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	fake_machine_fini(&f->m);
	loop_free(f->loop);
	free(f);
	return 0;
}

static int ask(struct fixture *f, uint16_t type, uint64_t addr, uint16_t blocks)
{
	struct {
		le16 type, pad[3];
		le64 addr;
		le16 blocks, pad2[3];
	} req = { le16_of(type), { { 0 } }, le64_of(addr), le16_of(blocks), { { 0 } } };
	struct fake_buf b[] = { { .len = 9, .data = &req },
				{ .len = 15, .data = (uint8_t *)&req + 9 },
				{ .len = 1, .write = true },
				{ .len = 9, .write = true } };
	gpa_t mark = f->m.next_data;
	uint32_t len;
	le16 v[5];

	assert_true(fake_request(&f->m, 0, b, 4, &len));
	assert_int_equal(len, 10);
	memcpy(v, f->m.ram + b[2].gpa, 10);
	f->m.next_data = mark;
	f->state = le16_get(v[4]);
	return le16_get(v[0]);
}

static uint64_t plugged(struct fixture *f)
{
	struct virtio_mem_status s;
	uint64_t n = 0;

	for (int i = 0; i < BLOCKS; i++)
		n += f->host[i];
	virtio_mem_get_status(f->dev, &s);
	assert_int_equal(s.plugged, n * BLOCK);
	return n;
}

static void test_plug_and_unplug(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, PLUG, ADDR + 2 * BLOCK, 3), ACK);
	assert_int_equal(plugged(f), 3);
	assert_true(f->host[2] && f->host[4] && !f->host[5]);
	assert_int_equal(f->calls, 1);
	assert_int_equal(ask(f, UNPLUG, ADDR + 3 * BLOCK, 1), ACK);
	assert_false(f->host[3]);
	assert_int_equal(plugged(f), 2);
	/* All or nothing. */
	assert_int_equal(ask(f, PLUG, ADDR + BLOCK, 3), ERROR);
	assert_int_equal(ask(f, UNPLUG, ADDR + 2 * BLOCK, 3), ERROR);
	assert_int_equal(ask(f, UNPLUG, ADDR, 1), ERROR);
	assert_int_equal(ask(f, PLUG, ADDR + 4 * BLOCK, 1), ERROR);
	assert_int_equal(plugged(f), 2);
	assert_int_equal(f->calls, 2);
	assert_int_equal(counted(f->dev, "plug_count"), 3);
	assert_int_equal(counted(f->dev, "plug_fails"), 2);
	assert_int_equal(counted(f->dev, "plug_bytes"), 3 * BLOCK);
	assert_int_equal(counted(f->dev, "unplug_count"), 3);
	assert_int_equal(counted(f->dev, "unplug_fails"), 2);
	assert_int_equal(counted(f->dev, "unplug_bytes"), BLOCK);
}

static void test_not_more_than_requested(void **state)
{
	struct fixture *f = *state;
	struct err e = { 0 };

	assert_int_equal(ask(f, PLUG, ADDR, 11), NACK);
	assert_int_equal(ask(f, PLUG, ADDR, 10), ACK);
	assert_int_equal(ask(f, PLUG, ADDR + 10 * BLOCK, 1), NACK);
	/* Less is requested: nothing is taken away, nothing more is given. */
	assert_int_equal(virtio_mem_set_requested(f->dev, 4 * BLOCK, &e), 0);
	assert_int_equal(f->m.config_signals, 1);
	assert_int_equal(plugged(f), 10);
	assert_int_equal(ask(f, UNPLUG, ADDR, 6), ACK);
	assert_int_equal(ask(f, PLUG, ADDR, 1), NACK);
	assert_int_equal(virtio_mem_set_requested(f->dev, BLOCKS * BLOCK, &e), 0);
	assert_int_equal(ask(f, PLUG, ADDR, 6), ACK);
	assert_int_equal(ask(f, PLUG, ADDR + 10 * BLOCK, 10), ACK);
	assert_int_equal(plugged(f), BLOCKS);
	assert_int_equal(virtio_mem_set_requested(f->dev, BLOCK / 2, &e), -EINVAL);
	assert_int_equal(virtio_mem_set_requested(f->dev, (BLOCKS + 1) * BLOCK, &e), -EINVAL);
	assert_int_equal(f->m.config_signals, 2);
}

static void test_unplug_all(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(f->calls, 0);
	ask(f, PLUG, ADDR, 2);
	ask(f, PLUG, ADDR + 5 * BLOCK, 1);
	ask(f, PLUG, ADDR + 18 * BLOCK, 2);
	assert_int_equal(plugged(f), 5);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_int_equal(plugged(f), 0);
	assert_int_equal(f->calls, 6); /* a call for each run */
}

static void test_state(void **state)
{
	struct fixture *f = *state;

	ask(f, PLUG, ADDR + BLOCK, 2);
	assert_int_equal(ask(f, STATE, ADDR + BLOCK, 2), ACK);
	assert_int_equal(f->state, PLUGGED);
	assert_int_equal(ask(f, STATE, ADDR + 3 * BLOCK, 2), ACK);
	assert_int_equal(f->state, UNPLUGGED);
	assert_int_equal(ask(f, STATE, ADDR, 2), ACK);
	assert_int_equal(f->state, MIXED);
}

static void test_bad_ranges(void **state)
{
	struct fixture *f = *state;
	const struct {
		uint64_t addr;
		uint16_t blocks;
	} bad[] = {
		{ ADDR, 0 },
		{ ADDR, BLOCKS + 1 },
		{ ADDR, UINT16_MAX },
		{ ADDR + 1, 1 },
		{ ADDR - BLOCK, 1 },
		{ ADDR - BLOCK, 2 },
		{ ADDR + BLOCKS * BLOCK, 1 },
		{ ADDR + (BLOCKS - 1) * BLOCK, 2 },
		{ 0, 1 },
		{ UINT64_MAX - BLOCK + 1, 1 },
		{ UINT64_MAX, UINT16_MAX },
	};

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		assert_int_equal(ask(f, PLUG, bad[i].addr, bad[i].blocks), ERROR);
		assert_int_equal(ask(f, UNPLUG, bad[i].addr, bad[i].blocks), ERROR);
		assert_int_equal(ask(f, STATE, bad[i].addr, bad[i].blocks), ERROR);
	}
	assert_int_equal(ask(f, 4, ADDR, 1), ERROR);
	assert_int_equal(ask(f, UINT16_MAX, ADDR, 1), ERROR);
	assert_int_equal(f->calls, 0);
}

static void test_host_that_cannot(void **state)
{
	struct fixture *f = *state;

	f->fail = -ENOMEM;
	assert_int_equal(ask(f, PLUG, ADDR, 2), BUSY);
	f->fail = 0;
	assert_int_equal(plugged(f), 0);
	assert_int_equal(ask(f, PLUG, ADDR, 2), ACK);
	f->fail = -EBUSY;
	assert_int_equal(ask(f, UNPLUG, ADDR, 2), BUSY);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), BUSY);
	f->fail = 0;
	assert_int_equal(plugged(f), 2);
}

static void test_malformed_breaks(void **state)
{
	struct fixture *f = *state;
	struct fake_buf bad[][2] = {
		{ { .len = 23 }, { .len = 10, .write = true } },
		{ { .len = 24 }, { .len = 9, .write = true } },
		{ { .len = 24 }, { .len = 1 } },
	};
	uint32_t len;

	ask(f, PLUG, ADDR, 2);
	for (int i = 0; i < 3; i++) {
		assert_false(fake_request(&f->m, 0, bad[i], 2, &len));
		assert_string_equal(f->m.why, "a memory request without room for request or answer");
		virtio_device_reset(f->dev);
		fake_start(&f->m, f->dev, ~0ULL, 1);
	}
	/* Memory that may be in use stays over a reset. */
	assert_int_equal(plugged(f), 2);
}

static void test_driver_that_would_touch_unplugged_memory(void **state)
{
	struct fixture *f = *state;

	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~2ULL, 1);
	assert_int_equal(f->m.broken, 1);
}

static int present(void *userdata, gpa_t gpa, uint64_t len, bool yes)
{
	return guestmem_set_present(((struct fixture *)userdata)->m.mem, gpa, len, yes);
}

static int on_present(void *userdata, gpa_t gpa, uint64_t len)
{
	return present(userdata, gpa, len, true);
}

static int on_absent(void *userdata, gpa_t gpa, uint64_t len)
{
	return present(userdata, gpa, len, false);
}

/* As in the machine: a block that is not plugged is no memory to devices either. */
static void test_devices_do_not_reach_unplugged_blocks(void **state)
{
	static const struct virtio_mem_host sparse = { on_present, on_absent };
	struct fixture *f = *state;
	struct virtio_mem_config c = config(f);
	uint8_t *ram =
		mmap(NULL, BLOCKS * BLOCK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	const struct {
		le16 type, pad[3];
		le64 addr;
		le16 blocks, pad2[3];
	} req = { le16_of(STATE), { { 0 } }, le64_of(ADDR), le16_of(1), { { 0 } } };
	struct fake_buf b[] = { { .len = 24, .data = &req },
				{ .len = 10, .write = true, .gpa = ADDR + 3 * BLOCK - 5, .fixed = true } };
	uint32_t len;

	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(guestmem_add_sparse(f->m.mem, ADDR, BLOCKS * BLOCK, ram, BLOCK), 0);
	c.host = &sparse;
	assert_int_equal(virtio_mem_new(f->loop, &c, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	/* The answer crosses the end of block 2, and only that is there: then both, then neither. */
	assert_int_equal(ask(f, PLUG, ADDR + 2 * BLOCK, 1), ACK);
	assert_false(fake_request(&f->m, 0, b, 2, &len));
	assert_int_equal(f->m.broken, 1);
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	assert_int_equal(ask(f, PLUG, ADDR + 3 * BLOCK, 1), ACK);
	assert_true(fake_request(&f->m, 0, b, 2, &len));
	assert_int_equal(ram[3 * BLOCK - 5 + 8], UNPLUGGED);
	assert_int_equal(ask(f, UNPLUG_ALL, 0, 0), ACK);
	assert_false(fake_request(&f->m, 0, b, 2, &len));
	assert_int_equal(f->m.broken, 1);
	munmap(ram, BLOCKS * BLOCK);
}

static void test_config_space(void **state)
{
	struct fixture *f = *state;
	le64 c[7];

	ask(f, PLUG, ADDR, 3);
	f->dev->ops->config_read(f->dev, 0, c, sizeof c);
	assert_true(le64_get(c[0]) == BLOCK);
	assert_true(le64_get(c[1]) == 0);
	assert_true(le64_get(c[2]) == ADDR);
	assert_true(le64_get(c[3]) == BLOCKS * BLOCK);
	assert_true(le64_get(c[4]) == BLOCKS * BLOCK);
	assert_true(le64_get(c[5]) == 3 * BLOCK);
	assert_true(le64_get(c[6]) == 10 * BLOCK);
}

static void test_bad_config(void **state)
{
	struct fixture *f = *state;
	struct virtio_device *dev;
	struct virtio_mem_config c;

#define BAD(field, value)                                                                                              \
	c = config(f);                                                                                                 \
	c.field = (value);                                                                                             \
	assert_true(virtio_mem_new(f->loop, &c, &dev, NULL) < 0)
	BAD(block, 0);
	BAD(block, 4096);
	BAD(block, 3 * BLOCK);
	BAD(size, 0);
	BAD(size, BLOCK + 4096);
	BAD(size, (VIRTIO_MEM_BLOCKS_MAX + 1) * BLOCK);
	BAD(addr, ADDR + 4096);
	BAD(addr, 0 - BLOCK);
	BAD(requested, 1);
	BAD(requested, (BLOCKS + 1) * BLOCK);
}

static void test_save_load(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct virtio_mem_config c = config(f);
	struct virtio_mem_status st;
	struct err e = { 0 };

	ask(f, PLUG, ADDR, 2);
	ask(f, PLUG, ADDR + 19 * BLOCK, 1);
	assert_int_equal(virtio_mem_set_requested(f->dev, 7 * BLOCK, &e), 0);
	assert_int_equal(state_new(&s), 0);
	f->dev->ops->save(f->dev, s);
	virtio_device_free(take_ptr(f->dev));
	/* A new machine, in which the host has to plug everything again. */
	memset(f->host, 0, sizeof f->host);
	assert_int_equal(virtio_mem_new(f->loop, &c, &f->dev, &e), 0);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), 0);
	assert_int_equal(plugged(f), 3);
	assert_true(f->host[0] && f->host[1] && f->host[19]);
	virtio_mem_get_status(f->dev, &st);
	assert_int_equal(st.requested, 7 * BLOCK);
	fake_start(&f->m, f->dev, ~0ULL, 1);
	assert_int_equal(ask(f, PLUG, ADDR, 1), ERROR);
	assert_int_equal(ask(f, PLUG, ADDR + 2 * BLOCK, 4), ACK);
	/* Another shape, and a host that has no memory. */
	virtio_device_free(take_ptr(f->dev));
	memset(f->host, 0, sizeof f->host);
	assert_int_equal(virtio_mem_new(f->loop, &c, &f->dev, &e), 0);
	f->fail = -ENOMEM;
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), -ENOMEM);
	state_put_bytes(s, "plugged", "", 1);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), -EINVAL);
	state_put_u64(s, "block", 2 * BLOCK);
	assert_int_equal(f->dev->ops->load(f->dev, s, &e), -EINVAL);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_plug_and_unplug),
		T(test_not_more_than_requested),
		T(test_unplug_all),
		T(test_state),
		T(test_bad_ranges),
		T(test_host_that_cannot),
		T(test_malformed_breaks),
		T(test_driver_that_would_touch_unplugged_memory),
		T(test_devices_do_not_reach_unplugged_blocks),
		T(test_config_space),
		T(test_bad_config),
		T(test_save_load),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
