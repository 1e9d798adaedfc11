/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/fdt_writer.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

enum { BEGIN_NODE = 1, END_NODE = 2, PROP = 3, END = 9 };
#define MAGIC         0xd00dfeed
#define VERSION       17
#define COMPATIBLE    16
#define NODE_NAME_MAX 64

struct fdt_header { /* §5.2; all big-endian */
	uint32_t magic, total_size, off_struct, off_strings, off_mem_rsvmap, version, last_compatible_version;
	uint32_t boot_cpu, size_strings, size_struct;
};

static void put(struct fdt_writer *w, struct buf *b, const void *data, size_t len)
{
	if (buf_append(b, data, len) < 0)
		w->failed = true;
}

static void cell(struct fdt_writer *w, uint32_t v)
{
	v = htobe32(v);
	put(w, &w->nodes, &v, sizeof v);
}

/* Data, and zeroes up to the next cell. */
static void padded(struct fdt_writer *w, const void *data, size_t len)
{
	put(w, &w->nodes, data, len);
	put(w, &w->nodes, "\0\0", (4 - len % 4) % 4);
}

void fdt_node(struct fdt_writer *w, const char *name)
{
	cell(w, BEGIN_NODE);
	padded(w, name, strlen(name) + 1);
	w->depth++;
}

void fdt_node_at(struct fdt_writer *w, const char *name, uint64_t address)
{
	char full[NODE_NAME_MAX];

	snprintf(full, sizeof full, "%s@%" PRIx64, name, address);
	fdt_node(w, full);
}

void fdt_node_end(struct fdt_writer *w)
{
	cell(w, END_NODE);
	if (!w->depth)
		w->failed = true;
	else
		w->depth--;
}

/* Offset of a name among the strings; each is there once. */
static uint32_t name_offset(struct fdt_writer *w, const char *name)
{
	size_t at = 0;

	while (at < w->names.len && strcmp(w->names.data + at, name) != 0)
		at += strlen(w->names.data + at) + 1;
	if (at == w->names.len)
		put(w, &w->names, name, strlen(name) + 1);
	return (uint32_t)at;
}

void fdt_prop(struct fdt_writer *w, const char *name, const void *data, size_t len)
{
	cell(w, PROP);
	cell(w, (uint32_t)len);
	cell(w, name_offset(w, name));
	padded(w, data, len);
}

void fdt_prop_empty(struct fdt_writer *w, const char *name)
{
	fdt_prop(w, name, "", 0);
}

void fdt_prop_str(struct fdt_writer *w, const char *name, const char *value)
{
	fdt_prop(w, name, value, strlen(value) + 1);
}

void fdt_prop_strs(struct fdt_writer *w, const char *name, const char *values, size_t len)
{
	fdt_prop(w, name, values, len);
}

void fdt_prop_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, size_t n)
{
	cell(w, PROP);
	cell(w, (uint32_t)(n * 4));
	cell(w, name_offset(w, name));
	for (size_t i = 0; i < n; i++)
		cell(w, cells[i]);
}

void fdt_prop_u32(struct fdt_writer *w, const char *name, uint32_t value)
{
	fdt_prop_cells(w, name, &value, 1);
}

void fdt_prop_u64(struct fdt_writer *w, const char *name, uint64_t value)
{
	value = htobe64(value);
	fdt_prop(w, name, &value, sizeof value);
}

void fdt_prop_reg(struct fdt_writer *w, const uint64_t *pairs, size_t n_pairs)
{
	cell(w, PROP);
	cell(w, (uint32_t)(n_pairs * 16));
	cell(w, name_offset(w, "reg"));
	for (size_t i = 0; i < 2 * n_pairs; i++) {
		cell(w, (uint32_t)(pairs[i] >> 32));
		cell(w, (uint32_t)pairs[i]);
	}
}

int fdt_writer_finish(struct fdt_writer *w, struct buf *out)
{
	static const uint64_t no_reservations[2];
	struct fdt_header h = { 0 };
	uint32_t structs = sizeof h + sizeof no_reservations, strings;

	if (w->depth)
		return -EINVAL;
	cell(w, END);
	strings = structs + (uint32_t)w->nodes.len;
	h.magic = htobe32(MAGIC);
	h.total_size = htobe32(strings + (uint32_t)w->names.len);
	h.off_struct = htobe32(structs);
	h.off_strings = htobe32(strings);
	h.off_mem_rsvmap = htobe32(sizeof h);
	h.version = htobe32(VERSION);
	h.last_compatible_version = htobe32(COMPATIBLE);
	h.size_strings = htobe32((uint32_t)w->names.len);
	h.size_struct = htobe32((uint32_t)w->nodes.len);
	put(w, out, &h, sizeof h);
	put(w, out, no_reservations, sizeof no_reservations);
	put(w, out, w->nodes.data, w->nodes.len);
	put(w, out, w->names.data, w->names.len);
	return w->failed ? -ENOMEM : 0;
}

void fdt_writer_fini(struct fdt_writer *w)
{
	buf_fini(&w->nodes);
	buf_fini(&w->names);
}
