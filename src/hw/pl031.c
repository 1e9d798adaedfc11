/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registers have 32 bits; accesses of other widths or between two registers read as zero and write nothing. The
 * interrupt is an edge: it is raised when it appears that was not there before.
 */
#include "hw/pl031.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "guestmem/le.h"
#include "state/state.h"

/* DDI 0224 §3.2 */
enum {
	REG_DATA = 0x00,
	REG_MATCH = 0x04,
	REG_LOAD = 0x08,
	REG_CONTROL = 0x0c,
	REG_MASK = 0x10,
	REG_RAW = 0x14,
	REG_MASKED = 0x18,
	REG_CLEAR = 0x1c,
	REG_ID = 0xfe0, /* eight registers of a byte each */
};

/* §3.3.9, §3.3.10: the part's number and revision; PrimeCell's mark. */
static const uint8_t ids[8] = { 0x31, 0x10, 0x04, 0x00, 0x0d, 0xf0, 0x05, 0xb1 };

#define STARTED 1u /* control: it cannot be stopped */
#define ALARM   1u /* mask, raw, masked, clear */

#define MS_PER_S  1000
#define NS_PER_MS 1000000

struct pl031 {
	int irq;
	struct loop_source *tick;
	uint32_t offset; /* the guest's time minus the host's, modulo 2^32 */
	uint32_t match, load, mask, raw;
	bool armed; /* the match is still to come */
};

static struct timespec now(void)
{
	struct timespec ts;

	/* Not time(2), which is a little behind it. */
	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static uint32_t guest_time(const struct pl031 *rtc)
{
	return (uint32_t)now().tv_sec + rtc->offset;
}

/* mask or raw changed; before: what the interrupt was. */
static void update_irq(struct pl031 *rtc, uint32_t before)
{
	uint64_t one = 1;

	if ((rtc->raw & rtc->mask & ~before) && rtc->irq >= 0 && write(rtc->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
}

static void ring(struct pl031 *rtc)
{
	uint32_t before = rtc->raw & rtc->mask;

	rtc->raw = ALARM;
	rtc->armed = false;
	update_irq(rtc, before);
}

/* Sleep until the match. A time that is past comes again in the next century only. */
static void arm(struct pl031 *rtc, struct timespec ts)
{
	int32_t seconds = (int32_t)(rtc->match - ((uint32_t)ts.tv_sec + rtc->offset));
	uint64_t ms = UINT64_MAX;

	rtc->armed = seconds >= 0;
	if (seconds > 0)
		ms = (uint64_t)seconds * MS_PER_S - (uint64_t)ts.tv_nsec / NS_PER_MS;
	else if (seconds == 0)
		ms = 0;
	loop_timer_set(rtc->tick, ms);
}

static void on_tick(struct loop_source *source, void *userdata)
{
	struct pl031 *rtc = userdata;

	/* The host's date may have been set back meanwhile. */
	if ((int32_t)(rtc->match - guest_time(rtc)) > 0)
		arm(rtc, now());
	else
		ring(rtc);
}

static uint32_t read_register(const struct pl031 *rtc, uint64_t reg)
{
	switch (reg) {
	case REG_DATA:
		return guest_time(rtc);
	case REG_MATCH:
		return rtc->match;
	case REG_LOAD:
		return rtc->load;
	case REG_CONTROL:
		return STARTED;
	case REG_MASK:
		return rtc->mask;
	case REG_RAW:
		return rtc->raw;
	case REG_MASKED:
		return rtc->raw & rtc->mask;
	}
	return reg >= REG_ID && reg < PL031_SIZE ? ids[(reg - REG_ID) / 4] : 0;
}

static void write_register(struct pl031 *rtc, uint64_t reg, uint32_t v)
{
	uint32_t before = rtc->raw & rtc->mask;
	struct timespec ts = now();

	switch (reg) {
	case REG_MATCH:
		rtc->match = v;
		arm(rtc, ts);
		break;
	case REG_LOAD:
		rtc->load = v;
		rtc->offset = v - (uint32_t)ts.tv_sec;
		arm(rtc, ts);
		break;
	case REG_MASK:
		rtc->mask = v & ALARM;
		update_irq(rtc, before);
		break;
	case REG_CLEAR:
		rtc->raw &= ~v;
		break;
	}
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	le32 v;

	memset(data, 0, len);
	if (len != sizeof v || offset % sizeof v)
		return;
	v = le32_of(read_register(device, offset));
	memcpy(data, &v, sizeof v);
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	le32 v;

	if (len != sizeof v || offset % sizeof v)
		return;
	memcpy(&v, data, sizeof v);
	write_register(device, offset, le32_get(v));
}

const struct bus_handler pl031_bus = { bus_in, bus_out };

int pl031_new(struct loop *loop, int irq, struct pl031 **ret)
{
	struct pl031 *rtc = calloc(1, sizeof *rtc);
	int r;

	if (!rtc)
		return -ENOMEM;
	rtc->irq = irq;
	r = loop_add_timer(loop, UINT64_MAX, on_tick, rtc, &rtc->tick);
	if (r < 0) {
		free(rtc);
		return r;
	}
	*ret = rtc;
	return 0;
}

void pl031_free(struct pl031 *rtc)
{
	if (!rtc)
		return;
	loop_source_free(rtc->tick);
	free(rtc);
}

void pl031_save(const struct pl031 *rtc, struct state *s)
{
	state_put_u64(s, "offset", rtc->offset);
	state_put_u64(s, "match", rtc->match);
	state_put_u64(s, "load", rtc->load);
	state_put_u64(s, "mask", rtc->mask);
	state_put_u64(s, "raw", rtc->raw);
	state_put_u64(s, "armed", rtc->armed);
}

int pl031_load(struct pl031 *rtc, const struct state *s, struct err *e)
{
	const struct {
		const char *name;
		uint32_t max, *value;
	} parts[] = {
		{ "offset", UINT32_MAX, &rtc->offset },
		{ "match", UINT32_MAX, &rtc->match },
		{ "load", UINT32_MAX, &rtc->load },
		{ "mask", ALARM, &rtc->mask },
		{ "raw", ALARM, &rtc->raw },
	};
	uint64_t armed = 0;
	int r = state_get_max(s, "armed", 1, &armed, e);

	for (size_t i = 0; r == 0 && i < sizeof parts / sizeof *parts; i++) {
		uint64_t v;

		r = state_get_max(s, parts[i].name, parts[i].max, &v, e);
		if (r == 0)
			*parts[i].value = (uint32_t)v;
	}
	if (r < 0)
		return r;
	/* An edge that was on its way is in the interrupt controller's state; one too many does no harm. */
	update_irq(rtc, 0);
	/* An alarm whose time came meanwhile rings now. */
	rtc->armed = armed;
	if (rtc->armed)
		loop_timer_set(rtc->tick, 0);
	return 0;
}
