/* SPDX-License-Identifier: Apache-2.0 */
/* The tree itself, shared by its accessors (state.c) and its form in a file (file.c). Private to the layer. */
#pragma once

#include "base/list.h"
#include "state/state.h"

#define STATE_NAME_MAX  31
#define STATE_DEPTH_MAX 16
/*
 * In the whole tree; a machine with all its slots full of the largest devices has half of them. A search walks a list,
 * so that a file of millions would be read for days.
 */
#define STATE_VALUES_MAX 65536

enum value_type { VALUE_U64 = 1, VALUE_BYTES = 2, VALUE_TREE = 3 };

struct value {
	struct list node;
	char name[STATE_NAME_MAX + 1];
	enum value_type type;
	uint64_t number;
	void *bytes; /* with a NUL behind it */
	size_t len;
	struct state *tree;
};

struct state {
	struct state *root, *parent;
	const char *name; /* of the value that holds it; NULL: the root */
	unsigned depth;
	struct list values;
	int failed;        /* root: the first failure of a put, -errno */
	unsigned n_values; /* root: in all of the tree */
	/* Root: where calls end up after a failure; writing to it does nothing. */
	struct state *sink;
};

bool state_name_valid(const char *name);
/* The value of that name, new or emptied; NULL after a failure, which the root remembers. */
struct value *state_slot(struct state *s, const char *name, enum value_type type);
