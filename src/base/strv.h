/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: comparisons, a growing byte buffer, and vectors of strings (argv, environ, option lists). */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline bool str_eq(const char *a, const char *b)
{
	return a == b || (a && b && !strcmp(a, b));
}

/* NULL and "" are the same to most of what we read (protobuf strings, TOML keys). */
static inline bool str_empty(const char *s)
{
	return !s || !*s;
}

/* The value of a hexadecimal digit; -1: it is none. */
static inline int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The rest of s behind prefix, or NULL. */
static inline const char *str_after(const char *s, const char *prefix)
{
	size_t n = strlen(prefix);

	return strncmp(s, prefix, n) ? NULL : s + n;
}

bool str_endswith(const char *s, const char *suffix);

/* Decimal (base 10) or prefixed (base 0) unsigned number; the whole string must be one. 0, -EINVAL or -ERANGE. */
int str_to_u64(const char *s, int base, uint64_t *ret);

/* How many bytes the character at s has, at most n (1 or more); 0: no valid UTF-8 (RFC 3629). */
size_t utf8_length(const char *s, size_t n);

/* In place: each byte that does not belong to valid UTF-8 becomes '?'. */
void utf8_repair(char *s);

/* In place: control characters, line ends among them, become one blank for a run of them, and none at the ends. */
void str_one_line(char *s);

/* In place: %XX becomes that byte. -EINVAL: it would be NUL, or (strict) there is a '%' without two digits. */
int percent_decode(char *s, bool strict);

/* asprintf that returns NULL when memory is short. */
char *str_printf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* A growing byte buffer, always NUL-terminated behind len. Zero-initialise; free with buf_fini(). */
struct buf {
	char *data;
	size_t len, size;
};

int buf_reserve(struct buf *b, size_t more);
int buf_append(struct buf *b, const void *data, size_t n);
int buf_puts(struct buf *b, const char *s);
int buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int buf_vprintf(struct buf *b, const char *fmt, va_list ap) __attribute__((format(printf, 2, 0)));
/* Drop n bytes from the front. */
void buf_consume(struct buf *b, size_t n);
/* The data, owned by the caller; the buffer is empty afterwards. NULL only when memory is short. */
char *buf_take(struct buf *b);
void buf_fini(struct buf *b);
#define _cleanup_buf_ __attribute__((cleanup(buf_fini)))

/* A vector of owned strings, terminated by NULL behind len. Zero-initialise; free with strv_fini(). */
struct strv {
	char **v;
	size_t len;
};

int strv_add(struct strv *s, const char *item);
int strv_addf(struct strv *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Takes item over, also on failure. NULL counts as out of memory. */
int strv_add_take(struct strv *s, char *item);
int strv_copy(struct strv *ret, char *const *items, size_t n);
bool strv_contains(const struct strv *s, const char *item);
/* NAME=value lists: replace the entry of the same name or append. */
int strv_set_env(struct strv *s, const char *assignment);
/* A copy in which each NAME stands once: with the value that it has last, where it has that. */
int strv_copy_env(struct strv *ret, char *const *items, size_t n);
/* The value of name in a NAME=value list, or NULL. */
const char *strv_get_env(const struct strv *s, const char *name);
void strv_fini(struct strv *s);
#define _cleanup_strv_ __attribute__((cleanup(strv_fini)))
