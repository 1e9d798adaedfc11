/* SPDX-License-Identifier: Apache-2.0 */
/* Tables for people: columns as wide as their widest cell. */
#pragma once

#include <stdio.h>

#include "base/strv.h"

struct table {
	size_t columns;
	struct strv cells; /* row by row, the heading first */
};

/* Add the next cell, formatted. Memory that runs out shows as a missing row at the end. */
void table_cell(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *t, FILE *out);
void table_fini(struct table *t);
