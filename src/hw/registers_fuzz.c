/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes anything to the registers of the small devices, in any order and width, with events, time and
 * saved states in between. Checked: no access outside of them (ASan), no undefined arithmetic (UBSan), and that what
 * was saved loads again.
 */
#include <stdlib.h>
#include <string.h>

#include "hw/acpi_events_device.h"
#include "hw/i8042.h"
#include "hw/pl031.h"
#include "hw/pl061.h"
#include "hw/pvpanic.h"
#include "hw/rtc.h"
#include "hw/serial.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct machine {
	struct loop *loop;
	struct bus *bus;
	struct serial *serial;
	struct i8042 *keyboard;
	struct rtc *rtc;
	struct pl031 *clock;
	struct pl061 *gpio;
	struct acpi_events *events;
	struct pvpanic pvpanic;
};

static void nothing(void *userdata)
{
}

static void nothing_much(void *userdata, uint32_t what)
{
	if (what == 0xffffffff)
		abort(); /* there is no such CPU; slots have a bit 0 that is never up */
}

static void told(void *userdata, unsigned events)
{
	if (!events || events > 3)
		abort();
}

static const struct acpi_events_ops ops = { nothing_much, NULL, nothing, nothing };

static void start(struct machine *m)
{
	if (loop_new(&m->loop, NULL) < 0 || bus_new(&m->bus) < 0 || serial_new(m->loop, -1, -1, -1, &m->serial) < 0 ||
	    i8042_new(-1, nothing, NULL, &m->keyboard) < 0 || rtc_new(m->loop, -1, &m->rtc) < 0 ||
	    pl031_new(m->loop, -1, &m->clock) < 0 || pl061_new(m->loop, -1, &m->gpio) < 0 ||
	    acpi_events_new(-1, 2, 7, &ops, NULL, &m->events) < 0)
		abort();
	m->pvpanic.told = told;
	bus_add(m->bus, 0x00, SERIAL_PORTS, &serial_bus, m->serial, m->loop);
	bus_add(m->bus, 0x10, I8042_PORTS, &i8042_bus, m->keyboard, m->loop);
	bus_add(m->bus, 0x20, RTC_PORTS, &rtc_bus, m->rtc, m->loop);
	bus_add(m->bus, 0x30, 1, &pvpanic_bus, &m->pvpanic, m->loop);
	bus_add(m->bus, 0x40, ACPI_POWER_PORTS, &acpi_power_bus, m->events, m->loop);
	bus_add(m->bus, 0x1000, ACPI_EVENTS_SIZE, &acpi_events_bus, m->events, m->loop);
	bus_add(m->bus, 0x2000, PL031_SIZE, &pl031_bus, m->clock, m->loop);
	bus_add(m->bus, 0x3000, PL061_SIZE, &pl061_bus, m->gpio, m->loop);
}

static void stop(struct machine *m)
{
	bus_free(m->bus);
	serial_free(m->serial);
	i8042_free(m->keyboard);
	rtc_free(m->rtc);
	pl031_free(m->clock);
	pl061_free(m->gpio);
	acpi_events_free(m->events);
	loop_free(m->loop);
}

static void save(struct machine *m, struct state *s)
{
	serial_save(m->serial, state_child(s, "serial"));
	i8042_save(m->keyboard, state_child(s, "keyboard"));
	rtc_save(m->rtc, state_child(s, "rtc"));
	pl031_save(m->clock, state_child(s, "clock"));
	pl061_save(m->gpio, state_child(s, "gpio"));
	acpi_events_save(m->events, state_child(s, "events"));
}

static int load(struct machine *m, const struct state *s)
{
	int r = serial_load(m->serial, state_get_child(s, "serial", NULL), NULL);

	r |= i8042_load(m->keyboard, state_get_child(s, "keyboard", NULL), NULL);
	r |= rtc_load(m->rtc, state_get_child(s, "rtc", NULL), NULL);
	r |= pl031_load(m->clock, state_get_child(s, "clock", NULL), NULL);
	r |= pl061_load(m->gpio, state_get_child(s, "gpio", NULL), NULL);
	return r | acpi_events_load(m->events, state_get_child(s, "events", NULL), NULL);
}

/* To another machine, which must take it. */
static void move(struct machine *m)
{
	struct machine other = { 0 };
	struct state *s;

	if (state_new(&s) < 0)
		abort();
	save(m, s);
	start(&other);
	if (load(&other, s) != 0)
		abort();
	state_free(s);
	stop(m);
	*m = other;
	/* The bus knows the panic port by its address. */
	bus_remove(m->bus, 0x30);
	bus_add(m->bus, 0x30, 1, &pvpanic_bus, &m->pvpanic, m->loop);
}

/* A saved state with a wrong value is refused or taken, and nothing worse. */
static void load_strange(struct machine *m, const uint8_t *op)
{
	static const char *const parts[] = { "serial", "keyboard", "rtc", "clock", "events", "gpio" };
	static const char *const bytes[] = { "registers", "received", "queue", "memory", "cpus" };
	static const char *const numbers[] = { "index", "offset", "pending", "selected", "pci-up",
					       "match", "armed",  "pressed", "edges" };
	struct state *s, *part;
	uint8_t blob[256];
	uint64_t v;

	if (state_new(&s) < 0)
		abort();
	save(m, s);
	part = state_child(s, parts[op[1] % 6]);
	memset(blob, op[4], sizeof blob);
	memcpy(&v, op, sizeof v);
	if (op[2] & 1)
		state_put_bytes(part, bytes[op[3] % 5], blob, op[5]);
	else
		state_put_u64(part, numbers[op[3] % 9], v);
	load(m, s);
	state_free(s);
}

static void step(struct machine *m, const uint8_t *op)
{
	uint32_t len = 1u << (op[0] >> 6);
	uint64_t v, addr = op[1];
	char text[64];

	if (addr & 0x80)
		addr = 0x1000 * (1 + addr / 32 % 4 % 3u) + ((op[1] & 0x0fu) << 8 | (op[2] & 0xfcu));
	memcpy(&v, op, sizeof v);
	switch (op[0] & 15) {
	case 0:
		move(m);
		break;
	case 1:
		load_strange(m, op);
		break;
	case 2:
		acpi_events_insert_cpu(m->events, op[1] & 15);
		acpi_events_remove_cpu(m->events, op[2] & 15);
		break;
	case 3:
		acpi_events_insert_pci(m->events, op[1]);
		acpi_events_remove_pci(m->events, op[2]);
		break;
	case 4:
		i8042_ctrl_alt_del(m->keyboard);
		pl061_press(m->gpio);
		break;
	case 5:
		loop_run_once(m->loop, 0);
		serial_tail(m->serial, text, 1 + op[1] % sizeof text);
		break;
	case 6:
	case 7:
	case 8:
		bus_read(m->bus, addr, &v, len);
		break;
	default:
		v >>= 16;
		bus_write(m->bus, addr, &v, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine m = { 0 };

	start(&m);
	for (size_t i = 0; i + 8 <= size && i < 4096; i += 8)
		step(&m, data + i);
	stop(&m);
	return 0;
}
