/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tables that tie the JSON form of the OCI runtime spec to its protobuf form, and the one engine that walks them.
 *
 * A schema names, for one protobuf message, the JSON member that belongs to each field and what must hold for it.
 * Types, labels and offsets come from the message's descriptor, so a table can't disagree with the generated code for
 * long: a field name that the descriptor lacks is an assertion in the first test run. Reading and writing use the same
 * tables.
 */
#pragma once

#include <json-c/json.h>
#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/strv.h"
#include "proto/oci.pb-c.h"

/* Where in the document we are: a chain through the callers' stack frames. */
struct schema_path {
	const struct schema_path *up;
	const char *key; /* NULL: index counts */
	size_t index;
};

struct schema_ctx {
	const char *origin;    /* name of the document in errors */
	struct strv *warnings; /* members without effect are told here; may be NULL */
	struct err *err;
};

enum schema_flag {
	SCHEMA_REQUIRED = 1, /* must be there; is written even when zero */
	SCHEMA_NONEMPTY = 2, /* a string, or each string of a list, may not be "" */
	SCHEMA_ABSOLUTE = 4, /* a path, or each path of a list, must begin with "/" */
	SCHEMA_ANY = 8,      /* an integer whose absence means "any": -1 in the message */
	SCHEMA_MAP = 16,     /* a JSON object of strings */
	SCHEMA_WRITE = 32,   /* is written even when zero: absence means something else */
};

struct schema;

struct schema_field {
	const char *json;
	const char *field; /* name in the .proto; NULL: no effect here, which is said */
	unsigned flags;
	const struct schema *sub; /* for messages */
	/* A further check on each string. Returns NULL, or what was expected. */
	const char *(*check)(const char *s);
};

struct schema {
	const ProtobufCMessageDescriptor *desc;
	const struct schema_field *fields; /* ends with .json == NULL */
	/* A check on the whole message, after its fields. 0, or the result of schema_fail(). May fill in defaults. */
	int (*check)(const struct schema_ctx *c, const struct schema_path *p, ProtobufCMessage *m,
		     struct json_object *o);
};

/* Set the error "ORIGIN: PATH: text". Returns -EINVAL. */
int schema_fail(const struct schema_ctx *c, const struct schema_path *p, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), cold));

/* Note "ORIGIN: PATH text" among the warnings. */
void schema_warn(const struct schema_ctx *c, const struct schema_path *p, const char *text);

/* A new message from a JSON object; free with protobuf_c_message_free_unpacked(m, NULL). Unknown members are skipped.
 */
int schema_read(const struct schema *s, const struct schema_ctx *c, const struct schema_path *p, struct json_object *o,
		ProtobufCMessage **ret);

/* The JSON form of a message; NULL when memory is short. Members with the value zero are left out. */
struct json_object *schema_write(const struct schema *s, const ProtobufCMessage *m);

/* The schemas (spec_process.c, spec_linux.c). */
extern const struct schema schema_process, schema_linux, schema_resources, schema_seccomp;

/* As oci_spec_parse(), from JSON that is already parsed. */
int oci_spec_from_json(struct json_object *o, const char *origin, Grpc__Spec **ret, struct strv *warnings,
		       struct err *e);
