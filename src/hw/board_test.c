/* SPDX-License-Identifier: Apache-2.0 */
/* The small devices of a PC: clock, keyboard controller, panic port, ACPI events, generation id. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include <cmocka.h>

#include "base/fd.h"
#include "hw/acpi_events_device.h"
#include "hw/i8042.h"
#include "hw/pvpanic.h"
#include "hw/rtc.h"
#include "hw/vmgenid.h"
#include "state/state.h"

static uint32_t get(const struct bus_handler *h, void *device, uint64_t offset, uint32_t len)
{
	uint32_t v = 0;

	h->read(device, offset, &v, len);
	return v;
}

static void put(const struct bus_handler *h, void *device, uint64_t offset, uint32_t v, uint32_t len)
{
	h->write(device, offset, &v, len);
}

static uint64_t edges(int irq)
{
	uint64_t n = 0;

	return read(irq, &n, sizeof n) == sizeof n ? n : 0;
}

static int new_irq(void)
{
	return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

/* ---- clock ---- */

static uint8_t cmos(struct rtc *rtc, uint8_t reg)
{
	put(&rtc_bus, rtc, 0, reg, 1);
	return (uint8_t)get(&rtc_bus, rtc, 1, 1);
}

static void set_cmos(struct rtc *rtc, uint8_t reg, uint8_t v)
{
	put(&rtc_bus, rtc, 0, reg, 1);
	put(&rtc_bus, rtc, 1, v, 1);
}

static int bcd(uint8_t v)
{
	return (v >> 4) * 10 + (v & 15);
}

/* The clock as a driver reads it: again until no second passed meanwhile. */
static time_t clock_time(struct rtc *rtc)
{
	struct tm tm;

	do
		tm = (struct tm){ .tm_sec = bcd(cmos(rtc, 0)),
				  .tm_min = bcd(cmos(rtc, 2)),
				  .tm_hour = bcd(cmos(rtc, 4)),
				  .tm_mday = bcd(cmos(rtc, 7)),
				  .tm_mon = bcd(cmos(rtc, 8)) - 1,
				  .tm_year = bcd(cmos(rtc, 9)) + bcd(cmos(rtc, 0x32)) * 100 - 1900 };
	while (tm.tm_sec != bcd(cmos(rtc, 0)));
	return timegm(&tm);
}

static void assert_between(time_t before, time_t t, time_t after)
{
	assert_true(before <= t && t <= after);
}

static void test_clock_is_right(void **state)
{
	struct loop *loop;
	struct rtc *rtc;
	time_t before;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(rtc_new(loop, -1, &rtc), 0);
	before = time(NULL);
	assert_between(before, clock_time(rtc), time(NULL));
	assert_int_equal(cmos(rtc, 0xd), 0x80);
	assert_int_equal(cmos(rtc, 0xb), 2);
	/* Memory. The top bit of the index is not part of it. */
	set_cmos(rtc, 0x8f, 0x12);
	assert_int_equal(cmos(rtc, 0x0f), 0x12);
	assert_int_equal(get(&rtc_bus, rtc, 0, 1), 0xff);
	rtc_free(rtc);
	rtc_free(NULL);
	loop_free(loop);
}

static void test_clock_can_be_set(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct tm tm = { .tm_year = 130, .tm_mon = 1, .tm_mday = 3, .tm_hour = 16, .tm_min = 5, .tm_sec = 6 };
	struct rtc *rtc, *back;
	struct loop *loop;
	time_t t;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(rtc_new(loop, -1, &rtc), 0);
	set_cmos(rtc, 0xb, 0x82);
	set_cmos(rtc, 0, 0x06);
	set_cmos(rtc, 2, 0x05);
	set_cmos(rtc, 4, 0x16);
	set_cmos(rtc, 7, 0x03);
	set_cmos(rtc, 8, 0x02);
	set_cmos(rtc, 9, 0x30);
	set_cmos(rtc, 0x32, 0x20);
	t = timegm(&tm);
	assert_int_equal(cmos(rtc, 0), 6); /* it stands still meanwhile */
	set_cmos(rtc, 0xb, 2);
	assert_between(t, clock_time(rtc), t + 100);
	assert_int_equal(cmos(rtc, 6), 1); /* a Sunday */
	/* 12 hours and binary: half past eleven at night. */
	set_cmos(rtc, 0xb, 4);
	set_cmos(rtc, 4, 0x80 | 11);
	assert_int_equal(cmos(rtc, 4), 0x80 | 11);
	set_cmos(rtc, 0xb, 2);
	assert_int_equal(cmos(rtc, 4), 0x23);

	assert_int_equal(state_new(&s), 0);
	rtc_save(rtc, s);
	assert_int_equal(rtc_new(loop, -1, &back), 0);
	assert_int_equal(rtc_load(back, s, NULL), 0);
	assert_int_equal(cmos(back, 4), 0x23);
	rtc_free(rtc);
	rtc_free(back);
	loop_free(loop);
}

