/* SPDX-License-Identifier: Apache-2.0 */
#include "hypervisor/dax_image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"

/* Offsets in struct nd_pfn_sb; all numbers are little-endian. */
#define SIGNATURE     0 /* 16 bytes */
#define PARENT_UUID   32
#define VERSION_MINOR 54 /* 16 bits */
#define DATA_OFFSET   56
#define MODE          72 /* 32 bits, as are the next three */
#define START_PAD     76 /* since minor version 1 */
#define END_TRUNC     80 /* the same */
#define ALIGN         84 /* since minor version 2 */
#define CHECKSUM      4088

#define MODE_RAM  1
#define MODE_PMEM 2

/* Linux maps device memory in subsections of 2 MiB (memremap_compat_align). */
#define SUBSECTION (2u << 20)
/* QEMU puts the first NVDIMM at a multiple of 1 GiB. */
#define ALIGN_MAX (1u << 30)

static uint64_t get(const uint8_t *block, size_t at, size_t bytes)
{
	uint64_t v = 0;

	memcpy(&v, block + at, bytes);
	return le64toh(v);
}

/* nd_fletcher64() over 32-bit words, the checksum's own field taken as zero. */
static uint64_t checksum(const uint8_t *block)
{
	uint32_t low = 0;
	uint64_t high = 0;

	for (size_t i = 0; i < DAX_IMAGE_BLOCK_SIZE; i += 4) {
		low += i < CHECKSUM ? (uint32_t)get(block, i, 4) : 0;
		high += low;
	}
	return high << 32 | low;
}

/* This follows nd_pfn_validate() and __nvdimm_setup_pfn() of drivers/nvdimm/pfn_devs.c, Linux 6.1. */
enum dax_image dax_image_judge(const uint8_t block[DAX_IMAGE_BLOCK_SIZE], uint64_t image_bytes)
{
	static const uint8_t no_uuid[16];
	uint64_t minor = get(block, VERSION_MINOR, 2), data = get(block, DATA_OFFSET, 8), mode = get(block, MODE, 4);
	uint64_t start_pad = minor >= 1 ? get(block, START_PAD, 4) : 0;
	uint64_t end_trunc = minor >= 1 ? get(block, END_TRUNC, 4) : 0;
	uint64_t align = minor >= 2 ? get(block, ALIGN, 4) : 0;

	if (memcmp(block + SIGNATURE, "NVDIMM_PFN_INFO", 16) != 0 || get(block, CHECKSUM, 8) != checksum(block))
		return DAX_IMAGE_PLAIN;
	/* The namespace that it belongs to: a DIMM without labels has none. */
	if (memcmp(block + PARENT_UUID, no_uuid, sizeof no_uuid) != 0)
		return DAX_IMAGE_PLAIN;
	if (mode != MODE_RAM && mode != MODE_PMEM)
		return DAX_IMAGE_PLAIN;
	/* The data come behind this block, and the image is mapped as a whole. */
	if (data < DAX_IMAGE_BLOCK_AT + DAX_IMAGE_BLOCK_SIZE || data % 4096 || data >= image_bytes)
		return DAX_IMAGE_BAD;
	if (start_pad % SUBSECTION || end_trunc >= image_bytes || (image_bytes - end_trunc) % SUBSECTION)
		return DAX_IMAGE_BAD;
	/* 0 stands for the largest power of two in data, which fits by itself. */
	if (align && ((align & (align - 1)) || align > ALIGN_MAX || align > image_bytes || (data + start_pad) % align))
		return DAX_IMAGE_BAD;
	return mode == MODE_RAM ? DAX_IMAGE_PAGES : DAX_IMAGE_SELF;
}

int dax_image_read(const char *path, uint64_t image_bytes, enum dax_image *ret, struct err *e)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t block[DAX_IMAGE_BLOCK_SIZE];
	ssize_t n;

	if (fd < 0)
		return err_sys(e, errno, "cannot read the guest image %s", path);
	n = pread(fd, block, sizeof block, DAX_IMAGE_BLOCK_AT);
	if (n < 0)
		return err_sys(e, errno, "cannot read the guest image %s", path);
	*ret = n == sizeof block ? dax_image_judge(block, image_bytes) : DAX_IMAGE_PLAIN;
	return 0;
}
