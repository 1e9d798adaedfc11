/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/cpu_list.h"

#include <errno.h>
#include <string.h>

#include "base/strv.h"

#define WORDS (CPU_LIST_MAX / 64)

/* A number that ends at one of `ends`, or with the text. */
static int take_number(const char **at, const char *ends, unsigned *ret)
{
	unsigned value = 0;
	const char *p = *at;

	for (; *p >= '0' && *p <= '9'; p++)
		if (value < CPU_LIST_MAX)
			value = value * 10 + (unsigned)(*p - '0');
	if (p == *at || (*p && !strchr(ends, *p)))
		return -EINVAL;
	*at = p;
	*ret = value;
	return 0;
}

int cpu_list_parse(const char *text, struct cpu_list *ret)
{
	struct cpu_list list = { 0 };
	unsigned first, last;
	int result = 0;

	for (const char *p = text ? text : ""; *p;) {
		if (take_number(&p, "-,", &first) < 0)
			return -EINVAL;
		last = first;
		if (*p == '-' && (p++, take_number(&p, ",", &last)) < 0)
			return -EINVAL;
		if (*p == ',' && !*++p)
			return -EINVAL;
		if (last < first)
			return -EINVAL;
		if (last >= CPU_LIST_MAX)
			result = -ERANGE;
		for (; result == 0 && first <= last; first++)
			cpu_list_set(&list, first);
	}
	if (result == 0)
		*ret = list;
	return result;
}

char *cpu_list_format(const struct cpu_list *l)
{
	_cleanup_buf_ struct buf b = { 0 };

	if (buf_puts(&b, "") < 0)
		return NULL;
	for (int first = cpu_list_next(l, 0); first >= 0;) {
		int last = first, next;

		while ((next = cpu_list_next(l, (unsigned)last + 1)) == last + 1)
			last = next;
		if (buf_printf(&b, "%s%d", b.len ? "," : "", first) < 0 ||
		    (last > first && buf_printf(&b, "-%d", last) < 0))
			return NULL;
		first = next;
	}
	return buf_take(&b);
}

bool cpu_list_is_empty(const struct cpu_list *l)
{
	return cpu_list_next(l, 0) < 0;
}

bool cpu_list_equal(const struct cpu_list *a, const struct cpu_list *b)
{
	return memcmp(a, b, sizeof *a) == 0;
}

bool cpu_list_meet(const struct cpu_list *a, const struct cpu_list *b)
{
	for (size_t i = 0; i < WORDS; i++)
		if (a->bits[i] & b->bits[i])
			return true;
	return false;
}

unsigned cpu_list_count(const struct cpu_list *l)
{
	unsigned n = 0;

	for (size_t i = 0; i < WORDS; i++)
		n += (unsigned)__builtin_popcountll(l->bits[i]);
	return n;
}

int cpu_list_next(const struct cpu_list *l, unsigned from)
{
	for (size_t i = from / 64; i < WORDS; i++) {
		uint64_t word = l->bits[i];

		if (i == from / 64)
			word &= ~UINT64_C(0) << from % 64;
		if (word)
			return (int)(i * 64) + __builtin_ctzll(word);
	}
	return -1;
}

void cpu_list_add(struct cpu_list *to, const struct cpu_list *from)
{
	for (size_t i = 0; i < WORDS; i++)
		to->bits[i] |= from->bits[i];
}

void cpu_list_set(struct cpu_list *l, unsigned number)
{
	if (number < CPU_LIST_MAX)
		l->bits[number / 64] |= UINT64_C(1) << number % 64;
}
