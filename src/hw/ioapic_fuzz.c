/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A guest that writes anything to the I/O APIC's registers in any order and width, with pulses, ends of interrupts and
 * saved states in between. Checked, besides what the sanitizers see: that no message is sent but those that
 * the owner was told of; that nothing but the remote IRR changes by a pulse; and that what was saved loads again and
 * reads the same.
 */
#include <stdlib.h>
#include <string.h>

#include "hw/ioapic.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DATA_LEVEL 0x8000u
#define REMOTE_IRR 0x4000u

struct machine {
	struct ioapic *chip;
	struct {
		bool level, open;
		struct ioapic_message m;
	} lines[IOAPIC_PINS];
	unsigned raised; /* the line that is raised just now; IOAPIC_PINS: none */
};

static bool equal(const struct ioapic_message *a, const struct ioapic_message *b)
{
	return a->address == b->address && a->data == b->data;
}

static void on_edge(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	struct machine *k = userdata;

	if (pin >= IOAPIC_PINS || (m && m->data & DATA_LEVEL))
		abort();
	k->lines[pin].level = false;
	k->lines[pin].open = m;
	if (m)
		k->lines[pin].m = *m;
}

static void on_level(void *userdata, unsigned pin, const struct ioapic_message *m)
{
	struct machine *k = userdata;

	if (pin >= IOAPIC_PINS || !m || !(m->data & DATA_LEVEL))
		abort();
	k->lines[pin].level = true;
	k->lines[pin].m = *m;
}

static void on_send(void *userdata, const struct ioapic_message *m)
{
	struct machine *k = userdata;

	if (m->address >> 20 != 0xfee || m->address & 0xffb || m->data & ~0xc7ffu)
		abort();
	/* Some line is set up like that: the raised one, if it is an edge. */
	if (!(m->data & DATA_LEVEL)) {
		if (k->raised >= IOAPIC_PINS || k->lines[k->raised].level || !k->lines[k->raised].open ||
		    !equal(m, &k->lines[k->raised].m))
			abort();
		return;
	}
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (k->lines[i].level && equal(m, &k->lines[i].m))
			return;
	abort();
}

static const struct ioapic_ops ops = { on_edge, on_level, on_send };

static uint32_t look(struct ioapic *a, unsigned reg)
{
	uint32_t select = reg, v = 0;

	ioapic_bus.write(a, 0, &select, 4);
	ioapic_bus.read(a, 0x10, &v, 4);
	return v;
}

static void start(struct machine *k)
{
	memset(k, 0, sizeof *k);
	k->raised = IOAPIC_PINS;
	if (ioapic_new(&ops, k, &k->chip) < 0)
		abort();
}

static void raise_line(struct machine *k, unsigned pin)
{
	uint32_t before, after;
	unsigned n = pin % IOAPIC_PINS;

	before = look(k->chip, 0x10 + 2 * n);
	k->raised = n;
	ioapic_raise(k->chip, n);
	k->raised = IOAPIC_PINS;
	after = look(k->chip, 0x10 + 2 * n);
	/* Only the remote IRR changes, and it comes up when the line may speak. */
	if ((before ^ after) & ~REMOTE_IRR || (before & ~after) || (after & REMOTE_IRR && !k->lines[n].level) ||
	    (k->lines[n].level && !(before & 0x10000) && !(after & REMOTE_IRR)))
		abort();
}

/* To another chip, which must take it. */
static void move(struct machine *k)
{
	struct machine other;
	struct state *s;

	start(&other);
	if (state_new(&s) < 0)
		abort();
	ioapic_save(k->chip, s);
	if (ioapic_load(other.chip, s, NULL) != 0)
		abort();
	state_free(s);
	for (unsigned i = 0; i < 0x40; i++)
		if ((look(k->chip, i) ^ look(other.chip, i)) & ~(i & 1 ? 0u : REMOTE_IRR))
			abort();
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		if (k->lines[i].level != other.lines[i].level ||
		    (!k->lines[i].level && k->lines[i].open != other.lines[i].open) ||
		    ((k->lines[i].level || k->lines[i].open) && !equal(&k->lines[i].m, &other.lines[i].m)))
			abort();
	ioapic_free(other.chip);
}

/* A saved state with a wrong value is refused or taken, and nothing worse. */
static void load_strange(struct machine *k, const uint8_t *op)
{
	static const char *const numbers[] = { "select", "id", "wanted" };
	uint8_t table[IOAPIC_PINS * 8];
	struct machine other;
	struct state *s;
	uint64_t v;

	start(&other);
	if (state_new(&s) < 0)
		abort();
	ioapic_save(k->chip, s);
	memcpy(&v, op, sizeof v);
	for (size_t i = 0; i < sizeof table; i++)
		table[i] = op[i % 8];
	if (op[1] & 1)
		state_put_bytes(s, "table", table, op[2] & 1 ? sizeof table : op[3] % sizeof table);
	else
		state_put_u64(s, numbers[op[2] % 3], v >> op[3] % 64);
	ioapic_load(other.chip, s, NULL);
	raise_line(&other, op[4]);
	state_free(s);
	ioapic_free(other.chip);
}

static void step(struct machine *k, const uint8_t *op)
{
	static const uint16_t registers[] = { 0, 0x10, 0x10, 0x10, 0x40, 4, 0x14, 0xff8 };
	uint32_t len = 1u << (op[0] >> 6);
	uint64_t v;

	memcpy(&v, op, sizeof v);
	v >>= 16;
	switch (op[0] & 15) {
	case 0:
		move(k);
		break;
	case 1:
		load_strange(k, op);
		break;
	case 2:
	case 3:
		raise_line(k, op[1]);
		break;
	case 4:
		ioapic_end_of_interrupt(k->chip, op[1]);
		break;
	case 5:
		ioapic_bus.read(k->chip, registers[op[1] & 7], &v, len);
		break;
	case 6:
	case 7:
	case 8: /* a register of the table, so that something comes of it */
		look(k->chip, 0x10 + op[1] % 48);
		ioapic_bus.write(k->chip, 0x10, &v, 4);
		break;
	default:
		ioapic_bus.write(k->chip, registers[op[1] & 7], &v, len);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct machine k;

	start(&k);
	for (size_t i = 0; i + 8 <= size && i < 4096; i += 8)
		step(&k, data + i);
	ioapic_free(k.chip);
	return 0;
}
