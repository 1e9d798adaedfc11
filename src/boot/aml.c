/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container is written without its length; aml_end() counts, and moves the content up by the one to four bytes that
 * the length takes.
 */
#include "boot/aml.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "guestmem/le.h"

#define EXT_OP        0x5b
#define NAME_OP       0x08
#define STRING_PREFIX 0x0d
#define SCOPE_OP      0x10
#define BUFFER_OP     0x11
#define PACKAGE_OP    0x12
#define METHOD_OP     0x14
#define DUAL_PREFIX   0x2e
#define MULTI_PREFIX  0x2f
#define LOCAL_OP      0x60
#define ARG_OP        0x68
#define IF_OP         0xa0
#define ELSE_OP       0xa1
#define WHILE_OP      0xa2
#define END_TAG       0x79 /* of a resource template, with a checksum of 0: not computed (§6.4.2.9) */

#define PKG_LEN_MAX 4

int aml_finish(const struct aml *a)
{
	if (a->failed)
		return -ENOMEM;
	return a->depth ? -EINVAL : 0;
}

void aml_fini(struct aml *a)
{
	buf_fini(&a->buf);
}

void aml_bytes(struct aml *a, const void *data, size_t len)
{
	if (buf_append(&a->buf, data, len) < 0)
		a->failed = true;
}

static void byte(struct aml *a, uint8_t v)
{
	aml_bytes(a, &v, 1);
}

/* The low n bytes of v, little-endian. */
static void number(struct aml *a, uint64_t v, size_t n)
{
	le64 raw = le64_of(v);

	aml_bytes(a, &raw, n);
}

void aml_op(struct aml *a, enum aml_op op)
{
	if (op >> 8)
		byte(a, (uint8_t)(op >> 8));
	byte(a, (uint8_t)op);
}

/* NullName, which is how an operator's target is left out. */
void aml_none(struct aml *a)
{
	byte(a, 0);
}

/* §20.2.3. Computational data: the shortest form. */
void aml_int(struct aml *a, uint64_t value)
{
	if (value <= 1) {
		byte(a, (uint8_t)value); /* ZeroOp, OneOp */
	} else if (value <= UINT8_MAX) {
		byte(a, 0x0a);
		number(a, value, 1);
	} else if (value <= UINT16_MAX) {
		byte(a, 0x0b);
		number(a, value, 2);
	} else if (value <= UINT32_MAX) {
		byte(a, 0x0c);
		number(a, value, 4);
	} else {
		byte(a, 0x0e);
		number(a, value, 8);
	}
}

void aml_str(struct aml *a, const char *value)
{
	byte(a, STRING_PREFIX);
	aml_bytes(a, value, strlen(value) + 1);
}

static unsigned hex(char c)
{
	return isdigit((unsigned char)c) ? (unsigned)(c - '0') : (unsigned)(toupper((unsigned char)c) - 'A' + 10);
}

/* Three letters of 5 bits and four hex digits, the most significant byte first. */
void aml_eisa(struct aml *a, const char *id)
{
	uint32_t v = 0;

	for (int i = 0; i < 3; i++)
		v = v << 5 | ((unsigned)id[i] & 0x1f);
	for (int i = 3; i < 7; i++)
		v = v << 4 | hex(id[i]);
	byte(a, 0x0c);
	number(a, __builtin_bswap32(v), 4);
}

/* The first three groups are little-endian numbers. */
void aml_uuid(struct aml *a, const char *uuid)
{
	static const uint8_t order[16] = { 3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15 };
	uint8_t raw[16];

	for (int i = 0; i < 16; i++) {
		if (*uuid == '-')
			uuid++;
		raw[order[i]] = (uint8_t)(hex(uuid[0]) << 4 | hex(uuid[1]));
		uuid += 2;
	}
	aml_buffer(a, raw, sizeof raw);
}

/* One segment of a path: four characters. Returns what follows it. */
static const char *segment(struct aml *a, const char *s)
{
	char seg[4] = { '_', '_', '_', '_' };

	for (int i = 0; i < 4 && *s && *s != '.'; i++)
		seg[i] = *s++;
	aml_bytes(a, seg, sizeof seg);
	return *s == '.' ? s + 1 : s;
}

/* §20.2.2. */
void aml_path(struct aml *a, const char *path)
{
	uint8_t segments = 0;

	while (*path == '\\' || *path == '^')
		byte(a, (uint8_t)*path++);
	for (const char *s = path; *s; s++)
		segments += s == path || *s == '.';
	if (segments == 0) {
		byte(a, 0);
	} else if (segments == 2) {
		byte(a, DUAL_PREFIX);
	} else if (segments > 2) {
		byte(a, MULTI_PREFIX);
		byte(a, segments);
	}
	while (segments--)
		path = segment(a, path);
}

void aml_local(struct aml *a, unsigned n)
{
	byte(a, (uint8_t)(LOCAL_OP + n));
}

void aml_arg(struct aml *a, unsigned n)
{
	byte(a, (uint8_t)(ARG_OP + n));
}

void aml_timeout(struct aml *a, uint16_t ms)
{
	number(a, ms, 2);
}

