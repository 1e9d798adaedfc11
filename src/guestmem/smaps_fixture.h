/* SPDX-License-Identifier: Apache-2.0 */
/* For tests: what the kernel says of a mapping of this process. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static inline bool large_pages_possible(void)
{
	return access("/sys/kernel/mm/transparent_hugepage", F_OK) == 0;
}

/* Were large pages asked for there (the kernel's flag "hg" of the mapping)? */
static inline bool large_asked(const uint8_t *at)
{
	unsigned long start, end;
	bool here = false, large = false;
	char line[512];
	FILE *f = fopen("/proc/self/smaps", "re");

	while (f && fgets(line, sizeof line, f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			here = (uintptr_t)at >= start && (uintptr_t)at < end;
		else if (here && !strncmp(line, "VmFlags:", 8))
			large = strstr(line, " hg") != NULL;
	}
	if (f)
		fclose(f);
	return large;
}
