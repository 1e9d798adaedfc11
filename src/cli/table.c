/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/table.h"

#include <stdarg.h>
#include <stdlib.h>

void table_cell(struct table *t, const char *fmt, ...)
{
	va_list ap;
	char *text;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n >= 0)
		(void)strv_add_take(&t->cells, text);
}

void table_print(const struct table *t, FILE *out)
{
	size_t rows = t->cells.len / t->columns, width[16] = { 0 };

	for (size_t i = 0; i < rows * t->columns; i++) {
		size_t n = strlen(t->cells.v[i]), c = i % t->columns;

		if (c < 16 && n > width[c])
			width[c] = n;
	}
	for (size_t r = 0; r < rows; r++)
		for (size_t c = 0; c < t->columns; c++) {
			const char *text = t->cells.v[r * t->columns + c];

			if (c + 1 == t->columns)
				fprintf(out, "%s\n", text);
			else
				fprintf(out, "%-*s  ", (int)width[c < 16 ? c : 15], text);
		}
}

void table_fini(struct table *t)
{
	strv_fini(&t->cells);
}
