/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where an error is said to be follows the order in which the other server notices it: a wrong value right behind the
 * value, a wrong or missing member behind the brace that ends the object, or where reading stopped on the way there.
 */
#include "vmm/body.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vmm/scan.h"

#define QUOTE_MAX 200 /* bytes of a client's string that go into a message */

static int object(struct scan *s, const struct body_table *t, void *target);

static int no_memory(struct scan *s)
{
	return err_sys(s->e, ENOMEM, "cannot read a request");
}

/* ---- values of the wrong type ---- */

/* "string "a\n"": a client's string as the other server quotes it. */
static void quote(const char *text, size_t len, char *out, size_t size)
{
	static const char from[] = "\"\\\n\r\t", to[] = "\"\\nrt";
	size_t n = 0;

	if (len > QUOTE_MAX)
		len = QUOTE_MAX;
	for (size_t i = 0; i < len && n + 12 < size; i++) {
		unsigned char c = (unsigned char)text[i];
		const char *p = strchr(from, c);

		if (p)
			n += (size_t)snprintf(out + n, size - n, "\\%c", to[p - from]);
		else if (c < 0x20 || c == 0x7f)
			n += (size_t)snprintf(out + n, size - n, "\\u{%x}", c);
		else
			out[n++] = (char)c;
	}
	out[n] = 0;
}

static void describe_number(const struct scan_number *number, char *out, size_t size)
{
	switch (number->kind) {
	case SCAN_UNSIGNED:
		snprintf(out, size, "integer `%llu`", (unsigned long long)number->u);
		break;
	case SCAN_NEGATIVE:
		snprintf(out, size, "integer `%lld`", (long long)number->i);
		break;
	case SCAN_FLOAT:
		snprintf(out, size, "floating point `%s`", number->f);
		break;
	}
}

/* What is next is not of the type that was expected: say what it is. */
static int wrong_type(struct scan *s, const char *expected)
{
	_cleanup_buf_ struct buf text = { 0 };
	char what[2 * QUOTE_MAX + 40];
	char quoted[2 * QUOTE_MAX + 16];
	struct scan_number number;
	int c = scan_peek(s), r = 0;

	switch (c) {
	case 'n':
		r = scan_word(s, "null");
		snprintf(what, sizeof what, "null");
		break;
	case 't':
	case 'f':
		r = scan_word(s, c == 't' ? "true" : "false");
		snprintf(what, sizeof what, "boolean `%s`", c == 't' ? "true" : "false");
		break;
	case '"':
		r = scan_string(s, &text);
		if (r == 0)
			quote(text.data, text.len, quoted, sizeof quoted);
		snprintf(what, sizeof what, "string \"%s\"", r == 0 ? quoted : "");
		break;
	case '[':
		snprintf(what, sizeof what, "sequence");
		break;
	case '{':
		snprintf(what, sizeof what, "map");
		break;
	default:
		if (c != '-' && (c < '0' || c > '9'))
			return scan_fail_peeked(s, c < 0 ? "EOF while parsing a value" : "expected value");
		r = scan_number(s, &number);
		if (r == 0)
			describe_number(&number, what, sizeof what);
	}
	return r < 0 ? r : scan_fail(s, "invalid type: %s, expected %s", what, expected);
}

/* ---- values ---- */

static int boolean(struct scan *s, bool *ret)
{
	int c = scan_peek(s), r;

	if (c != 't' && c != 'f')
		return wrong_type(s, "a boolean");
	r = scan_word(s, c == 't' ? "true" : "false");
	if (r == 0)
		*ret = c == 't';
	return r;
}

static int unsigned_number(struct scan *s, enum body_type type, uint64_t *ret)
{
	static const struct {
		const char *name;
		uint64_t max;
	} types[] = {
		[BODY_U8] = { "u8", UINT8_MAX },      [BODY_U16] = { "u16", UINT16_MAX },
		[BODY_U32] = { "u32", UINT32_MAX },   [BODY_U64] = { "u64", UINT64_MAX },
		[BODY_USIZE] = { "usize", SIZE_MAX },
	};
	struct scan_number number;
	char what[NUMBER_TEXT_MAX + 32];
	int c = scan_peek(s), r;

	if (c != '-' && (c < '0' || c > '9'))
		return wrong_type(s, types[type].name);
	r = scan_number(s, &number);
	if (r < 0)
		return r;
	if (number.kind == SCAN_UNSIGNED && number.u <= types[type].max) {
		*ret = number.u;
		return 0;
	}
	describe_number(&number, what, sizeof what);
	return scan_fail(s, "invalid %s: %s, expected %s", number.kind == SCAN_FLOAT ? "type" : "value", what,
			 types[type].name);
}

