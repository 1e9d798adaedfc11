/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The state of a machine as a tree of named values, and its form in a file: what snapshots are made of.
 *
 * Self-describing: each value carries its name and type, so that a reader finds what it knows, a newer writer may add
 * names, and a missing or mistyped name is an error that says its path ("vcpu/1/regs: missing"). Values are unsigned
 * integers, byte strings and subtrees. Names: [a-z0-9_-]{1,31}.
 *
 * File: "CAISSON\0", u32 format version, u32 length of the body, the body, CRC-64 of all before it; little-endian. The
 * writer's put functions remember the first failure (memory), which state_save() returns, so that calls need no checks.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"

#define STATE_FORMAT_VERSION 1
#define STATE_FILE_MAX       (64u << 20)

struct state;

int state_new(struct state **ret);
/* Of the root; frees the whole tree. NULL does nothing. */
void state_free(struct state *s);
DEFINE_CLEANUP(struct state *, state_free)

/* Writing. A name that is there already is replaced. */
void state_put_u64(struct state *s, const char *name, uint64_t value);
void state_put_bytes(struct state *s, const char *name, const void *data, size_t len);
void state_put_str(struct state *s, const char *name, const char *text);
/* A subtree, made when absent; never NULL (after a failure a sink that swallows everything). */
struct state *state_child(struct state *s, const char *name);
/* The same for numbered ones: "name-N". */
struct state *state_child_n(struct state *s, const char *name, unsigned n);

/* Reading. 0; -ENOENT, -EINVAL with a message that names the path. *ret is written on success only. */
int state_get_u64(const struct state *s, const char *name, uint64_t *ret, struct err *e);
/* At most max, for a number that becomes a smaller type. */
int state_get_max(const struct state *s, const char *name, uint64_t max, uint64_t *ret, struct err *e);
/* Exactly len bytes. */
int state_get_bytes(const struct state *s, const char *name, void *data, size_t len, struct err *e);
/* Borrowed, any length. */
int state_get_blob(const struct state *s, const char *name, const void **ret, size_t *ret_len, struct err *e);
/* NUL-terminated, borrowed. */
int state_get_str(const struct state *s, const char *name, const char **ret, struct err *e);
/* NULL and a message when it is not there. */
const struct state *state_get_child(const struct state *s, const char *name, struct err *e);
const struct state *state_get_child_n(const struct state *s, const char *name, unsigned n, struct err *e);

/* To and from a file. path for messages; corrupt, foreign or newer files are refused with the reason. */
int state_save(const struct state *root, int fd, const char *path, struct err *e);
int state_load(int fd, const char *path, struct state **ret, struct err *e);
