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

int seen_add_alone(struct seen *s, const char *path)
{
	char *copy = strdup(path), **found = copy ? tsearch(copy, &s->tree, compare) : NULL;

	if (!found || *found != copy)
		free(copy);
	return !found ? -ENOMEM : *found == copy;
}

int seen_add(struct seen *s, const char *path)
{
	char *copy = strdup(path), *slash;
	int r = copy ? seen_add_alone(s, copy) : -ENOMEM;

	/* The parents of one that was there are there. */
	while (r > 0 && (slash = strrchr(copy, '/'))) {
		*slash = '\0';
		r = seen_add_alone(s, copy);
	}
	free(copy);
	return r < 0 ? r : 0;
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
