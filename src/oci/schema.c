/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/schema.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define FIELD_AT(m, offset, type) ((type *)(void *)((char *)(m) + (offset)))

/* ---- places and messages ---- */

static void path_print(const struct schema_path *p, struct buf *b)
{
	if (!p)
		return;
	path_print(p->up, b);
	if (!p->key)
		buf_printf(b, "[%zu]", p->index);
	else
		buf_printf(b, "%s%s", b->len ? "." : "", p->key);
}

int schema_fail(const struct schema_ctx *c, const struct schema_path *p, const char *fmt, ...)
{
	_cleanup_buf_ struct buf path = { 0 }, text = { 0 };
	va_list ap;

	path_print(p, &path);
	va_start(ap, fmt);
	buf_vprintf(&text, fmt, ap);
	va_end(ap);
	return err_set(c->err, ERR_CONFIG, EINVAL, "%s: %s%s%s", c->origin, path.len ? path.data : "",
		       path.len ? ": " : "", text.data ? text.data : "not valid");
}

void schema_warn(const struct schema_ctx *c, const struct schema_path *p, const char *text)
{
	_cleanup_buf_ struct buf path = { 0 };

	if (!c->warnings)
		return;
	path_print(p, &path);
	strv_addf(c->warnings, "%s: %s %s", c->origin, path.data ? path.data : "", text);
}

static int no_memory(const struct schema_ctx *c)
{
	return err_set(c->err, ERR_SYSTEM, ENOMEM, "%s: out of memory", c->origin);
}

/* ---- JSON to message ---- */

static int read_string(const struct schema_field *f, const struct schema_ctx *c, const struct schema_path *p,
		       struct json_object *v, char **ret)
{
	const char *s, *expected;
	size_t n;

	if (!json_object_is_type(v, json_type_string))
		return schema_fail(c, p, "expected a string");
	s = json_object_get_string(v);
	n = (size_t)json_object_get_string_len(v);
	if (strlen(s) != n)
		return schema_fail(c, p, "the string holds a NUL byte");
	if ((f->flags & SCHEMA_NONEMPTY) && !n)
		return schema_fail(c, p, "may not be empty");
	if ((f->flags & SCHEMA_ABSOLUTE) && s[0] != '/')
		return schema_fail(c, p, "\"%.200s\" is not an absolute path", s);
	expected = f->check ? f->check(s) : NULL;
	if (expected)
		return schema_fail(c, p, "\"%.200s\": expected %s", s, expected);
	*ret = strdup(s);
	return *ret ? 0 : no_memory(c);
}

/*
 * An integer between min and max. json-c keeps numbers above INT64_MAX as unsigned ones, and clamps what does not fit
 * into 64 bits; the clamped value is the nearest that can be said ("unlimited" in all places where it occurs).
 */
static int read_integer(const struct schema_ctx *c, const struct schema_path *p, struct json_object *v, int64_t min,
			uint64_t max, uint64_t *ret)
{
	int64_t i;
	uint64_t u;

	if (!json_object_is_type(v, json_type_int))
		return schema_fail(c, p, "expected an integer");
	i = json_object_get_int64(v);
	u = i < 0 ? 0 : json_object_get_uint64(v);
	if (i < min)
		return schema_fail(c, p, "%lld is less than %lld", (long long)i, (long long)min);
	if (u > max)
		return schema_fail(c, p, "%llu is more than %llu", (unsigned long long)u, (unsigned long long)max);
	*ret = i < 0 ? (uint64_t)i : u;
	return 0;
}

static int read_scalar(const struct schema_field *f, const ProtobufCFieldDescriptor *d, const struct schema_ctx *c,
		       const struct schema_path *p, struct json_object *v, void *at)
{
	ProtobufCMessage *sub;
	uint64_t n;
	int r;

	switch (d->type) {
	case PROTOBUF_C_TYPE_STRING:
		return read_string(f, c, p, v, at);
	case PROTOBUF_C_TYPE_BOOL:
		if (!json_object_is_type(v, json_type_boolean))
			return schema_fail(c, p, "expected true or false");
		*(protobuf_c_boolean *)at = json_object_get_boolean(v);
		return 0;
	case PROTOBUF_C_TYPE_UINT32:
		r = read_integer(c, p, v, 0, UINT32_MAX, &n);
		if (r == 0)
			*(uint32_t *)at = (uint32_t)n;
		return r;
	case PROTOBUF_C_TYPE_UINT64:
		r = read_integer(c, p, v, 0, UINT64_MAX, &n);
		if (r == 0)
			*(uint64_t *)at = n;
		return r;
	case PROTOBUF_C_TYPE_INT64:
		r = read_integer(c, p, v, INT64_MIN, INT64_MAX, &n);
		if (r == 0)
			*(int64_t *)at = (int64_t)n;
		return r;
	case PROTOBUF_C_TYPE_MESSAGE:
		r = schema_read(f->sub, c, p, v, &sub);
		if (r == 0)
			*(ProtobufCMessage **)at = sub;
		return r;
	default:
		assert(!"a field type that the spec does not use");
		return -EINVAL;
	}
}

