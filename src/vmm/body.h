/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON objects into C structures and back, by tables.
 *
 * One table describes one object: its members in order, their types, which must be there, and where each goes. The
 * errors are those that clients know from the server whose dialect we speak, with line and column: missing member (the
 * first in table order), unknown member (with the list of the known ones), duplicate member, wrong type, unknown
 * variant. See scan.h for the syntax.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/strv.h"

enum body_type {
	BODY_BOOL, /* bool */
	BODY_U8,   /* uint64_t, as all numbers */
	BODY_U16,
	BODY_U32,
	BODY_U64,
	BODY_USIZE,
	BODY_STRING, /* char *, owned; NULL: not given */
	BODY_PATH,   /* the same, but for the name of its type in messages */
	BODY_ENUM,   /* unsigned, the index into variants */
	BODY_OBJECT, /* the structure of table, in place */
	BODY_LIST,   /* struct body_list of structures of table */
	BODY_MAP,    /* struct strv of names and values in turn, sorted by name */
	BODY_ANY,    /* not read: only its presence is told */
};

enum body_need {
	BODY_REQUIRED,
	BODY_DEFAULT,  /* when absent, the value stays what init made it */
	BODY_OPTIONAL, /* the same, and null is as good as absent; printed as null */
	BODY_SILENT,   /* the same, but not printed when absent */
};

struct body_table;

struct body_field {
	const char *name;
	enum body_type type;
	enum body_need need;
	uint16_t at;  /* offset of the value */
	uint16_t has; /* offset of a bool: it was given. 0: none (structures begin with something else) */
	const char *const *variants; /* BODY_ENUM: names, ended by NULL */
	const struct body_table *table;
	/* Strings: a sentence on what is wrong with it, or NULL. */
	const char *(*check)(const char *text);
};

struct body_table {
	const char *name; /* of the structure, in messages */
	const struct body_field *fields;
	size_t n_fields;
	size_t size;                /* of the structure */
	bool lax;                   /* unknown members are passed over */
	void (*init)(void *target); /* defaults other than zero; NULL: none */
};

#define BODY_LIST_MAX   256
#define BODY_FIELDS_MAX 32

struct body_list {
	void *items; /* structures, one behind the other */
	size_t len;
};

/*
 * Read text into *target (table->size bytes, uninitialised before). 0; -EINVAL: e has the message, and *target nothing
 * to free.
 */
int body_decode(const struct body_table *table, const char *text, size_t len, void *target, struct err *e);

/* Free what *target owns and fill it with the defaults. */
void body_clear(const struct body_table *table, void *target);

/* Append the object as JSON. 0 or -ENOMEM. */
int body_print(const struct body_table *table, const void *target, struct buf *out);
/* Append a JSON string. */
int body_print_string(struct buf *out, const char *text);

/* A new item of a list, with defaults; NULL: no memory, or the list is full. Item i. Remove item i, which is cleared.
 */
void *body_list_add(const struct body_table *table, struct body_list *list);
void *body_list_at(const struct body_table *table, const struct body_list *list, size_t i);
void body_list_remove(const struct body_table *table, struct body_list *list, size_t i);
