/* SPDX-License-Identifier: Apache-2.0 */
/* The I/O APIC register by register, as its data sheet has them, and what becomes of pulses. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "hw/ioapic.h"
#include "state/state.h"

#define MASKED  0x10000u
#define LEVEL   0x8000u
#define REMOTE  0x4000u
#define LOGICAL 0x800u

/* What the chip told its owner since the last look: "edge 4 fee00000 4031", "edge 4 off", "send …". */
static char told[512];

static void tell(const char *what, unsigned pin, const struct ioapic_message *m)
{
	size_t n = strlen(told);
	int len = snprintf(told + n, sizeof told - n, "%s", what);

	if (pin < IOAPIC_PINS)
		len += snprintf(told + n + len, sizeof told - n - (size_t)len, " %u", pin);
	if (m)
		snprintf(told + n + len, sizeof told - n - (size_t)len, " %llx %x; ", (unsigned long long)m->address,
			 m->data);
	else
		snprintf(told + n + len, sizeof told - n - (size_t)len, " off; ");
}

static void on_edge(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	tell("edge", pin, m);
}

static void on_level(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	assert_non_null(m);
	tell("level", pin, m);
}

static void on_send(void *userdata, const struct ioapic_message *m)
{
	tell("send", IOAPIC_PINS, m);
}

static const struct ioapic_ops ops = { on_edge, on_level, on_send };

static struct ioapic *new_chip(void)
{
	struct ioapic *a;

	told[0] = '\0';
	assert_int_equal(ioapic_new(&ops, NULL, &a), 0);
	return a;
}

#define assert_told(text)                                                                                              \
	do {                                                                                                           \
		assert_string_equal(told, text);                                                                       \
		told[0] = '\0';                                                                                        \
	} while (0)

static void put(struct ioapic *a, uint64_t offset, uint64_t v, uint32_t len)
{
	ioapic_bus.write(a, offset, &v, len);
}

static uint64_t get(struct ioapic *a, uint64_t offset, uint32_t len)
{
	uint64_t v = 0;

	ioapic_bus.read(a, offset, &v, len);
	return v;
}

static void set(struct ioapic *a, uint8_t reg, uint32_t v)
{
	put(a, 0, reg, 4);
	put(a, 0x10, v, 4);
}

static uint32_t look(struct ioapic *a, uint8_t reg)
{
	put(a, 0, reg, 4);
	return (uint32_t)get(a, 0x10, 4);
}

static void set_low(struct ioapic *a, unsigned pin, uint32_t v)
{
	set(a, (uint8_t)(0x10 + 2 * pin), v);
}

static void set_high(struct ioapic *a, unsigned pin, uint32_t v)
{
	set(a, (uint8_t)(0x11 + 2 * pin), v);
}

static uint32_t low(struct ioapic *a, unsigned pin)
{
	return look(a, (uint8_t)(0x10 + 2 * pin));
}

static void test_identification(void **state)
{
	struct ioapic *a = new_chip();

	assert_int_equal(look(a, 0), 0);
	assert_int_equal(look(a, 1), 0x170020); /* 24 lines, version 0x20 */
	assert_int_equal(look(a, 2), 0);
	set(a, 0, 0xffffffff);
	assert_int_equal(look(a, 0), 0x0f000000);
	assert_int_equal(look(a, 2), 0x0f000000); /* loaded with the id */
	set(a, 0, 0x05000000);
	set(a, 1, 0xffffffff); /* these two are read-only */
	set(a, 2, 0xffffffff);
	assert_int_equal(look(a, 0), 0x05000000);
	assert_int_equal(look(a, 1), 0x170020);
	assert_int_equal(look(a, 2), 0x05000000);
	assert_told("");
	ioapic_free(a);
}

static void test_all_lines_are_masked_at_first(void **state)
{
	struct ioapic *a = new_chip();

	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		assert_int_equal(low(a, i), MASKED);
		assert_int_equal(look(a, (uint8_t)(0x11 + 2 * i)), 0);
		ioapic_raise(a, i);
	}
	ioapic_raise(a, IOAPIC_PINS);
	assert_told("");
	ioapic_free(a);
}

/* Reserved bits are zero, delivery status and remote IRR are read-only. */
static void test_bits_of_an_entry(void **state)
{
	struct ioapic *a = new_chip();

	for (unsigned bit = 0; bit < 32; bit++) {
		uint32_t v = 1u << bit;

		set_low(a, 23, MASKED | v);
		assert_int_equal(low(a, 23), MASKED | (v & 0x1afff));
		set_high(a, 23, v);
		assert_int_equal(look(a, 0x3f), v & 0xff000000);
	}
	ioapic_free(a);
}

