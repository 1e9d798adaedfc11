/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writing a flattened device tree, nodes in the order of the calls: libfdt's sequential functions, with the kinds of
 * properties that machines have, and with the first failure remembered, so that the caller asks once, by
 * fdt_writer_finish().
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct fdt_writer {
	void *tree;     /* libfdt's */
	unsigned depth; /* open nodes, which libfdt does not count */
	int failed;     /* -errno */
};

/* max: bytes that the tree may have. The first node is the root, with the name "". 0 or -ENOMEM. */
int fdt_writer_init(struct fdt_writer *w, size_t max);
/* Zeroes will do too. */
void fdt_writer_fini(struct fdt_writer *w);
#define _cleanup_fdt_writer_ __attribute__((cleanup(fdt_writer_fini)))

void fdt_node(struct fdt_writer *w, const char *name);
/* "name@address" */
void fdt_node_at(struct fdt_writer *w, const char *name, uint64_t address);
void fdt_node_end(struct fdt_writer *w);

/* Properties of the node that is open, before its children. */
void fdt_prop(struct fdt_writer *w, const char *name, const void *data, size_t len);
void fdt_prop_empty(struct fdt_writer *w, const char *name);
void fdt_prop_str(struct fdt_writer *w, const char *name, const char *value);
/* Several strings, each with its NUL; len counts the last NUL too, as sizeof of a literal "a\0b" does. */
void fdt_prop_strs(struct fdt_writer *w, const char *name, const char *values, size_t len);
void fdt_prop_cells(struct fdt_writer *w, const char *name, const uint32_t *cells, size_t n);
void fdt_prop_u32(struct fdt_writer *w, const char *name, uint32_t value);
void fdt_prop_u64(struct fdt_writer *w, const char *name, uint64_t value);
/* Pairs of address and size, two cells each. */
void fdt_prop_reg(struct fdt_writer *w, const uint64_t *pairs, size_t n_pairs);

/*
 * The tree as one block, which w keeps. 0, -ENOSPC when it would have more than max bytes, or -EINVAL when the calls
 * did not make a tree.
 */
int fdt_writer_finish(struct fdt_writer *w, const void **ret, size_t *ret_len);
