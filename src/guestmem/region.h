/* SPDX-License-Identifier: Apache-2.0 */
/* What a region is, for the files of this layer. */
#pragma once

#include <stdatomic.h>

#include "guestmem/guestmem.h"

struct guestmem_region {
	gpa_t gpa;
	uint64_t size;
	uint8_t *host;
	void *map; /* what to unmap; NULL when the caller owns the memory */
	size_t map_len;
	int file; /* the memory file whose bytes from file_offset on these are, shared; borrowed. -1: not known */
	uint64_t file_offset;
	_Atomic uint64_t *present; /* one bit for each block; NULL: all is there */
	uint64_t block;
};

struct guestmem {
	struct guestmem_region regions[GUESTMEM_REGIONS_MAX];
	unsigned n;
	_Atomic unsigned last;
	guestmem_dirty_fn dirty;
	void *dirty_userdata;
};

/* The region that gpa lies in, or NULL. */
const struct guestmem_region *guestmem_find(struct guestmem *mem, gpa_t gpa);