static void test_registers_that_are_not_there(void **state)
{
	struct ioapic *a = new_chip();

	for (unsigned reg = 3; reg < 256; reg = reg == 0xf ? 0x40 : reg + 1) {
		set(a, (uint8_t)reg, 0xffffffff);
		assert_int_equal(look(a, (uint8_t)reg), 0);
	}
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		assert_int_equal(low(a, i), MASKED);
	put(a, 4, 0xff, 4);
	put(a, 0x14, 0xff, 4);
	put(a, 0xffc, 0xff, 4);
	assert_int_equal(get(a, 4, 4), 0);
	assert_int_equal(get(a, 0x14, 4), 0);
	assert_int_equal(get(a, 0x40, 4), 0); /* write-only */
	assert_told("");
	ioapic_free(a);
}

static void test_widths(void **state)
{
	struct ioapic *a = new_chip();

	put(a, 0, 0xffffff13, 4); /* 8 bits count */
	assert_int_equal(get(a, 0, 4), 0x13);
	assert_int_equal(get(a, 0, 1), 0x13);
	put(a, 0x10, 0xab00000012345678ull, 8);
	assert_int_equal(get(a, 0x10, 4), 0x12000000);
	assert_int_equal(get(a, 0x10, 8), 0x12000000);
	put(a, 0, 0x12, 1);
	put(a, 0x10, 0x131, 2);
	assert_int_equal(get(a, 0x10, 4), 0x131);
	assert_int_equal(get(a, 0x10, 2), 0x131);
	assert_int_equal(get(a, 0x10, 1), 0x31);
	put(a, 0x10, 0x31, 1);
	assert_int_equal(get(a, 0x10, 4), 0x31);
	ioapic_free(a);
}

static void test_messages(void **state)
{
	struct ioapic *a = new_chip();

	set_high(a, 4, 0x03000000);
	assert_told(""); /* nothing comes of a masked line, whoever would get it */
	set_low(a, 4, 0x31);
	assert_told("edge 4 fee03000 4031; ");
	set_low(a, 4, 0x31);   /* the same again */
	set_low(a, 4, 0x2031); /* polarity: a pulse has none */
	assert_told("");
	set_low(a, 4, 0x931 | LOGICAL); /* lowest priority, logical */
	assert_told("edge 4 fee03004 4131; ");
	set_high(a, 4, 0xff000000);
	assert_told("edge 4 feeff004 4131; ");
	set_low(a, 4, 0x200); /* SMI */
	assert_told("edge 4 feeff000 4200; ");
	set_low(a, 4, 0x400); /* NMI */
	assert_told("edge 4 feeff000 4400; ");
	set_low(a, 4, 0x500); /* INIT */
	assert_told("edge 4 feeff000 4500; ");
	set_low(a, 4, 0x300); /* reserved */
	assert_told("edge 4 off; ");
	set_low(a, 4, 0x600);
	set_low(a, 4, 0x700); /* ExtINT: there is no 8259 */
	set_low(a, 4, MASKED | 0x31);
	assert_told("");
	set_low(a, 4, 0x400 | LEVEL); /* NMI is edge-triggered whatever is said */
	assert_told("edge 4 feeff000 4400; ");
	set_low(a, 4, MASKED);
	assert_told("edge 4 off; ");
	ioapic_free(a);
}

static void test_edges(void **state)
{
	struct ioapic *a = new_chip();

	set_low(a, 6, MASKED | 0x40);
	ioapic_raise(a, 6); /* ignored, and not kept */
	set_low(a, 6, 0x40);
	assert_told("edge 6 fee00000 4040; ");
	ioapic_raise(a, 6);
	ioapic_raise(a, 6);
	assert_told("send fee00000 4040; send fee00000 4040; ");
	assert_int_equal(low(a, 6), 0x40);
	ioapic_end_of_interrupt(a, 0x40);
	assert_told("");
	ioapic_free(a);
}

static void test_levels(void **state)
{
	struct ioapic *a = new_chip();

	set_low(a, 6, 0x40 | LEVEL);
	assert_told("level 6 fee00000 c040; ");
	ioapic_raise(a, 6);
	assert_told("send fee00000 c040; ");
	assert_int_equal(low(a, 6), 0x40 | LEVEL | REMOTE);
	ioapic_raise(a, 6); /* once more when the guest has ended this one */
	ioapic_raise(a, 6);
	assert_told("");
	ioapic_end_of_interrupt(a, 0x41);
	assert_int_equal(low(a, 6), 0x40 | LEVEL | REMOTE);
	ioapic_end_of_interrupt(a, 0x40);
	assert_told("send fee00000 c040; ");
	assert_int_equal(low(a, 6), 0x40 | LEVEL | REMOTE);
	put(a, 0x40, 0x40, 4); /* by the register */
	assert_int_equal(low(a, 6), 0x40 | LEVEL);
	put(a, 0x40, 0x40, 4);
	assert_told("");
	ioapic_free(a);
}