static int variant(struct scan *s, const char *const *variants, unsigned *ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	_cleanup_buf_ struct buf known = { 0 };
	char quoted[QUOTE_MAX + 1];
	unsigned n = 0;
	int c = scan_peek(s), r;

	if (c != '"')
		return scan_fail_peeked(s, c < 0 ? "EOF while parsing a value" : "expected value");
	r = scan_string(s, &text);
	if (r < 0)
		return r;
	for (; variants[n]; n++)
		if (!strcmp(variants[n], text.data)) {
			*ret = n;
			return 0;
		}
	for (unsigned i = 0; i < n && r == 0; i++)
		r = buf_printf(&known, "%s`%s`", i == 0 ? "" : n == 2 ? " or " : ", ", variants[i]);
	if (r < 0)
		return no_memory(s);
	snprintf(quoted, sizeof quoted, "%s", text.data);
	return scan_fail(s, "unknown variant `%s`, expected %s%s", quoted, n > 2 ? "one of " : "", known.data);
}

/* Behind a member that is wrong: the object's end belongs to what was read, if that comes next. */
static void to_end_of_object(struct scan *s)
{
	if (scan_peek(s) == '}')
		s->at++;
}

static int string(struct scan *s, const struct body_field *f, char **ret)
{
	_cleanup_buf_ struct buf text = { 0 };
	const char *wrong;
	char *copy;
	int r;

	if (scan_peek(s) != '"')
		return wrong_type(s, f->type == BODY_PATH ? "path string" : "a string");
	r = scan_string(s, &text);
	if (r < 0)
		return r;
	wrong = f->check ? f->check(text.data) : NULL;
	if (wrong) {
		to_end_of_object(s);
		return scan_fail(s, "%s", wrong);
	}
	copy = strdup(text.data);
	if (!copy)
		return no_memory(s);
	free(*ret);
	*ret = copy;
	return 0;
}

/* ---- lists and maps ---- */

static int list(struct scan *s, const struct body_table *t, struct body_list *ret)
{
	bool first = true;
	int r;

	if (scan_peek(s) != '[')
		return wrong_type(s, "a sequence");
	for (s->at++; (r = scan_item(s, &first)) > 0;) {
		void *item = body_list_add(t, ret);

		if (!item)
			return ret->len == BODY_LIST_MAX ? scan_fail(s, "a list has more than %d items", BODY_LIST_MAX)
							 : no_memory(s);
		r = object(s, t, item);
		if (r < 0)
			return r;
	}
	s->at += r == 0;
	return r;
}

/* Put name and value where they belong; the last of two equal names counts. Takes both over. */
static int map_put(struct strv *map, char *name, char *value)
{
	size_t i = 0;

	while (i < map->len && strcmp(map->v[i], name) < 0)
		i += 2;
	if (i < map->len && !strcmp(map->v[i], name)) {
		free(map->v[i + 1]);
		map->v[i + 1] = value;
		free(name);
		return 0;
	}
	if (strv_add_take(map, name) < 0) {
		free(value);
		return -ENOMEM;
	}
	if (strv_add_take(map, value) < 0)
		return -ENOMEM;
	memmove(map->v + i + 2, map->v + i, (map->len - 2 - i) * sizeof map->v[0]);
	map->v[i] = name;
	map->v[i + 1] = value;
	return 0;
}

static int map(struct scan *s, struct strv *ret)
{
	static const struct body_field any = { .type = BODY_STRING };
	_cleanup_buf_ struct buf key = { 0 };
	bool first = true;
	int r;

	if (scan_peek(s) != '{')
		return wrong_type(s, "a map");
	for (s->at++; (r = scan_key(s, &first, &key)) > 0;) {
		char *value = NULL, *name;

		if (ret->len == 2 * (size_t)BODY_LIST_MAX)
			return scan_fail(s, "a map has more than %d members", BODY_LIST_MAX);
		r = scan_colon(s);
		if (r == 0)
			r = string(s, &any, &value);
		if (r < 0)
			return r;
		name = strdup(key.data);
		if (!name) {
			free(value);
			return no_memory(s);
		}
		if (map_put(ret, name, value) < 0)
			return no_memory(s);
	}
	s->at += r == 0;
	return r;
}

/* ---- objects ---- */

static int value(struct scan *s, const struct body_field *f, void *target)
{
	void *at = (char *)target + f->at;
	int r = -EINVAL;

	if (f->need >= BODY_OPTIONAL && scan_peek(s) == 'n')
		return scan_word(s, "null");
	switch (f->type) {
	case BODY_BOOL:
		r = boolean(s, at);
		break;
	case BODY_U8:
	case BODY_U16:
	case BODY_U32:
	case BODY_U64:
	case BODY_USIZE:
		r = unsigned_number(s, f->type, at);
		break;
	case BODY_STRING:
	case BODY_PATH:
		r = string(s, f, at);
		break;
	case BODY_ENUM:
		r = variant(s, f->variants, at);
		break;
	case BODY_OBJECT:
		r = object(s, f->table, at);
		break;
	case BODY_LIST:
		r = list(s, f->table, at);
		break;
	case BODY_MAP:
		r = map(s, at);
		break;
	case BODY_ANY:
		r = scan_skip(s);
		break;
	}
	if (r == 0 && f->has)
		*(bool *)((char *)target + f->has) = true;
	return r;
}

