/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The port by which a guest tells of its panic (QEMU docs/specs/pvpanic, Linux drivers/misc/pvpanic). Reading it gives
 * the events that may be told.
 */
#pragma once

#include "hw/bus.h"

#define PVPANIC_PORT 0x505 /* x86 */
#define PVPANIC_SIZE 2     /* in memory; the second byte is nothing */

#define PVPANIC_PANICKED     1u /* the guest panicked */
#define PVPANIC_CRASH_LOADED 2u /* and goes on in a kernel that looks into it */

struct pvpanic {
	void (*told)(void *userdata, unsigned events);
	void *userdata;
};

/* The device is a struct pvpanic. */
extern const struct bus_handler pvpanic_bus;