static void test_masked_levels(void **state)
{
	struct ioapic *a = new_chip();

	set_low(a, 6, MASKED | 0x40 | LEVEL);
	assert_told("level 6 fee00000 c040; ");
	ioapic_raise(a, 6);
	assert_told("");
	set_low(a, 6, 0x40 | LEVEL);
	assert_told("send fee00000 c040; ");
	/* As Linux does it when it moves an interrupt: mask, end, change, unmask. */
	set_low(a, 6, MASKED | 0x40 | LEVEL);
	assert_int_equal(low(a, 6), MASKED | 0x40 | LEVEL | REMOTE);
	ioapic_raise(a, 6);
	ioapic_end_of_interrupt(a, 0x40);
	assert_int_equal(low(a, 6), MASKED | 0x40 | LEVEL);
	assert_told("");
	set_low(a, 6, MASKED | 0x50 | LEVEL);
	set_low(a, 6, 0x50 | LEVEL);
	assert_told("level 6 fee00000 c050; send fee00000 c050; ");
	ioapic_free(a);
}

/* How drivers of chips without the EOI register clear the remote IRR. */
static void test_edge_clears_remote_irr(void **state)
{
	struct ioapic *a = new_chip();

	set_low(a, 6, 0x40 | LEVEL);
	ioapic_raise(a, 6);
	told[0] = '\0';
	set_low(a, 6, MASKED | 0x40);
	assert_told("edge 6 off; ");
	assert_int_equal(low(a, 6), MASKED | 0x40);
	set_low(a, 6, 0x40 | LEVEL);
	assert_told("level 6 fee00000 c040; ");
	assert_int_equal(low(a, 6), 0x40 | LEVEL);
	ioapic_raise(a, 6);
	assert_told("send fee00000 c040; ");
	ioapic_free(a);
}

/* One vector may be that of several lines. */
static void test_one_end_for_all(void **state)
{
	struct ioapic *a = new_chip();

	for (unsigned i = 5; i < 8; i++) {
		set_low(a, i, 0x40 | (i == 7 ? 0 : LEVEL));
		ioapic_raise(a, i);
	}
	ioapic_end_of_interrupt(a, 0x40);
	for (unsigned i = 5; i < 8; i++)
		assert_int_equal(low(a, i), 0x40 | (i == 7 ? 0 : LEVEL));
	ioapic_free(a);
}

static void test_state(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL, *again = NULL;
	struct ioapic *a = new_chip(), *b;
	struct err e = { 0 };

	set(a, 0, 0x05000000);
	set_high(a, 4, 0x02000000);
	set_low(a, 4, 0x31);
	set_low(a, 6, 0x40 | LEVEL);
	ioapic_raise(a, 6);
	ioapic_raise(a, 6);
	set_low(a, 7, MASKED | 0x41 | LEVEL);
	ioapic_raise(a, 7);
	put(a, 0, 0x1c, 4);
	assert_int_equal(state_new(&s), 0);
	ioapic_save(a, s);
	ioapic_free(a);

	b = new_chip();
	assert_int_equal(ioapic_load(b, s, &e), 0);
	/* What was kept is sent at once: the end of the one before may have been lost. */
	assert_told("edge 4 fee02000 4031; level 6 fee00000 c040; send fee00000 c040; level 7 fee00000 c041; ");
	assert_int_equal(get(b, 0x10, 4), 0x40 | LEVEL | REMOTE);
	assert_int_equal(look(b, 0), 0x05000000);
	ioapic_end_of_interrupt(b, 0x40);
	set_low(b, 7, 0x41 | LEVEL);
	assert_told("send fee00000 c041; ");
	assert_int_equal(low(b, 6), 0x40 | LEVEL);
	ioapic_free(b);

	b = new_chip();
	state_put_u64(s, "wanted", 1u << 24);
	assert_int_equal(ioapic_load(b, s, &e), -EINVAL);
	assert_int_equal(state_new(&again), 0);
	assert_int_equal(ioapic_load(b, again, &e), -ENOENT);
	assert_told("");
	ioapic_free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_identification),
		cmocka_unit_test(test_all_lines_are_masked_at_first),
		cmocka_unit_test(test_bits_of_an_entry),
		cmocka_unit_test(test_registers_that_are_not_there),
		cmocka_unit_test(test_widths),
		cmocka_unit_test(test_messages),
		cmocka_unit_test(test_edges),
		cmocka_unit_test(test_levels),
		cmocka_unit_test(test_masked_levels),
		cmocka_unit_test(test_edge_clears_remote_irr),
		cmocka_unit_test(test_one_end_for_all),
		cmocka_unit_test(test_state),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