static size_t item_size(const ProtobufCFieldDescriptor *d)
{
	switch (d->type) {
	case PROTOBUF_C_TYPE_UINT32:
		return sizeof(uint32_t);
	case PROTOBUF_C_TYPE_STRING:
	case PROTOBUF_C_TYPE_MESSAGE:
		return sizeof(void *);
	default:
		return sizeof(uint64_t);
	}
}

static int read_list(const struct schema_field *f, const ProtobufCFieldDescriptor *d, const struct schema_ctx *c,
		     const struct schema_path *p, struct json_object *v, ProtobufCMessage *m)
{
	size_t n, size = item_size(d), *count = FIELD_AT(m, d->quantifier_offset, size_t);
	char *items;

	if (!json_object_is_type(v, json_type_array))
		return schema_fail(c, p, "expected a list");
	n = json_object_array_length(v);
	if (!n)
		return 0;
	items = calloc(n, size);
	if (!items)
		return no_memory(c);
	*FIELD_AT(m, d->offset, void *) = items;
	/* Count up item by item: what is there so far is freed with the message when a later one fails. */
	for (size_t i = 0; i < n; i++) {
		struct schema_path here = { .up = p, .index = i };
		int r = read_scalar(f, d, c, &here, json_object_array_get_idx(v, i), items + i * size);

		if (r < 0)
			return r;
		++*count;
	}
	return 0;
}

/* protobuf-c keeps a map as a list of entry messages whose fields 1 and 2 are key and value. */
static int read_map(const struct schema_field *f, const ProtobufCFieldDescriptor *d, const struct schema_ctx *c,
		    const struct schema_path *p, struct json_object *v, ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *entry = d->descriptor;
	size_t n, *count = FIELD_AT(m, d->quantifier_offset, size_t);
	ProtobufCMessage **items;

	if (!json_object_is_type(v, json_type_object))
		return schema_fail(c, p, "expected an object");
	n = (size_t)json_object_object_length(v);
	if (!n)
		return 0;
	items = calloc(n, sizeof *items);
	if (!items)
		return no_memory(c);
	*FIELD_AT(m, d->offset, void *) = items;
	json_object_object_foreach(v, key, value)
	{
		struct schema_path here = { .up = p, .key = key };
		const char *expected = f->check ? f->check(key) : NULL;
		const struct schema_field plain = { 0 };
		ProtobufCMessage *item = calloc(1, entry->sizeof_message);
		int r;

		if (!item)
			return no_memory(c);
		protobuf_c_message_init(entry, item);
		items[(*count)++] = item;
		if (!*key || expected)
			return schema_fail(c, &here, "the name: expected %s", expected ? expected : "one");
		r = read_string(&plain, c, &here, value, FIELD_AT(item, entry->fields[1].offset, char *));
		if (r < 0)
			return r;
		*FIELD_AT(item, entry->fields[0].offset, char *) = strdup(key);
		if (!*FIELD_AT(item, entry->fields[0].offset, char *))
			return no_memory(c);
	}
	return 0;
}

static const ProtobufCFieldDescriptor *descriptor_of(const struct schema *s, const struct schema_field *f)
{
	const ProtobufCFieldDescriptor *d = protobuf_c_message_descriptor_get_field_by_name(s->desc, f->field);

	assert(d && (d->type != PROTOBUF_C_TYPE_MESSAGE || (f->flags & SCHEMA_MAP) || f->sub));
	return d;
}

/* Is the value more than its type's zero? {"memory": {}, "devices": []} asks for nothing. */
static bool has_meaning(struct json_object *v)
{
	switch (json_object_get_type(v)) {
	case json_type_null:
		return false;
	case json_type_boolean:
		return json_object_get_boolean(v);
	case json_type_string:
		return json_object_get_string_len(v) > 0;
	case json_type_array:
		return json_object_array_length(v) > 0;
	case json_type_object:
		return json_object_object_length(v) > 0;
	default:
		return true;
	}
}

static int read_field(const struct schema *s, const struct schema_field *f, const struct schema_ctx *c,
		      const struct schema_path *p, struct json_object *o, ProtobufCMessage *m)
{
	struct schema_path here = { .up = p, .key = f->json };
	const ProtobufCFieldDescriptor *d;
	struct json_object *v = NULL;

	json_object_object_get_ex(o, f->json, &v);
	if (!f->field) {
		if (has_meaning(v))
			schema_warn(c, &here, "has no effect");
		return 0;
	}
	d = descriptor_of(s, f);
	/* Go writes an absent list or pointer as null. */
	if (!v) {
		if (f->flags & SCHEMA_REQUIRED)
			return schema_fail(c, &here, "is missing");
		if (f->flags & SCHEMA_ANY)
			*FIELD_AT(m, d->offset, int64_t) = -1;
		return 0;
	}
	if (f->flags & SCHEMA_MAP)
		return read_map(f, d, c, &here, v, m);
	if (d->label == PROTOBUF_C_LABEL_REPEATED)
		return read_list(f, d, c, &here, v, m);
	return read_scalar(f, d, c, &here, v, FIELD_AT(m, d->offset, void));
}

