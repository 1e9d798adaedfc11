/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <fcntl.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/fd.h"
#include "state/state.h"
#include "virtio/fake_counters.h"
#include "virtio/fake_machine.h"
#include "virtio/pmem.h"

struct fixture {
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
};

static void make(struct fixture *f, int fd)
{
	struct virtio_pmem_config c = { .start = 0x1234500000, .size = 0x200000, .fd = fd };

	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(virtio_pmem_new(f->loop, &c, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 1);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	make(f, memfd_create("pmem", MFD_CLOEXEC));
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

/* The answer to a request; -2: there was none. */
static int ask(struct fixture *f, uint32_t type)
{
	le32 t = le32_of(type), answer;
	struct fake_buf b[] = { { .len = 1, .data = &t },
				{ .len = 3, .data = (uint8_t *)&t + 1 },
				{ .len = 3, .write = true },
				{ .len = 1, .write = true } };
	uint32_t len;

	if (!fake_request(&f->m, 0, b, 4, &len))
		return -2;
	assert_int_equal(len, 4);
	memcpy(&answer, f->m.ram + b[2].gpa, 4);
	return (int)le32_get(answer);
}

static void test_flush(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(ask(f, 0), 0);
	assert_true(counted(f->dev, "queue_event_count") >= 1);
	assert_int_equal(counted(f->dev, "event_fails"), 0);
}

static void test_flush_that_fails(void **state)
{
	struct fixture *f = *state;

	/* A descriptor that answers fdatasync(2) with an error. */
	make(f, open("/", O_PATH | O_CLOEXEC));
	assert_int_equal(ask(f, 0), -1);
	assert_int_equal(f->m.broken, 0);
}

static void test_unknown_request(void **state)
{
	assert_int_equal(ask(*state, 1), -1);
	assert_int_equal(ask(*state, UINT32_MAX), -1);
}

static void test_malformed_breaks(void **state)
{
	struct fixture *f = *state;
	le32 type = { 0 };
	struct fake_buf bad[][2] = {
		{ { .len = 3, .data = &type }, { .len = 4, .write = true } },
		{ { .len = 4, .data = &type }, { .len = 3, .write = true } },
		{ { .len = 4, .data = &type }, { .len = 0 } },
	};
	uint32_t len;

	for (int i = 0; i < 3; i++) {
		assert_false(fake_request(&f->m, 0, bad[i], 2, &len));
		assert_string_equal(f->m.why, "a flush request without room for type or answer");
		virtio_device_reset(f->dev);
		fake_start(&f->m, f->dev, ~0ULL, 1);
		assert_int_equal(ask(f, 0), 0);
	}
}

static void test_config_space(void **state)
{
	struct fixture *f = *state;
	le64 c[2];

	f->dev->ops->config_read(f->dev, 0, c, sizeof c);
	assert_true(le64_get(c[0]) == 0x1234500000);
	assert_true(le64_get(c[1]) == 0x200000);
}

static void test_rate_and_its_state(void **state)
{
	struct fixture *f = *state;
	struct rate_config hour = { .ops = { .size = 1, .refill_ms = 3600 * 1000 } }, none = { 0 };
	_cleanup_(state_free_p) struct state *s = NULL;
	uint32_t id, len;

	virtio_pmem_set_rate(f->dev, &hour);
	assert_int_equal(ask(f, 0), 0);
	assert_int_equal(ask(f, 0), -2);
	assert_int_equal(state_new(&s), 0);
	f->dev->ops->save(f->dev, s);
	virtio_pmem_set_rate(f->dev, &none);
	while (!fake_used(&f->m.q[0], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	make(f, memfd_create("pmem", MFD_CLOEXEC));
	assert_int_equal(f->dev->ops->load(f->dev, s, NULL), 0);
	assert_int_equal(ask(f, 0), -2);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_flush),        T(test_flush_that_fails),   T(test_unknown_request), T(test_malformed_breaks),
		T(test_config_space), T(test_rate_and_its_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
