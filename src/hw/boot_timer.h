/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A register by which a guest says that it has booted: the byte 123 at its beginning. The first time, the log tells how
 * long that took, in Firecracker's words:
 *
 *     Guest-boot-time =  45678 us 45 ms,  23456 CPU us 23 CPU ms
 *
 * counted from boot_timer_init() on; the CPU time is that of the whole process. It has no state that a snapshot saves.
 */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

#include "hw/bus.h"

#define BOOT_TIMER_SIZE  0x1000
#define BOOT_TIMER_VALUE 123

struct boot_timer {
	uint64_t begin_us, begin_cpu_us;
	atomic_bool told; /* a guest cannot fill the log */
};

void boot_timer_init(struct boot_timer *t);

/* The device is a struct boot_timer; it needs no loop. */
extern const struct bus_handler boot_timer_bus;