int schema_read(const struct schema *s, const struct schema_ctx *c, const struct schema_path *p, struct json_object *o,
		ProtobufCMessage **ret)
{
	ProtobufCMessage *m;
	int r = 0;

	if (!json_object_is_type(o, json_type_object))
		return schema_fail(c, p, "expected an object");
	m = calloc(1, s->desc->sizeof_message);
	if (!m)
		return no_memory(c);
	protobuf_c_message_init(s->desc, m);
	for (const struct schema_field *f = s->fields; f->json && r == 0; f++)
		r = read_field(s, f, c, p, o, m);
	if (r == 0 && s->check)
		r = s->check(c, p, m, o);
	if (r < 0) {
		protobuf_c_message_free_unpacked(m, NULL);
		return r;
	}
	*ret = m;
	return 0;
}

/* ---- message to JSON ---- */

static struct json_object *write_scalar(const struct schema_field *f, const ProtobufCFieldDescriptor *d, const void *at)
{
	switch (d->type) {
	case PROTOBUF_C_TYPE_STRING:
		return json_object_new_string(*(char *const *)at ? *(char *const *)at : "");
	case PROTOBUF_C_TYPE_BOOL:
		return json_object_new_boolean(*(const protobuf_c_boolean *)at);
	case PROTOBUF_C_TYPE_UINT32:
		return json_object_new_int64(*(const uint32_t *)at);
	case PROTOBUF_C_TYPE_UINT64:
		return json_object_new_uint64(*(const uint64_t *)at);
	case PROTOBUF_C_TYPE_INT64:
		return json_object_new_int64(*(const int64_t *)at);
	default:
		return schema_write(f->sub, *(ProtobufCMessage *const *)at);
	}
}

static struct json_object *write_list(const struct schema_field *f, const ProtobufCFieldDescriptor *d,
				      const ProtobufCMessage *m)
{
	const ProtobufCMessageDescriptor *entry = d->descriptor;
	const char *items = *FIELD_AT(m, d->offset, char *const);
	size_t n = *FIELD_AT(m, d->quantifier_offset, const size_t);
	bool map = f->flags & SCHEMA_MAP;
	struct json_object *list = map ? json_object_new_object() : json_object_new_array();

	for (size_t i = 0; list && i < n; i++) {
		const char *at = items + i * item_size(d);
		const ProtobufCMessage *item = map ? *(ProtobufCMessage *const *)(const void *)at : NULL;
		struct json_object *v =
			map ? json_object_new_string(*FIELD_AT(item, entry->fields[1].offset, char *const))
			    : write_scalar(f, d, at);
		int r = !v    ? -1
			: map ? json_object_object_add(list, *FIELD_AT(item, entry->fields[0].offset, char *const), v)
			      : json_object_array_add(list, v);

		if (r < 0) {
			json_object_put(v);
			json_object_put(list);
			return NULL;
		}
	}
	return list;
}

static bool is_set(const struct schema_field *f, const ProtobufCFieldDescriptor *d, const ProtobufCMessage *m)
{
	const void *at = FIELD_AT(m, d->offset, const void);
	bool always = f->flags & (SCHEMA_REQUIRED | SCHEMA_WRITE);

	if (d->label == PROTOBUF_C_LABEL_REPEATED)
		return *FIELD_AT(m, d->quantifier_offset, const size_t) > 0;
	switch (d->type) {
	case PROTOBUF_C_TYPE_MESSAGE:
		return *(void *const *)at;
	case PROTOBUF_C_TYPE_STRING:
		return always || !str_empty(*(char *const *)at);
	case PROTOBUF_C_TYPE_BOOL:
		return always || *(const protobuf_c_boolean *)at;
	case PROTOBUF_C_TYPE_UINT32:
		return always || *(const uint32_t *)at;
	case PROTOBUF_C_TYPE_INT64:
		if (f->flags & SCHEMA_ANY)
			return *(const int64_t *)at != -1;
		return always || *(const int64_t *)at;
	default:
		return always || *(const uint64_t *)at;
	}
}

struct json_object *schema_write(const struct schema *s, const ProtobufCMessage *m)
{
	struct json_object *o = json_object_new_object();

	for (const struct schema_field *f = s->fields; o && f->json; f++) {
		const ProtobufCFieldDescriptor *d = f->field ? descriptor_of(s, f) : NULL;
		struct json_object *v;

		if (!d || !is_set(f, d, m))
			continue;
		v = d->label == PROTOBUF_C_LABEL_REPEATED ? write_list(f, d, m)
							  : write_scalar(f, d, FIELD_AT(m, d->offset, const void));
		if (!v || json_object_object_add(o, f->json, v) < 0) {
			json_object_put(v);
			json_object_put(o);
			return NULL;
		}
	}
	return o;
}
