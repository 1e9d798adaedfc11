/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Apply one tar layer of an image to the current root directory (OCI image spec 1.1, layer.md).
 *
 * The stream is hostile and nothing here confines it: the caller has made the target directory its root by chroot(2).
 * That is what keeps links and ".." inside, also through links that an earlier layer left: the kernel resolves them.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define LAYER_DIGEST_SIZE 32

struct layer_params {
	int fd;           /* tar, tar+gzip or tar+zstd from its start; any readable file or pipe */
	const void *data; /* instead of fd when not NULL (tests, fuzzing) */
	size_t size;
	uint64_t max_bytes; /* of the uncompressed stream */
	uint64_t max_entries;
	bool owners;            /* set owners and make device nodes; false: everything belongs to us, no nodes */
	const uint8_t *diff_id; /* wanted SHA-256 of the uncompressed stream; NULL: any */
};

/* Apply it. On failure the target is half done: the caller throws it away. warnings go to stderr. */
int layer_apply(const struct layer_params *p, struct err *e);

/*
 * Copy the regular files, links and directories of a tar (the members of a docker archive) into the current root
 * directory; files larger than max_file are skipped. Names inside are kept; owners and modes are not.
 */
int layer_copy_members(const struct layer_params *p, uint64_t max_file, struct err *e);

/*
 * Clean the name of an entry: no leading "/", no "." parts, ".." resolved by name. ret: PATH_MAX bytes; "." for the
 * root itself. -EINVAL when ".." leads outside, -ENAMETOOLONG.
 */
int layer_clean_path(const char *name, char *ret);
