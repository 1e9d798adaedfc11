/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structure of a TOML document: lines, keys, tables, arrays (TOML 1.0.0).
 *
 * A first pass refuses what may stand nowhere: bytes that are not UTF-8, control characters, a carriage return without
 * its line feed. After it the second pass, a plain recursive descent, need not look for them again. A table remembers
 * what made it (a header, a longer header, a dotted key, braces), for that decides who may still add to it.
 */
#include "codec/toml.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "codec/toml_parser.h"

/* toml_value.made_by */
enum {
	BY_NOTHING,  /* the root, a value */
	BY_PATH,     /* a table that a longer header or [[header]] passed through; its own header may follow */
	BY_HEADER,   /* [table], or one element of [[table]] */
	BY_DOTS,     /* a.b = …: closed for headers, open for more dotted keys */
	BY_BRACES,   /* inline table: closed */
	BY_HEADERS,  /* the array behind [[table]] */
	BY_BRACKETS, /* static array: closed */
};

/* Counts on from the last place that was asked for: a document may be one line. */
uint32_t toml_column(struct toml_parser *t, const char *at)
{
	if (t->counted < t->line_start || t->counted > at) {
		t->counted = t->line_start;
		t->column = 1;
	}
	for (; t->counted < at; t->counted++)
		if (((unsigned char)*t->counted & 0xc0) != 0x80)
			t->column++;
	return t->column;
}

int toml_fail_at(struct toml_parser *t, const char *at, const char *fmt, ...)
{
	char what[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof what, fmt, ap);
	va_end(ap);
	return err_set(t->e, ERR_CONFIG, EINVAL, "%s:%u:%u: %s", t->name, t->line, toml_column(t, at), what);
}

static int out_of_memory(struct toml_parser *t)
{
	return err_sys(t->e, ENOMEM, "%s:%u: cannot keep the document", t->name, t->line);
}

int toml_make(struct toml_parser *t, enum toml_type type, const char *at, struct toml_value **ret)
{
	if (++t->values > TOML_VALUES_MAX)
		return err_set(t->e, ERR_LIMIT, EFBIG, "%s:%u: more than %u values", t->name, t->line, TOML_VALUES_MAX);
	*ret = toml_new(type, t->name, t->line, toml_column(t, at));
	return *ret ? 0 : out_of_memory(t);
}

/* ---- first pass ---- */

static int check_text(struct toml_parser *t)
{
	while (t->p < t->end) {
		unsigned char c = (unsigned char)*t->p;
		size_t n = utf8_length(t->p, (size_t)(t->end - t->p));

		if (!n)
			return toml_fail(t, "byte 0x%02x is not UTF-8 text here", c);
		if (toml_newline(t))
			continue;
		/* toml_newline() stepped over a lone CR: c still is what stood there. */
		if (c == '\r') {
			t->p--;
			return toml_fail(t, "carriage return without a line feed");
		}
		if ((c < 0x20 && c != '\t') || c == 0x7f)
			return toml_fail(t, "control character 0x%02x; in a string write \\u%04x", c, c);
		t->p += n;
	}
	return 0;
}

/* ---- second pass ---- */

static void skip_space(struct toml_parser *t)
{
	while (t->p < t->end && (*t->p == ' ' || *t->p == '\t'))
		t->p++;
}

static void skip_comment(struct toml_parser *t)
{
	if (toml_at(t, '#'))
		while (t->p < t->end && *t->p != '\n' && *t->p != '\r')
			t->p++;
}

/* White space, comments and line ends, where all of them may stand. */
static void skip_blank(struct toml_parser *t)
{
	do {
		skip_space(t);
		skip_comment(t);
	} while (toml_newline(t));
}

static int end_of_line(struct toml_parser *t)
{
	skip_space(t);
	skip_comment(t);
	if (t->p == t->end || toml_newline(t))
		return 0;
	return toml_fail(t, "expected the end of the line");
}

struct key {
	struct buf text;
	const char *at; /* in the document, still in the current line: keys do not span lines */
};

static bool is_bare(char c)
{
	return isalnum((unsigned char)c) || c == '_' || c == '-';
}

/* One part of a dotted key. */
static int parse_key(struct toml_parser *t, struct key *key)
{
	const char *start = t->p;

	buf_fini(&key->text);
	key->at = start;
	if (toml_at(t, '"') || toml_at(t, '\''))
		return toml_scan_string(t, false, &key->text);
	while (t->p < t->end && is_bare(*t->p))
		t->p++;
	if (t->p == start)
		return toml_fail(t, "expected a key: letters, digits, \"-\", \"_\", or a quoted string");
	return buf_append(&key->text, start, (size_t)(t->p - start)) < 0 ? out_of_memory(t) : 0;
}

/* After a key part: is a dot and one more part to follow? */
static bool next_part(struct toml_parser *t)
{
	skip_space(t);
	if (!toml_at(t, '.'))
		return false;
	t->p++;
	skip_space(t);
	return true;
}

