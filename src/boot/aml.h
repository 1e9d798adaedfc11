/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A writer of ACPI Machine Language (ACPI 6.4 §20.2), as much of it as a small machine's DSDT takes.
 *
 * AML is prefix notation, and so are the calls: an operator, then its operands.
 *
 *   Store (CFLG, Local1)                 aml_op(a, AML_STORE), aml_path(a, "CFLG"), aml_local(a, 1);
 *   If (And (Local1, 2)) { … }           aml_if(a), aml_op(a, AML_AND), aml_local(a, 1), aml_int(a, 2), aml_none(a);
 *                                        …
 *                                        aml_end(a);
 *
 * Objects that contain others are opened by their function and closed by aml_end(), which then knows the length that
 * stands before them. Failures (memory, nesting) are remembered; the caller asks once, by aml_finish().
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/strv.h"

#define AML_DEPTH 16

/* Operators with fixed operands (§20.2.5); two-byte ones have their prefix in the high byte. */
enum aml_op {
	AML_STORE = 0x70,       /* source, target */
	AML_ADD = 0x72,         /* a, b, target */
	AML_INCREMENT = 0x75,   /* target */
	AML_SUBTRACT = 0x74,    /* a, b, target */
	AML_SHIFT_LEFT = 0x79,  /* value, count, target */
	AML_AND = 0x7b,         /* a, b, target */
	AML_OR = 0x7d,          /* a, b, target */
	AML_NOTIFY = 0x86,      /* object, value */
	AML_LNOT = 0x92,        /* a */
	AML_LEQUAL = 0x93,      /* a, b */
	AML_LLESS = 0x95,       /* a, b */
	AML_RETURN = 0xa4,      /* value */
	AML_DWORD_FIELD = 0x8a, /* CreateDWordField: buffer, byte index, name */
	AML_ACQUIRE = 0x5b23,   /* mutex; then aml_timeout() */
	AML_RELEASE = 0x5b27,   /* mutex */
};

enum aml_space { AML_SYSTEM_MEMORY = 0, AML_SYSTEM_IO = 1 };
/* Field flags: access width; no lock; bits that are not written are preserved. */
enum aml_access { AML_BYTE_ACC = 1, AML_WORD_ACC = 2, AML_DWORD_ACC = 3 };

struct aml {
	struct buf buf;
	bool failed;
	struct {
		size_t start; /* of what the length counts */
		bool resources;
	} open[AML_DEPTH];
	unsigned depth;
};

/* Zero-initialise a struct aml. 0 when all went well and everything is closed, else -ENOMEM or -EINVAL. */
int aml_finish(const struct aml *a);
void aml_fini(struct aml *a);
#define _cleanup_aml_ __attribute__((cleanup(aml_fini)))

/* Containers, closed by aml_end(). Paths: "_SB.PCI0", "\\_SB", "^GED"; short segments are padded with '_'. */
void aml_scope(struct aml *a, const char *path);
void aml_device(struct aml *a, const char *path);
void aml_method(struct aml *a, const char *path, unsigned args, bool serialized);
void aml_if(struct aml *a);    /* then the predicate */
void aml_else(struct aml *a);  /* right behind the end of an If */
void aml_while(struct aml *a); /* then the predicate */
void aml_package(struct aml *a, uint8_t elements);
void aml_field(struct aml *a, const char *region, enum aml_access access);
void aml_resources(struct aml *a); /* a resource template: see aml_resource.h */
void aml_end(struct aml *a);

/* Declarations. */
void aml_name(struct aml *a, const char *path); /* then the object */
void aml_name_int(struct aml *a, const char *path, uint64_t value);
void aml_name_str(struct aml *a, const char *path, const char *value);
void aml_name_eisa(struct aml *a, const char *path, const char *id);
void aml_mutex(struct aml *a, const char *path);
void aml_region(struct aml *a, const char *path, enum aml_space space, uint64_t base, uint64_t len);
/* In a field list: a field of so many bits, or bits without a name. */
void aml_field_bits(struct aml *a, const char *name, uint32_t bits);
void aml_field_skip(struct aml *a, uint32_t bits);

/* Operators and operands. */
void aml_op(struct aml *a, enum aml_op op);
void aml_none(struct aml *a); /* no target */
void aml_int(struct aml *a, uint64_t value);
void aml_str(struct aml *a, const char *value);
void aml_eisa(struct aml *a, const char *id);   /* "PNP0A08" as a number (§19.3.4) */
void aml_uuid(struct aml *a, const char *uuid); /* ToUUID: a buffer (§19.6.142) */
void aml_buffer(struct aml *a, const void *data, size_t len);
void aml_path(struct aml *a, const char *path); /* also the call of a method, followed by its arguments */
void aml_local(struct aml *a, unsigned n);
void aml_arg(struct aml *a, unsigned n);
void aml_timeout(struct aml *a, uint16_t ms); /* 0xffff: for ever */

/* For aml_resource.c. */
void aml_bytes(struct aml *a, const void *data, size_t len);
