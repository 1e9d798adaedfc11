/* SPDX-License-Identifier: Apache-2.0 */
/* The state shared by the two halves of the TOML parser: toml.c (structure) and toml_scalar.c (strings, numbers). */
#pragma once

#include <stdint.h>

#include "base/strv.h"
#include "codec/toml.h"

struct toml_parser {
	const char *p, *end;
	const char *line_start, *counted; /* `column` is of `counted` */
	uint32_t line, column;
	const char *name;
	size_t values; /* how many were made */
	struct err *e;
};

/* Fail at a place of the current line. Returns -EINVAL. */
int toml_fail_at(struct toml_parser *t, const char *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
#define toml_fail(t, ...) toml_fail_at(t, (t)->p, __VA_ARGS__)

/* Column of a place in the current line, from 1, in characters. */
uint32_t toml_column(struct toml_parser *t, const char *at);

/* A new value that starts at `at`, counted against TOML_VALUES_MAX. */
int toml_make(struct toml_parser *t, enum toml_type type, const char *at, struct toml_value **ret);

/* The quoted string at p, of either kind; multiline: accept three quotes too. ret: appended to. */
int toml_scan_string(struct toml_parser *t, bool multiline, struct buf *ret);

/* Boolean, number or date at p. */
int toml_scan_scalar(struct toml_parser *t, struct toml_value **ret);

static inline bool toml_at(const struct toml_parser *t, char c)
{
	return t->p < t->end && *t->p == c;
}

static inline bool toml_at_text(const struct toml_parser *t, const char *text)
{
	size_t n = strlen(text);

	return (size_t)(t->end - t->p) >= n && !memcmp(t->p, text, n);
}

/* Step over a line feed or CR LF if one is here. */
static inline bool toml_newline(struct toml_parser *t)
{
	if (toml_at(t, '\r'))
		t->p++; /* always followed by LF: checked for the whole document beforehand */
	if (!toml_at(t, '\n'))
		return false;
	t->line_start = ++t->p;
	t->line++;
	return true;
}
