/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/tsc.h"

#ifdef __x86_64__

#include <time.h>
#include <x86intrin.h>

#include "base/fd.h"

#define INTERVAL_NS 2000000

/* One moment by both clocks. The counter was read within error_ns after ns. */
struct moment {
	uint64_t ns, ticks, error_ns;
};

/* The best of several: the scheduler may come between two clocks. */
static struct moment read_both(void)
{
	struct moment best = { .error_ns = UINT64_MAX };

	for (int i = 0; i < 8; i++) {
		struct moment m = { .ns = clock_ns() };

		m.ticks = __rdtsc();
		m.error_ns = clock_ns() - m.ns;
		if (m.error_ns < best.error_ns)
			best = m;
	}
	return best;
}

uint32_t tsc_measure_khz(void)
{
	struct timespec interval = { .tv_nsec = INTERVAL_NS };
	struct moment begin = read_both(), end;
	uint64_t ns, khz;

	nanosleep(&interval, NULL);
	end = read_both();
	ns = end.ns - begin.ns;
	if (end.ticks <= begin.ticks || (begin.error_ns + end.error_ns) * 1000 > ns)
		return 0;
	khz = (uint64_t)((double)(end.ticks - begin.ticks) * 1e6 / (double)ns);
	return khz <= UINT32_MAX ? (uint32_t)khz : 0;
}

#else

uint32_t tsc_measure_khz(void)
{
	return 0;
}

#endif
