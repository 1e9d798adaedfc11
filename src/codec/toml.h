/* SPDX-License-Identifier: Apache-2.0 */
/*
 * TOML 1.0.0 documents as a tree in which every key and value remembers its place, so that whoever reads the tree can
 * say where a wrong value stands.
 *
 * The parser is meant for hostile text: input size, nesting depth and number of values are bounded, and nothing is
 * read beyond data + len. Tables keep the order of the file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define TOML_SIZE_MAX   (1u << 20) /* bytes of one document */
#define TOML_DEPTH_MAX  100u       /* tables and arrays within each other, parts of a dotted key included */
#define TOML_VALUES_MAX 65536u     /* values of one document */

enum toml_type {
	TOML_STRING,
	TOML_INTEGER,
	TOML_FLOAT,
	TOML_BOOL,
	TOML_DATETIME,       /* date, time and offset */
	TOML_DATETIME_LOCAL, /* date and time */
	TOML_DATE_LOCAL,
	TOML_TIME_LOCAL,
	TOML_ARRAY,
	TOML_TABLE,
};

struct toml_datetime {
	uint16_t year;
	uint8_t month, day, hour, minute, second; /* second: 60 only in a leap second */
	uint32_t nanosecond;                      /* further digits are cut off, as the specification allows */
	int16_t offset_minutes;
};

struct toml_value {
	enum toml_type type;
	uint32_t line, column; /* from 1; columns count characters */
	const char *file;      /* the name given to toml_parse(), not owned */
	/* How a table or an array came to be: decides who may still add to it. Only the parser looks at it. */
	uint8_t made_by;
	union {
		struct {
			char *data; /* NUL-terminated, but "\u0000" may put NULs before len */
			size_t len;
		} string;
		int64_t integer;
		double number;
		bool boolean;
		struct toml_datetime datetime;
		struct {
			struct toml_value **items;
			size_t len;
		} array;
		struct {
			struct toml_entry *entries;
			size_t len;
		} table;
	} u;
};

struct toml_entry {
	char *key;
	size_t key_len; /* keys may hold NULs as strings do */
	uint32_t hash;
	uint32_t line, column; /* of the key; file: value->file */
	struct toml_value *value;
};

/*
 * Parse a document. name: in messages and in every value, kept by reference: it must outlive the tree. *ret: the root
 * table, to be freed with toml_free(). On failure -EINVAL, -EFBIG or -ENOMEM and the text "NAME:LINE:COLUMN: what".
 */
int toml_parse(const char *data, size_t len, const char *name, struct toml_value **ret, struct err *e);

void toml_free(struct toml_value *v);
DEFINE_CLEANUP(struct toml_value *, toml_free)
#define _cleanup_toml_ _cleanup_(toml_free_p)

/* The entry or value of that key; NULL: not there, or table is NULL or not a table. */
const struct toml_entry *toml_find(const struct toml_value *table, const char *key);
const struct toml_value *toml_get(const struct toml_value *table, const char *key);

/* "a string", "an integer", …: to tell what was found. */
const char *toml_type_name(enum toml_type type);

/*
 * Lay src over dst, both tables: tables merge key by key, everything else, arrays included, replaces. Empties and
 * frees src, also on failure (-ENOMEM: dst is then partly merged).
 */
int toml_merge(struct toml_value *dst, struct toml_value *src);

/* ---- for the parser: making trees ---- */

/* A new value of that type, everything else zero. */
struct toml_value *toml_new(enum toml_type type, const char *file, uint32_t line, uint32_t column);
struct toml_entry *toml_find_n(const struct toml_value *table, const char *key, size_t len);
/* Take value over, also on failure; the key is copied. -ENOMEM, -EFBIG. */
int toml_table_add(struct toml_value *table, const char *key, size_t len, uint32_t line, uint32_t column,
		   struct toml_value *value);
int toml_array_add(struct toml_value *array, struct toml_value *value);
