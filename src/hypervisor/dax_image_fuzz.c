/* SPDX-License-Identifier: Apache-2.0 */
/* An image's information block: what is accepted must describe a place within the image. */
#include <stdlib.h>
#include <string.h>

#include "hypervisor/dax_image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The fuzzer would never find the checksum; every second input gets the right one. */
static void seal(uint8_t *block)
{
	uint32_t low = 0, high = 0, word;

	memset(block + 4088, 0, 8);
	for (size_t i = 0; i < DAX_IMAGE_BLOCK_SIZE; i += 4) {
		memcpy(&word, block + i, 4);
		low += word;
		high += low;
	}
	memcpy(block + 4088, &low, 4);
	memcpy(block + 4092, &high, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	uint8_t block[DAX_IMAGE_BLOCK_SIZE] = "NVDIMM_PFN_INFO";
	uint64_t bytes, at;

	if (size < sizeof bytes)
		return 0;
	memcpy(&bytes, data, sizeof bytes);
	size -= sizeof bytes;
	memcpy(block + 16, data + sizeof bytes, size < 4072 ? size : 4072);
	if (size % 2)
		seal(block);
	switch (dax_image_judge(block, bytes)) {
	case DAX_IMAGE_PLAIN:
	case DAX_IMAGE_BAD:
		return 0;
	case DAX_IMAGE_PAGES:
	case DAX_IMAGE_SELF:
		break;
	}
	memcpy(&at, block + 56, sizeof at);
	if (at >= bytes || at < DAX_IMAGE_BLOCK_AT + DAX_IMAGE_BLOCK_SIZE)
		abort();
	return 0;
}