static void test_clock_interrupts(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	int irq = new_irq();
	struct rtc *rtc, *back;
	struct loop *loop;

	assert_int_equal(loop_new(&loop, NULL), 0);
	assert_int_equal(rtc_new(loop, irq, &rtc), 0);
	set_cmos(rtc, 0xb, 0x12); /* at every second */
	while (!edges(irq))
		assert_int_equal(loop_run_once(loop, 2000), 0);
	assert_int_equal(cmos(rtc, 0xc) & 0x90, 0x90);
	assert_int_equal(cmos(rtc, 0xc), 0);
	for (int i = 1; i <= 5; i += 2)
		set_cmos(rtc, (uint8_t)i, 0xff); /* an alarm at any time */
	set_cmos(rtc, 0xb, 0x22);
	while (!edges(irq))
		assert_int_equal(loop_run_once(loop, 2000), 0);
	/* Saved before the guest has heard of it: it does so there. */
	assert_int_equal(state_new(&s), 0);
	rtc_save(rtc, s);
	assert_int_equal(rtc_new(loop, irq, &back), 0);
	assert_int_equal(rtc_load(back, s, NULL), 0);
	assert_int_equal(edges(irq), 1);
	assert_int_equal(cmos(back, 0xc) & 0xa0, 0xa0);
	rtc_free(back);
	assert_int_equal(cmos(rtc, 0xc) & 0xa0, 0xa0);
	rtc_free(rtc);
	loop_free(loop);
	close(irq);
}

/* ---- keyboard controller ---- */

static void count(void *userdata)
{
	++*(unsigned *)userdata;
}

static const char *answers(struct i8042 *k)
{
	static char text[128];

	text[0] = '\0';
	for (size_t n = 0; get(&i8042_bus, k, 4, 1) & 1; n = strlen(text))
		snprintf(text + n, sizeof text - n, "%02x ", get(&i8042_bus, k, 0, 1));
	return text;
}

static void test_keyboard_commands(void **state)
{
	unsigned resets = 0;
	int irq = new_irq();
	struct i8042 *k;

	assert_int_equal(i8042_new(irq, count, &resets, &k), 0);
	put(&i8042_bus, k, 4, 0xaa, 1);
	assert_string_equal(answers(k), "55 ");
	put(&i8042_bus, k, 4, 0xab, 1);
	assert_string_equal(answers(k), "00 ");
	put(&i8042_bus, k, 4, 0xa9, 1);
	assert_string_equal(answers(k), "ff ");
	put(&i8042_bus, k, 4, 0x20, 1);
	assert_string_equal(answers(k), "64 ");
	assert_int_equal(edges(irq), 0);
	put(&i8042_bus, k, 4, 0x60, 1);
	assert_int_equal(get(&i8042_bus, k, 4, 1), 0x1c);
	put(&i8042_bus, k, 0, 0x45, 1);
	put(&i8042_bus, k, 0, 0xf2, 1); /* which keyboard? */
	assert_string_equal(answers(k), "fa ab 41 ");
	assert_int_equal(edges(irq), 3);
	put(&i8042_bus, k, 0, 0xed, 1);
	put(&i8042_bus, k, 0, 7, 1);
	assert_string_equal(answers(k), "fa fa ");
	put(&i8042_bus, k, 0, 0xff, 1);
	assert_string_equal(answers(k), "fa aa ");
	put(&i8042_bus, k, 0, 0xf0, 1);
	put(&i8042_bus, k, 0, 0, 1);
	assert_string_equal(answers(k), "fa fa 02 ");
	put(&i8042_bus, k, 0, 0xee, 1);
	assert_string_equal(answers(k), "ee ");
	put(&i8042_bus, k, 4, 0xd4, 1); /* for the mouse, which is not there */
	put(&i8042_bus, k, 0, 0xff, 1);
	assert_string_equal(answers(k), "");
	assert_int_equal(get(&i8042_bus, k, 1, 1), 0x20);
	assert_int_equal(resets, 0);
	put(&i8042_bus, k, 4, 0xfe, 1);
	assert_int_equal(resets, 1);
	put(&i8042_bus, k, 4, 0xd1, 1);
	put(&i8042_bus, k, 0, 2, 1);
	assert_int_equal(resets, 2);
	i8042_free(k);
	close(irq);
}

