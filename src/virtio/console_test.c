/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/fd.h"
#include "state/state.h"
#include "virtio/console.h"
#include "virtio/fake_machine.h"

enum { RX, TX };

struct fixture {
	struct loop *loop;
	struct fake_machine m;
	struct virtio_device *dev;
	int in, out; /* our ends of the pipes */
};

static void make(struct fixture *f, int in, int out)
{
	struct virtio_console_config c = { in, out };

	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(virtio_console_new(f->loop, &c, &f->dev, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 3);
}

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);
	int in[2], out[2];

	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(loop_new(&f->loop, NULL), 0);
	fake_machine_init(&f->m);
	assert_int_equal(pipe2(in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	f->in = in[1];
	f->out = out[0];
	make(f, in[0], out[1]);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	virtio_device_free(f->dev);
	fd_close(&f->in);
	fd_close(&f->out);
	fake_machine_fini(&f->m);
	loop_free(f->loop);
	free(f);
	return 0;
}

/* Until the device has answered on the queue. */
static uint32_t answer(struct fixture *f, unsigned queue)
{
	uint32_t id, len;

	while (!fake_used(&f->m.q[queue], &id, &len))
		assert_int_equal(loop_run_once(f->loop, -1), 0);
	return len;
}

/* What the loop has to do now, and nothing that it would have to wait for. */
static void settle(struct fixture *f)
{
	for (int i = 0; i < 20; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
}

static bool quiet;

static void on_timer(struct loop_source *s, void *userdata)
{
	quiet = false;
}

static gpa_t offer(struct fixture *f, uint32_t len)
{
	struct fake_buf b = { .len = len, .write = true };

	fake_send(&f->m, RX, &b, 1);
	virtio_device_kick(f->dev, RX);
	return b.gpa;
}

static void test_output(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b[] = { { .len = 3, .data = "hel" }, { .len = 0 }, { .len = 2, .data = "lo" } };
	char text[8] = { 0 };
	uint32_t len;

	assert_true(fake_request(&f->m, TX, b, 3, &len));
	assert_int_equal(len, 0);
	assert_int_equal(read(f->out, text, sizeof text), 5);
	assert_string_equal(text, "hello");
}

static void test_output_waits_for_its_reader(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 0x60000 };
	uint32_t id, len, got = 0;
	static uint8_t data[0x60000], back[0x60000];

	for (size_t i = 0; i < sizeof data; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	b.data = data;
	assert_false(fake_request(&f->m, TX, &b, 1, &len));
	settle(f);
	assert_false(fake_used(&f->m.q[TX], &id, &len)); /* the pipe is full, the chain in the ring */
	while (got < sizeof back) {
		ssize_t n = read(f->out, back + got, sizeof back - got);

		if (n > 0)
			got += (uint32_t)n;
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	assert_memory_equal(data, back, sizeof data);
	answer(f, TX);
	assert_int_equal(read(f->out, back, 1), -1);
}

static void test_half_written_chain_is_saved(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct fake_buf b = { .len = 0x40000 };
	struct virtio_console_config c = { -1, -1 };
	uint64_t done, half = 0;
	static uint8_t back[0x40000];
	uint32_t len;
	ssize_t n;

	assert_false(fake_request(&f->m, TX, &b, 1, &len));
	settle(f);
	assert_int_equal(state_new(&s), 0);
	virtio_console_set_size(f->dev, 132, 43);
	f->dev->ops->save(f->dev, s);
	assert_int_equal(state_get_u64(s, "tx-done", &done, NULL), 0);
	while ((n = read(f->out, back, sizeof back)) > 0)
		half += (uint64_t)n;
	assert_int_equal(done, half);
	/* Go on in another device: the rest and no more. */
	int out[2];

	assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
	fcntl(out[1], F_SETPIPE_SZ, 0x80000);
	fd_close(&f->out);
	f->out = out[0];
	c.out = out[1];
	virtio_device_free(take_ptr(f->dev));
	assert_int_equal(virtio_console_new(f->loop, &c, &f->dev, NULL), 0);
	assert_int_equal(f->dev->ops->load(f->dev, s, NULL), 0);
	fake_start(&f->m, f->dev, ~0ULL, 3);
	fake_send(&f->m, TX, &b, 1);
	virtio_device_kick(f->dev, TX);
	half = 0;
	while (half < 0x40000 - done) {
		n = read(f->out, back, sizeof back);
		half += n > 0 ? (uint64_t)n : 0;
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	answer(f, TX);
	assert_int_equal(half, 0x40000 - done);
	assert_int_equal(read(f->out, back, 1), -1);
	f->dev->ops->config_read(f->dev, 0, back, 12);
	assert_memory_equal(back, "\x84\0\x2b\0\1\0\0\0\0\0\0\0", 12);
	state_put_u64(s, "columns", 65536);
	assert_int_equal(f->dev->ops->load(f->dev, s, NULL), -EINVAL);
}

static void test_output_that_fails_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 100 };
	uint32_t len;

	fd_close(&f->out);
	assert_true(fake_request(&f->m, TX, &b, 1, &len));
	assert_true(fake_request(&f->m, TX, &b, 1, &len));
	make(f, -1, -1);
	assert_true(fake_request(&f->m, TX, &b, 1, &len));
	assert_int_equal(f->m.broken, 0);
}

static void test_input(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;
	gpa_t a, b;

	/* Not read before the guest has room. */
	assert_int_equal(write(f->in, "abcdef", 6), 6);
	settle(f);
	a = offer(f, 4);
	b = offer(f, 4);
	assert_int_equal(answer(f, RX), 4);
	assert_memory_equal(f->m.ram + a, "abcd", 4);
	assert_int_equal(answer(f, RX), 2);
	assert_memory_equal(f->m.ram + b, "ef", 2);
	/* A blocking descriptor does not stop us: a buffer is there, input is not. */
	a = offer(f, 16);
	settle(f);
	assert_false(fake_used(&f->m.q[RX], &id, &len));
	assert_int_equal(write(f->in, "x", 1), 1);
	assert_int_equal(answer(f, RX), 1);
	assert_int_equal(f->m.ram[a], 'x');
}

static void test_input_ready_before_room_is_read_once(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	/* Readiness that was seen is good for one read of the blocking descriptor, not for two. */
	offer(f, 1);
	assert_int_equal(write(f->in, "ab", 2), 2);
	assert_int_equal(answer(f, RX), 1);
	settle(f);
	offer(f, 1);
	assert_int_equal(answer(f, RX), 1);
	offer(f, 1);
	settle(f);
	assert_false(fake_used(&f->m.q[RX], &id, &len));
}

static void test_input_waits_while_the_queue_is_stopped(void **state)
{
	struct fixture *f = *state;
	struct loop_source *s;
	uint32_t id, len;

	offer(f, 4);
	settle(f);
	virtq_stop(&f->dev->queues[RX]); /* as a transport does to pause */
	assert_int_equal(write(f->in, "abc", 3), 3);
	settle(f);
	assert_false(fake_used(&f->m.q[RX], &id, &len));
	/* And nothing spins: with nothing left to do the loop sleeps until its one timer. */
	quiet = true;
	assert_int_equal(loop_add_timer(f->loop, 30, on_timer, NULL, &s), 0);
	assert_int_equal(loop_run_once(f->loop, -1), 0);
	assert_false(quiet);
	loop_source_free(s);
	assert_int_equal(virtio_device_start_queue(f->dev, RX), 0);
	virtio_device_kick(f->dev, RX);
	assert_int_equal(answer(f, RX), 3);
}

static void test_input_waits_while_the_device_is_broken(void **state)
{
	struct fixture *f = *state;
	struct loop_source *s;

	offer(f, 4);
	settle(f);
	virtio_device_break(f->dev, "its other queue is broken");
	assert_int_equal(write(f->in, "abc", 3), 3);
	settle(f);
	/* There is room, but nobody fills it: the loop sleeps until its one timer. */
	quiet = true;
	assert_int_equal(loop_add_timer(f->loop, 30, on_timer, NULL, &s), 0);
	assert_int_equal(loop_run_once(f->loop, -1), 0);
	assert_false(quiet);
	loop_source_free(s);
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~0ULL, 3);
	offer(f, 4);
	assert_int_equal(answer(f, RX), 3);
}

static void test_end_of_input(void **state)
{
	struct fixture *f = *state;
	uint32_t id, len;

	offer(f, 4);
	assert_int_equal(write(f->in, "z", 1), 1);
	fd_close(&f->in);
	assert_int_equal(answer(f, RX), 1);
	offer(f, 4);
	settle(f);
	assert_false(fake_used(&f->m.q[RX], &id, &len));
	assert_int_equal(f->m.broken, 0);
}

static void test_files(void **state)
{
	struct fixture *f = *state;
	int in = memfd_create("in", MFD_CLOEXEC), out = memfd_create("out", MFD_CLOEXEC), look = dup(out);
	struct fake_buf b = { .len = 5, .data = "hello" };
	uint32_t id, len;
	char text[8] = { 0 };
	gpa_t at;

	assert_int_equal(pwrite(in, "input", 5, 0), 5);
	make(f, in, out);
	assert_true(fake_request(&f->m, TX, &b, 1, &len));
	assert_int_equal(pread(look, text, sizeof text, 0), 5);
	assert_string_equal(text, "hello");
	at = offer(f, 4);
	offer(f, 4);
	assert_int_equal(answer(f, RX), 4);
	assert_memory_equal(f->m.ram + at, "inpu", 4);
	assert_int_equal(answer(f, RX), 1);
	offer(f, 4);
	settle(f);
	assert_false(fake_used(&f->m.q[RX], &id, &len));
	close(look);
}

static void test_one_descriptor_for_both(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 0x60000 };
	static uint8_t back[0x60000];
	size_t got = 0;
	uint32_t len;
	int s[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, s), 0);
	make(f, s[0], s[0]);
	offer(f, 8); /* input is watched */
	assert_false(fake_request(&f->m, TX, &b, 1, &len));
	while (got < sizeof back) { /* and output too */
		ssize_t n = read(s[1], back, sizeof back);

		got += n > 0 ? (size_t)n : 0;
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	}
	answer(f, TX);
	assert_int_equal(write(s[1], "in", 2), 2);
	assert_int_equal(answer(f, RX), 2);
	close(s[1]);
}