static int too_deep(struct toml_parser *t)
{
	return err_set(t->e, ERR_LIMIT, EFBIG, "%s:%u: more than %u tables and arrays within each other", t->name,
		       t->line, TOML_DEPTH_MAX);
}

static int add_table(struct toml_parser *t, struct toml_value *parent, const struct key *key, uint8_t made_by,
		     struct toml_value **ret)
{
	struct toml_value *v;
	int r = toml_make(t, TOML_TABLE, key->at, &v);

	if (r < 0)
		return r;
	v->made_by = made_by;
	if (toml_table_add(parent, key->text.data, key->text.len, v->line, v->column, v) < 0)
		return out_of_memory(t);
	*ret = v;
	return 0;
}

static int already_there(struct toml_parser *t, const struct key *key, const struct toml_entry *old)
{
	return toml_fail_at(t, key->at, "\"%.100s\" is already defined in line %u", key->text.data, old->line);
}

static int parse_value(struct toml_parser *t, unsigned depth, struct toml_value **ret);

/* key = value, key.key = value: into table. */
static int parse_pair(struct toml_parser *t, struct toml_value *table, unsigned depth)
{
	__attribute__((cleanup(buf_fini))) struct buf text = { 0 };
	struct key key = { 0 };
	struct toml_value *value;
	uint32_t line, column;
	int r;

	for (;;) {
		struct toml_entry *old;

		r = parse_key(t, &key);
		buf_fini(&text);
		text = key.text;
		if (r < 0)
			return r;
		old = toml_find_n(table, text.data, text.len);
		line = t->line;
		column = toml_column(t, key.at);
		if (!next_part(t)) {
			if (old)
				return already_there(t, &key, old);
			break;
		}
		if (++depth > TOML_DEPTH_MAX)
			return too_deep(t);
		if (!old) {
			r = add_table(t, table, &key, BY_DOTS, &table);
			if (r < 0)
				return r;
		} else if (old->value->made_by == BY_DOTS || old->value->made_by == BY_PATH) {
			table = old->value;
			table->made_by = BY_DOTS;
		} else {
			return already_there(t, &key, old);
		}
		key.text = (struct buf){ 0 };
	}
	if (!toml_at(t, '='))
		return toml_fail(t, "expected \"=\" after the key");
	t->p++;
	skip_space(t);
	r = parse_value(t, depth + 1, &value);
	if (r < 0)
		return r;
	return toml_table_add(table, text.data, text.len, line, column, value) < 0 ? out_of_memory(t) : 0;
}

static int parse_inline_table(struct toml_parser *t, unsigned depth, struct toml_value *table)
{
	int r;

	t->p++;
	skip_space(t);
	if (!toml_at(t, '}'))
		for (;;) {
			r = parse_pair(t, table, depth);
			if (r < 0)
				return r;
			skip_space(t);
			if (!toml_at(t, ','))
				break;
			t->p++;
			skip_space(t);
		}
	if (!toml_at(t, '}'))
		return toml_fail(t, "expected \",\" or \"}\" in the inline table, which must stand in one line");
	t->p++;
	return 0;
}

static int parse_array(struct toml_parser *t, unsigned depth, struct toml_value *array)
{
	int r;

	t->p++;
	for (;;) {
		struct toml_value *item;

		skip_blank(t);
		if (toml_at(t, ']'))
			break;
		r = parse_value(t, depth + 1, &item);
		if (r < 0)
			return r;
		if (toml_array_add(array, item) < 0)
			return out_of_memory(t);
		skip_blank(t);
		if (toml_at(t, ',')) {
			t->p++;
			continue;
		}
		if (!toml_at(t, ']'))
			return toml_fail(t, "expected \",\" or \"]\" in the array");
	}
	t->p++;
	return 0;
}

static int parse_string_value(struct toml_parser *t, struct toml_value *v)
{
	_cleanup_buf_ struct buf text = { 0 };
	int r = toml_scan_string(t, true, &text);

	if (r < 0)
		return r;
	v->u.string.len = text.len;
	v->u.string.data = buf_take(&text);
	return v->u.string.data ? 0 : out_of_memory(t);
}

static int parse_value(struct toml_parser *t, unsigned depth, struct toml_value **ret)
{
	_cleanup_toml_ struct toml_value *v = NULL;
	char c = t->p < t->end ? *t->p : '\n';
	enum toml_type type;
	int r;

	if (depth > TOML_DEPTH_MAX)
		return too_deep(t);
	if (c == '"' || c == '\'')
		type = TOML_STRING;
	else if (c == '[')
		type = TOML_ARRAY;
	else if (c == '{')
		type = TOML_TABLE;
	else
		return toml_scan_scalar(t, ret);
	r = toml_make(t, type, t->p, &v);
	if (r < 0)
		return r;
	if (type == TOML_STRING) {
		r = parse_string_value(t, v);
	} else if (type == TOML_ARRAY) {
		v->made_by = BY_BRACKETS;
		r = parse_array(t, depth, v);
	} else {
		r = parse_inline_table(t, depth, v);
		v->made_by = BY_BRACES;
	}
	if (r < 0)
		return r;
	*ret = take_ptr(v);
	return 0;
}

