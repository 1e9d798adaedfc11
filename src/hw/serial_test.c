/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hw/serial.h"
#include "state/state.h"

enum { DATA, IER, IIR, LCR, MCR, LSR, MSR, SCRATCH };

struct fixture {
	struct loop *loop;
	struct serial *s;
	int irq, in[2], out[2];
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof *f);

	assert_int_equal(loop_new(&f->loop, NULL), 0);
	f->irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(pipe2(f->in, O_CLOEXEC), 0);
	assert_int_equal(pipe2(f->out, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(serial_new(f->loop, f->irq, f->in[0], f->out[1], &f->s), 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	serial_free(f->s);
	serial_free(NULL);
	loop_free(f->loop);
	close(f->irq);
	for (int i = 0; i < 2; i++) {
		fd_close(&f->in[i]);
		fd_close(&f->out[i]);
	}
	free(f);
	return 0;
}

static uint8_t get(struct fixture *f, uint64_t reg)
{
	uint8_t v;

	serial_bus.read(f->s, reg, &v, 1);
	return v;
}

static void put(struct fixture *f, uint64_t reg, uint8_t v)
{
	serial_bus.write(f->s, reg, &v, 1);
}

static uint64_t edges(struct fixture *f)
{
	uint64_t n = 0;

	return read(f->irq, &n, sizeof n) == sizeof n ? n : 0;
}

/* What came out so far. */
static const char *output(struct fixture *f)
{
	static char buf[8192];
	ssize_t n = read(f->out[0], buf, sizeof buf - 1);

	buf[n > 0 ? n : 0] = '\0';
	return buf;
}

static void type(struct fixture *f, const char *text)
{
	assert_int_equal(write(f->in[1], text, strlen(text)), (ssize_t)strlen(text));
	assert_int_equal(loop_run_once(f->loop, 1000), 0);
}

static void test_output_comes_in_lines(void **state)
{
	struct fixture *f = *state;
	char tail[8];

	for (const char *c = "hello"; *c; c++)
		put(f, DATA, (uint8_t)*c);
	assert_string_equal(output(f), "");
	put(f, DATA, '\n');
	assert_string_equal(output(f), "hello\n");
	put(f, DATA, '>');
	while (!*output(f)) /* a prompt comes after a moment */
		assert_int_equal(loop_run_once(f->loop, 1000), 0);
	put(f, DATA, '!');
	serial_flush(f->s);
	assert_string_equal(output(f), "!");
	assert_int_equal(serial_tail(f->s, tail, sizeof tail), 7);
	assert_string_equal(tail, "ello\n>!");
}

static void test_a_reader_that_stops_costs_output_only(void **state)
{
	struct fixture *f = *state;
	char tail[SERIAL_TAIL + 8];

	for (int i = 0; i < 300000; i++)
		put(f, DATA, i == 299999 ? '\n' : 'x');
	assert_int_equal(get(f, LSR) & 0x60, 0x60);
	assert_int_equal(serial_tail(f->s, tail, sizeof tail), SERIAL_TAIL);
	/* And one that went away. */
	assert_true(strlen(output(f)) > 0);
}

static void test_input_and_its_interrupt(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(get(f, LSR), 0x60);
	type(f, "ab");
	assert_int_equal(edges(f), 0); /* not enabled */
	assert_int_equal(get(f, IIR), 1);
	put(f, IER, 1);
	assert_int_equal(edges(f), 1);
	assert_int_equal(get(f, IIR), 4);
	type(f, "c");
	assert_int_equal(edges(f), 0); /* the cause is there still */
	assert_int_equal(get(f, LSR), 0x61);
	assert_int_equal(get(f, DATA), 'a');
	assert_int_equal(get(f, DATA), 'b');
	assert_int_equal(get(f, DATA), 'c');
	assert_int_equal(get(f, DATA), 0);
	assert_int_equal(get(f, LSR), 0x60);
	assert_int_equal(get(f, IIR), 1);
	type(f, "d");
	assert_int_equal(edges(f), 1);
	put(f, IIR, 3); /* clear the FIFO */
	assert_int_equal(get(f, LSR), 0x60);
	assert_int_equal(get(f, IIR), 0xc1);
}

static void test_input_waits_while_nobody_reads(void **state)
{
	struct fixture *f = *state;
	char text[301];

	memset(text, 'y', 300);
	text[299] = 'z';
	text[300] = '\0';
	type(f, text);
	for (int i = 0; i < 300; i++) {
		while (!(get(f, LSR) & 1))
			assert_int_equal(loop_run_once(f->loop, 1000), 0);
		assert_int_equal(get(f, DATA), i == 299 ? 'z' : 'y');
	}
	assert_int_equal(get(f, LSR) & 2, 0); /* nothing was lost */
}

static void test_the_end_of_input(void **state)
{
	struct fixture *f = *state;

	type(f, "q");
	fd_close(&f->in[1]);
	for (int i = 0; i < 3; i++)
		assert_int_equal(loop_run_once(f->loop, 0), 0);
	assert_int_equal(get(f, DATA), 'q');
	assert_int_equal(get(f, LSR), 0x60);
}

static void test_a_file_as_input(void **state)
{
	struct fixture *f = *state;
	_cleanup_close_ int file = memfd_create("input", MFD_CLOEXEC), null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	char text[200];

	memset(text, 'f', sizeof text);
	assert_int_equal(write(file, text, sizeof text), sizeof text);
	lseek(file, 0, SEEK_SET);
	serial_free(f->s);
	assert_int_equal(serial_new(f->loop, f->irq, file, -1, &f->s), 0);
	/* Linux clears the FIFO when it opens the port, and tries the loop. */
	put(f, IIR, 3);
	assert_int_equal(get(f, LSR), 0x61);
	put(f, MCR, 0x10);
	for (int i = 0; i < 64; i++)
		get(f, DATA);
	assert_int_equal(get(f, LSR), 0x60);
	put(f, MCR, 8);
	for (unsigned i = 128; i < sizeof text; i++) {
		assert_int_equal(get(f, LSR), 0x61);
		assert_int_equal(get(f, DATA), 'f');
	}
	assert_int_equal(get(f, LSR), 0x60);
	serial_free(f->s);
	assert_int_equal(serial_new(f->loop, f->irq, null, -1, &f->s), 0);
	assert_int_equal(get(f, LSR), 0x60);
}

static void test_transmitter_interrupt(void **state)
{
	struct fixture *f = *state;

	put(f, IER, 2);
	assert_int_equal(edges(f), 1); /* empty already */
	assert_int_equal(get(f, IIR), 2);
	assert_int_equal(get(f, IIR), 1); /* reading acknowledged it */
	for (int i = 0; i < 16; i++)
		put(f, DATA, 'x');
	assert_int_equal(edges(f), 1); /* one for the burst */
	assert_int_equal(get(f, IIR), 2);
	put(f, IER, 0);
	put(f, DATA, 'x');
	assert_int_equal(edges(f), 0);
	assert_int_equal(get(f, IIR), 1);
}

/* What Linux's 8250 driver looks at to tell a 16550A. */
static void test_probe(void **state)
{
	struct fixture *f = *state;

	put(f, SCRATCH, 0x5a);
	assert_int_equal(get(f, SCRATCH), 0x5a);
	put(f, LCR, 0x80);
	put(f, DATA, 1);
	put(f, IER, 2);
	assert_int_equal(get(f, DATA), 1);
	assert_int_equal(get(f, IER), 2);
	put(f, LCR, 3);
	assert_int_equal(get(f, IER), 0);
	put(f, IER, 0xff);
	assert_int_equal(get(f, IER), 0xf);
	put(f, IER, 0);
	put(f, IIR, 1);
	assert_int_equal(get(f, IIR), 0xc1);
	put(f, IIR, 0);
	assert_int_equal(get(f, IIR), 0x01);
	assert_int_equal(get(f, MSR), 0xb0);
	put(f, MCR, 0x1a); /* loop: outputs come back as inputs, bytes as received */
	assert_int_equal(get(f, MSR), 0x90);
	put(f, DATA, 'L');
	assert_int_equal(get(f, DATA), 'L');
	put(f, MCR, 8);
	assert_string_equal(output(f), "");
}

static void test_wide_accesses(void **state)
{
	struct fixture *f = *state;
	uint16_t two = 0x0341; /* 'A' to the data register, 3 to the interrupt enable register */

	serial_bus.write(f->s, DATA, &two, 2);
	assert_int_equal(get(f, IER), 3);
	serial_bus.read(f->s, SCRATCH - 1, &two, 2);
	assert_int_equal(two & 0xff, 0xb0);
}

static void test_state(void **state)
{
	struct fixture *f = *state;
	_cleanup_(state_free_p) struct state *s = NULL;
	struct serial *back;
	uint8_t v;

	assert_int_equal(state_new(&s), 0);
	put(f, IER, 3);
	put(f, SCRATCH, 0x77);
	type(f, "pq");
	serial_save(f->s, s);
	edges(f);
	assert_int_equal(serial_new(f->loop, f->irq, -1, -1, &back), 0);
	assert_int_equal(serial_load(back, s, NULL), 0);
	assert_int_equal(edges(f), 1); /* raised again: it may have been on its way */
	serial_bus.read(back, IER, &v, 1);
	assert_int_equal(v, 3);
	serial_bus.read(back, SCRATCH, &v, 1);
	assert_int_equal(v, 0x77);
	serial_bus.read(back, DATA, &v, 1);
	assert_int_equal(v, 'p');
	state_put_bytes(s, "received", (uint8_t[65]){ 0 }, 65);
	assert_int_equal(serial_load(back, s, NULL), -EINVAL);
	serial_free(back);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_output_comes_in_lines, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_reader_that_stops_costs_output_only, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input_and_its_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_input_waits_while_nobody_reads, setup, teardown),
		cmocka_unit_test_setup_teardown(test_the_end_of_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_a_file_as_input, setup, teardown),
		cmocka_unit_test_setup_teardown(test_transmitter_interrupt, setup, teardown),
		cmocka_unit_test_setup_teardown(test_probe, setup, teardown),
		cmocka_unit_test_setup_teardown(test_wide_accesses, setup, teardown),
		cmocka_unit_test_setup_teardown(test_state, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
