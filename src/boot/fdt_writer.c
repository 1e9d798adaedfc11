/* SPDX-License-Identifier: Apache-2.0 */
#include "boot/fdt_writer.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <libfdt.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NODE_NAME_MAX 64

/* libfdt's errors are numbers of its own. */
static void check(struct fdt_writer *w, int r)
{
	if (r < 0 && !w->failed)
		w->failed = r == -FDT_ERR_NOSPACE ? -ENOSPC : -EINVAL;
}

int fdt_writer_init(struct fdt_writer *w, size_t max)
{
	*w = (struct fdt_writer){ 0 };
	if (max > INT_MAX)
		max = INT_MAX;
	w->tree = calloc(1, max ? max : 1);
	if (!w->tree)
		return -ENOMEM;
	check(w, fdt_create(w->tree, (int)max));
	check(w, w->failed ? 0 : fdt_finish_reservemap(w->tree));
	return 0;
}

void fdt_writer_fini(struct fdt_writer *w)
{
	free(w->tree);
	w->tree = NULL;
}

void fdt_node(struct fdt_writer *w, const char *name)
{
	if (!w->failed)
		check(w, fdt_begin_node(w->tree, name));
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
	if (!w->failed)
		check(w, w->depth ? fdt_end_node(w->tree) : -FDT_ERR_BADSTATE);
	w->depth--;
}

void fdt_prop(struct fdt_writer *w, const char *name, const void *data, size_t len)
{
	if (!w->failed)
		check(w, len > INT_MAX ? -FDT_ERR_NOSPACE : fdt_property(w->tree, name, data, (int)len));
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

/* Room for a property's value, to be filled by the caller; NULL: none. */
static void *placeholder(struct fdt_writer *w, const char *name, size_t len)
{
	void *value = NULL;

	if (!w->failed)
		check(w, len > INT_MAX ? -FDT_ERR_NOSPACE : fdt_property_placeholder(w->tree, name, (int)len, &value));
	return w->failed ? NULL : value;
}

void fdt_prop_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, size_t n)
{
	uint8_t *p = placeholder(w, name, n * sizeof *cells);

	for (size_t i = 0; p && i < n; i++)
		fdt32_st(p + i * sizeof *cells, cells[i]);
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
	uint8_t *p = placeholder(w, "reg", 2 * n_pairs * sizeof *pairs);

	/* Aligned to four bytes only. */
	for (size_t i = 0; p && i < 2 * n_pairs; i++)
		fdt64_st(p + i * sizeof *pairs, pairs[i]);
}

int fdt_writer_finish(struct fdt_writer *w, const void **ret, size_t *ret_len)
{
	if (!w->failed)
		check(w, w->depth ? -FDT_ERR_BADSTATE : fdt_finish(w->tree));
	if (w->failed)
		return w->failed;
	*ret = w->tree;
	*ret_len = fdt_totalsize(w->tree);
	return 0;
}
