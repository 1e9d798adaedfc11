/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of sections are those of the 82093AA's data sheet (Intel 290566-001). */
#include "hw/ioapic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "guestmem/le.h"
#include "state/state.h"

/* §3.1, and the register of newer chips. */
#define IOREGSEL 0x00
#define IOWIN    0x10
#define EOI      0x40

/* §3.2 */
#define REG_ID          0x00
#define REG_VERSION     0x01
#define REG_ARBITRATION 0x02
#define REG_TABLE       0x10 /* two registers for each line */
#define REG_TABLE_END   (REG_TABLE + 2 * IOAPIC_PINS)

#define VERSION 0x20
#define ID_MASK 0x0f000000u

/* §3.2.4 */
#define ENTRY_VECTOR      0xffull
#define ENTRY_MODE        (7ull << 8)
#define ENTRY_LOGICAL     (1ull << 11)
#define ENTRY_REMOTE_IRR  (1ull << 14)
#define ENTRY_LEVEL       (1ull << 15)
#define ENTRY_MASKED      (1ull << 16)
#define ENTRY_DESTINATION (0xffull << 56)
#define ENTRY_POLARITY    (1ull << 13)
#define ENTRY_WRITABLE                                                                                                 \
	(ENTRY_VECTOR | ENTRY_MODE | ENTRY_LOGICAL | ENTRY_POLARITY | ENTRY_LEVEL | ENTRY_MASKED | ENTRY_DESTINATION)
/* Delivery status (bit 12) is always idle: a message is gone when it is sent. */

enum { MODE_FIXED = 0, MODE_LOWEST = 1, MODE_SMI = 2, MODE_NMI = 4, MODE_INIT = 5, MODE_EXTINT = 7 };

/* A message's address and data: Intel SDM 3A §11.11. */
#define MESSAGE_ADDRESS     0xfee00000u
#define MESSAGE_DESTINATION 12 /* bit of the address */
#define MESSAGE_LOGICAL     (1u << 2)
#define MESSAGE_ASSERT      (1u << 14)
#define MESSAGE_LEVEL       (1u << 15)

struct ioapic {
	const struct ioapic_ops *ops;
	void *userdata;
	uint8_t select;
	uint32_t id;
	uint64_t table[IOAPIC_PINS];
	uint32_t wanted; /* bit n: line n, level-triggered, was raised and the guest was not told yet */
};

static unsigned mode_of(uint64_t entry)
{
	return (unsigned)(entry & ENTRY_MODE) >> 8;
}

/* The other modes are edge-triggered whatever the entry says. */
static bool is_level(uint64_t entry)
{
	return entry & ENTRY_LEVEL && mode_of(entry) <= MODE_LOWEST;
}

/* Does a pulse make a message? ExtINT asks for a vector from an 8259, which is not there; two modes are reserved. */
static bool is_open(uint64_t entry)
{
	unsigned mode = mode_of(entry);

	return !(entry & ENTRY_MASKED) && (mode <= MODE_SMI || mode == MODE_NMI || mode == MODE_INIT);
}

static struct ioapic_message message_of(uint64_t entry)
{
	uint32_t destination = (uint32_t)(entry >> 56);

	return (struct ioapic_message){
		.address = MESSAGE_ADDRESS | destination << MESSAGE_DESTINATION |
			   (entry & ENTRY_LOGICAL ? MESSAGE_LOGICAL : 0),
		.data = (uint32_t)(entry & (ENTRY_VECTOR | ENTRY_MODE)) | MESSAGE_ASSERT |
			(is_level(entry) ? MESSAGE_LEVEL : 0),
	};
}

/* Send what waits, if it may. */
static void serve(struct ioapic *a, unsigned pin)
{
	uint64_t *entry = &a->table[pin];
	struct ioapic_message m = message_of(*entry);

	if (!(a->wanted >> pin & 1) || !is_level(*entry) || *entry & (ENTRY_MASKED | ENTRY_REMOTE_IRR))
		return;
	a->wanted &= ~(1u << pin);
	*entry |= ENTRY_REMOTE_IRR;
	a->ops->send(a->userdata, &m);
}

/* Tell the owner, if anything has changed for him. */
static void tell(struct ioapic *a, unsigned pin, uint64_t old)
{
	uint64_t entry = a->table[pin];
	struct ioapic_message m = message_of(entry), was = message_of(old);
	bool same = is_level(entry) == is_level(old) && m.address == was.address && m.data == was.data;

	if (is_level(entry)) {
		if (!same)
			a->ops->level(a->userdata, pin, &m);
	} else if (is_level(old) || is_open(entry) != is_open(old) || (is_open(entry) && !same)) {
		a->ops->edge(a->userdata, pin, is_open(entry) ? &m : NULL);
	}
}

