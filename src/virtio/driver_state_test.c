/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <unistd.h>

#include "base/log.h"
#include "virtio/driver_state.h"
#include "virtio/fake_device.h"
#include "virtio/fake_driver.h"

#define RAM_SIZE 0x20000

#define ACK         VIRTIO_STATUS_ACKNOWLEDGE
#define DRIVER      VIRTIO_STATUS_DRIVER
#define FEATURES_OK VIRTIO_STATUS_FEATURES_OK
#define DRIVER_OK   VIRTIO_STATUS_DRIVER_OK
#define NEEDS_RESET VIRTIO_STATUS_NEEDS_RESET
#define FAILED      VIRTIO_STATUS_FAILED

struct fixture {
	struct virtio_transport transport;
	struct virtio_driver d;
	struct fake_device *dev;
	struct guestmem *mem;
	uint8_t *ram;
	struct fake_queue q;
	unsigned queue_signals, config_signals, told_needs_reset;
};

static struct fixture *fixture(struct virtio_transport *t)
{
	return (struct fixture *)(void *)t;
}

static void signal_queue(struct virtio_transport *t, unsigned queue)
{
	fixture(t)->queue_signals++;
}

static void signal_config(struct virtio_transport *t)
{
	fixture(t)->config_signals += virtio_driver_config_changed(&fixture(t)->d);
}

static void needs_reset(struct virtio_transport *t, const char *why)
{
	fixture(t)->told_needs_reset += virtio_driver_needs_reset(&fixture(t)->d);
}

static const struct virtio_transport_ops transport_ops = { signal_queue, signal_config, needs_reset };

static void new_device(struct fixture *x)
{
	x->dev = fake_device_new(x->mem);
	x->dev->base.transport = &x->transport;
	virtio_driver_init(&x->d, &x->dev->base);
}

static int setup(void **state)
{
	struct fixture *x = calloc(1, sizeof *x);

	log_set_level(LOG_LEVEL_ERROR);
	x->transport.ops = &transport_ops;
	x->ram = aligned_alloc(4096, RAM_SIZE);
	memset(x->ram, 0, RAM_SIZE);
	assert_int_equal(guestmem_new(&x->mem), 0);
	assert_int_equal(guestmem_add_buffer(x->mem, 0, RAM_SIZE, x->ram), 0);
	new_device(x);
	*state = x;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *x = *state;

	virtio_device_free(&x->dev->base);
	guestmem_free(x->mem);
	free(x->ram);
	free(x);
	return 0;
}

static void set_features(struct fixture *x, uint64_t features)
{
	for (uint32_t i = 0; i < 2; i++) {
		x->d.driver_features_sel = i;
		virtio_driver_set_features(&x->d, (uint32_t)(features >> 32 * i));
	}
}

static void set_queue(struct fixture *x, unsigned queue, gpa_t base)
{
	fake_init(&x->q, x->ram, base, 8);
	x->d.queue_sel = queue;
	virtio_driver_set_queue_size(&x->d, 8);
	virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DESC, false, (uint32_t)x->q.desc);
	virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DRIVER, false, (uint32_t)x->q.avail);
	virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DEVICE, false, (uint32_t)x->q.used);
	virtio_driver_enable_queue(&x->d);
}

