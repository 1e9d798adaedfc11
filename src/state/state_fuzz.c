/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A saved state from a stranger: the input is the body, put behind a right head and before a right checksum, so that
 * the fuzzer reaches the values. What loads must save and load again to the same bytes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/fd.h"
#include "state/state.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t crc64(const uint8_t *p, size_t len)
{
	uint64_t crc = ~0ULL;

	for (size_t i = 0; i < len; i++) {
		crc ^= p[i];
		for (unsigned bit = 0; bit < 8; bit++)
			crc = crc & 1 ? crc >> 1 ^ 0xc96c5795d7870f42ULL : crc >> 1;
	}
	return ~crc;
}

static void check_again(const struct state *s, const uint8_t *file, size_t len)
{
	_cleanup_close_ int fd = memfd_create("again", MFD_CLOEXEC);
	_cleanup_free_ char *back = NULL;
	size_t back_len;

	if (state_save(s, fd, "again", NULL) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	if (fd_read_all(fd, len + 1, &back, &back_len) < 0 || back_len != len || memcmp(back, file, len) != 0)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);
	size_t len = 16 + size + 8;
	_cleanup_free_ uint8_t *file = malloc(len);
	_cleanup_(state_free_p) struct state *s = NULL;
	uint32_t version = STATE_FORMAT_VERSION, body = (uint32_t)size;
	uint64_t crc;

	memcpy(file, "CAISSON", 8);
	memcpy(file + 8, &version, 4);
	memcpy(file + 12, &body, 4);
	if (size)
		memcpy(file + 16, data, size);
	crc = crc64(file, 16 + size);
	memcpy(file + 16 + size, &crc, 8);
	if (fd_write_full(fd, file, len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
		abort();
	if (state_load(fd, "fuzz", &s, NULL) == 0)
		check_again(s, file, len);
	return 0;
}
