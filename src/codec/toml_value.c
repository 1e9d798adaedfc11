/* SPDX-License-Identifier: Apache-2.0 */
/* The tree of a TOML document: making, looking up, merging, freeing. Depth is bounded by the parser, so recursion is.
 */
#include "codec/toml.h"

#include <errno.h>
#include <string.h>

struct toml_value *toml_new(enum toml_type type, const char *file, uint32_t line, uint32_t column)
{
	struct toml_value *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->type = type;
	v->file = file;
	v->line = line;
	v->column = column;
	return v;
}

void toml_free(struct toml_value *v)
{
	if (!v)
		return;
	switch (v->type) {
	case TOML_STRING:
		free(v->u.string.data);
		break;
	case TOML_ARRAY:
		for (size_t i = 0; i < v->u.array.len; i++)
			toml_free(v->u.array.items[i]);
		free(v->u.array.items);
		break;
	case TOML_TABLE:
		for (size_t i = 0; i < v->u.table.len; i++) {
			free(v->u.table.entries[i].key);
			toml_free(v->u.table.entries[i].value);
		}
		free(v->u.table.entries);
		break;
	default:
		break;
	}
	free(v);
}

/* FNV-1a: only saves comparisons; the number of values is bounded, so collisions by design cost little. */
static uint32_t hash_key(const char *key, size_t len)
{
	uint32_t h = 2166136261u;

	for (size_t i = 0; i < len; i++)
		h = (h ^ (unsigned char)key[i]) * 16777619u;
	return h;
}

struct toml_entry *toml_find_n(const struct toml_value *table, const char *key, size_t len)
{
	uint32_t h = hash_key(key, len);

	if (!table || table->type != TOML_TABLE)
		return NULL;
	for (size_t i = 0; i < table->u.table.len; i++) {
		struct toml_entry *entry = &table->u.table.entries[i];

		if (entry->hash == h && entry->key_len == len && !memcmp(entry->key, key, len))
			return entry;
	}
	return NULL;
}

const struct toml_entry *toml_find(const struct toml_value *table, const char *key)
{
	return toml_find_n(table, key, strlen(key));
}

const struct toml_value *toml_get(const struct toml_value *table, const char *key)
{
	const struct toml_entry *entry = toml_find(table, key);

	return entry ? entry->value : NULL;
}

/* Room for one more element in a vector that doubles at powers of two. */
static int grow(void *vector, size_t len, size_t size)
{
	void **v = vector, *p;
	size_t bytes;

	if (len && (len & (len - 1)))
		return 0;
	if (__builtin_mul_overflow(len ? 2 * len : 1, size, &bytes))
		return -ENOMEM;
	p = realloc(*v, bytes);
	if (!p)
		return -ENOMEM;
	*v = p;
	return 0;
}

int toml_table_add(struct toml_value *table, const char *key, size_t len, uint32_t line, uint32_t column,
		   struct toml_value *value)
{
	struct toml_entry *entry;
	char *copy = malloc(len + 1);

	if (!copy || !value || grow(&table->u.table.entries, table->u.table.len, sizeof *entry) < 0) {
		free(copy);
		toml_free(value);
		return -ENOMEM;
	}
	memcpy(copy, key, len);
	copy[len] = '\0';
	entry = &table->u.table.entries[table->u.table.len++];
	*entry = (struct toml_entry){
		.key = copy, .key_len = len, .hash = hash_key(key, len), .line = line, .column = column, .value = value
	};
	return 0;
}

int toml_array_add(struct toml_value *array, struct toml_value *value)
{
	if (!value || grow(&array->u.array.items, array->u.array.len, sizeof *array->u.array.items) < 0) {
		toml_free(value);
		return -ENOMEM;
	}
	array->u.array.items[array->u.array.len++] = value;
	return 0;
}

static int merge(struct toml_value *dst, struct toml_value *src)
{
	for (size_t i = 0; i < src->u.table.len; i++) {
		struct toml_entry *from = &src->u.table.entries[i];
		struct toml_entry *to = toml_find_n(dst, from->key, from->key_len);
		int r;

		if (!to) {
			r = toml_table_add(dst, from->key, from->key_len, from->line, from->column,
					   take_ptr(from->value));
			if (r < 0)
				return r;
		} else if (to->value->type == TOML_TABLE && from->value->type == TOML_TABLE) {
			r = merge(to->value, from->value);
			if (r < 0)
				return r;
		} else {
			toml_free(to->value);
			to->value = take_ptr(from->value);
			to->line = from->line;
			to->column = from->column;
		}
	}
	return 0;
}

int toml_merge(struct toml_value *dst, struct toml_value *src)
{
	int r = merge(dst, src);

	toml_free(src);
	return r;
}

const char *toml_type_name(enum toml_type type)
{
	static const char *const names[] = {
		[TOML_STRING] = "a string",         [TOML_INTEGER] = "an integer",
		[TOML_FLOAT] = "a float",           [TOML_BOOL] = "a boolean",
		[TOML_DATETIME] = "a date-time",    [TOML_DATETIME_LOCAL] = "a local date-time",
		[TOML_DATE_LOCAL] = "a local date", [TOML_TIME_LOCAL] = "a local time",
		[TOML_ARRAY] = "an array",          [TOML_TABLE] = "a table",
	};

	return (unsigned)type < sizeof names / sizeof names[0] ? names[type] : "an unknown value";
}