/* Bring the driver's side to this status, one bit after the other. */
static void bring_to(struct fixture *x, uint8_t status)
{
	virtio_driver_set_status(&x->d, 0);
	memset(x->ram, 0, RAM_SIZE);
	if (status & ACK)
		virtio_driver_set_status(&x->d, ACK);
	if (status & DRIVER) {
		virtio_driver_set_status(&x->d, ACK | DRIVER);
		set_features(x, FAKE_DEVICE_FEATURES);
	}
	if (status & FEATURES_OK) {
		virtio_driver_set_status(&x->d, ACK | DRIVER | FEATURES_OK);
		set_queue(x, 0, 0x1000);
	}
	if (status & DRIVER_OK)
		virtio_driver_set_status(&x->d, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
	if (status & NEEDS_RESET)
		virtio_device_break(&x->dev->base, "the test says so");
	if (status & FAILED)
		virtio_driver_set_status(&x->d, status & ~NEEDS_RESET);
	assert_int_equal(x->d.status, status);
}

#define S0 0
#define S1 ACK
#define S2 (ACK | DRIVER)
#define S3 (ACK | DRIVER | FEATURES_OK)
#define S4 (ACK | DRIVER | FEATURES_OK | DRIVER_OK)
#define S5 (S4 | NEEDS_RESET)
#define S6 (S2 | FAILED)
#define S7 (S4 | FAILED)

static const uint8_t states[] = { S0, S1, S2, S3, S4, S5, S6, S7 };
#define N_STATES (sizeof states)

/* What each write of the status leads to, from each state. */
static void test_status_table(void **state)
{
	struct fixture *x = *state;
	static const struct {
		uint8_t write, expect[N_STATES];
	} table[] = {
		{ 0, { S0, S0, S0, S0, S0, S0, S0, S0 } },
		{ S1, { S1, S1, S2, S3, S4, S5, S6, S7 } },
		{ S2, { S2, S2, S2, S3, S4, S5, S6, S7 } },
		{ S3, { S2, S2, S3, S3, S4, S5, S6, S7 } }, /* no features were written before DRIVER */
		{ S4, { S2, S2, S4, S4, S4, S5, S6, S7 } },
		{ S5, { S2, S2, S4, S4, S4, S5, S6, S7 } },
		{ DRIVER, { S0, S1, S2, S3, S4, S5, S6, S7 } },
		{ FEATURES_OK, { S0, S1, S2, S3, S4, S5, S6, S7 } },
		{ DRIVER_OK, { S0, S1, S2, S3, S4, S5, S6, S7 } },
		{ ACK | FEATURES_OK, { S1, S1, S2, S3, S4, S5, S6, S7 } },
		{ ACK | DRIVER | DRIVER_OK, { S2, S2, S2, S3, S4, S5, S6, S7 } },
		{ NEEDS_RESET, { S0, S1, S2, S3, S4, S5, S6, S7 } },
		{ 16 | 32, { S0, S1, S2, S3, S4, S5, S6, S7 } },
		/* FAILED comes with the bits that are set already, and brings no other. */
		{ FAILED, { FAILED, S1, S2, S3, S4, S5, S6, S7 } },
		{ ACK | FAILED, { FAILED, ACK | FAILED, S2, S3, S4, S5, S6, S7 } },
		{ S6, { FAILED, S1 | FAILED, S6, S3, S4, S5, S6, S7 } },
		{ S7, { FAILED, S1 | FAILED, S6, S3 | FAILED, S7, S7 | NEEDS_RESET, S6, S7 } },
	};

	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		for (size_t s = 0; s < N_STATES; s++) {
			uint8_t want = table[i].expect[s];

			bring_to(x, states[s]);
			virtio_driver_set_status(&x->d, table[i].write);
			if (x->d.status != want)
				fail_msg("from %#x a write of %#x led to %#x, not %#x", states[s], table[i].write,
					 x->d.status, want);
			assert_int_equal(x->dev->base.active, (bool)(x->d.status & DRIVER_OK));
			assert_int_equal(x->dev->base.broken, (bool)(x->d.status & NEEDS_RESET));
		}
	}
}

/* Everything else that a driver may try in each state, and whether it has an effect. */
static void test_access_table(void **state)
{
	struct fixture *x = *state;
	enum { FEATURES, QUEUE_SIZE, QUEUE_ADDR, ENABLE, DISABLE, CONFIG_WRITE, KICK, N_EVENTS };
	static const bool effect[N_EVENTS][N_STATES] = {
		[FEATURES] = { false, false, true, false, false, false, false, false },
		[QUEUE_SIZE] = { false, false, false, true, false, false, false, false },
		[QUEUE_ADDR] = { false, false, false, true, false, false, false, false },
		[ENABLE] = { false, false, false, true, false, false, false, false },
		[DISABLE] = { false, false, false, true, true, true, false, true },
		[CONFIG_WRITE] = { false, false, false, true, true, false, false, true },
		[KICK] = { false, false, false, false, true, false, false, true },
	};

	for (int event = 0; event < N_EVENTS; event++) {
		for (size_t s = 0; s < N_STATES; s++) {
			uint64_t features;
			unsigned kicks, writes;
			bool did = false;

			bring_to(x, states[s]);
			features = x->d.features;
			kicks = x->dev->kicks[0];
			writes = x->dev->config_writes;
			x->d.queue_sel = event == DISABLE ? 0 : 1;
			switch (event) {
			case FEATURES:
				set_features(x, ~features);
				did = x->d.features != features;
				break;
			case QUEUE_SIZE:
				virtio_driver_set_queue_size(&x->d, 16);
				did = x->dev->queues[1].size == 16;
				break;
			case QUEUE_ADDR:
				virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DEVICE, true, 7);
				did = x->dev->queues[1].used == 7ULL << 32;
				break;
			case ENABLE:
				virtio_driver_enable_queue(&x->d);
				did = virtio_driver_queue_enabled(&x->d);
				break;
			case DISABLE:
				did = virtio_driver_queue_enabled(&x->d);
				virtio_driver_disable_queue(&x->d);
				assert_false(virtio_driver_queue_enabled(&x->d));
				assert_false(x->dev->queues[0].ready);
				break;
			case CONFIG_WRITE:
				virtio_driver_config_write(&x->d, 0, "x", 1);
				did = x->dev->config_writes != writes;
				break;
			case KICK:
				virtio_device_kick(&x->dev->base, 0);
				did = x->dev->kicks[0] != kicks;
				break;
			}
			if (did != effect[event][s])
				fail_msg("event %d in state %#x: effect %d", event, states[s], did);
		}
	}
}

