/* SPDX-License-Identifier: Apache-2.0 */
/* A JSON document out of a bundle or an image: strict, bounded in size and depth, with errors that name the place. */
#pragma once

#include <json-c/json.h>
#include <stddef.h>

#include "base/err.h"
#include "base/cleanup.h"

/* The largest document read. A spec has to fit into one ttrpc message of 4 MiB later on. */
#define DOCUMENT_MAX   (4u << 20)
#define DOCUMENT_DEPTH 32

static inline void document_put(struct json_object *o)
{
	json_object_put(o);
}
DEFINE_CLEANUP(struct json_object *, document_put)
#define _cleanup_json_ _cleanup_(document_put_p)

/*
 * Parse one JSON object (RFC 8259; no comments, valid UTF-8). origin: how errors call the text, e.g. "config.json".
 * The caller puts *ret with json_object_put().
 */
int document_parse(const char *text, size_t len, const char *origin, struct json_object **ret, struct err *e);

/* The member of an object if it has the wanted type, else NULL. o may be NULL; JSON null is like absent. */
struct json_object *document_get(struct json_object *o, const char *key, enum json_type type);

/* A string member without NUL bytes, or NULL. Lives as long as o. */
const char *document_string(struct json_object *o, const char *key);

/* The string at an index of an array, or NULL when it is none. */
const char *document_item(struct json_object *array, size_t i);