static void set_entry(struct ioapic *a, unsigned pin, uint64_t v)
{
	uint64_t old = a->table[pin], entry = (v & ENTRY_WRITABLE) | (old & ENTRY_REMOTE_IRR);

	/* It has no meaning for an edge. Drivers of chips without the EOI register use that to clear it. */
	if (!is_level(entry))
		entry &= ~ENTRY_REMOTE_IRR;
	a->table[pin] = entry;
	tell(a, pin, old);
	serve(a, pin);
}

void ioapic_raise(struct ioapic *a, unsigned pin)
{
	struct ioapic_message m;

	if (pin >= IOAPIC_PINS)
		return;
	if (is_level(a->table[pin])) {
		a->wanted |= 1u << pin;
		serve(a, pin);
	} else if (is_open(a->table[pin])) {
		m = message_of(a->table[pin]);
		a->ops->send(a->userdata, &m);
	}
}

void ioapic_end_of_interrupt(struct ioapic *a, uint8_t vector)
{
	for (unsigned i = 0; i < IOAPIC_PINS; i++) {
		if (!(a->table[i] & ENTRY_REMOTE_IRR) || (a->table[i] & ENTRY_VECTOR) != vector)
			continue;
		a->table[i] &= ~ENTRY_REMOTE_IRR;
		serve(a, i);
	}
}

static uint32_t read_register(const struct ioapic *a)
{
	uint64_t entry;

	switch (a->select) {
	case REG_ID:
	case REG_ARBITRATION: /* loaded when the id is written, and there is no bus on which it would turn */
		return a->id;
	case REG_VERSION:
		return VERSION | (IOAPIC_PINS - 1) << 16;
	}
	if (a->select < REG_TABLE || a->select >= REG_TABLE_END)
		return 0;
	entry = a->table[(a->select - REG_TABLE) / 2];
	return (uint32_t)(a->select & 1 ? entry >> 32 : entry);
}

static void write_register(struct ioapic *a, uint32_t v)
{
	unsigned pin = (a->select - REG_TABLE) / 2u;

	if (a->select == REG_ID) {
		a->id = v & ID_MASK;
	} else if (a->select >= REG_TABLE && a->select < REG_TABLE_END) {
		uint64_t entry = a->table[pin];

		set_entry(a, pin,
			  a->select & 1 ? (entry & UINT32_MAX) | (uint64_t)v << 32 : (entry & ~0xffffffffull) | v);
	}
}

/* Registers are 32 bits wide (§3.1); of a narrower access the rest is zero, of a wider one it is lost. */
static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	const struct ioapic *a = device;
	le64 v = le64_of(offset == IOREGSEL ? a->select : offset == IOWIN ? read_register(a) : 0);

	memcpy(data, &v, len);
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct ioapic *a = device;
	le32 v = { 0 };

	memcpy(&v, data, len < sizeof v ? len : sizeof v);
	if (offset == IOREGSEL)
		a->select = (uint8_t)le32_get(v);
	else if (offset == IOWIN)
		write_register(a, le32_get(v));
	else if (offset == EOI)
		ioapic_end_of_interrupt(a, (uint8_t)le32_get(v));
}

const struct bus_handler ioapic_bus = { bus_in, bus_out };

int ioapic_new(const struct ioapic_ops *ops, void *userdata, struct ioapic **ret)
{
	struct ioapic *a = calloc(1, sizeof *a);

	if (!a)
		return -ENOMEM;
	a->ops = ops;
	a->userdata = userdata;
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		a->table[i] = ENTRY_MASKED;
	*ret = a;
	return 0;
}

void ioapic_free(struct ioapic *a)
{
	free(a);
}

void ioapic_save(const struct ioapic *a, struct state *s)
{
	le64 table[IOAPIC_PINS];

	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		table[i] = le64_of(a->table[i]);
	state_put_u64(s, "select", a->select);
	state_put_u64(s, "id", a->id);
	state_put_u64(s, "wanted", a->wanted);
	state_put_bytes(s, "table", table, sizeof table);
}

int ioapic_load(struct ioapic *a, const struct state *s, struct err *e)
{
	le64 table[IOAPIC_PINS];
	uint64_t select, id, wanted;
	int r = state_get_max(s, "select", UINT8_MAX, &select, e);

	if (r == 0)
		r = state_get_max(s, "id", UINT32_MAX, &id, e);
	if (r == 0)
		r = state_get_max(s, "wanted", (1u << IOAPIC_PINS) - 1, &wanted, e);
	if (r == 0)
		r = state_get_bytes(s, "table", table, sizeof table, e);
	if (r < 0)
		return r;
	a->select = (uint8_t)select;
	a->id = (uint32_t)id & ID_MASK;
	a->wanted = (uint32_t)wanted;
	/*
	 * Without the remote IRR: the end of an interrupt may have been on its way here, and nothing of the processors'
	 * state tells of that. A message too many does no harm.
	 */
	for (unsigned i = 0; i < IOAPIC_PINS; i++)
		set_entry(a, i, le64_get(table[i]));
	return 0;
}
