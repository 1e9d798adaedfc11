/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bytes of a layer on their way to the tar reader: decompressed (none, gzip, zstd), counted against a limit and
 * hashed. libarchive's tar reader alone cannot do the latter two: the limit has to act on what a bomb expands to, and
 * an image names its layers by the digest of the uncompressed tar.
 */
#pragma once

#include <archive.h>
#include <nettle/sha2.h>

#include "unpack/layer.h"

struct stream {
	const struct layer_params *params;
	struct archive *raw; /* libarchive as a mere decompressor */
	struct archive *tar;
	struct sha256_ctx hash;
	uint64_t bytes;
	bool at_end;
	struct err *err;
};

int stream_open(struct stream *s, const struct layer_params *p, struct err *e);
/* After the last entry: read to the end and compare the digest with the wanted one. */
int stream_finish(struct stream *s, struct err *e);
void stream_close(struct stream *s);

/* Open s->raw's source in any archive. */
int stream_open_source(struct archive *a, const struct layer_params *p);
