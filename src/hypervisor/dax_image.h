/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Can a guest map an image file that it has as an NVDIMM (DAX), or only read it block by block?
 *
 * Linux maps the pages of an NVDIMM only when it has page structures for them, and for a plain NVDIMM it makes them
 * only when an information block asks for it: struct nd_pfn_sb of drivers/nvdimm/pfn.h, 4 KiB into the memory. Kata's
 * image builder writes one, with a second partition table behind it:
 *
 *   0          partition table of the file as a disk: partition 1 begins at 3 MiB
 *   4 KiB      the information block; it says that the data begin at 2 MiB
 *   2 MiB      partition table of the data: partition 1 begins at 1 MiB, which is the same place
 *   3 MiB      root file system
 *
 * Without it the NVDIMM is a block device as the file is: partition 1 is there all the same, but a file system refuses
 * to be mounted with the option "dax". With one that does not fit the memory there is no block device at all.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* Where the information block is, and how long it is. */
#define DAX_IMAGE_BLOCK_AT   4096
#define DAX_IMAGE_BLOCK_SIZE 4096

enum dax_image {
	DAX_IMAGE_PLAIN, /* no information block, or none that Linux takes for one: no DAX */
	DAX_IMAGE_PAGES, /* DAX, page structures in the guest's memory */
	DAX_IMAGE_SELF,  /* the page structures are to be kept in the image: the guest would write to it */
	DAX_IMAGE_BAD,   /* the block does not fit the image: Linux leaves such an NVDIMM alone */
};

/* What Linux makes of an image of image_bytes with this block. */
enum dax_image dax_image_judge(const uint8_t block[DAX_IMAGE_BLOCK_SIZE], uint64_t image_bytes);

/* The same, read from the file. A file too short for a block is plain. */
int dax_image_read(const char *path, uint64_t image_bytes, enum dax_image *ret, struct err *e);
