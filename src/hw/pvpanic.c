/* SPDX-License-Identifier: Apache-2.0 */
#include "hw/pvpanic.h"

#include <string.h>

#define EVENTS (PVPANIC_PANICKED | PVPANIC_CRASH_LOADED)

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
	if (offset == 0)
		*(uint8_t *)data = EVENTS;
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct pvpanic *p = device;
	unsigned events = *(const uint8_t *)data & EVENTS;

	if (offset == 0 && events)
		p->told(p->userdata, events);
}

const struct bus_handler pvpanic_bus = { bus_in, bus_out };
