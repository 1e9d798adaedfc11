/* SPDX-License-Identifier: Apache-2.0 */
/* How many entries a folder has, for tests that look for leaks: of /proc/self/fd, how many descriptors are open. */
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