static void test_ctrl_alt_del(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct i8042 *k, *back;

	assert_int_equal(i8042_new(-1, NULL, NULL, &k), 0);
	assert_int_equal(i8042_ctrl_alt_del(k), 0);
	assert_int_equal(state_new(&s), 0);
	i8042_save(k, s);
	assert_string_equal(answers(k), "1d 38 e0 53 e0 d3 b8 9d ");
	assert_int_equal(i8042_new(-1, NULL, NULL, &back), 0);
	assert_int_equal(i8042_load(back, s, NULL), 0);
	assert_string_equal(answers(back), "1d 38 e0 53 e0 d3 b8 9d ");
	put(&i8042_bus, k, 4, 0x60, 1);
	put(&i8042_bus, k, 0, 0x05, 1); /* no translation */
	assert_int_equal(i8042_ctrl_alt_del(k), 0);
	assert_string_equal(answers(k), "14 11 e0 71 e0 f0 71 f0 11 f0 14 ");
	for (int i = 0; i < 2; i++)
		assert_int_equal(i8042_ctrl_alt_del(k), 0);
	assert_int_equal(i8042_ctrl_alt_del(k), -EBUSY);
	i8042_free(k);
	i8042_free(back);
}

/* ---- panic ---- */

static void on_panic(void *userdata, unsigned events)
{
	*(unsigned *)userdata |= events;
}

static void test_pvpanic(void **state)
{
	unsigned told = 0;
	struct pvpanic p = { on_panic, &told };

	assert_int_equal(get(&pvpanic_bus, &p, 0, 1), 3);
	put(&pvpanic_bus, &p, 0, 4, 1);
	assert_int_equal(told, 0);
	put(&pvpanic_bus, &p, 0, 1, 1);
	assert_int_equal(told, PVPANIC_PANICKED);
}

/* ---- ACPI ---- */

struct acpi_log {
	unsigned off, reset;
	uint32_t cpu, slots;
};

static void on_cpu(void *userdata, uint32_t cpu)
{
	((struct acpi_log *)userdata)->cpu = cpu;
}

static void on_slots(void *userdata, uint32_t slots)
{
	((struct acpi_log *)userdata)->slots = slots;
}

static void on_off(void *userdata)
{
	((struct acpi_log *)userdata)->off++;
}

static void on_reset(void *userdata)
{
	((struct acpi_log *)userdata)->reset++;
}

static const struct acpi_events_ops log_ops = { on_cpu, on_slots, on_off, on_reset };

