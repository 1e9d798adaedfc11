/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <errno.h>
#include <stdlib.h>

#include <cmocka.h>

#include "oci/digest.h"
#include "oci/image.h"
#include "oci/image_source.h"

#define A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define TAGGED(d, tag)                                                                                                 \
	"{\"digest\":\"sha256:" d "\",\"annotations\":{\"org.opencontainers.image.ref.name\":\"" tag "\"}}"

static void test_digest(void **state)
{
	char hex[DIGEST_HEX];

	digest_of("abc", 3, hex); /* FIPS 180-2 appendix B.1 */
	assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
	assert_int_equal(digest_parse("sha256:" A, hex), 0);
	assert_string_equal(hex, A);
	assert_int_equal(digest_parse("sha256:" A "a", hex), -EINVAL);
	assert_int_equal(digest_parse("sha256:../../etc/passwd", hex), -EINVAL);
	assert_int_equal(digest_parse("md5:x", hex), -EINVAL);
	assert_int_equal(digest_parse("sha512:x", hex), -EOPNOTSUPP);
}

static void chosen(const char *json, const char *tag, const char *wanted)
{
	char hex[DIGEST_HEX] = "";
	struct err e = { 0 };
	bool index;

	if (image_select(json, strlen(json), "i", tag, hex, &index, &e) < 0)
		assert_string_equal(e.text, wanted);
	else
		assert_string_equal(hex, wanted);
}

static void test_select(void **state)
{
	static const char two[] = "{\"manifests\":[" TAGGED(A, "x") "," TAGGED(B, "y") "]}";
	static const char latest[] = "{\"manifests\":[" TAGGED(A, "x") "," TAGGED(B, "latest") "]}";

	chosen("{\"manifests\":[" TAGGED(A, "x") "]}", NULL, A);
	chosen(two, "y", B);
	chosen(two, "z", "i: no image with the tag \"z\"; there are: x, y");
	chosen(two, NULL, "i: several images; name one of the tags: x, y");
	chosen(latest, NULL, B);
	chosen("{\"manifests\":[]}", NULL, "i: lists no images");
	chosen("{\"manifests\":[{\"digest\":\"sha256:x\"}]}", NULL, "i: an entry without a valid digest");
	chosen("{\"manifests\":[{\"digest\":7}]}", NULL, "i: an entry without a valid digest");
	chosen("{\"manifests\":[null,3,[]]}", "t", "i: no image with the tag \"t\"; there are: images without tags");
}

static void test_manifests(void **state)
{
	static const char good[] =
		"{\"config\":{\"digest\":\"sha256:" A "\"},\"layers\":[{\"digest\":\"sha256:" B "\"}]}";
	static const char encrypted[] =
		"{\"config\":{\"digest\":\"sha256:" A "\"},\"layers\":[{\"mediaType\":"
		"\"application/vnd.oci.image.layer.v1.tar+encrypted\",\"digest\":\"sha256:" B "\"}]}";
	static const char docker[] = "[{\"Config\":\"c.json\",\"RepoTags\":[\"q/a:1\"],\"Layers\":[\"l\"]},"
				     "{\"Config\":\"d.json\",\"RepoTags\":null,\"Layers\":[]}]";
	struct image_source s = { .root_fd = -1 };
	char hex[DIGEST_HEX], path[512];
	struct err e = { 0 };

	assert_int_equal(image_parse_manifest(good, strlen(good), "m", &s, hex, &e), 0);
	assert_string_equal(hex, A);
	assert_int_equal(s.n_layers, 1);
	assert_string_equal(s.layers[0].path, "blobs/sha256/" B);
	assert_true(image_parse_manifest(encrypted, strlen(encrypted), "m", &s, hex, &e) < 0);
	assert_string_equal(e.text, "m: a layer is encrypted, which is not supported");
	assert_true(image_parse_manifest("{}", 2, "m", &s, hex, &e) < 0);

	assert_int_equal(image_parse_docker_manifest(docker, strlen(docker), "d", "a:1", &s, path, &e), 0);
	assert_string_equal(path, "c.json");
	assert_string_equal(s.layers[0].path, "l");
	assert_string_equal(s.layers[0].digest, "");
	assert_int_equal(image_parse_docker_manifest(docker, strlen(docker), "d", "q/a:1", &s, path, &e), 0);
	assert_true(image_parse_docker_manifest(docker, strlen(docker), "d", "b:1", &s, path, &e) < 0);
	assert_true(image_parse_docker_manifest(docker, strlen(docker), "d", NULL, &s, path, &e) < 0);
	assert_string_equal(e.text, "d: several images; name one as docker-archive:FILE:NAME:TAG");
	assert_true(image_parse_docker_manifest("[]", 2, "d", NULL, &s, path, &e) < 0);
	image_source_fini(&s);
}

static void test_config(void **state)
{
	_cleanup_strv_ struct strv args = { 0 }, entrypoint = { 0 }, out = { 0 };
	_cleanup_image_ struct oci_image *image = NULL;
	_cleanup_free_ char *text = str_printf("{\"architecture\":\"%s\",\"rootfs\":{\"diff_ids\":[]},\"config\":{"
					       "\"Entrypoint\":null,\"Cmd\":[\"c\"],\"Env\":[]}}",
					       oci_host_architecture());
	struct oci_image *bad = NULL;
	struct err e = { 0 };

	assert_int_equal(oci_image_parse_config(text, strlen(text), "c", &image, &e), 0);
	strv_add(&args, "a");
	strv_add(&entrypoint, "e");
	assert_int_equal(oci_image_command(image, NULL, &args, &out), 0);
	assert_int_equal(out.len, 1);
	assert_string_equal(out.v[0], "a");
	strv_fini(&out);
	/* An entrypoint of one's own drops the image's cmd. */
	assert_int_equal(oci_image_command(image, &entrypoint, NULL, &out), 0);
	assert_int_equal(out.len, 1);
	assert_string_equal(out.v[0], "e");
	assert_true(oci_image_parse_config("{}", 2, "c", &bad, &e) < 0);
	assert_string_equal(e.text, "c: rootfs.diff_ids is missing; this is not the config of an image");
	assert_null(bad);
	assert_true(oci_image_is_reference("oci:x"));
	assert_true(oci_image_is_reference("docker-archive:x"));
	assert_false(oci_image_is_reference("./oci:x"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_digest),
		cmocka_unit_test(test_select),
		cmocka_unit_test(test_manifests),
		cmocka_unit_test(test_config),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
