/* SPDX-License-Identifier: Apache-2.0 */
/*
 * JSON with bounds: a thin layer over json-c for text that a file, a VMM or a network peer supplies.
 *
 * Parsing is strict (RFC 8259, but for json-c's tolerance of single-quoted keys and NaN; UTF-8) and limited in size and
 * depth. Getters never convert: a member of another type than the one asked for counts as wrong, not as zero. Strings
 * that hold a NUL byte are wrong too, because every consumer is C. The writer's functions take children over, also when
 * they fail, and accept NULL for any object, so that a chain of calls needs one check, at json_write().
 *
 * Values are `struct json_object`; callers treat it as opaque and need no header of json-c.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

struct json_object;

#define JSON_DEPTH_MAX 32

/* len: at most max bytes, else -EFBIG. *ret: owned by the caller; a top-level null is refused. e names the byte. */
int json_parse(const char *text, size_t len, size_t max, struct json_object **ret, struct err *e);
/* A whole file. */
int json_parse_file(const char *path, size_t max, struct json_object **ret, struct err *e);

/* Drop one reference; NULL does nothing. */
void json_free(struct json_object *o);
struct json_object *json_ref(struct json_object *o);
DEFINE_CLEANUP(struct json_object *, json_free)
#define _cleanup_json_ _cleanup_(json_free_p)

bool json_is_object(const struct json_object *o);
bool json_is_array(const struct json_object *o);

/* Members of an object, borrowed. NULL: o is no object (or NULL), or has no such member, or it has another type. */
struct json_object *json_get(const struct json_object *o, const char *key);
struct json_object *json_get_object(const struct json_object *o, const char *key);
struct json_object *json_get_array(const struct json_object *o, const char *key);
const char *json_get_str(const struct json_object *o, const char *key);
/* 0; -ENOENT: no such member; -EINVAL: another type; -ERANGE: negative, or too large. *ret written on success only. */
int json_get_u64(const struct json_object *o, const char *key, uint64_t *ret);
int json_get_i64(const struct json_object *o, const char *key, int64_t *ret);
int json_get_bool(const struct json_object *o, const char *key, bool *ret);
/* Finite numbers only. */
int json_get_double(const struct json_object *o, const char *key, double *ret);

/* The value itself. */
const char *json_str(const struct json_object *o);
int json_u64(const struct json_object *o, uint64_t *ret);

size_t json_array_len(const struct json_object *array);
struct json_object *json_array_at(const struct json_object *array, size_t i);

/* Call fn for each member in file order until it returns non-zero; that value, or 0. */
typedef int (*json_member_fn)(const char *key, struct json_object *value, void *userdata);
int json_each(const struct json_object *o, json_member_fn fn, void *userdata);

struct json_object *json_object_make(void);
struct json_object *json_array_make(void);
/* Each returns 0 or -ENOMEM, and then the object is marked: json_write() of it fails. */
int json_set(struct json_object *o, const char *key, struct json_object *child);
int json_set_str(struct json_object *o, const char *key, const char *value);
int json_set_u64(struct json_object *o, const char *key, uint64_t value);
int json_set_bool(struct json_object *o, const char *key, bool value);
int json_add(struct json_object *array, struct json_object *child);
int json_add_str(struct json_object *array, const char *value);

/* Text in one line (or indented), owned by the caller. NULL: o is NULL or memory was short at any step. */
char *json_write(struct json_object *o, bool pretty);