/* A part of a header before the last: the table to go on from. */
static int enter(struct toml_parser *t, struct toml_value **table, const struct key *key)
{
	struct toml_entry *old = toml_find_n(*table, key->text.data, key->text.len);

	if (!old)
		return add_table(t, *table, key, BY_PATH, table);
	if (old->value->made_by == BY_HEADERS) {
		*table = old->value->u.array.items[old->value->u.array.len - 1];
		return 0;
	}
	if (old->value->type != TOML_TABLE || old->value->made_by == BY_BRACES)
		return already_there(t, key, old);
	*table = old->value;
	return 0;
}

/* The last part of [header]. */
static int open_table(struct toml_parser *t, struct toml_value **table, const struct key *key)
{
	struct toml_entry *old = toml_find_n(*table, key->text.data, key->text.len);

	if (!old)
		return add_table(t, *table, key, BY_HEADER, table);
	if (old->value->made_by != BY_PATH)
		return already_there(t, key, old);
	*table = old->value;
	(*table)->made_by = BY_HEADER;
	(*table)->line = old->line = t->line;
	(*table)->column = old->column = toml_column(t, key->at);
	return 0;
}

/* The last part of [[header]]. */
static int open_element(struct toml_parser *t, struct toml_value **table, const struct key *key)
{
	struct toml_entry *old = toml_find_n(*table, key->text.data, key->text.len);
	struct toml_value *array, *v;
	int r;

	if (old && old->value->made_by != BY_HEADERS)
		return already_there(t, key, old);
	if (old) {
		array = old->value;
	} else {
		r = toml_make(t, TOML_ARRAY, key->at, &array);
		if (r < 0)
			return r;
		array->made_by = BY_HEADERS;
	}
	r = toml_make(t, TOML_TABLE, key->at, &v);
	if (r < 0) {
		if (!old)
			toml_free(array);
		return r;
	}
	v->made_by = BY_HEADER;
	/* An array behind [[header]] is never empty: enter() relies on it. */
	r = toml_array_add(array, v);
	if (r < 0) {
		if (!old)
			toml_free(array);
		return out_of_memory(t);
	}
	if (!old && toml_table_add(*table, key->text.data, key->text.len, v->line, v->column, array) < 0)
		return out_of_memory(t);
	*table = v;
	return 0;
}

static int parse_header(struct toml_parser *t, struct toml_value *root, struct toml_value **ret)
{
	__attribute__((cleanup(buf_fini))) struct buf text = { 0 };
	struct toml_value *table = root;
	struct key key = { 0 };
	unsigned depth = 1;
	bool array;
	int r;

	t->p++;
	array = toml_at(t, '[');
	if (array)
		t->p++;
	skip_space(t);
	for (;;) {
		const char *end;

		r = parse_key(t, &key);
		buf_fini(&text);
		text = key.text;
		if (r < 0)
			return r;
		if (++depth > TOML_DEPTH_MAX)
			return too_deep(t);
		end = t->p;
		if (!next_part(t)) {
			t->p = end;
			break;
		}
		r = enter(t, &table, &key);
		if (r < 0)
			return r;
		key.text = (struct buf){ 0 };
	}
	skip_space(t);
	if (!toml_at_text(t, array ? "]]" : "]"))
		return toml_fail(t, "expected \"%s\" at the end of the table's name", array ? "]]" : "]");
	t->p += array ? 2 : 1;
	*ret = table;
	return array ? open_element(t, ret, &key) : open_table(t, ret, &key);
}

static int parse_document(struct toml_parser *t, struct toml_value *root)
{
	struct toml_value *table = root;
	int r;

	for (;;) {
		skip_blank(t);
		if (t->p == t->end)
			return 0;
		r = toml_at(t, '[') ? parse_header(t, root, &table) : parse_pair(t, table, 1);
		if (r < 0)
			return r;
		r = end_of_line(t);
		if (r < 0)
			return r;
	}
}

int toml_parse(const char *data, size_t len, const char *name, struct toml_value **ret, struct err *e)
{
	struct toml_parser t = { .p = data, .end = data + len, .line_start = data, .line = 1, .name = name, .e = e };
	_cleanup_toml_ struct toml_value *root = NULL;
	int r;

	if (len > TOML_SIZE_MAX)
		return err_set(e, ERR_LIMIT, EFBIG, "%s: larger than %u bytes", name, TOML_SIZE_MAX);
	if (len >= 3 && !memcmp(data, "\xef\xbb\xbf", 3))
		data += 3; /* byte order mark */
	t.p = t.line_start = data;
	r = check_text(&t);
	if (r < 0)
		return r;
	t.p = t.line_start = data;
	t.line = 1;
	r = toml_make(&t, TOML_TABLE, data, &root);
	if (r < 0)
		return r;
	r = parse_document(&t, root);
	if (r < 0)
		return r;
	*ret = take_ptr(root);
	return 0;
}
