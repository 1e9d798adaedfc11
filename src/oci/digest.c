/* SPDX-License-Identifier: Apache-2.0 */
#include "oci/digest.h"

#include <errno.h>
#include <nettle/sha2.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"

int digest_parse(const char *s, char ret[static DIGEST_HEX])
{
	const char *hex = str_after(s, "sha256:");

	if (!hex)
		return str_after(s, "sha512:") ? -EOPNOTSUPP : -EINVAL;
	if (strlen(hex) != DIGEST_HEX - 1 || strspn(hex, "0123456789abcdef") != DIGEST_HEX - 1)
		return -EINVAL;
	memcpy(ret, hex, DIGEST_HEX);
	return 0;
}

static void finish(struct sha256_ctx *c, char ret[static DIGEST_HEX])
{
	uint8_t raw[SHA256_DIGEST_SIZE];

	sha256_digest(c, sizeof raw, raw);
	for (size_t i = 0; i < sizeof raw; i++)
		snprintf(ret + 2 * i, 3, "%02x", raw[i]);
}

void digest_of(const void *data, size_t n, char ret[static DIGEST_HEX])
{
	struct sha256_ctx c;

	sha256_init(&c);
	sha256_update(&c, n, data);
	finish(&c, ret);
}

int digest_of_fd(int fd, char ret[static DIGEST_HEX])
{
	const size_t size = 256 * 1024;
	_cleanup_free_ uint8_t *data = malloc(size);
	struct sha256_ctx c;
	off_t at = 0;

	if (!data)
		return -ENOMEM;
	sha256_init(&c);
	for (;;) {
		ssize_t n = pread(fd, data, size, at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		sha256_update(&c, (size_t)n, data);
		at += n;
	}
	finish(&c, ret);
	return lseek(fd, 0, SEEK_SET) < 0 ? -errno : 0;
}