/* §20.2.4. PkgLength: the length counts itself when it is that of a package, not when it is a field's width. */
static size_t package_length(uint8_t *out, uint64_t content, bool counts_itself)
{
	for (size_t n = 1; n <= PKG_LEN_MAX; n++) {
		uint64_t len = content + (counts_itself ? n : 0);
		unsigned bits = n == 1 ? 6 : 4 + 8 * (unsigned)(n - 1);

		if (len >> bits)
			continue;
		out[0] = n == 1 ? (uint8_t)len : (uint8_t)((n - 1) << 6 | (len & 0xf));
		for (size_t i = 1; i < n; i++)
			out[i] = (uint8_t)(len >> (4 + 8 * (i - 1)));
		return n;
	}
	return 0;
}

static void insert(struct aml *a, size_t at, const void *data, size_t len)
{
	aml_bytes(a, data, len); /* for the room */
	if (a->failed)
		return;
	memmove(a->buf.data + at + len, a->buf.data + at, a->buf.len - len - at);
	memcpy(a->buf.data + at, data, len);
}

/* What follows counts for the length of the object whose opcode was just written. */
static void begin(struct aml *a)
{
	if (a->depth == AML_DEPTH) {
		a->failed = true;
		return;
	}
	a->open[a->depth].start = a->buf.len;
	a->open[a->depth++].resources = false;
}

/* BufferSize of a resource template, in front of its bytes. */
static void close_resources(struct aml *a, size_t start)
{
	_cleanup_aml_ struct aml size = { 0 };

	byte(a, END_TAG);
	byte(a, 0);
	aml_int(&size, a->buf.len - start);
	if (size.failed)
		a->failed = true;
	else
		insert(a, start, size.buf.data, size.buf.len);
}

void aml_end(struct aml *a)
{
	uint8_t len[PKG_LEN_MAX];
	size_t start, n;

	if (a->failed || !a->depth) {
		a->failed = true;
		return;
	}
	start = a->open[--a->depth].start;
	if (a->open[a->depth].resources)
		close_resources(a, start);
	n = package_length(len, a->buf.len - start, true);
	if (!n)
		a->failed = true;
	insert(a, start, len, n);
}

void aml_scope(struct aml *a, const char *path)
{
	byte(a, SCOPE_OP);
	begin(a);
	aml_path(a, path);
}

void aml_device(struct aml *a, const char *path)
{
	byte(a, EXT_OP);
	byte(a, 0x82);
	begin(a);
	aml_path(a, path);
}

void aml_method(struct aml *a, const char *path, unsigned args, bool serialized)
{
	byte(a, METHOD_OP);
	begin(a);
	aml_path(a, path);
	byte(a, (uint8_t)(args | (serialized ? 0x08 : 0)));
}

void aml_if(struct aml *a)
{
	byte(a, IF_OP);
	begin(a);
}

void aml_else(struct aml *a)
{
	byte(a, ELSE_OP);
	begin(a);
}

void aml_while(struct aml *a)
{
	byte(a, WHILE_OP);
	begin(a);
}

void aml_package(struct aml *a, uint8_t elements)
{
	byte(a, PACKAGE_OP);
	begin(a);
	byte(a, elements);
}

void aml_buffer(struct aml *a, const void *data, size_t len)
{
	byte(a, BUFFER_OP);
	begin(a);
	aml_int(a, len);
	aml_bytes(a, data, len);
	aml_end(a);
}

void aml_resources(struct aml *a)
{
	byte(a, BUFFER_OP);
	begin(a);
	if (!a->failed)
		a->open[a->depth - 1].resources = true;
}

void aml_field(struct aml *a, const char *region, enum aml_access access)
{
	byte(a, EXT_OP);
	byte(a, 0x81);
	begin(a);
	aml_path(a, region);
	byte(a, (uint8_t)access);
}

static void field_width(struct aml *a, uint32_t bits)
{
	uint8_t len[PKG_LEN_MAX];
	size_t n = package_length(len, bits, false);

	if (!n)
		a->failed = true;
	aml_bytes(a, len, n);
}

void aml_field_bits(struct aml *a, const char *name, uint32_t bits)
{
	segment(a, name);
	field_width(a, bits);
}

void aml_field_skip(struct aml *a, uint32_t bits)
{
	if (!bits)
		return;
	byte(a, 0);
	field_width(a, bits);
}

void aml_name(struct aml *a, const char *path)
{
	byte(a, NAME_OP);
	aml_path(a, path);
}

void aml_name_int(struct aml *a, const char *path, uint64_t value)
{
	aml_name(a, path);
	aml_int(a, value);
}

void aml_name_str(struct aml *a, const char *path, const char *value)
{
	aml_name(a, path);
	aml_str(a, value);
}

void aml_name_eisa(struct aml *a, const char *path, const char *id)
{
	aml_name(a, path);
	aml_eisa(a, id);
}

void aml_mutex(struct aml *a, const char *path)
{
	byte(a, EXT_OP);
	byte(a, 0x01);
	aml_path(a, path);
	byte(a, 0); /* SyncLevel */
}

void aml_region(struct aml *a, const char *path, enum aml_space space, uint64_t base, uint64_t len)
{
	byte(a, EXT_OP);
	byte(a, 0x80);
	aml_path(a, path);
	byte(a, (uint8_t)space);
	aml_int(a, base);
	aml_int(a, len);
}
