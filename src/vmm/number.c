/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/number.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* digits (n of them) with the point behind the first `point` ones, which may lie outside of them. */
static void place_point(const char *digits, int n, int point, char *out, size_t size)
{
	if (point >= n)
		snprintf(out, size, "%s%.*s.0", digits, point - n, "0000000000000000");
	else if (point > 0)
		snprintf(out, size, "%.*s.%s", point, digits, digits + point);
	else
		snprintf(out, size, "0.%.*s%s", -point, "0000000000000000", digits);
}

void number_text(double f, char ret[NUMBER_TEXT_MAX])
{
	char text[40], digits[24], *out = ret;
	int precision = 0, exponent, n;

	/* 17 significant digits tell every double apart. */
	do
		snprintf(text, sizeof text, "%.*e", precision, f);
	while (precision++ < 16 && strtod(text, NULL) != f);

	exponent = atoi(strchr(text, 'e') + 1);
	n = 0;
	for (const char *p = text; *p != 'e'; p++)
		if (*p >= '0' && *p <= '9')
			digits[n++] = *p;
	digits[n] = 0;
	if (text[0] == '-')
		*out++ = '-';
	if (f == 0)
		strcpy(out, "0.0");
	else if (exponent >= -5 && exponent < 16)
		place_point(digits, n, exponent + 1, out, NUMBER_TEXT_MAX - 1);
	else
		snprintf(out, NUMBER_TEXT_MAX - 1, "%c%s%se%d", digits[0], n > 1 ? "." : "", digits + 1, exponent);
}
