/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/number.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define DIGITS       17
#define EXPONENT_MAX 308
#define LARGEST      "17976931348623157" /* of a double, times 10^-16 10^308 */
#define SMALLEST     (-324)              /* below 10^this is zero */
#define FAR          100000              /* an exponent that is out of range whatever its digits are */

struct decimal {
	bool negative;
	char digits[DIGITS + 1]; /* the first is not 0; "" is zero */
	int n, exponent;         /* how many there are; of the first digit */
	bool round_up;           /* what was left off is half of the last digit or more */
};

/* One more digit. before: in front of the point. */
static void add_digit(struct decimal *d, char c, bool before, int *leading)
{
	if (d->n || c != '0') {
		if (d->n < DIGITS)
			d->digits[d->n] = c;
		else if (d->n == DIGITS)
			d->round_up = c >= '5';
		d->n++;
	}
	/* *leading: how far the first digit is left of the point, or, negative, zeroes right of it */
	if (before && d->n)
		++*leading;
	else if (!before && !d->n)
		--*leading;
}

static void round_last(struct decimal *d)
{
	int i = DIGITS - 1;

	while (i >= 0 && d->digits[i] == '9')
		d->digits[i--] = '0';
	if (i >= 0) {
		d->digits[i]++;
	} else {
		d->digits[0] = '1';
		d->exponent++;
	}
}

static int read_exponent(const char *p, const char *end)
{
	bool negative = p < end && *p == '-';
	int v = 0;

	for (p += p < end && (*p == '-' || *p == '+'); p < end; p++)
		if (v < FAR)
			v = v * 10 + (*p - '0');
	return negative ? -v : v;
}

static void read_decimal(const char *p, const char *end, struct decimal *d)
{
	bool before = true;
	int leading = 0;

	*d = (struct decimal){ .negative = *p == '-' };
	for (p += d->negative; p < end && *p != 'e' && *p != 'E'; p++) {
		if (*p == '.')
			before = false;
		else
			add_digit(d, *p, before, &leading);
	}
	d->exponent = leading - 1 + (p < end ? read_exponent(p + 1, end) : 0);
	if (d->n > DIGITS)
		d->n = DIGITS;
	if (d->round_up)
		round_last(d);
	while (d->n && d->digits[d->n - 1] == '0')
		d->n--;
	d->digits[d->n] = 0;
}

/* The point behind the first `point` digits, which may lie outside of them. */
static void place_point(const struct decimal *d, int point, char *out, size_t size)
{
	if (point >= d->n)
		snprintf(out, size, "%s%.*s.0", d->digits, point - d->n, "0000000000000000");
	else if (point > 0)
		snprintf(out, size, "%.*s.%s", point, d->digits, d->digits + point);
	else
		snprintf(out, size, "0.%.*s%s", -point, "0000000000000000", d->digits);
}

int number_text(const char *json, size_t len, char ret[NUMBER_TEXT_MAX])
{
	struct decimal d;
	char *out = ret;

	read_decimal(json, json + len, &d);
	if (d.n && (d.exponent > EXPONENT_MAX || (d.exponent == EXPONENT_MAX && strcmp(d.digits, LARGEST) > 0)))
		return -ERANGE;
	if (d.negative)
		*out++ = '-';
	if (!d.n || d.exponent < SMALLEST)
		strcpy(out, "0.0");
	else if (d.exponent >= -5 && d.exponent < 16)
		place_point(&d, d.exponent + 1, out, NUMBER_TEXT_MAX - 1);
	else
		snprintf(out, NUMBER_TEXT_MAX - 1, "%c%s%se%d", d.digits[0], d.n > 1 ? "." : "", d.digits + 1,
			 d.exponent);
	return 0;
}
