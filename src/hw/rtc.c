/* SPDX-License-Identifier: Apache-2.0 */
#include "hw/rtc.h"

#include <errno.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/calendar.h"
#include "state/state.h"

enum {
	REG_SECONDS,
	REG_SECONDS_ALARM,
	REG_MINUTES,
	REG_MINUTES_ALARM,
	REG_HOURS,
	REG_HOURS_ALARM,
	REG_WEEKDAY,
	REG_DAY,
	REG_MONTH,
	REG_YEAR,
	REG_A,
	REG_B,
	REG_C,
	REG_D,
	REG_CENTURY = 0x32,
};

#define A_UPDATING   0x80
#define A_DIVIDER    0x26
#define B_24H        0x02
#define B_BINARY     0x04
#define B_UPDATE_IRQ 0x10
#define B_ALARM_IRQ  0x20
#define B_SET        0x80
#define C_UPDATE     0x10
#define C_ALARM      0x20
#define C_IRQ        0x80
#define D_VALID      0x80
#define ALARM_ANY    0xc0 /* an alarm byte from here on matches everything */
#define PM           0x80

#define NS_PER_S    1000000000L
#define UPDATING_NS 244000L /* the clock tells that much before it changes */

struct rtc {
	int irq;
	struct loop_source *tick;
	uint8_t index;
	uint8_t ram[128]; /* registers that are not the time itself */
	int64_t offset;   /* the guest's time minus the host's, seconds */
	struct tm set;    /* time registers while the guest sets them */
};

static struct timespec now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return ts;
}

static struct tm guest_time(const struct rtc *rtc)
{
	struct tm tm;

	if (rtc->ram[REG_B] & B_SET)
		return rtc->set;
	calendar_utc(now().tv_sec + rtc->offset, &tm);
	return tm;
}

static uint8_t encode(const struct rtc *rtc, int v)
{
	return (uint8_t)(rtc->ram[REG_B] & B_BINARY ? v : v / 10 * 16 + v % 10);
}

static int decode(const struct rtc *rtc, uint8_t v)
{
	return rtc->ram[REG_B] & B_BINARY ? v : (v >> 4) * 10 + (v & 15);
}

static uint8_t encode_hour(const struct rtc *rtc, int hour)
{
	if (rtc->ram[REG_B] & B_24H)
		return encode(rtc, hour);
	return (uint8_t)(encode(rtc, hour % 12 ? hour % 12 : 12) | (hour >= 12 ? PM : 0));
}

static int decode_hour(const struct rtc *rtc, uint8_t v)
{
	if (rtc->ram[REG_B] & B_24H)
		return decode(rtc, v);
	return decode(rtc, v & ~PM) % 12 + (v & PM ? 12 : 0);
}

static uint8_t read_register(struct rtc *rtc, uint8_t reg)
{
	struct tm tm = guest_time(rtc);
	uint8_t v;

	switch (reg) {
	case REG_SECONDS:
		return encode(rtc, tm.tm_sec);
	case REG_MINUTES:
		return encode(rtc, tm.tm_min);
	case REG_HOURS:
		return encode_hour(rtc, tm.tm_hour);
	case REG_WEEKDAY:
		return encode(rtc, tm.tm_wday + 1);
	case REG_DAY:
		return encode(rtc, tm.tm_mday);
	case REG_MONTH:
		return encode(rtc, tm.tm_mon + 1);
	case REG_YEAR:
		return encode(rtc, tm.tm_year % 100);
	case REG_CENTURY:
		return encode(rtc, 19 + tm.tm_year / 100);
	case REG_A:
		return (uint8_t)(A_DIVIDER |
				 (!(rtc->ram[REG_B] & B_SET) && now().tv_nsec >= NS_PER_S - UPDATING_NS ? A_UPDATING
													: 0));
	case REG_C: /* reading it acknowledges */
		v = rtc->ram[REG_C];
		rtc->ram[REG_C] = 0;
		return v;
	case REG_D:
		return D_VALID;
	}
	return rtc->ram[reg];
}

/* To the next full second, while anybody waits for one. */
static void arm(struct rtc *rtc)
{
	bool wanted = rtc->ram[REG_B] & (B_UPDATE_IRQ | B_ALARM_IRQ) && !(rtc->ram[REG_B] & B_SET);

	loop_timer_set(rtc->tick, wanted ? (uint64_t)(NS_PER_S - now().tv_nsec) / 1000000 + 1 : UINT64_MAX);
}

static bool alarm_matches(const struct rtc *rtc, unsigned reg, uint8_t current)
{
	return rtc->ram[reg] >= ALARM_ANY || rtc->ram[reg] == current;
}

static void raise_irq(struct rtc *rtc)
{
	uint64_t one = 1;

	if (rtc->irq >= 0 && write(rtc->irq, &one, sizeof one) < 0) {
		/* A full counter is raised already. */
	}
}

static void on_tick(struct loop_source *source, void *userdata)
{
	struct rtc *rtc = userdata;
	struct tm tm = guest_time(rtc);
	uint8_t due = C_UPDATE;

	if (alarm_matches(rtc, REG_SECONDS_ALARM, encode(rtc, tm.tm_sec)) &&
	    alarm_matches(rtc, REG_MINUTES_ALARM, encode(rtc, tm.tm_min)) &&
	    alarm_matches(rtc, REG_HOURS_ALARM, encode_hour(rtc, tm.tm_hour)))
		due |= C_ALARM;
	rtc->ram[REG_C] |= due;
	/* The bits of cause and permission are the same. */
	if (due & rtc->ram[REG_B] && !(rtc->ram[REG_C] & C_IRQ)) {
		rtc->ram[REG_C] |= C_IRQ;
		raise_irq(rtc);
	}
	arm(rtc);
}

