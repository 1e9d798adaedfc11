/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of drivers: a VMM that closes its connection is given a moment to end, for its end says more. Where the
 * double stays, nobody needs to wait for that moment to be over. The linker puts this in the place of process_wait()
 * (meson.build). The first case of each kind waits the whole time, and so the driver's own bound is tried.
 */
#pragma once

#include "base/fd.h"
#include "hypervisor/process.h"

/* A driver's own bound is below this. */
#define PROCESS_WAIT_MAX_MS 5000
#define SHORT_WAIT_MS       50

static bool short_wait;

int __real_process_wait(struct process *p, uint64_t deadline_ms);
int __wrap_process_wait(struct process *p, uint64_t deadline_ms);

int __wrap_process_wait(struct process *p, uint64_t deadline_ms)
{
	uint64_t now = clock_ms();

	if (short_wait)
		assert_true(deadline_ms <= now + PROCESS_WAIT_MAX_MS);
	return __real_process_wait(p,
				   short_wait && deadline_ms > now + SHORT_WAIT_MS ? now + SHORT_WAIT_MS : deadline_ms);
}
