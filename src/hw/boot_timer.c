/* SPDX-License-Identifier: Apache-2.0 */
#include "hw/boot_timer.h"

#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"

static uint64_t cpu_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void boot_timer_init(struct boot_timer *t)
{
	t->begin_us = clock_us();
	t->begin_cpu_us = cpu_us();
	atomic_init(&t->told, false);
}

static void bus_in(void *device, uint64_t offset, void *data, uint32_t len)
{
	memset(data, 0, len);
}

static void bus_out(void *device, uint64_t offset, const void *data, uint32_t len)
{
	struct boot_timer *t = device;
	uint64_t cpu = cpu_us() - t->begin_cpu_us, wall = clock_us() - t->begin_us;

	if (offset || *(const uint8_t *)data != BOOT_TIMER_VALUE || atomic_exchange(&t->told, true))
		return;
	log_info("Guest-boot-time = %6" PRIu64 " us %" PRIu64 " ms, %6" PRIu64 " CPU us %" PRIu64 " CPU ms", wall,
		 wall / 1000, cpu, cpu / 1000);
}

const struct bus_handler boot_timer_bus = { bus_in, bus_out };