static void test_acpi_cpus(void **state)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	struct acpi_log log = { 0 };
	struct acpi_events *d, *back;
	int irq = new_irq();

	assert_int_equal(acpi_events_new(irq, 1, 3, &log_ops, &log, &d), 0);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, 1), ACPI_CPU_ENABLED);
	acpi_events_insert_cpu(d, 0);
	acpi_events_insert_cpu(d, 3);
	acpi_events_remove_cpu(d, 1);
	assert_int_equal(edges(irq), 0);
	acpi_events_insert_cpu(d, 2);
	assert_int_equal(edges(irq), 1);
	assert_int_equal(state_new(&s), 0);
	acpi_events_save(d, s);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PENDING, 1), ACPI_EVENT_CPU);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PENDING, 1), 0);
	put(&acpi_events_bus, d, ACPI_EVENTS_CPU_SEL, 2, 4);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, 1), ACPI_CPU_ENABLED | ACPI_CPU_INSERTED);
	put(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, ACPI_CPU_INSERTED, 1);
	acpi_events_remove_cpu(d, 2);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, 1), ACPI_CPU_ENABLED | ACPI_CPU_REMOVE);
	put(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, ACPI_CPU_EJECT, 1);
	assert_int_equal(log.cpu, 2);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, 1), 0);
	put(&acpi_events_bus, d, ACPI_EVENTS_CPU_SEL, 3, 4);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_CPU_FLAGS, 1), 0);

	edges(irq);
	assert_int_equal(acpi_events_new(irq, 1, 3, &log_ops, &log, &back), 0);
	assert_int_equal(acpi_events_load(back, s, NULL), 0);
	assert_int_equal(edges(irq), 1);
	assert_int_equal(get(&acpi_events_bus, back, ACPI_EVENTS_PENDING, 1), ACPI_EVENT_CPU);
	acpi_events_free(d);
	acpi_events_free(back);
	close(irq);
}

static void test_acpi_pci_and_power(void **state)
{
	struct acpi_log log = { 0 };
	struct acpi_events *d;

	assert_int_equal(acpi_events_new(-1, 1, 1, &log_ops, &log, &d), 0);
	acpi_events_insert_pci(d, 1u << 31);
	acpi_events_remove_pci(d, 2);
	acpi_events_raise(d, ACPI_EVENT_POWER_BUTTON);
	assert_int_equal(get(&acpi_events_bus, d, 0, 1), ACPI_EVENT_PCI | ACPI_EVENT_POWER_BUTTON);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PCI_UP, 2), 0); /* of the wrong width */
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PCI_UP, 4), 1u << 31);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PCI_UP, 4), 0);
	assert_int_equal(get(&acpi_events_bus, d, ACPI_EVENTS_PCI_DOWN, 4), 2);
	put(&acpi_events_bus, d, ACPI_EVENTS_PCI_EJECT, 2, 4);
	assert_int_equal(log.slots, 2);

	put(&acpi_power_bus, d, 0, 2, 1);
	put(&acpi_power_bus, d, 1, 0x20, 1);
	assert_int_equal(log.reset + log.off, 0);
	put(&acpi_power_bus, d, 0, 1, 1);
	assert_int_equal(log.reset, 1);
	put(&acpi_power_bus, d, 1, 5 << 2 | 0x20, 1);
	assert_int_equal(log.off, 1);
	assert_int_equal(get(&acpi_power_bus, d, 2, 1), 0);
	acpi_events_free(d);
}

static void test_generation_ids_differ(void **state)
{
	uint8_t ram[64] __attribute__((aligned(8))) = { 0 }, first[16];
	struct guestmem *mem;

	assert_int_equal(guestmem_new(&mem), 0);
	assert_int_equal(guestmem_add_buffer(mem, 0x1000, sizeof ram, ram), 0);
	assert_int_equal(vmgenid_renew(mem, 0x1000), 0);
	memcpy(first, ram, 16);
	assert_int_equal(vmgenid_renew(mem, 0x1000), 0);
	assert_memory_not_equal(ram, first, 16);
	assert_int_equal(ram[16], 0);
	assert_int_equal(vmgenid_renew(mem, 0x2000), -EFAULT);
	guestmem_free(mem);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_clock_is_right),
		cmocka_unit_test(test_clock_can_be_set),
		cmocka_unit_test(test_clock_interrupts),
		cmocka_unit_test(test_keyboard_commands),
		cmocka_unit_test(test_ctrl_alt_del),
		cmocka_unit_test(test_pvpanic),
		cmocka_unit_test(test_acpi_cpus),
		cmocka_unit_test(test_acpi_pci_and_power),
		cmocka_unit_test(test_generation_ids_differ),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
