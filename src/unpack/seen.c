/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/seen.h"

#include <errno.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

static int compare(const void *a, const void *b)
{
	return strcmp(a, b);
}

int seen_add(struct seen *s, const char *path)
{
	char *copy = strdup(path);

	while (copy) {
		char **found = tsearch(copy, &s->tree, compare), *slash;

		if (!found) {
			free(copy);
			return -ENOMEM;
		}
		if (*found != copy) { /* it was there, and so are its parents */
			free(copy);
			return 0;
		}
		slash = strrchr(*found, '/');
		if (!slash)
			return 0;
		copy = strndup(*found, (size_t)(slash - *found));
	}
	return -ENOMEM;
}

bool seen_has(const struct seen *s, const char *path)
{
	return tfind(path, &s->tree, compare);
}

void seen_fini(struct seen *s)
{
	tdestroy(s->tree, free);
	s->tree = NULL;
}
