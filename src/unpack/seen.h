/* SPDX-License-Identifier: Apache-2.0 */
/* The paths that the layer at hand has made, with all their parents: whiteouts must spare them. */
#pragma once

#include <stdbool.h>

struct seen {
	void *tree; /* of tsearch(3) */
};

/* Add a cleaned path and its parents. 0 or -ENOMEM. */
int seen_add(struct seen *s, const char *path);
bool seen_has(const struct seen *s, const char *path);
void seen_fini(struct seen *s);
