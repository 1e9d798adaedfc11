/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree in memory: each subtree is a list of named values in the order of writing. A machine has some hundred
 * values, so a search walks the list.
 */
#include "state/tree.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

static struct state *tree_new(struct state *parent, const char *name)
{
	struct state *s = calloc(1, sizeof *s);

	if (!s)
		return NULL;
	list_init(&s->values);
	s->parent = parent;
	s->root = parent ? parent->root : s;
	s->depth = parent ? parent->depth + 1 : 0;
	s->name = name;
	return s;
}

int state_new(struct state **ret)
{
	struct state *s = tree_new(NULL, NULL);

	if (!s)
		return -ENOMEM;
	s->sink = tree_new(s, "sink");
	if (!s->sink) {
		free(s);
		return -ENOMEM;
	}
	*ret = s;
	return 0;
}

static void tree_free(struct state *s);

static void value_clear(struct value *v)
{
	if (v->tree)
		tree_free(v->tree);
	free(v->bytes);
	v->tree = NULL;
	v->bytes = NULL;
	v->len = 0;
	v->number = 0;
}

/* Recursion is bounded by STATE_DEPTH_MAX. */
static void tree_free(struct state *s)
{
	struct value *v;

	list_foreach (v, &s->values, struct value, node) {
		list_remove(&v->node);
		value_clear(v);
		free(v);
	}
	free(s->sink);
	free(s);
}

void state_free(struct state *s)
{
	if (s)
		tree_free(s);
}

bool state_name_valid(const char *name)
{
	size_t len = strlen(name);

	return len && len <= STATE_NAME_MAX && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len;
}

static struct value *find(const struct state *s, const char *name)
{
	struct value *v;

	list_foreach (v, &s->values, struct value, node)
		if (!strcmp(v->name, name))
			return v;
	return NULL;
}

static struct value *fail(struct state *s, int code)
{
	if (!s->root->failed)
		s->root->failed = code;
	return NULL;
}

struct value *state_slot(struct state *s, const char *name, enum value_type type)
{
	struct value *v;

	if (s == s->root->sink)
		return NULL;
	if (!state_name_valid(name))
		return fail(s, -EINVAL);
	v = find(s, name);
	if (v) {
		value_clear(v);
	} else {
		if (s->root->n_values == STATE_VALUES_MAX)
			return fail(s, -E2BIG);
		v = calloc(1, sizeof *v);
		if (!v)
			return fail(s, -ENOMEM);
		s->root->n_values++;
		strcpy(v->name, name);
		list_append(&s->values, &v->node);
	}
	v->type = type;
	return v;
}

void state_put_u64(struct state *s, const char *name, uint64_t value)
{
	struct value *v = state_slot(s, name, VALUE_U64);

	if (v)
		v->number = value;
}

void state_put_bytes(struct state *s, const char *name, const void *data, size_t len)
{
	struct value *v;
	char *copy = len < STATE_FILE_MAX ? malloc(len + 1) : NULL;

	if (!copy) {
		fail(s, len < STATE_FILE_MAX ? -ENOMEM : -EFBIG);
		return;
	}
	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	v = state_slot(s, name, VALUE_BYTES);
	if (!v) {
		free(copy);
		return;
	}
	v->bytes = copy;
	v->len = len;
}

void state_put_str(struct state *s, const char *name, const char *text)
{
	state_put_bytes(s, name, text, strlen(text));
}

struct state *state_child(struct state *s, const char *name)
{
	struct value *v = find(s, name);

	if (v && v->type == VALUE_TREE)
		return v->tree;
	if (s->depth == STATE_DEPTH_MAX)
		fail(s, -ELOOP);
	v = s->depth < STATE_DEPTH_MAX ? state_slot(s, name, VALUE_TREE) : NULL;
	if (!v)
		return s->root->sink;
	v->tree = tree_new(s, v->name);
	if (!v->tree) {
		list_remove(&v->node);
		free(v);
		fail(s, -ENOMEM);
		return s->root->sink;
	}
	return v->tree;
}

/* Too long a name stays too long. */
static void numbered(char name[STATE_NAME_MAX + 2], const char *stem, unsigned n)
{
	snprintf(name, STATE_NAME_MAX + 2, "%s-%u", stem, n);
}

struct state *state_child_n(struct state *s, const char *name, unsigned n)
{
	char full[STATE_NAME_MAX + 2];

	numbered(full, name, n);
	return state_child(s, full);
}

static void path_of(const struct state *s, char *buf, size_t size)
{
	size_t len;

	buf[0] = '\0';
	if (!s->parent)
		return;
	path_of(s->parent, buf, size);
	len = strlen(buf);
	snprintf(buf + len, size - len, "%s/", s->name);
}

static int complain(const struct state *s, const char *name, int code, const char *what, struct err *e)
{
	char path[STATE_DEPTH_MAX * (STATE_NAME_MAX + 1) + 1];

	path_of(s, path, sizeof path);
	return err_set(e, ERR_CONFIG, code, "%s%s: %s", path, name, what);
}

static int get(const struct state *s, const char *name, enum value_type type, const struct value **ret, struct err *e)
{
	const struct value *v = find(s, name);

	if (!v)
		return complain(s, name, ENOENT, "missing", e);
	if (v->type != type)
		return complain(s, name, EINVAL, "of another type", e);
	*ret = v;
	return 0;
}

int state_get_u64(const struct state *s, const char *name, uint64_t *ret, struct err *e)
{
	return state_get_max(s, name, UINT64_MAX, ret, e);
}

int state_get_max(const struct state *s, const char *name, uint64_t max, uint64_t *ret, struct err *e)
{
	const struct value *v;
	int r = get(s, name, VALUE_U64, &v, e);

	if (r < 0)
		return r;
	if (v->number > max) {
		char what[64];

		snprintf(what, sizeof what, "%" PRIu64 " is more than %" PRIu64, v->number, max);
		return complain(s, name, EINVAL, what, e);
	}
	*ret = v->number;
	return 0;
}

int state_get_blob(const struct state *s, const char *name, const void **ret, size_t *ret_len, struct err *e)
{
	const struct value *v;
	int r = get(s, name, VALUE_BYTES, &v, e);

	if (r < 0)
		return r;
	*ret = v->bytes;
	*ret_len = v->len;
	return 0;
}

int state_get_bytes(const struct state *s, const char *name, void *data, size_t len, struct err *e)
{
	const struct value *v;
	int r = get(s, name, VALUE_BYTES, &v, e);

	if (r < 0)
		return r;
	if (v->len != len) {
		char what[64];

		snprintf(what, sizeof what, "%zu bytes instead of %zu", v->len, len);
		return complain(s, name, EINVAL, what, e);
	}
	if (len)
		memcpy(data, v->bytes, len);
	return 0;
}

int state_get_str(const struct state *s, const char *name, const char **ret, struct err *e)
{
	const struct value *v;
	int r = get(s, name, VALUE_BYTES, &v, e);

	if (r < 0)
		return r;
	if (memchr(v->bytes, '\0', v->len))
		return complain(s, name, EINVAL, "a zero byte in a text", e);
	*ret = v->bytes;
	return 0;
}

const struct state *state_get_child(const struct state *s, const char *name, struct err *e)
{
	const struct value *v;

	return get(s, name, VALUE_TREE, &v, e) < 0 ? NULL : v->tree;
}

const struct state *state_get_child_n(const struct state *s, const char *name, unsigned n, struct err *e)
{
	char full[STATE_NAME_MAX + 2];

	numbered(full, name, n);
	return state_get_child(s, full, e);
}
