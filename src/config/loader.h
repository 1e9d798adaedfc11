/* SPDX-License-Identifier: Apache-2.0 */
/* The state of one config_load(): load.c finds and reads, apply.c and annotation.c fill. Private to config/. */
#pragma once

#include "config/value.h"

struct loader {
	const struct config_load_options *o;
	struct err *e;
	struct strv *warnings; /* where the caller wants them, or NULL */
	struct strv unknown;   /* what nobody knows: warnings, or with o->strict errors */
	struct strv names;     /* of the files: the tree refers to them */
	struct toml_value *doc;
	char *path; /* the main file, resolved; NULL: none */
	struct config *c;
};

int loader_warn(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int loader_unknown(struct loader *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int loader_out_of_memory(struct loader *l);

/* apply.c: choose the hypervisor, make l->c with its defaults, and lay the tree over them. */
int loader_apply(struct loader *l);

/* annotation.c */
int loader_annotate(struct loader *l);
/* The value of the annotation of that full name, the last one if there are several; NULL: none. */
const char *loader_annotation(const struct loader *l, const char *name);
