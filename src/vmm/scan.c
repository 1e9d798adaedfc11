/* SPDX-License-Identifier: Apache-2.0 */
#include "vmm/scan.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- where we are ---- */

static int peek(const struct scan *s)
{
	return s->at < s->len ? (unsigned char)s->text[s->at] : -1;
}

/* The next byte, read; -1 at the end. */
static int next(struct scan *s)
{
	int c = peek(s);

	s->at += c >= 0;
	return c;
}

int scan_peek(struct scan *s)
{
	while (s->at < s->len && memchr(" \t\n\r", s->text[s->at], 4))
		s->at++;
	return peek(s);
}

static int fail_at(struct scan *s, size_t index, const char *what)
{
	size_t line = 1, start = 0;

	for (size_t i = 0; i < index; i++)
		if (s->text[i] == '\n') {
			line++;
			start = i + 1;
		}
	return err_set(s->e, ERR_CONFIG, EINVAL, "%s at line %zu column %zu", what, line, index - start);
}

int scan_fail(struct scan *s, const char *fmt, ...)
{
	char what[900];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return fail_at(s, s->at, what);
}

int scan_fail_peeked(struct scan *s, const char *what)
{
	return fail_at(s, s->at < s->len ? s->at + 1 : s->len, what);
}

/* ---- strings ---- */

static int hex4(struct scan *s, unsigned *ret)
{
	unsigned v = 0;

	if (s->len - s->at < 4) {
		s->at = s->len;
		return scan_fail(s, "EOF while parsing a string");
	}
	for (size_t i = 0; i < 4; i++) {
		char c = s->text[s->at + i];
		unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
				 : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a') + 10
				 : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A') + 10
							: 16;
		if (digit > 15) {
			s->at += 4;
			return scan_fail(s, "invalid escape");
		}
		v = v << 4 | digit;
	}
	s->at += 4;
	*ret = v;
	return 0;
}

static int put_utf8(struct buf *out, unsigned c)
{
	char b[4];
	size_t n = 0;

	if (c < 0x80) {
		b[n++] = (char)c;
	} else if (c < 0x800) {
		b[n++] = (char)(0xc0 | c >> 6);
		b[n++] = (char)(0x80 | (c & 0x3f));
	} else if (c < 0x10000) {
		b[n++] = (char)(0xe0 | c >> 12);
		b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (c & 0x3f));
	} else {
		b[n++] = (char)(0xf0 | c >> 18);
		b[n++] = (char)(0x80 | (c >> 12 & 0x3f));
		b[n++] = (char)(0x80 | (c >> 6 & 0x3f));
		b[n++] = (char)(0x80 | (c & 0x3f));
	}
	return buf_append(out, b, n);
}

/* Behind "\u". Characters outside the basic plane come as two escapes (RFC 8259 §7). */
static int unicode_escape(struct scan *s, struct buf *out)
{
	unsigned high, low;
	int r = hex4(s, &high);

	if (r < 0)
		return r;
	if (high < 0xd800 || high > 0xdfff)
		return put_utf8(out, high);
	if (high >= 0xdc00)
		return scan_fail(s, "lone leading surrogate in hex escape");
	if (next(s) != '\\' || next(s) != 'u')
		return scan_fail(s, "unexpected end of hex escape");
	r = hex4(s, &low);
	if (r < 0)
		return r;
	if (low < 0xdc00 || low > 0xdfff)
		return scan_fail(s, "lone leading surrogate in hex escape");
	return put_utf8(out, 0x10000 + ((high - 0xd800) << 10 | (low - 0xdc00)));
}