static int unknown_member(struct scan *s, const struct body_table *t, const char *key)
{
	_cleanup_buf_ struct buf known = { 0 };
	char quoted[QUOTE_MAX + 1];
	int r = 0;

	for (size_t i = 0; i < t->n_fields && r == 0; i++)
		r = buf_printf(&known, "%s`%s`", i == 0 ? "" : t->n_fields == 2 ? " or " : ", ", t->fields[i].name);
	if (r < 0)
		return no_memory(s);
	snprintf(quoted, sizeof quoted, "%s", key);
	to_end_of_object(s);
	return scan_fail(s, "unknown field `%s`, expected %s%s", quoted, t->n_fields > 2 ? "one of " : "", known.data);
}

static int member(struct scan *s, const struct body_table *t, const char *key, void *target, uint32_t *seen)
{
	for (size_t i = 0; i < t->n_fields; i++) {
		int r;

		if (strcmp(t->fields[i].name, key))
			continue;
		if (*seen & 1u << i) {
			to_end_of_object(s);
			return scan_fail(s, "duplicate field `%s`", key);
		}
		*seen |= 1u << i;
		r = scan_colon(s);
		return r < 0 ? r : value(s, &t->fields[i], target);
	}
	if (t->lax) {
		int r = scan_colon(s);

		return r < 0 ? r : scan_skip(s);
	}
	return unknown_member(s, t, key);
}

static int object(struct scan *s, const struct body_table *t, void *target)
{
	_cleanup_buf_ struct buf key = { 0 };
	uint32_t seen = 0;
	bool first = true;
	char expected[80];
	int r;

	if (scan_peek(s) != '{') {
		snprintf(expected, sizeof expected, "struct %s", t->name);
		return wrong_type(s, expected);
	}
	for (s->at++; (r = scan_key(s, &first, &key)) > 0;) {
		r = member(s, t, key.data, target, &seen);
		if (r < 0)
			return r;
	}
	if (r < 0)
		return r;
	s->at++;
	for (size_t i = 0; i < t->n_fields; i++)
		if (t->fields[i].need == BODY_REQUIRED && !(seen & 1u << i))
			return scan_fail(s, "missing field `%s`", t->fields[i].name);
	return 0;
}

int body_decode(const struct body_table *table, const char *text, size_t len, void *target, struct err *e)
{
	struct scan s = { .text = text, .len = len, .e = e };
	int r;

	memset(target, 0, table->size);
	if (table->init)
		table->init(target);
	r = object(&s, table, target);
	if (r == 0)
		r = scan_end(&s);
	if (r < 0)
		body_clear(table, target);
	return r;
}

/* ---- what has been read ---- */

static void clear_field(const struct body_field *f, void *at)
{
	switch (f->type) {
	case BODY_STRING:
	case BODY_PATH:
		free(*(char **)at);
		break;
	case BODY_OBJECT:
		body_clear(f->table, at);
		break;
	case BODY_LIST:
		while (((struct body_list *)at)->len)
			body_list_remove(f->table, at, ((struct body_list *)at)->len - 1);
		free(((struct body_list *)at)->items);
		break;
	case BODY_MAP:
		strv_fini(at);
		break;
	default:
		break;
	}
}

void body_clear(const struct body_table *table, void *target)
{
	for (size_t i = 0; i < table->n_fields; i++)
		clear_field(&table->fields[i], (char *)target + table->fields[i].at);
	memset(target, 0, table->size);
	if (table->init)
		table->init(target);
}

void *body_list_add(const struct body_table *table, struct body_list *list)
{
	void *p, *item;

	if (list->len == BODY_LIST_MAX)
		return NULL;
	p = reallocarray(list->items, list->len + 1, table->size);
	if (!p)
		return NULL;
	list->items = p;
	item = (char *)p + list->len++ * table->size;
	memset(item, 0, table->size);
	if (table->init)
		table->init(item);
	return item;
}

void *body_list_at(const struct body_table *table, const struct body_list *list, size_t i)
{
	return i < list->len ? (char *)list->items + i * table->size : NULL;
}

void body_list_remove(const struct body_table *table, struct body_list *list, size_t i)
{
	char *item = body_list_at(table, list, i);

	body_clear(table, item);
	list->len--;
	memmove(item, item + table->size, (list->len - i) * table->size);
}
