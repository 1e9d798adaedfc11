/* SPDX-License-Identifier: Apache-2.0 */
/* How many entries a folder has, "." and ".." among them, for tests that look for leaks. */
#pragma once

#include <dirent.h>

static inline unsigned count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static inline unsigned count_fds(void)
{
	return count_entries("/proc/self/fd");
}
