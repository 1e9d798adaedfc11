/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Arm's real-time clock PL031 (DDI 0224): a counter of seconds, for the date when the guest starts. It gives the host's
 * time in UTC, shifted by what the guest sets, and an alarm.
 */
#pragma once

#include "hw/bus.h"

#define PL031_SIZE 0x1000

struct pl031;
struct state;

extern const struct bus_handler pl031_bus;

/* irq: eventfd, not taken over; -1: no interrupts. 0 or -errno. */
int pl031_new(struct loop *loop, int irq, struct pl031 **ret);
/* NULL does nothing. */
void pl031_free(struct pl031 *rtc);
DEFINE_CLEANUP(struct pl031 *, pl031_free)

void pl031_save(const struct pl031 *rtc, struct state *s);
int pl031_load(struct pl031 *rtc, const struct state *s, struct err *e);
