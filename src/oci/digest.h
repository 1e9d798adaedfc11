/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256, and the "sha256:HEX" form of the OCI image spec (descriptor.md "Digests"). */
#pragma once

#include <stddef.h>

#define DIGEST_HEX 65 /* 64 digits and NUL */

/* HEX part of "sha256:HEX" into ret. -EINVAL for another form, -EOPNOTSUPP for another algorithm. */
int digest_parse(const char *s, char ret[static DIGEST_HEX]);

void digest_of(const void *data, size_t n, char ret[static DIGEST_HEX]);

/* Of a file from its start; the offset is at the start again afterwards. 0 or -errno. */
int digest_of_fd(int fd, char ret[static DIGEST_HEX]);
