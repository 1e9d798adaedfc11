/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of paths: those that the layer at hand has made, which whiteouts must spare. */
#pragma once

#include <stdbool.h>

struct seen {
	void *tree; /* of tsearch(3) */
};

/* Add a cleaned path and its parents. 0 or -ENOMEM. */
int seen_add(struct seen *s, const char *path);
/* Add a path without its parents. Returns 1 when it is new, 0 when it was there, -ENOMEM. */
int seen_add_alone(struct seen *s, const char *path);
bool seen_has(const struct seen *s, const char *path);
void seen_fini(struct seen *s);