static void test_features(void **state)
{
	struct fixture *x = *state;

	x->d.device_features_sel = 0;
	assert_int_equal(virtio_driver_offered(&x->d), (uint32_t)FAKE_DEVICE_FEATURES);
	x->d.device_features_sel = 1;
	assert_int_equal(virtio_driver_offered(&x->d), 1);
	x->d.device_features_sel = 2;
	assert_int_equal(virtio_driver_offered(&x->d), 0);

	/* Not without VERSION_1, not with what is not offered; the driver may try again. */
	virtio_driver_set_status(&x->d, S2);
	set_features(x, 1 << 5);
	virtio_driver_set_status(&x->d, S3);
	assert_int_equal(x->d.status, S2);
	set_features(x, VIRTIO_F_VERSION_1 | 1 << 6);
	virtio_driver_set_status(&x->d, S3);
	assert_int_equal(x->d.status, S2);
	x->d.driver_features_sel = 2;
	virtio_driver_set_features(&x->d, 1);
	assert_int_equal(virtio_driver_features(&x->d), 0);
	set_features(x, VIRTIO_F_VERSION_1 | 1 << 5);
	x->d.driver_features_sel = 0;
	assert_int_equal(virtio_driver_features(&x->d), 1 << 5);
	assert_int_equal(x->dev->base.acked, 0);
	virtio_driver_set_status(&x->d, S3);
	assert_int_equal(x->d.status, S3);
	assert_int_equal(x->dev->base.acked, VIRTIO_F_VERSION_1 | 1 << 5);
}

static void test_queue_bounds(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S3);
	assert_int_equal(virtio_driver_queue_max(&x->d), FAKE_DEVICE_MAX);
	assert_true(virtio_driver_queue_enabled(&x->d));
	/* A queue that was handed over does not move. */
	virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DESC, false, 0x5000);
	assert_int_equal(virtio_driver_queue(&x->d)->desc, 0x1000);
	x->d.queue_sel = 1;
	assert_int_equal(virtio_driver_queue(&x->d)->size, FAKE_DEVICE_MAX);
	virtio_driver_set_queue_size(&x->d, 0x10008);
	assert_int_equal(virtio_driver_queue(&x->d)->size, 0);
	x->d.queue_sel = FAKE_DEVICE_QUEUES;
	assert_int_equal(virtio_driver_queue_max(&x->d), 0);
	assert_null(virtio_driver_queue(&x->d));
	virtio_driver_set_queue_size(&x->d, 8);
	virtio_driver_set_queue_addr(&x->d, VIRTIO_RING_DESC, true, 8);
	virtio_driver_enable_queue(&x->d);
	assert_false(virtio_driver_queue_enabled(&x->d));
	x->d.queue_sel = UINT32_MAX;
	virtio_driver_enable_queue(&x->d);
	virtio_driver_disable_queue(&x->d);
	assert_int_equal(x->d.enabled, 1);
}

static void test_bad_queue_breaks(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S3);
	set_queue(x, 1, RAM_SIZE);
	assert_int_equal(virtio_driver_set_status(&x->d, S4), VIRTIO_DRIVER_LIVE);
	assert_int_equal(x->d.status, S5);
	assert_int_equal(x->told_needs_reset, 1);
	assert_int_equal(x->dev->activations, 0);
	assert_int_equal(virtio_driver_set_status(&x->d, 0), VIRTIO_DRIVER_RESET);
	assert_int_equal(x->d.enabled, 0);
	assert_int_equal(x->dev->queues[1].size, FAKE_DEVICE_MAX);

	x->dev->fail_activate = true;
	bring_to(x, S3);
	virtio_driver_set_status(&x->d, S4);
	assert_int_equal(x->d.status, S5);
	assert_int_equal(x->told_needs_reset, 2);
	x->dev->fail_activate = false;
	bring_to(x, S4);
}

