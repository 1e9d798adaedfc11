/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The PC's real-time clock and its memory (Motorola MC146818A, ports 0x70 and 0x71): the date when the guest starts.
 * It gives the host's time in UTC, shifted by what the guest sets; alarm and update interrupts come to the second.
 */
#pragma once

#include "hw/bus.h"

#define RTC_PORTS 2

struct rtc;
struct state;

extern const struct bus_handler rtc_bus;

/* irq: eventfd, not taken over; -1: no interrupts. 0 or -errno. */
int rtc_new(struct loop *loop, int irq, struct rtc **ret);
/* NULL does nothing. */
void rtc_free(struct rtc *rtc);
DEFINE_CLEANUP(struct rtc *, rtc_free)

void rtc_save(const struct rtc *rtc, struct state *s);
int rtc_load(struct rtc *rtc, const struct state *s, struct err *e);
