/* SPDX-License-Identifier: Apache-2.0 */
/* TOML strings, numbers, booleans and dates: text to values (TOML 1.0.0; RFC 3339 for dates). */
#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/toml_parser.h"

static int no_memory(struct toml_parser *t)
{
	return err_sys(t->e, ENOMEM, "%s:%u: cannot keep the value", t->name, t->line);
}

/* ---- strings ---- */

static int put_utf8(struct toml_parser *t, struct buf *b, uint32_t c)
{
	char s[4];
	size_t n = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
	static const unsigned char lead[] = { 0, 0, 0xc0, 0xe0, 0xf0 };

	for (size_t i = n; i-- > 1; c >>= 6)
		s[i] = (char)(0x80 | (c & 0x3f));
	s[0] = (char)(lead[n] | c);
	return buf_append(b, s, n) < 0 ? no_memory(t) : 0;
}

/* \uXXXX or \UXXXXXXXX; p is behind the letter, start at the backslash. */
static int scan_unicode(struct toml_parser *t, const char *start, unsigned digits, struct buf *b)
{
	uint32_t c = 0;

	for (unsigned i = 0; i < digits; i++) {
		int d = t->p < t->end ? hex_digit(*t->p) : -1;

		if (d < 0)
			return toml_fail_at(t, start, "\\%c needs %u hexadecimal digits", start[1], digits);
		c = c << 4 | (uint32_t)d;
		t->p++;
	}
	if (c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
		return toml_fail_at(t, start, "U+%04X is not a character", c);
	return put_utf8(t, b, c);
}

/* A backslash at the end of a line of a multi-line string: swallow all white space that follows. */
static bool skip_line_end(struct toml_parser *t)
{
	const char *p = t->p;

	while (p < t->end && (*p == ' ' || *p == '\t'))
		p++;
	if (p == t->end || (*p != '\n' && *p != '\r'))
		return false;
	t->p = p;
	for (;;) {
		while (toml_at(t, ' ') || toml_at(t, '\t'))
			t->p++;
		if (!toml_newline(t))
			return true;
	}
}

static int scan_escape(struct toml_parser *t, bool multiline, struct buf *b)
{
	static const char from[] = "btnfr\"\\", to[] = "\b\t\n\f\r\"\\";
	const char *start = t->p++, *found;
	char c;

	if (multiline && skip_line_end(t))
		return 0;
	c = t->p < t->end ? *t->p : ' ';
	found = c ? strchr(from, c) : NULL;
	if (found) {
		t->p++;
		return buf_append(b, &to[found - from], 1) < 0 ? no_memory(t) : 0;
	}
	if (c == 'u' || c == 'U') {
		t->p++;
		return scan_unicode(t, start, c == 'u' ? 4 : 8, b);
	}
	return toml_fail_at(t, start,
			    "unknown escape; write \\\\ for a backslash, or use '…' for text without escapes");
}

/* The run of quotes at p inside a multi-line string: up to two belong to the text, also right before the closing. */
static int scan_quotes(struct toml_parser *t, char quote, struct buf *b, bool *ret_closed)
{
	size_t n = 0;

	while (n < 5 && t->p + n < t->end && t->p[n] == quote)
		n++;
	*ret_closed = n >= 3;
	if (buf_append(b, t->p, n >= 3 ? n - 3 : n) < 0)
		return no_memory(t);
	t->p += n;
	return 0;
}

int toml_scan_string(struct toml_parser *t, bool multiline, struct buf *ret)
{
	const char *start = t->p;
	struct toml_parser opening = *t;
	char quote = *t->p;
	bool triple = toml_at_text(t, quote == '"' ? "\"\"\"" : "'''"), closed;
	int r;

	if (triple && !multiline)
		return toml_fail(t, "a key cannot be a multi-line string");
	t->p += triple ? 3 : 1;
	if (triple)
		toml_newline(t); /* right after the opening quotes it does not count */
	if (buf_reserve(ret, 0) < 0)
		return no_memory(t);
	while (t->p < t->end) {
		if (*t->p == quote && !triple) {
			t->p++;
			return 0;
		}
		if (*t->p == quote) {
			r = scan_quotes(t, quote, ret, &closed);
			if (r < 0 || closed)
				return r;
		} else if (*t->p == '\\' && quote == '"') {
			r = scan_escape(t, triple, ret);
			if (r < 0)
				return r;
		} else if (*t->p == '\n' || *t->p == '\r') {
			const char *p = t->p;

			if (!triple)
				break;
			toml_newline(t);
			if (buf_append(ret, p, (size_t)(t->p - p)) < 0)
				return no_memory(t);
		} else {
			if (buf_append(ret, t->p++, 1) < 0)
				return no_memory(t);
		}
	}
	return toml_fail_at(&opening, start,
			    triple ? "string without its closing %c%c%c" : "string without its closing %c", quote,
			    quote, quote);
}

/* ---- dates and times ---- */

/* n decimal digits at *p. */
static bool digits(const char **p, const char *end, unsigned n, unsigned *ret)
{
	unsigned v = 0;

	for (unsigned i = 0; i < n; i++, (*p)++) {
		if (*p >= end || !isdigit((unsigned char)**p))
			return false;
		v = v * 10 + (unsigned)(**p - '0');
	}
	*ret = v;
	return true;
}

static bool literal(const char **p, const char *end, char c)
{
	if (*p >= end || **p != c)
		return false;
	(*p)++;
	return true;
}

static bool scan_date(const char **p, const char *end, struct toml_datetime *d)
{
	static const unsigned char days[] = { 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
	unsigned y, m, day;

	if (!digits(p, end, 4, &y) || !literal(p, end, '-') || !digits(p, end, 2, &m) || !literal(p, end, '-') ||
	    !digits(p, end, 2, &day))
		return false;
	if (m < 1 || m > 12 || day < 1 || day > days[m - 1])
		return false;
	if (m == 2 && day == 29 && (y % 4 || (y % 100 == 0 && y % 400)))
		return false;
	d->year = (uint16_t)y;
	d->month = (uint8_t)m;
	d->day = (uint8_t)day;
	return true;
}

static bool scan_time(const char **p, const char *end, struct toml_datetime *d)
{
	unsigned h, m, s, scale = 100000000;

	if (!digits(p, end, 2, &h) || !literal(p, end, ':') || !digits(p, end, 2, &m) || !literal(p, end, ':') ||
	    !digits(p, end, 2, &s) || h > 23 || m > 59 || s > 60)
		return false;
	d->hour = (uint8_t)h;
	d->minute = (uint8_t)m;
	d->second = (uint8_t)s;
	if (!literal(p, end, '.'))
		return true;
	if (*p >= end || !isdigit((unsigned char)**p))
		return false;
	for (; *p < end && isdigit((unsigned char)**p); (*p)++, scale /= 10)
		d->nanosecond += (unsigned)(**p - '0') * scale;
	return true;
}

static bool scan_offset(const char **p, const char *end, struct toml_datetime *d)
{
	unsigned h, m;
	bool minus;

	if (literal(p, end, 'Z') || literal(p, end, 'z'))
		return true;
	minus = literal(p, end, '-');
	if (!minus && !literal(p, end, '+'))
		return false;
	if (!digits(p, end, 2, &h) || !literal(p, end, ':') || !digits(p, end, 2, &m) || h > 23 || m > 59)
		return false;
	d->offset_minutes = (int16_t)(minus ? -(int)(h * 60 + m) : (int)(h * 60 + m));
	return true;
}

/* The whole of p..end as one of the four kinds. */
static bool scan_datetime(const char *p, const char *end, enum toml_type *type, struct toml_datetime *d)
{
	if (end - p > 2 && p[2] == ':') {
		*type = TOML_TIME_LOCAL;
		return scan_time(&p, end, d) && p == end;
	}
	*type = TOML_DATE_LOCAL;
	if (!scan_date(&p, end, d))
		return false;
	if (p == end)
		return true;
	*type = TOML_DATETIME_LOCAL;
	if (!(literal(&p, end, 'T') || literal(&p, end, 't') || literal(&p, end, ' ')) || !scan_time(&p, end, d))
		return false;
	if (p == end)
		return true;
	*type = TOML_DATETIME;
	return scan_offset(&p, end, d) && p == end;
}

/* ---- numbers ---- */

/* Copy without the underscores; each must stand between two digits of that base. */
static bool strip(const char *p, const char *end, bool hex, char *out, size_t size)
{
	size_t n = 0;

	for (const char *q = p; q < end; q++) {
		if (*q == '_') {
			if (q == p || q + 1 == end || (hex ? hex_digit(q[-1]) < 0 : !isdigit((unsigned char)q[-1])) ||
			    (hex ? hex_digit(q[1]) < 0 : !isdigit((unsigned char)q[1])))
				return false;
			continue;
		}
		if (n + 1 >= size)
			return false;
		out[n++] = *q;
	}
	out[n] = '\0';
	return n > 0;
}

static bool scan_prefixed(const char *text, int base, int64_t *ret)
{
	unsigned long long v;
	char *end;

	if (hex_digit(text[0]) < 0 || hex_digit(text[0]) >= base)
		return false;
	errno = 0;
	v = strtoull(text, &end, base);
	if (errno || *end || v > INT64_MAX)
		return false;
	*ret = (int64_t)v;
	return true;
}

/* [sign] digits, without a zero in front. */
static bool is_decimal(const char **p)
{
	const char *q = *p;

	if (*q == '+' || *q == '-')
		q++;
	if (!isdigit((unsigned char)*q) || (*q == '0' && isdigit((unsigned char)q[1])))
		return false;
	while (isdigit((unsigned char)*q))
		q++;
	*p = q;
	return true;
}

static bool is_float(const char *p)
{
	if (!is_decimal(&p))
		return false;
	if (*p == '.') {
		if (!isdigit((unsigned char)*++p))
			return false;
		while (isdigit((unsigned char)*p))
			p++;
	}
	if (*p == 'e' || *p == 'E') {
		p++;
		if (*p == '+' || *p == '-')
			p++;
		if (!isdigit((unsigned char)*p))
			return false;
		while (isdigit((unsigned char)*p))
			p++;
	}
	return !*p;
}

static bool scan_number(const char *p, const char *end, enum toml_type *type, struct toml_value *v)
{
	char text[400];
	const char *q = text;
	int base = 10;

	if (end - p > 2 && p[0] == '0')
		base = p[1] == 'x' ? 16 : p[1] == 'o' ? 8 : p[1] == 'b' ? 2 : 10;
	if (base != 10)
		p += 2;
	if (!strip(p, end, base == 16, text, sizeof text))
		return false;
	*type = TOML_INTEGER;
	if (base != 10)
		return scan_prefixed(text, base, &v->u.integer);
	if (is_decimal(&q) && !*q) {
		errno = 0;
		v->u.integer = strtoll(text, NULL, 10);
		return !errno;
	}
	*type = TOML_FLOAT;
	q = text + (*text == '+' || *text == '-');
	if (!strcmp(q, "inf") || !strcmp(q, "nan")) {
		v->u.number = *q == 'n' ? (double)NAN : *text == '-' ? -(double)INFINITY : (double)INFINITY;
		return true;
	}
	if (!is_float(text))
		return false;
	v->u.number = strtod(text, NULL); /* the C locale: programs never call setlocale(LC_NUMERIC) */
	return true;
}

static bool is_scalar_char(char c)
{
	return isalnum((unsigned char)c) || strchr("+-._:", c);
}

/* Where the bare word at p ends; a date takes in the time after one space. */
static const char *word_end(const struct toml_parser *t)
{
	const char *q = t->p;

	while (q < t->end && *q && is_scalar_char(*q))
		q++;
	if (q - t->p == 10 && t->p[4] == '-' && t->end - q > 1 && *q == ' ' && isdigit((unsigned char)q[1]))
		for (q++; q < t->end && *q && is_scalar_char(*q);)
			q++;
	return q;
}

int toml_scan_scalar(struct toml_parser *t, struct toml_value **ret)
{
	_cleanup_toml_ struct toml_value *v = NULL;
	const char *p = t->p, *end = word_end(t);
	size_t n = (size_t)(end - p);
	enum toml_type type = TOML_BOOL;
	bool ok;
	int r;

	if (!n)
		return toml_fail(t, "expected a value%s",
				 p == t->end || strchr("\r\n#,]}", *p) ? "" : "; strings need quotes");
	r = toml_make(t, TOML_BOOL, p, &v);
	if (r < 0)
		return r;
	if ((n == 4 && !memcmp(p, "true", 4)) || (n == 5 && !memcmp(p, "false", 5))) {
		v->u.boolean = n == 4;
		ok = true;
	} else if (n > 4 && isdigit((unsigned char)*p) && (p[4] == '-' || p[2] == ':')) {
		ok = scan_datetime(p, end, &type, &v->u.datetime);
		if (!ok)
			return toml_fail(t, "\"%.*s\" is not a date or time", n > 60 ? 60 : (int)n, p);
	} else {
		ok = scan_number(p, end, &type, v);
	}
	if (!ok)
		return toml_fail(t, "\"%.*s\" is not a value; strings need quotes", n > 60 ? 60 : (int)n, p);
	v->type = type;
	t->p = end;
	*ret = take_ptr(v);
	return 0;
}
