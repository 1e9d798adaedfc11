/* SPDX-License-Identifier: Apache-2.0 */
/* The flags of `caisson update`, which are runc's, and the document that they stand for. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define UPDATE_LIMITS 12

struct update_flags {
	const char *id;
	const char *document;              /* --resources; NULL: the flags count */
	const char *values[UPDATE_LIMITS]; /* as given, checked; NULL: not given */
	bool help;
};

/* 1: wrong usage, or help was asked for. */
int update_flags_parse(struct update_flags *f, int argc, char **argv, struct err *e);
/* linux.resources of the OCI runtime spec with what was given. Caller frees; NULL: out of memory. */
char *update_flags_document(const struct update_flags *f);