static void submit(struct fixture *x)
{
	fake_desc(&x->q, 0, 0x8000, 16, FAKE_WRITE, 0);
	fake_submit(&x->q, 0);
}

static bool used(struct fixture *x)
{
	uint32_t id, len;

	return fake_used(&x->q, &id, &len) && id == 0 && len == 16;
}

static void test_buffers_before_driver_ok(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S3);
	submit(x);
	virtio_driver_set_status(&x->d, S4);
	assert_true(used(x));
	assert_int_equal(x->queue_signals, 1);
}

static void test_disable_finishes_requests(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S4);
	x->dev->hold = true;
	submit(x);
	virtio_device_kick(&x->dev->base, 0);
	assert_false(used(x));
	virtio_driver_disable_queue(&x->d);
	assert_true(used(x));
	submit(x);
	virtio_device_kick(&x->dev->base, 0);
	assert_false(used(x));
	virtio_driver_enable_queue(&x->d); /* too late */
	assert_false(virtio_driver_queue_enabled(&x->d));
}

static void test_pause(void **state)
{
	struct fixture *x = *state;
	uint32_t generation;

	bring_to(x, S4);
	generation = x->d.generation;
	x->dev->hold = true;
	submit(x);
	virtio_device_kick(&x->dev->base, 0);
	virtio_driver_pause(&x->d);
	virtio_driver_pause(&x->d);
	assert_true(used(x)); /* finished */
	x->dev->hold = false;
	submit(x);
	virtio_device_kick(&x->dev->base, 0); /* lost, and made good for */
	signal_config(&x->transport);
	assert_false(used(x));
	assert_int_equal(x->config_signals, 0);
	virtio_driver_resume(&x->d);
	virtio_driver_resume(&x->d);
	assert_true(used(x));
	assert_int_equal(x->config_signals, 1);
	assert_true(x->d.generation != generation);
	assert_int_equal(x->dev->activations, 1);
}

static void test_pause_idle(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S3);
	virtio_driver_pause(&x->d);
	virtio_driver_resume(&x->d);
	assert_int_equal(x->d.status, S3);
	assert_int_equal(x->dev->activations, 0);
	bring_to(x, S5);
	virtio_driver_pause(&x->d);
	virtio_driver_resume(&x->d);
	assert_int_equal(x->d.status, S5);
}

/* Two reasons to be stopped, in every order: the device goes on when neither is left. */
static void test_hold(void **state)
{
	struct fixture *x = *state;

	virtio_driver_hold(&x->d, true);
	bring_to(x, S4);
	assert_int_equal(x->dev->activations, 0);
	submit(x);
	virtio_device_kick(&x->dev->base, 0);
	signal_config(&x->transport);
	assert_false(used(x));
	for (int i = 0; i < 4; i++) {
		virtio_driver_pause(&x->d);
		virtio_driver_hold(&x->d, true);
		assert_false(used(x));
		if (i & 1)
			virtio_driver_resume(&x->d);
		else
			virtio_driver_hold(&x->d, false);
		virtio_device_kick(&x->dev->base, 0);
		assert_false(used(x));
		assert_int_equal(x->config_signals, i);
		virtio_driver_resume(&x->d);
		virtio_driver_hold(&x->d, false);
		assert_true(used(x));
		assert_int_equal(x->config_signals, i + 1);
		assert_int_equal(x->dev->activations, 1);
		if (i & 1)
			virtio_driver_pause(&x->d);
		else
			virtio_driver_hold(&x->d, true);
		submit(x);
		signal_config(&x->transport);
	}
	/* A reset does not let go. */
	virtio_driver_hold(&x->d, true);
	virtio_driver_set_status(&x->d, 0);
	assert_true(x->d.held);
}

/* Save, make a new device, load: what is left of the request goes on there. */
static void move(struct fixture *x, int expect)
{
	struct virtio_device *old = &x->dev->base;
	struct state *s;

	assert_int_equal(state_new(&s), 0);
	virtio_driver_pause(&x->d);
	virtio_driver_save(&x->d, s);
	new_device(x);
	assert_int_equal(virtio_driver_load(&x->d, s, NULL), expect);
	virtio_device_free(old);
	state_free(s);
}

