/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers have 8 bits, at every fourth byte; accesses between two of them read as zero and write nothing. The
 * interrupt is an edge: it is raised when a line begins to ask for it, and again when the guest has changed something
 * and one still does.
 */
#include "hw/pl061.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "state/state.h"

/* DDI 0190 §3.2 */
enum {
	REG_DATA = 0x000, /* to 0x3fc: bits 9 to 2 of the address say which lines are meant */
	REG_DATA_END = 0x400,
	REG_DIRECTION = 0x400, /* 1: output */
	REG_LEVEL = 0x404,     /* 1: interrupts by level, 0: by edge */
	REG_BOTH = 0x408,      /* by both edges */
	REG_EVENT = 0x40c,     /* which edge or level: 1: rising, high */
	REG_ENABLE = 0x410,
	REG_RAW = 0x414,
	REG_MASKED = 0x418,
	REG_CLEAR = 0x41c,
	REG_MODE = 0x420, /* no line has another function */
	REG_ID = 0xfe0,   /* eight registers */
};

/* §3.3.12, §3.3.13: the part's number and revision; PrimeCell's mark. */
static const uint8_t ids[8] = { 0x61, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

#define BUTTON     (1u << PL061_BUTTON)
#define RELEASE_MS 100

struct pl061 {
	int irq;
	struct loop_source *release;
	uint8_t out, direction, level, both, event, enable, mode;
	uint8_t edges; /* that were seen and not cleared */
	bool pressed, noticed;
};

static uint8_t lines(const struct pl061 *p)
{
	return (uint8_t)((p->out & p->direction) | (p->pressed ? BUTTON & ~p->direction : 0));
}

static uint8_t raw(const struct pl061 *p)
{
	return (uint8_t)((p->edges & ~p->level) | (~(lines(p) ^ p->event) & p->level));
}

/* before: which lines asked for the interrupt. */
static void raise_irq(struct pl061 *p, uint8_t before)
{
	uint64_t one = 1;

	if ((raw(p) & p->enable & ~before) && p->irq >= 0 && write(p->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
}

static void set_button(struct pl061 *p, bool pressed)
{
	uint8_t before = raw(p) & p->enable;

	p->pressed = pressed;
	p->noticed = false;
	if (!(p->direction & BUTTON) && (p->both & BUTTON || !(p->event & BUTTON) == !pressed))
		p->edges |= BUTTON;
	raise_irq(p, before);
}

static void on_release(struct loop_source *source, void *userdata)
{
	set_button(userdata, false);
}

void pl061_press(struct pl061 *p)
{
	if (!p->pressed)
		set_button(p, true);
}

static void notice(struct pl061 *p)
{
	if (!p->pressed || p->noticed)
		return;
	p->noticed = true;
	loop_timer_set(p->release, RELEASE_MS);
}

static uint8_t read_register(struct pl061 *p, uint64_t reg)
{
	uint8_t v;

	if (reg < REG_DATA_END) {
		v = lines(p) & (uint8_t)(reg >> 2);
		if (v & BUTTON)
			notice(p);
		return v;
	}
	switch (reg) {
	case REG_DIRECTION:
		return p->direction;
	case REG_LEVEL:
		return p->level;
	case REG_BOTH:
		return p->both;
	case REG_EVENT:
		return p->event;
	case REG_ENABLE:
		return p->enable;
	case REG_RAW:
		return raw(p);
	case REG_MASKED:
		return raw(p) & p->enable;
	case REG_MODE:
		return p->mode;
	}
	return reg >= REG_ID && reg < PL061_SIZE ? ids[(reg - REG_ID) / 4] : 0;
}

static void write_register(struct pl061 *p, uint64_t reg, uint8_t v)
{
	uint8_t meant = (uint8_t)(reg >> 2);

	if (reg < REG_DATA_END)
		p->out = (uint8_t)((p->out & ~meant) | (v & meant));
	switch (reg) {
	case REG_DIRECTION:
		p->direction = v;
		break;
	case REG_LEVEL:
		p->level = v;
		break;
	case REG_BOTH:
		p->both = v;
		break;
	case REG_EVENT:
		p->event = v;
		break;
	case REG_ENABLE:
		p->enable = v;
		break;
	case REG_CLEAR:
		p->edges &= (uint8_t)~v;
		break;
	case REG_MODE:
		p->mode = v;
		break;
	}
	raise_irq(p, 0);
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	if (offset % 4 == 0)
		*(uint8_t *)data = read_register(device, offset);
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	if (offset % 4 == 0)
		write_register(device, offset, *(const uint8_t *)data);
}

const struct bus_handler pl061_bus = { bus_in, bus_out };

int pl061_new(struct loop *loop, int irq, struct pl061 **ret)
{
	struct pl061 *p = calloc(1, sizeof *p);
	int r;

	if (!p)
		return -ENOMEM;
	p->irq = irq;
	r = loop_add_timer(loop, UINT64_MAX, on_release, p, &p->release);
	if (r < 0) {
		free(p);
		return r;
	}
	*ret = p;
	return 0;
}

void pl061_free(struct pl061 *p)
{
	if (!p)
		return;
	loop_source_free(p->release);
	free(p);
}

void pl061_save(const struct pl061 *p, struct state *s)
{
	state_put_u64(s, "out", p->out);
	state_put_u64(s, "direction", p->direction);
	state_put_u64(s, "level", p->level);
	state_put_u64(s, "both", p->both);
	state_put_u64(s, "event", p->event);
	state_put_u64(s, "enable", p->enable);
	state_put_u64(s, "mode", p->mode);
	state_put_u64(s, "edges", p->edges);
	state_put_u64(s, "pressed", p->pressed);
	state_put_u64(s, "noticed", p->noticed);
}

int pl061_load(struct pl061 *p, const struct state *s, struct err *e)
{
	const struct {
		const char *name;
		uint8_t *value;
	} parts[] = {
		{ "out", &p->out },     { "direction", &p->direction }, { "level", &p->level }, { "both", &p->both },
		{ "event", &p->event }, { "enable", &p->enable },       { "mode", &p->mode },   { "edges", &p->edges },
	};
	uint64_t pressed, noticed;
	int r = state_get_max(s, "pressed", 1, &pressed, e);

	if (r == 0)
		r = state_get_max(s, "noticed", 1, &noticed, e);
	for (size_t i = 0; r == 0 && i < sizeof parts / sizeof *parts; i++) {
		uint64_t v;

		r = state_get_max(s, parts[i].name, UINT8_MAX, &v, e);
		if (r == 0)
			*parts[i].value = (uint8_t)v;
	}
	if (r < 0)
		return r;
	p->pressed = pressed;
	if (p->pressed && noticed)
		notice(p);
	/* An edge that was on its way is in the interrupt controller's state; one too many does no harm. */
	raise_irq(p, 0);
	return 0;
}
