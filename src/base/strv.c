/* SPDX-License-Identifier: Apache-2.0 */
#include "base/strv.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/cleanup.h"

bool str_endswith(const char *s, const char *suffix)
{
	size_t n = strlen(s), m = strlen(suffix);

	return n >= m && !memcmp(s + n - m, suffix, m);
}

int str_to_u64(const char *s, int base, uint64_t *ret)
{
	unsigned long long v;
	char *end;

	if (!isdigit((unsigned char)s[0]))
		return -EINVAL;
	errno = 0;
	v = strtoull(s, &end, base);
	if (errno)
		return -errno;
	if (*end)
		return -EINVAL;
	*ret = v;
	return 0;
}

char *str_printf(const char *fmt, ...)
{
	char *s;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&s, fmt, ap);
	va_end(ap);
	return n < 0 ? NULL : s;
}

int buf_reserve(struct buf *b, size_t more)
{
	size_t want, size = b->size ? b->size : 64;
	char *p;

	if (__builtin_add_overflow(b->len, more, &want) || __builtin_add_overflow(want, 1, &want))
		return -ENOMEM;
	if (want <= b->size)
		return 0;
	while (size < want)
		if (__builtin_mul_overflow(size, 2, &size))
			return -ENOMEM;
	p = realloc(b->data, size);
	if (!p)
		return -ENOMEM;
	b->data = p;
	b->size = size;
	b->data[b->len] = '\0';
	return 0;
}

int buf_append(struct buf *b, const void *data, size_t n)
{
	int r = buf_reserve(b, n);

	if (r < 0)
		return r;
	if (n)
		memcpy(b->data + b->len, data, n);
	b->len += n;
	b->data[b->len] = '\0';
	return 0;
}

int buf_puts(struct buf *b, const char *s)
{
	return buf_append(b, s, strlen(s));
}

int buf_vprintf(struct buf *b, const char *fmt, va_list ap)
{
	va_list again;
	int n, r;

	va_copy(again, ap);
	n = vsnprintf(NULL, 0, fmt, again);
	va_end(again);
	if (n < 0)
		return -EINVAL;
	r = buf_reserve(b, (size_t)n);
	if (r < 0)
		return r;
	vsnprintf(b->data + b->len, (size_t)n + 1, fmt, ap);
	b->len += (size_t)n;
	return 0;
}

int buf_printf(struct buf *b, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = buf_vprintf(b, fmt, ap);
	va_end(ap);
	return r;
}

void buf_consume(struct buf *b, size_t n)
{
	if (n > b->len)
		n = b->len;
	if (!n)
		return;
	memmove(b->data, b->data + n, b->len - n);
	b->len -= n;
	b->data[b->len] = '\0';
}

char *buf_take(struct buf *b)
{
	char *data;

	if (buf_reserve(b, 0) < 0)
		return NULL;
	data = b->data;
	*b = (struct buf){ 0 };
	return data;
}

void buf_fini(struct buf *b)
{
	free(b->data);
	*b = (struct buf){ 0 };
}

int strv_add_take(struct strv *s, char *item)
{
	char **v;

	if (!item)
		return -ENOMEM;
	/* Room for the new item and the terminator, grown in steps of eight. */
	if (s->len % 8 == 0) {
		v = realloc(s->v, (s->len + 9) * sizeof *v);
		if (!v) {
			free(item);
			return -ENOMEM;
		}
		s->v = v;
	}
	s->v[s->len++] = item;
	s->v[s->len] = NULL;
	return 0;
}

int strv_add(struct strv *s, const char *item)
{
	return strv_add_take(s, strdup(item));
}

int strv_addf(struct strv *s, const char *fmt, ...)
{
	char *item;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vasprintf(&item, fmt, ap);
	va_end(ap);
	return strv_add_take(s, n < 0 ? NULL : item);
}

int strv_copy(struct strv *ret, char *const *items, size_t n)
{
	struct strv copy = { 0 };

	for (size_t i = 0; i < n; i++)
		if (strv_add(&copy, items[i]) < 0) {
			strv_fini(&copy);
			return -ENOMEM;
		}
	*ret = copy;
	return 0;
}

bool strv_contains(const struct strv *s, const char *item)
{
	for (size_t i = 0; i < s->len; i++)
		if (!strcmp(s->v[i], item))
			return true;
	return false;
}