static int escape(struct scan *s, struct buf *out)
{
	static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
	int c = next(s);
	const char *p;

	if (c < 0)
		return scan_fail(s, "EOF while parsing a string");
	if (c == 'u')
		return unicode_escape(s, out);
	p = c ? strchr(from, c) : NULL;
	return p ? buf_append(out, &to[p - from], 1) : scan_fail(s, "invalid escape");
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static bool is_utf8(const char *text, size_t len)
{
	const unsigned char *p = (const unsigned char *)text, *end = p + len;

	while (p < end) {
		unsigned char c = *p++, low = 0x80, high = 0xbf;
		size_t more;

		if (c < 0x80)
			continue;
		if (c < 0xc2 || c > 0xf4)
			return false;
		more = c >= 0xf0 ? 3 : c >= 0xe0 ? 2 : 1;
		if (c == 0xe0)
			low = 0xa0;
		else if (c == 0xed)
			high = 0x9f;
		else if (c == 0xf0)
			low = 0x90;
		else if (c == 0xf4)
			high = 0x8f;
		for (; more; more--, p++, low = 0x80, high = 0xbf)
			if (p == end || *p < low || *p > high)
				return false;
	}
	return true;
}

int scan_string(struct scan *s, struct buf *out)
{
	int c, r;

	out->len = 0;
	s->at++;
	while ((c = next(s)) != '"') {
		char byte = (char)c;

		if (c < 0)
			return scan_fail(s, "EOF while parsing a string");
		if (c < 0x20)
			return scan_fail(s, "control character (\\u0000-\\u001F) found while parsing a string");
		r = c == '\\' ? escape(s, out) : buf_append(out, &byte, 1);
		if (r < 0)
			return r == -ENOMEM ? err_sys(s->e, ENOMEM, "cannot read a string") : r;
	}
	if (buf_append(out, "", 0) < 0)
		return err_sys(s->e, ENOMEM, "cannot read a string");
	if (!is_utf8(out->data, out->len))
		return scan_fail(s, "invalid unicode code point");
	if (memchr(out->data, 0, out->len))
		return scan_fail(s, "a string with a NUL character is of no use here");
	return 0;
}

/* ---- numbers and words ---- */

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

/* The digits before a point. *ret: their value, as far as *fits. */
static int integer(struct scan *s, uint64_t *ret, bool *fits)
{
	int c = next(s);

	*fits = true;
	*ret = 0;
	if (c < 0)
		return scan_fail(s, "EOF while parsing a value");
	if (!is_digit(c))
		return scan_fail(s, "invalid number");
	if (c == '0')
		return is_digit(peek(s)) ? scan_fail_peeked(s, "invalid number") : 0;
	for (*ret = (uint64_t)(c - '0'); is_digit(peek(s)); s->at++)
		if (__builtin_mul_overflow(*ret, (uint64_t)10, ret) ||
		    __builtin_add_overflow(*ret, (uint64_t)(s->text[s->at] - '0'), ret))
			*fits = false;
	return 0;
}

/* ".5", "e-3". *ret: there was one. */
static int fraction(struct scan *s, bool *ret)
{
	if (peek(s) == '.') {
		*ret = true;
		s->at++;
		if (peek(s) < 0)
			return scan_fail(s, "EOF while parsing a value");
		if (!is_digit(peek(s)))
			return scan_fail_peeked(s, "invalid number");
		while (is_digit(peek(s)))
			s->at++;
	}
	if (peek(s) == 'e' || peek(s) == 'E') {
		int c;

		*ret = true;
		s->at++;
		if (peek(s) == '+' || peek(s) == '-')
			s->at++;
		c = next(s);
		if (c < 0)
			return scan_fail(s, "EOF while parsing a value");
		if (!is_digit(c))
			return scan_fail(s, "invalid number");
		while (is_digit(peek(s)))
			s->at++;
	}
	return 0;
}

static int floating(struct scan *s, size_t start, struct scan_number *ret)
{
	*ret = (struct scan_number){ .kind = SCAN_FLOAT };
	return number_text(s->text + start, s->at - start, ret->f) < 0 ? scan_fail(s, "number out of range") : 0;
}

int scan_number(struct scan *s, struct scan_number *ret)
{
	size_t start = s->at;
	bool negative = peek(s) == '-', fits, is_float = false;
	uint64_t u;
	int r;

	s->at += negative;
	r = integer(s, &u, &fits);
	if (r == 0)
		r = fraction(s, &is_float);
	if (r < 0)
		return r;
	/* Minus zero is a floating point number, and so is what has no place in 64 bits. */
	if (is_float || !fits || (negative && (u == 0 || u > (uint64_t)INT64_MAX + 1)))
		return floating(s, start, ret);
	if (negative)
		*ret = (struct scan_number){ .kind = SCAN_NEGATIVE, .i = (int64_t)(0 - u) };
	else
		*ret = (struct scan_number){ .kind = SCAN_UNSIGNED, .u = u };
	return 0;
}

int scan_word(struct scan *s, const char *word)
{
	for (; *word; word++) {
		int c = next(s);

		if (c < 0)
			return scan_fail(s, "EOF while parsing a value");
		if (c != *word)
			return scan_fail(s, "expected ident");
	}
	return 0;
}

/* ---- structure ---- */

int scan_key(struct scan *s, bool *first, struct buf *key)
{
	int c = scan_peek(s);

	if (c == '}')
		return 0;
	if (c < 0)
		return scan_fail_peeked(s, "EOF while parsing an object");
	if (!*first) {
		if (c != ',')
			return scan_fail_peeked(s, "expected `,` or `}`");
		s->at++;
		c = scan_peek(s);
	}
	*first = false;
	if (c == '"') {
		int r = scan_string(s, key);

		return r < 0 ? r : 1;
	}
	return scan_fail_peeked(s, c == '}' ? "trailing comma"
				   : c < 0  ? "EOF while parsing a value"
					    : "key must be a string");
}

int scan_colon(struct scan *s)
{
	int c = scan_peek(s);

	if (c != ':')
		return scan_fail_peeked(s, c < 0 ? "EOF while parsing an object" : "expected `:`");
	s->at++;
	return 0;
}

int scan_item(struct scan *s, bool *first)
{
	int c = scan_peek(s);

	if (c == ']')
		return 0;
	if (c < 0)
		return scan_fail_peeked(s, "EOF while parsing a list");
	if (!*first) {
		if (c != ',')
			return scan_fail_peeked(s, "expected `,` or `]`");
		s->at++;
		c = scan_peek(s);
		if (c == ']')
			return scan_fail_peeked(s, "trailing comma");
		if (c < 0)
			return scan_fail_peeked(s, "EOF while parsing a value");
	}
	*first = false;
	return 1;
}

int scan_end(struct scan *s)
{
	return scan_peek(s) < 0 ? 0 : scan_fail_peeked(s, "trailing characters");
}

static int skip(struct scan *s, struct buf *scratch, unsigned depth);

static int skip_object(struct scan *s, struct buf *scratch, unsigned depth)
{
	bool first = true;
	int r;

	for (s->at++; (r = scan_key(s, &first, scratch)) > 0;) {
		r = scan_colon(s);
		if (r == 0)
			r = skip(s, scratch, depth);
		if (r < 0)
			return r;
	}
	s->at += r == 0;
	return r;
}

static int skip_array(struct scan *s, struct buf *scratch, unsigned depth)
{
	bool first = true;
	int r;

	for (s->at++; (r = scan_item(s, &first)) > 0;) {
		r = skip(s, scratch, depth);
		if (r < 0)
			return r;
	}
	s->at += r == 0;
	return r;
}

static int skip(struct scan *s, struct buf *scratch, unsigned depth)
{
	struct scan_number number;
	int c = scan_peek(s);

	if (depth == SCAN_DEPTH_MAX)
		return scan_fail_peeked(s, "recursion limit exceeded");
	switch (c) {
	case '{':
		return skip_object(s, scratch, depth + 1);
	case '[':
		return skip_array(s, scratch, depth + 1);
	case '"':
		return scan_string(s, scratch);
	case 'n':
		return scan_word(s, "null");
	case 't':
		return scan_word(s, "true");
	case 'f':
		return scan_word(s, "false");
	default:
		if (c == '-' || is_digit(c))
			return scan_number(s, &number);
		return scan_fail_peeked(s, c < 0 ? "EOF while parsing a value" : "expected value");
	}
}

int scan_skip(struct scan *s)
{
	_cleanup_buf_ struct buf scratch = { 0 };

	return skip(s, &scratch, 0);
}
