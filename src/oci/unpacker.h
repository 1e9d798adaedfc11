/* SPDX-License-Identifier: Apache-2.0 */
/* Runs caisson-unpack, the sandboxed program that reads archives. */
#pragma once

#include <stdint.h>

#include "base/err.h"

struct unpacker {
	const char *program; /* NULL: looked for beside our own program */
	uint64_t max_bytes, max_entries;
};

/* Apply a layer to a directory. diff_id: 64 hex digits of the uncompressed content's digest. */
int unpacker_layer(const struct unpacker *u, int input_fd, int target_fd, const char *diff_id, struct err *e);

/* Copy the members of at most max_file bytes of a docker archive into a directory. */
int unpacker_members(const struct unpacker *u, int input_fd, int target_fd, uint64_t max_file, struct err *e);