static void test_move_live(void **state)
{
	struct fixture *x = *state;

	bring_to(x, S4);
	submit(x);
	virtio_device_kick(&x->dev->base, 0);
	assert_true(used(x));
	virtio_driver_config_write(&x->d, 3, "abc", 3);
	submit(x);
	x->queue_signals = 0;
	move(x, 0);
	assert_int_equal(x->d.status, S4);
	assert_int_equal(x->dev->requests, 1);
	assert_memory_equal(x->dev->config + 3, "abc", 3);
	assert_false(used(x));
	virtio_driver_resume(&x->d);
	assert_true(used(x));
	assert_int_equal(x->dev->base.acked, FAKE_DEVICE_FEATURES);
	assert_true(x->queue_signals >= 1);
	assert_int_equal(x->config_signals, 1);
}

static void test_move_each_state(void **state)
{
	struct fixture *x = *state;

	for (size_t s = 0; s < N_STATES; s++) {
		bring_to(x, states[s]);
		move(x, 0);
		virtio_driver_resume(&x->d);
		assert_int_equal(x->d.status, states[s]);
		assert_int_equal(x->dev->base.broken, states[s] == S5);
		virtio_driver_set_status(&x->d, 0);
		bring_to(x, S4);
		submit(x);
		virtio_device_kick(&x->dev->base, 0);
		assert_true(used(x));
	}
}

static void test_load_refuses(void **state)
{
	struct fixture *x = *state;
	static const struct {
		const char *name;
		uint64_t value;
	} bad[] = {
		{ "type", 1 },
		{ "queues", 2 },
		{ "status", 256 },
		{ "features", VIRTIO_F_VERSION_1 | 1 << 7 },
		{ "queue-sel", 1ULL << 32 },
	};

	bring_to(x, S4);
	virtio_driver_pause(&x->d);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct virtio_device *old = &x->dev->base;
		struct virtio_driver d = x->d;
		struct err e = { 0 };
		struct state *s;

		assert_int_equal(state_new(&s), 0);
		virtio_driver_save(&x->d, s);
		state_put_u64(s, bad[i].name, bad[i].value);
		new_device(x);
		assert_true(virtio_driver_load(&x->d, s, &e) < 0);
		assert_true(err_is_set(&e));
		virtio_device_free(&x->dev->base);
		x->dev = fake_device(old);
		x->d = d;
		state_free(s);
	}
}

/* A guest that breaks its device for ever does not fill the host's log. */
static void test_breaks_are_logged_a_few_times(void **state)
{
	struct fixture *x = *state;
	char text[4096] = "", *at = text;
	int log[2], lines = 0;

	assert_int_equal(pipe(log), 0);
	log_set_level(LOG_LEVEL_WARN);
	log_set_sink(log[1], LOG_FORMAT_TEXT, "test");
	for (int i = 0; i < 100; i++) {
		bring_to(x, ACK | DRIVER | FEATURES_OK | DRIVER_OK);
		virtio_device_break(&x->dev->base, "bad index");
		assert_int_equal(x->d.status & NEEDS_RESET, NEEDS_RESET);
	}
	log_set_sink(STDERR_FILENO, LOG_FORMAT_TEXT, "caisson");
	close(log[1]);
	assert_true(read(log[0], text, sizeof text - 1) > 0);
	close(log[0]);
	for (; (at = strstr(at, "stops until it is reset: bad index")); at++)
		lines++;
	assert_int_equal(lines, LOG_FEW);
	assert_non_null(strstr(text, "bad index (not logged any more from here)\n"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_status_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_access_table, setup, teardown),
		cmocka_unit_test_setup_teardown(test_features, setup, teardown),
		cmocka_unit_test_setup_teardown(test_queue_bounds, setup, teardown),
		cmocka_unit_test_setup_teardown(test_bad_queue_breaks, setup, teardown),
		cmocka_unit_test_setup_teardown(test_breaks_are_logged_a_few_times, setup, teardown),
		cmocka_unit_test_setup_teardown(test_buffers_before_driver_ok, setup, teardown),
		cmocka_unit_test_setup_teardown(test_disable_finishes_requests, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause, setup, teardown),
		cmocka_unit_test_setup_teardown(test_pause_idle, setup, teardown),
		cmocka_unit_test_setup_teardown(test_hold, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move_live, setup, teardown),
		cmocka_unit_test_setup_teardown(test_move_each_state, setup, teardown),
		cmocka_unit_test_setup_teardown(test_load_refuses, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
