/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/signals.h"

#include <signal.h>
#include <strings.h>

#include "base/strv.h"

int signal_number(const char *name)
{
	const char *rest;
	uint64_t n;

	if (str_empty(name))
		return SIGTERM;
	if (str_to_u64(name, 10, &n) == 0)
		return n > 0 && n < NSIG ? (int)n : -1;
	if (!strncasecmp(name, "SIG", 3))
		name += 3;
	if (!strncasecmp(name, "RTMIN", 5)) {
		rest = name + 5;
		if (!*rest)
			return SIGRTMIN;
		return *rest == '+' && str_to_u64(rest + 1, 10, &n) == 0 && n <= 30 ? SIGRTMIN + (int)n : -1;
	}
	if (!strncasecmp(name, "RTMAX", 5)) {
		rest = name + 5;
		if (!*rest)
			return SIGRTMAX;
		return *rest == '-' && str_to_u64(rest + 1, 10, &n) == 0 && n <= 30 ? SIGRTMAX - (int)n : -1;
	}
	for (int i = 1; i < NSIG; i++) {
		const char *abbreviation = sigabbrev_np(i);

		if (abbreviation && !strcasecmp(abbreviation, name))
			return i;
	}
	return -1;
}
