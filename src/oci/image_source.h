/* SPDX-License-Identifier: Apache-2.0 */
/* Which blobs an image consists of: index, manifest and config of a layout directory or an unpacked docker archive. */
#pragma once

#include "base/err.h"
#include "base/strv.h"
#include "oci/digest.h"

#define IMAGE_LAYERS_MAX 1024

struct image_layer {
	char path[512];          /* below the source's root */
	char digest[DIGEST_HEX]; /* of the blob as it lies there; "": not said */
};

struct image_source {
	int root_fd;      /* borrowed */
	const char *name; /* of the layout or archive, for errors; borrowed */
	char *config;     /* text of the config blob */
	size_t config_len;
	char config_digest[DIGEST_HEX];
	struct image_layer *layers;
	size_t n_layers;
};

/* Read the documents; s->root_fd and s->name are set by the caller. tag: NULL when none was named. */
int image_source_read_layout(struct image_source *s, const char *tag, struct err *e);
/* The same for the members of a docker archive. An archive of an OCI layout is taken too. */
int image_source_read_archive(struct image_source *s, const char *tag, struct err *e);
void image_source_fini(struct image_source *s);

/* The parsers alone. */
/* Choose from an index: digest of the entry, and whether that is an index again. */
int image_select(const char *text, size_t len, const char *origin, const char *tag, char ret[static DIGEST_HEX],
		 bool *ret_is_index, struct err *e);
/* Fill layers; *ret_config: digest of the config. */
int image_parse_manifest(const char *text, size_t len, const char *origin, struct image_source *s,
			 char ret_config[static DIGEST_HEX], struct err *e);
/* docker's manifest.json: fill layers; ret_config: path of the config, 512 bytes. */
int image_parse_docker_manifest(const char *text, size_t len, const char *origin, const char *tag,
				struct image_source *s, char *ret_config, struct err *e);
