/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON documents of an image: index, manifest, docker's manifest, config. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "oci/image.h"
#include "oci/image_source.h"
#include "oci/seccomp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_image_ struct oci_image *image = NULL;
	_cleanup_strv_ struct strv command = { 0 };
	struct image_source s = { .root_fd = -1, .name = "fuzz" };
	struct json_object *profile = NULL;
	const char *text = (const char *)data;
	char digest[DIGEST_HEX], path[512];
	struct err e = { 0 };
	bool is_index;

	image_select(text, size, "fuzz", NULL, digest, &is_index, &e);
	image_select(text, size, "fuzz", "latest", digest, &is_index, &e);
	image_parse_manifest(text, size, "fuzz", &s, digest, &e);
	image_parse_docker_manifest(text, size, "fuzz", NULL, &s, path, &e);
	image_parse_docker_manifest(text, size, "fuzz", "a:b", &s, path, &e);
	image_source_fini(&s);
	if (oci_image_parse_config(text, size, "fuzz", &image, &e) == 0)
		oci_image_command(image, NULL, NULL, &command);
	if (oci_seccomp_parse(text, size, "fuzz", &(const struct strv){ 0 }, &profile, &e) == 0)
		json_object_put(profile);
	return 0;
}
