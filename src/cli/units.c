/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/units.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/strv.h"

#define DIGITS "0123456789"

/* The number that *at begins with; *at: behind it. */
static int take_number(const char **at, uint64_t *ret)
{
	size_t n = strspn(*at, DIGITS);
	char digits[24];

	if (!n || n >= sizeof digits)
		return -EINVAL;
	memcpy(digits, *at, n);
	digits[n] = '\0';
	*at += n;
	return str_to_u64(digits, 10, ret) < 0 ? -EINVAL : 0;
}

int units_bytes(const char *text, int64_t *ret)
{
	static const char prefixes[] = "kmgt";
	const char *prefix;
	unsigned shift = 0;
	uint64_t v;

	if (take_number(&text, &v) < 0)
		return -EINVAL;
	prefix = *text ? strchr(prefixes, *text | 0x20) : NULL;
	if (prefix) {
		shift = (unsigned)(prefix - prefixes + 1) * 10;
		text++;
	}
	if (*text && strcasecmp(text, "b") != 0 && (!prefix || strcasecmp(text, "ib") != 0))
		return -EINVAL;
	if (v > (uint64_t)INT64_MAX >> shift)
		return -EINVAL;
	*ret = (int64_t)(v << shift);
	return 0;
}

int units_milliseconds(const char *text, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t ms;
	} units[] = { { "ms", 1 }, { "s", 1000 }, { "m", 60000 }, { "h", 3600000 } };
	uint64_t sum = 0, v;
	bool alone = true;

	do {
		size_t n, i = 0;

		if (take_number(&text, &v) < 0)
			return -EINVAL;
		n = strcspn(text, DIGITS);
		while (n && i < 4 && (strlen(units[i].name) != n || strncmp(units[i].name, text, n) != 0))
			i++;
		/* Seconds, when nothing else is said. */
		if (i == 4 || (!n && !alone))
			return -EINVAL;
		if (__builtin_mul_overflow(v, n ? units[i].ms : 1000, &v) || __builtin_add_overflow(sum, v, &sum))
			return -EINVAL;
		alone = false;
		text += n;
	} while (*text);
	*ret = sum;
	return 0;
}
