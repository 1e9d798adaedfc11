/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree's form in a file. Behind the head (see state.h) the body is a sequence of values: u8 type, u8 length of the
 * name, the name, then a u64, or a u32 length and that many bytes, which for a subtree are again a sequence of values.
 *
 * A snapshot may come from anywhere: the reader trusts no length, bounds depth and size, and takes no value twice.
 */
#include "state/tree.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "base/fd.h"

#define MAGIC    "CAISSON" /* with its NUL: 8 bytes */
#define HEAD_LEN 16
#define TAIL_LEN 8

static void put_le(uint8_t *p, uint64_t v, unsigned n)
{
	for (unsigned i = 0; i < n; i++)
		p[i] = (uint8_t)(v >> 8 * i);
}

static uint64_t get_le(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n; i++)
		v |= (uint64_t)p[i] << 8 * i;
	return v;
}

/* CRC-64/XZ (ECMA-182, reflected), bit by bit through a table of 16: states are small. */
static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t table[16], crc = ~0ULL;

	for (unsigned i = 0; i < 16; i++) {
		uint64_t c = i;

		for (unsigned bit = 0; bit < 4; bit++)
			c = c & 1 ? c >> 1 ^ 0xc96c5795d7870f42ULL : c >> 1;
		table[i] = c;
	}
	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		crc = crc >> 4 ^ table[crc & 15];
		crc = crc >> 4 ^ table[crc & 15];
	}
	return ~crc;
}

static size_t body_size(const struct state *s)
{
	struct value *v;
	size_t n = 0;

	list_foreach (v, &s->values, struct value, node) {
		n += 2 + strlen(v->name);
		n += v->type == VALUE_U64 ? 8 : 4 + (v->type == VALUE_BYTES ? v->len : body_size(v->tree));
	}
	return n;
}

static uint8_t *write_body(uint8_t *p, const struct state *s)
{
	struct value *v;

	list_foreach (v, &s->values, struct value, node) {
		size_t len = strlen(v->name);
		uint8_t *at;

		*p++ = (uint8_t)v->type;
		*p++ = (uint8_t)len;
		p = (uint8_t *)memcpy(p, v->name, len) + len;
		if (v->type == VALUE_U64) {
			put_le(p, v->number, 8);
			p += 8;
			continue;
		}
		at = p;
		p += 4;
		if (v->type == VALUE_BYTES)
			p = (uint8_t *)memcpy(p, v->bytes, v->len) + v->len;
		else
			p = write_body(p, v->tree);
		put_le(at, (uint64_t)(p - at - 4), 4);
	}
	return p;
}

int state_save(const struct state *root, int fd, const char *path, struct err *e)
{
	size_t size = body_size(root), total = HEAD_LEN + size + TAIL_LEN;
	_cleanup_free_ uint8_t *file = NULL;
	int r;

	if (root->failed)
		return err_sys(e, -root->failed, "cannot save the machine's state to %s", path);
	if (total > STATE_FILE_MAX)
		return err_set(e, ERR_LIMIT, EFBIG, "cannot save the machine's state to %s: it is larger than %u MiB",
			       path, STATE_FILE_MAX >> 20);
	file = malloc(total);
	if (!file)
		return err_sys(e, ENOMEM, "cannot save the machine's state to %s", path);
	memcpy(file, MAGIC, 8);
	put_le(file + 8, STATE_FORMAT_VERSION, 4);
	put_le(file + 12, size, 4);
	write_body(file + HEAD_LEN, root);
	put_le(file + HEAD_LEN + size, crc64(file, HEAD_LEN + size), 8);
	r = fd_write_full(fd, file, total);
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

static int read_body(struct state *s, const uint8_t *p, const uint8_t *end);

/* One value at p. Returns what is behind it, NULL when it is malformed. */
static const uint8_t *read_value(struct state *s, const uint8_t *p, const uint8_t *end)
{
	char name[STATE_NAME_MAX + 1] = { 0 };
	size_t before = 0, len;
	uint8_t type, name_len;
	struct value *v;

	if (end - p < 2 || !p[1] || p[1] > STATE_NAME_MAX || end - p < 2 + p[1])
		return NULL;
	type = p[0];
	name_len = p[1];
	memcpy(name, p + 2, name_len);
	p += 2 + name_len;
	list_foreach (v, &s->values, struct value, node)
		before += !strcmp(v->name, name);
	if (before || strlen(name) != name_len || !state_name_valid(name))
		return NULL;
	if (type == VALUE_U64) {
		if (end - p < 8)
			return NULL;
		state_put_u64(s, name, get_le(p, 8));
		return p + 8;
	}
	if (end - p < 4)
		return NULL;
	len = get_le(p, 4);
	p += 4;
	if (len > (size_t)(end - p))
		return NULL;
	if (type == VALUE_BYTES)
		state_put_bytes(s, name, p, len);
	else if (type != VALUE_TREE || s->depth == STATE_DEPTH_MAX || read_body(state_child(s, name), p, p + len) < 0)
		return NULL;
	return p + len;
}

/* A child's depth is checked before it is made, so the recursion is bounded. */
static int read_body(struct state *s, const uint8_t *p, const uint8_t *end)
{
	while (p && p < end && !s->root->failed)
		p = read_value(s, p, end);
	return p ? s->root->failed : -EINVAL;
}

static int check_file(const uint8_t *file, size_t len, const char *path, struct err *e)
{
	if (len < HEAD_LEN || memcmp(file, MAGIC, 8) != 0)
		return err_set(e, ERR_CONFIG, EINVAL, "%s is not a saved state of a machine", path);
	if (get_le(file + 8, 4) != STATE_FORMAT_VERSION)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s is of format version %u, and this program reads version %u: save it again with the "
			       "same program that shall restore it",
			       path, (unsigned)get_le(file + 8, 4), STATE_FORMAT_VERSION);
	if (get_le(file + 12, 4) != len - HEAD_LEN - TAIL_LEN || len < HEAD_LEN + TAIL_LEN)
		return err_set(e, ERR_CONFIG, EINVAL, "%s is cut off or longer than it says", path);
	if (crc64(file, len - TAIL_LEN) != get_le(file + len - TAIL_LEN, 8))
		return err_set(e, ERR_CONFIG, EINVAL, "%s is damaged: its checksum is wrong", path);
	return 0;
}

int state_load(int fd, const char *path, struct state **ret, struct err *e)
{
	_cleanup_(state_free_p) struct state *s = NULL;
	_cleanup_free_ char *data = NULL;
	const uint8_t *file;
	size_t len;
	int r = fd_read_all(fd, STATE_FILE_MAX, &data, &len);

	if (r < 0)
		return err_sys(e, -r, "cannot read %s", path);
	file = (const uint8_t *)data;
	r = check_file(file, len, path, e);
	if (r < 0)
		return r;
	r = state_new(&s);
	if (r == 0)
		r = read_body(s, file + HEAD_LEN, file + len - TAIL_LEN);
	if (r == -EINVAL)
		return err_set(e, ERR_CONFIG, EINVAL, "%s is damaged: a value in it is malformed", path);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", path);
	*ret = take_ptr(s);
	return 0;
}