/* What the guest wrote becomes the time; what is out of range counts on. */
static void set_time(struct rtc *rtc)
{
	rtc->offset = calendar_seconds(&rtc->set) - now().tv_sec;
}

static void write_time(struct rtc *rtc, uint8_t reg, uint8_t v)
{
	struct tm tm = guest_time(rtc);

	switch (reg) {
	case REG_SECONDS:
		tm.tm_sec = decode(rtc, v);
		break;
	case REG_MINUTES:
		tm.tm_min = decode(rtc, v);
		break;
	case REG_HOURS:
		tm.tm_hour = decode_hour(rtc, v);
		break;
	case REG_DAY:
		tm.tm_mday = decode(rtc, v);
		break;
	case REG_MONTH:
		tm.tm_mon = decode(rtc, v) - 1;
		break;
	case REG_YEAR:
		tm.tm_year = tm.tm_year / 100 * 100 + decode(rtc, v);
		break;
	case REG_CENTURY:
		tm.tm_year = (decode(rtc, v) - 19) * 100 + tm.tm_year % 100;
		break;
	}
	rtc->set = tm;
	if (!(rtc->ram[REG_B] & B_SET))
		set_time(rtc);
}

static void write_b(struct rtc *rtc, uint8_t v)
{
	bool was = rtc->ram[REG_B] & B_SET, is = v & B_SET;

	if (is && !was)
		rtc->set = guest_time(rtc);
	rtc->ram[REG_B] = v;
	if (was && !is)
		set_time(rtc);
	arm(rtc);
}

static void write_register(struct rtc *rtc, uint8_t reg, uint8_t v)
{
	switch (reg) {
	case REG_SECONDS:
	case REG_MINUTES:
	case REG_HOURS:
	case REG_WEEKDAY: /* follows from the date */
	case REG_DAY:
	case REG_MONTH:
	case REG_YEAR:
	case REG_CENTURY:
		write_time(rtc, reg, v);
		break;
	case REG_B:
		write_b(rtc, v);
		break;
	case REG_A:
	case REG_C:
	case REG_D:
		break;
	default:
		rtc->ram[reg] = v;
	}
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	struct rtc *rtc = device;
	uint8_t *p = data;

	for (uint32_t i = 0; i < len; i++)
		p[i] = offset + i == 1 ? read_register(rtc, rtc->index) : 0xff;
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct rtc *rtc = device;
	const uint8_t *p = data;

	for (uint32_t i = 0; i < len; i++) {
		if (offset + i == 0)
			rtc->index = p[i] & 0x7f; /* the top bit masks NMIs */
		else
			write_register(rtc, rtc->index, p[i]);
	}
}

const struct bus_handler rtc_bus = { bus_in, bus_out };

int rtc_new(struct loop *loop, int irq, struct rtc **ret)
{
	struct rtc *rtc = calloc(1, sizeof *rtc);
	int r;

	if (!rtc)
		return -ENOMEM;
	rtc->irq = irq;
	rtc->ram[REG_B] = B_24H;
	rtc->set = (struct tm){ .tm_mday = 1, .tm_year = 70 };
	r = loop_add_timer(loop, UINT64_MAX, on_tick, rtc, &rtc->tick);
	if (r < 0) {
		free(rtc);
		return r;
	}
	*ret = rtc;
	return 0;
}

void rtc_free(struct rtc *rtc)
{
	if (!rtc)
		return;
	loop_source_free(rtc->tick);
	free(rtc);
}

void rtc_save(const struct rtc *rtc, struct state *s)
{
	state_put_u64(s, "index", rtc->index);
	state_put_bytes(s, "memory", rtc->ram, sizeof rtc->ram);
	state_put_u64(s, "offset", (uint64_t)rtc->offset);
}

int rtc_load(struct rtc *rtc, const struct state *s, struct err *e)
{
	uint64_t index, offset;
	int r = state_get_max(s, "index", 0x7f, &index, e);

	if (r == 0)
		r = state_get_u64(s, "offset", &offset, e);
	if (r == 0)
		r = state_get_bytes(s, "memory", rtc->ram, sizeof rtc->ram, e);
	if (r < 0)
		return r;
	rtc->index = (uint8_t)index;
	/* Bounded, so that it never overflows a time: the guest itself can reach no farther. */
	rtc->offset = (int64_t)offset > -(1LL << 40) && (int64_t)offset < 1LL << 40 ? (int64_t)offset : 0;
	/* A guest in the middle of setting it begins with the present time. */
	if (rtc->ram[REG_B] & B_SET) {
		rtc->ram[REG_B] &= (uint8_t)~B_SET;
		rtc->set = guest_time(rtc);
		rtc->ram[REG_B] |= B_SET;
	}
	/* An edge that was on its way may be in nobody's state, and none follows before the guest acknowledges it. */
	if (rtc->ram[REG_C] & C_IRQ)
		raise_irq(rtc);
	arm(rtc);
	return 0;
}