static void test_buffer_without_room_breaks(void **state)
{
	struct fixture *f = *state;
	struct fake_buf b = { .len = 5 };
	uint32_t len;

	assert_int_equal(write(f->in, "abc", 3), 3);
	assert_false(fake_request(&f->m, RX, &b, 1, &len));
	assert_string_equal(f->m.why, "a console buffer without room");
	settle(f);
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~0ULL, 3);
	offer(f, 3);
	assert_int_equal(answer(f, RX), 3);
}

static void test_size(void **state)
{
	struct fixture *f = *state;
	uint8_t c[4];

	f->m.config_signals = 0;
	virtio_console_set_size(f->dev, 80, 25);
	virtio_console_set_size(f->dev, 80, 25);
	assert_int_equal(f->m.config_signals, 1);
	f->dev->ops->config_read(f->dev, 0, c, 4);
	assert_memory_equal(c, "\x50\0\x19\0", 4);
	virtio_device_reset(f->dev);
	fake_start(&f->m, f->dev, ~1ULL, 3); /* a driver that does not care */
	virtio_console_set_size(f->dev, 81, 25);
	assert_int_equal(f->m.config_signals, 1);
}

#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(test_output),
		T(test_output_waits_for_its_reader),
		T(test_half_written_chain_is_saved),
		T(test_output_that_fails_is_dropped),
		T(test_input),
		T(test_input_ready_before_room_is_read_once),
		T(test_input_waits_while_the_queue_is_stopped),
		T(test_input_waits_while_the_device_is_broken),
		T(test_end_of_input),
		T(test_files),
		T(test_one_descriptor_for_both),
		T(test_buffer_without_room_breaks),
		T(test_size),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