static char **find_env(const struct strv *s, const char *name, size_t n)
{
	for (size_t i = 0; i < s->len; i++)
		if (!strncmp(s->v[i], name, n) && s->v[i][n] == '=')
			return &s->v[i];
	return NULL;
}

int strv_set_env(struct strv *s, const char *assignment)
{
	const char *eq = strchr(assignment, '=');
	char **old, *copy;

	if (!eq)
		return -EINVAL;
	old = find_env(s, assignment, (size_t)(eq - assignment));
	if (!old)
		return strv_add(s, assignment);
	copy = strdup(assignment);
	if (!copy)
		return -ENOMEM;
	free(*old);
	*old = copy;
	return 0;
}

struct env_item {
	const char *text;
	size_t name, at; /* the length of its name; its place in the list */
};

static int compare_names(const struct env_item *a, const struct env_item *b)
{
	int r = memcmp(a->text, b->text, a->name < b->name ? a->name : b->name);

	return r ? r : (a->name > b->name) - (a->name < b->name);
}

static int compare_items(const void *pa, const void *pb)
{
	const struct env_item *a = pa, *b = pb;
	int r = compare_names(a, b);

	return r ? r : (a->at > b->at) - (a->at < b->at);
}

/* Sorted, as there may be thousands of them: who has a namesake behind it does not count. */
int strv_copy_env(struct strv *ret, char *const *items, size_t n)
{
	_cleanup_free_ struct env_item *sorted = calloc(n + 1, sizeof *sorted);
	_cleanup_free_ bool *hidden = calloc(n + 1, sizeof *hidden);
	struct strv copy = { 0 };
	int r = sorted && hidden ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < n; i++)
		sorted[i] = (struct env_item){ items[i], strcspn(items[i], "="), i };
	if (r == 0 && n)
		qsort(sorted, n, sizeof *sorted, compare_items);
	for (size_t i = 0; r == 0 && i + 1 < n; i++)
		hidden[sorted[i].at] = compare_names(&sorted[i], &sorted[i + 1]) == 0;
	for (size_t i = 0; r == 0 && i < n; i++)
		if (!hidden[i])
			r = strv_add(&copy, items[i]);
	if (r < 0)
		strv_fini(&copy);
	else
		*ret = copy;
	return r;
}

const char *strv_get_env(const struct strv *s, const char *name)
{
	size_t n = strlen(name);
	char **found = find_env(s, name, n);

	return found ? *found + n + 1 : NULL;
}

void strv_fini(struct strv *s)
{
	for (size_t i = 0; i < s->len; i++)
		free(s->v[i]);
	free(s->v);
	*s = (struct strv){ 0 };
}

size_t utf8_length(const char *s, size_t n)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t len = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : u[0] < 0xf5 ? 4 : 0;

	if (!len || len > n)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((u[i] & 0xc0) != 0x80)
			return 0;
	/* overlong, surrogates, beyond U+10FFFF */
	if ((u[0] == 0xe0 && u[1] < 0xa0) || (u[0] == 0xed && u[1] > 0x9f) || (u[0] == 0xf0 && u[1] < 0x90) ||
	    (u[0] == 0xf4 && u[1] > 0x8f))
		return 0;
	return len;
}

void utf8_repair(char *s)
{
	/* No character goes on behind the NUL. */
	for (size_t n; *s; s += n ? n : 1) {
		n = utf8_length(s, 4);
		if (!n)
			*s = '?';
	}
}

void str_one_line(char *s)
{
	char *to = s, *start = s;

	for (; *s; s++)
		if ((unsigned char)*s >= ' ' && *s != 0x7f)
			*to++ = *s;
		else if (to > start && to[-1] != ' ')
			*to++ = ' ';
	if (to > start && to[-1] == ' ')
		to--;
	*to = '\0';
}

int percent_decode(char *s, bool strict)
{
	char *to = s;

	for (; *s; s++) {
		int high = *s == '%' ? hex_digit(s[1]) : -1, low = high < 0 ? -1 : hex_digit(s[2]);

		if ((*s == '%' && low < 0 && strict) || (high == 0 && low == 0))
			return -EINVAL;
		*to++ = low < 0 ? *s : (char)(high * 16 + low);
		s += low < 0 ? 0 : 2;
	}
	*to = '\0';
	return 0;
}
