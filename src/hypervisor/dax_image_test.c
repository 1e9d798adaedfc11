/* SPDX-License-Identifier: Apache-2.0 */
/* Each condition of Linux's nd_pfn_validate(), one at a time, from a block that it accepts. */
#include "hypervisor/dax_image.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/fd.h"

#define MIB UINT64_C(1048576)

static uint8_t block[DAX_IMAGE_BLOCK_SIZE];

static void put(size_t at, size_t bytes, uint64_t value)
{
	for (size_t i = 0; i < bytes; i++)
		block[at + i] = (uint8_t)(value >> 8 * i);
}

/* A Fletcher sum by its definition: the sum of the words, and the sum of those sums. */
static void seal(void)
{
	uint64_t low = 0, high = 0;

	put(4088, 8, 0);
	for (size_t i = 0; i < sizeof block; i += 4) {
		low += (uint64_t)block[i] | (uint64_t)block[i + 1] << 8 | (uint64_t)block[i + 2] << 16 |
		       (uint64_t)block[i + 3] << 24;
		low &= 0xffffffff;
		high += low;
	}
	put(4088, 8, (high << 32) | low);
}

/* As Kata's image builder has it: page structures in RAM, data at 2 MiB, aligned to 2 MiB, version 1.2. */
static int make(void **state)
{
	memset(block, 0, sizeof block);
	memcpy(block, "NVDIMM_PFN_INFO", 16);
	memset(block + 16, 0xab, 16); /* its own UUID */
	put(52, 2, 1);
	put(54, 2, 2);
	put(56, 8, 2 * MIB);
	put(72, 4, 1);
	put(84, 4, 2 * MIB);
	seal();
	return 0;
}

/* A field of that value, in an otherwise good block of an image of 128 MiB. */
static enum dax_image with(size_t at, size_t bytes, uint64_t value)
{
	make(NULL);
	put(at, bytes, value);
	seal();
	return dax_image_judge(block, 128 * MIB);
}

static void test_good(void **state)
{
	assert_int_equal(dax_image_judge(block, 128 * MIB), DAX_IMAGE_PAGES);
	assert_int_equal(dax_image_judge(block, 4 * MIB), DAX_IMAGE_PAGES);
	assert_int_equal(with(72, 4, 2), DAX_IMAGE_SELF);
	assert_int_equal(with(84, 4, 0), DAX_IMAGE_PAGES);
	assert_int_equal(with(84, 4, 4096), DAX_IMAGE_PAGES);
	assert_int_equal(with(80, 4, 2 * MIB), DAX_IMAGE_PAGES);
}

static void test_signature_and_checksum(void **state)
{
	assert_int_equal(with(0, 1, 'n'), DAX_IMAGE_PLAIN);
	assert_int_equal(with(0, 8, UINT64_C(0x4d4d4944564e00)), DAX_IMAGE_PLAIN);
	memset(block, 0, sizeof block);
	assert_int_equal(dax_image_judge(block, 128 * MIB), DAX_IMAGE_PLAIN);
	for (size_t i = 0; i < sizeof block; i++) {
		make(NULL);
		block[i] ^= 0x10;
		assert_int_equal(dax_image_judge(block, 128 * MIB), DAX_IMAGE_PLAIN);
	}
}

static void test_refused_by_linux(void **state)
{
	/* cut off, so that its end is not where a subsection ends; or before its data */
	assert_int_equal(dax_image_judge(block, 128 * MIB - 4096), DAX_IMAGE_BAD);
	assert_int_equal(dax_image_judge(block, 2 * MIB), DAX_IMAGE_BAD);
	assert_int_equal(dax_image_judge(block, 0), DAX_IMAGE_BAD);
	assert_int_equal(with(32, 1, 1), DAX_IMAGE_PLAIN);           /* belongs to a labelled namespace */
	assert_int_equal(with(72, 4, 0), DAX_IMAGE_PLAIN);           /* mode */
	assert_int_equal(with(72, 4, 3), DAX_IMAGE_PLAIN);           /* mode */
	assert_int_equal(with(56, 8, 4096), DAX_IMAGE_BAD);          /* the data begin within the block */
	assert_int_equal(with(56, 8, 2 * MIB + 512), DAX_IMAGE_BAD); /* not at a page */
	assert_int_equal(with(56, 8, UINT64_MAX), DAX_IMAGE_BAD);
	assert_int_equal(with(56, 8, 3 * MIB), DAX_IMAGE_BAD);   /* not aligned as it says */
	assert_int_equal(with(84, 4, 3 * MIB), DAX_IMAGE_BAD);   /* no power of two */
	assert_int_equal(with(84, 4, 256 * MIB), DAX_IMAGE_BAD); /* more than there is */
	assert_int_equal(with(76, 4, 4096), DAX_IMAGE_BAD);      /* padding */
	assert_int_equal(with(80, 4, 4096), DAX_IMAGE_BAD);
	assert_int_equal(with(80, 4, 128 * MIB), DAX_IMAGE_BAD);
}

/* Fields that an older version of the block does not have yet are not looked at. */
static void test_versions(void **state)
{
	put(54, 2, 0);
	put(76, 4, 1);
	put(80, 4, 1);
	put(84, 4, 1);
	seal();
	assert_int_equal(dax_image_judge(block, 128 * MIB), DAX_IMAGE_PAGES);
	put(54, 2, 1);
	put(76, 4, 0);
	put(80, 4, 0);
	seal();
	assert_int_equal(dax_image_judge(block, 128 * MIB), DAX_IMAGE_PAGES);
}

static void test_file(void **state)
{
	char path[] = "/tmp/caisson-dax-image-XXXXXX";
	enum dax_image got = DAX_IMAGE_SELF;
	struct err e = { 0 };
	int fd = mkstemp(path);

	assert_true(fd >= 0);
	assert_int_equal(dax_image_read(path, 0, &got, &e), 0);
	assert_int_equal(got, DAX_IMAGE_PLAIN);
	assert_int_equal(pwrite(fd, block, sizeof block, DAX_IMAGE_BLOCK_AT), sizeof block);
	assert_int_equal(dax_image_read(path, 128 * MIB, &got, &e), 0);
	assert_int_equal(got, DAX_IMAGE_PAGES);
	assert_int_equal(ftruncate(fd, DAX_IMAGE_BLOCK_AT + DAX_IMAGE_BLOCK_SIZE - 1), 0);
	assert_int_equal(dax_image_read(path, 128 * MIB, &got, &e), 0);
	assert_int_equal(got, DAX_IMAGE_PLAIN);
	close(fd);
	unlink(path);
	assert_int_equal(dax_image_read(path, 0, &got, &e), -ENOENT);
	assert_non_null(strstr(e.text, path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_good, make),
		cmocka_unit_test_setup(test_signature_and_checksum, make),
		cmocka_unit_test_setup(test_refused_by_linux, make),
		cmocka_unit_test_setup(test_versions, make),
		cmocka_unit_test_setup(test_file, make),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
