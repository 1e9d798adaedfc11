/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Container images from local files (OCI image spec 1.1, and docker's archives), flattened once into a store:
 *
 *   STORE/<sha256 of the config>/rootfs      the root file system; nobody writes to it
 *   STORE/<sha256 of the config>/image.json  the image's config
 *   STORE/tmp-*                              being made, or left over by a process that was killed; removed in passing
 *
 * References:
 *   oci:DIR[:TAG]              an OCI image layout
 *   docker-archive:FILE[:TAG]  `docker save`, `podman save`, skopeo; may be compressed; also a tar of an OCI layout
 *
 * Archives are read by the sandboxed program caisson-unpack; JSON documents are read here.
 */
#pragma once

#include <stdint.h>

#include "base/cleanup.h"
#include "base/err.h"
#include "base/strv.h"

struct oci_image {
	char *digest;                       /* 64 hex digits */
	char *rootfs;                       /* path in the store */
	char *architecture;                 /* "amd64" */
	char *user, *workdir, *stop_signal; /* NULL or "": not given */
	struct strv env, entrypoint, cmd;
	struct strv exposed_ports, volumes; /* "80/tcp"; "/data" */
	struct strv labels;                 /* "KEY=VALUE" */
	struct strv diff_ids;               /* hex digests of the layers, lowest first */
};

struct oci_image_options {
	const char *store;    /* directory; made when missing */
	const char *unpack;   /* path of caisson-unpack; NULL: looked for beside our own program */
	uint64_t max_bytes;   /* of the unpacked image; 0: 64 GiB */
	uint64_t max_entries; /* of a layer; 0: 2 million */
};

/* Where images are unpacked unless a flag says otherwise. */
#define OCI_IMAGE_STORE "/var/lib/caisson/images"

/* Is s such a reference, and not a directory's name? */
bool oci_image_is_reference(const char *s);

/*
 * Find the image and have it unpacked in the store, unless it is there already. Blocks; several processes may do this
 * at once. On failure the store is as it was.
 */
int oci_image_open(const char *reference, const struct oci_image_options *o, struct oci_image **ret, struct err *e);
void oci_image_free(struct oci_image *image);
DEFINE_CLEANUP(struct oci_image *, oci_image_free)
#define _cleanup_image_ _cleanup_(oci_image_free_p)

/* Remove what killed processes left in a store. No store: nothing to do. 0 or -errno. */
int oci_image_clean_store(const char *store, struct err *e);

/*
 * The command line of a container as docker composes it: entrypoint (replaced by the one given, when not NULL) and
 * args, or, when there are none and the entrypoint is the image's own, the image's cmd. May come out empty.
 */
int oci_image_command(const struct oci_image *image, const struct strv *entrypoint, const struct strv *args,
		      struct strv *ret);

/* The architecture of this host in the image spec's words: "amd64", "arm64". */
const char *oci_host_architecture(void);

/* The config blob alone; digest and rootfs stay NULL. Exposed for tests and fuzzing. */
int oci_image_parse_config(const char *text, size_t len, const char *origin, struct oci_image **ret, struct err *e);
