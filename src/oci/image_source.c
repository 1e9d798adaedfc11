/* SPDX-License-Identifier: Apache-2.0 */
/*
 * OCI image spec 1.1: image-layout.md, image-index.md, manifest.md. All documents are hostile: sizes, depth and counts
 * are bounded, digests are checked for their form before they become file names, files are opened below the root.
 */
#include "oci/image_source.h"

#include <errno.h>
#include <stdio.h>

#include "oci/document.h"
#include "oci/image.h"
#include "sys/inroot.h"

#define INDEX_DEPTH_MAX 4

static int bad(struct err *e, const char *origin, const char *what)
{
	return err_set(e, ERR_CONFIG, EINVAL, "%s: %s", origin, what);
}

/* ---- index ---- */

static bool is_index_type(const char *type)
{
	return str_eq(type, "application/vnd.oci.image.index.v1+json") ||
	       str_eq(type, "application/vnd.docker.distribution.manifest.list.v2+json");
}

/* The form of a tag: annotation of the entry; skopeo and buildah write the bare tag, others the whole name. */
static bool has_tag(struct json_object *entry, const char *tag)
{
	struct json_object *a = document_get(entry, "annotations", json_type_object);

	return str_eq(document_string(a, "org.opencontainers.image.ref.name"), tag) ||
	       str_eq(document_string(a, "io.containerd.image.name"), tag);
}

/* May this entry be the one for us? An entry without platform may. */
static bool fits_platform(struct json_object *entry, struct buf *others)
{
	struct json_object *p = document_get(entry, "platform", json_type_object);
	const char *arch = document_string(p, "architecture"), *os = document_string(p, "os");

	if (!p || str_empty(arch))
		return true;
	if (str_eq(arch, oci_host_architecture()) && (str_empty(os) || str_eq(os, "linux")))
		return true;
	if (!str_eq(arch, "unknown")) /* attestations */
		buf_printf(others, "%s%.40s", others->len ? ", " : "", arch);
	return false;
}

static void list_tags(struct json_object *entries, struct buf *ret)
{
	for (size_t i = 0; i < json_object_array_length(entries) && ret->len < 400; i++) {
		struct json_object *a =
			document_get(json_object_array_get_idx(entries, i), "annotations", json_type_object);
		const char *tag = document_string(a, "org.opencontainers.image.ref.name");

		if (tag)
			buf_printf(ret, "%s%.60s", ret->len ? ", " : "", tag);
	}
}

static int entry_digest(struct json_object *entry, const char *origin, char ret[static DIGEST_HEX], struct err *e)
{
	const char *s = document_string(entry, "digest");
	int r = s ? digest_parse(s, ret) : -EINVAL;

	if (r == -EOPNOTSUPP)
		return err_set(e, ERR_CONFIG, EOPNOTSUPP, "%s: sha512 digests are not supported", origin);
	return r < 0 ? bad(e, origin, "an entry without a valid digest") : 0;
}

/* How many entries fit; *ret: the first. tag NULL: any. */
static size_t find_entries(struct json_object *entries, const char *tag, struct buf *others, struct json_object **ret)
{
	size_t n = 0;

	for (size_t i = 0; i < json_object_array_length(entries); i++) {
		struct json_object *entry = json_object_array_get_idx(entries, i);

		if (!json_object_is_type(entry, json_type_object) || (tag && !has_tag(entry, tag)) ||
		    !fits_platform(entry, others))
			continue;
		if (n++ == 0)
			*ret = entry;
	}
	return n;
}

int image_select(const char *text, size_t len, const char *origin, const char *tag, char ret[static DIGEST_HEX],
		 bool *ret_is_index, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_buf_ struct buf others = { 0 }, tags = { 0 };
	struct json_object *entries, *entry = NULL, *latest;
	size_t n;
	int r = document_parse(text, len, origin, &o, e);

	if (r < 0)
		return r;
	entries = document_get(o, "manifests", json_type_array);
	if (!entries || !json_object_array_length(entries))
		return bad(e, origin, "lists no images");
	n = find_entries(entries, tag, &others, &entry);
	/* Without a tag: the only image, or of several the one that is called latest. */
	if (n > 1 && !tag && find_entries(entries, "latest", &others, &latest)) {
		entry = latest;
		n = 1;
	}
	list_tags(entries, &tags);
	if (n == 0 && others.len)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: the image is for %s, this host runs %s", origin, others.data,
			       oci_host_architecture());
	if (n == 0)
		return err_set(e, ERR_CONFIG, ENOENT, "%s: no image with the tag \"%.100s\"; there are: %s", origin,
			       tag ? tag : "", tags.len ? tags.data : "images without tags");
	if (n > 1 && !tag && tags.len)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: several images; name one of the tags: %s", origin,
			       tags.data);
	*ret_is_index = is_index_type(document_string(entry, "mediaType"));
	return entry_digest(entry, origin, ret, e);
}

/* ---- manifest ---- */

static int check_layer_type(const char *type, const char *origin, struct err *e)
{
	if (!type || !strstr(type, "encrypted"))
		return 0;
	return bad(e, origin, "a layer is encrypted, which is not supported");
}

static int allocate_layers(struct image_source *s, struct json_object *list, const char *origin, struct err *e)
{
	size_t n = json_object_array_length(list);

	if (n > IMAGE_LAYERS_MAX)
		return err_set(e, ERR_LIMIT, EFBIG, "%s: more than %d layers", origin, IMAGE_LAYERS_MAX);
	free(s->layers);
	s->n_layers = 0;
	s->layers = calloc(n ? n : 1, sizeof *s->layers);
	if (!s->layers)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	return 0;
}

int image_parse_manifest(const char *text, size_t len, const char *origin, struct image_source *s,
			 char ret_config[static DIGEST_HEX], struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *config, *layers;
	int r = document_parse(text, len, origin, &o, e);

	if (r < 0)
		return r;
	config = document_get(o, "config", json_type_object);
	layers = document_get(o, "layers", json_type_array);
	if (!config || !layers)
		return bad(e, origin, "config or layers are missing; this is not an image manifest");
	r = entry_digest(config, origin, ret_config, e);
	if (r == 0)
		r = allocate_layers(s, layers, origin, e);
	for (size_t i = 0; r == 0 && i < json_object_array_length(layers); i++) {
		struct json_object *entry = json_object_array_get_idx(layers, i);
		struct image_layer *l = &s->layers[i];

		r = entry_digest(entry, origin, l->digest, e);
		if (r == 0)
			r = check_layer_type(document_string(entry, "mediaType"), origin, e);
		if (r == 0) {
			snprintf(l->path, sizeof l->path, "blobs/sha256/%s", l->digest);
			s->n_layers++;
		}
	}
	return r;
}

/* Read a blob that is a document and check its digest. */
static int read_blob(struct image_source *s, const char *digest, char **ret, size_t *ret_len, struct err *e)
{
	char path[128], is[DIGEST_HEX];
	int r;

	snprintf(path, sizeof path, "blobs/sha256/%s", digest);
	r = inroot_read(s->root_fd, path, DOCUMENT_MAX, ret, ret_len);
	if (r == -ENOENT)
		return err_set(e, ERR_CONFIG, ENOENT, "%s: the blob sha256:%s is missing", s->name, digest);
	if (r < 0)
		return err_sys(e, -r, "%s: cannot read the blob sha256:%s", s->name, digest);
	digest_of(*ret, *ret_len, is);
	if (!str_eq(is, digest))
		return err_set(e, ERR_CONFIG, EBADMSG, "%s: the blob sha256:%s is corrupt: its digest is sha256:%s",
			       s->name, digest, is);
	return 0;
}

int image_source_read_layout(struct image_source *s, const char *tag, struct err *e)
{
	_cleanup_free_ char *origin = str_printf("%s/index.json", s->name), *text = NULL;
	char digest[DIGEST_HEX];
	bool is_index = true;
	size_t len;
	int r;

	if (!origin)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	r = inroot_read(s->root_fd, "index.json", DOCUMENT_MAX, &text, &len);
	if (r < 0) {
		err_sys(e, -r, "cannot read %s", origin);
		err_append(e, "; an OCI image layout has oci-layout, index.json and blobs/");
		return r;
	}
	/* An index may list indexes: one image for several platforms has its own below the layout's. */
	for (int depth = 0; is_index; depth++) {
		if (depth >= INDEX_DEPTH_MAX)
			return bad(e, origin, "indexes are nested too deeply");
		r = image_select(text, len, origin, depth ? NULL : tag, digest, &is_index, e);
		if (r < 0)
			return r;
		free(take_ptr(text));
		r = read_blob(s, digest, &text, &len, e);
		if (r < 0)
			return r;
	}
	r = image_parse_manifest(text, len, s->name, s, s->config_digest, e);
	return r < 0 ? r : read_blob(s, s->config_digest, &s->config, &s->config_len, e);
}

/* ---- docker archive ---- */

static bool has_repo_tag(struct json_object *image, const char *tag)
{
	struct json_object *tags = document_get(image, "RepoTags", json_type_array);

	for (size_t i = 0; tags && i < json_object_array_length(tags); i++) {
		const char *s = document_item(tags, i);
		size_t n = s ? strlen(s) : 0, m = strlen(tag);

		/* "name:tag" in full or its last part */
		if (s && (str_eq(s, tag) || (n > m && str_endswith(s, tag) && strchr(":/", s[n - m - 1]))))
			return true;
	}
	return false;
}

static int copy_member_name(const char *s, char *ret, size_t size, const char *origin, struct err *e)
{
	if (str_empty(s) || strlen(s) >= size)
		return bad(e, origin, "an image's Config or Layers are not file names");
	snprintf(ret, size, "%s", s);
	return 0;
}

int image_parse_docker_manifest(const char *text, size_t len, const char *origin, const char *tag,
				struct image_source *s, char *ret_config, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	struct json_object *image = NULL, *layers;
	size_t n, fits = 0;
	int r = document_parse(text, len, origin, &o, e);

	if (r < 0)
		return r;
	n = json_object_is_type(o, json_type_array) ? json_object_array_length(o) : 0;
	for (size_t i = 0; i < n; i++) {
		struct json_object *this = json_object_array_get_idx(o, i);

		if ((!tag || has_repo_tag(this, tag)) && fits++ == 0)
			image = this;
	}
	if (!image)
		return tag && n ? err_set(e, ERR_CONFIG, ENOENT, "%s: no image with the tag \"%.100s\"", origin, tag)
				: bad(e, origin, "lists no images");
	if (fits > 1 && !tag)
		return bad(e, origin, "several images; name one as docker-archive:FILE:NAME:TAG");
	r = copy_member_name(document_string(image, "Config"), ret_config, 512, origin, e);
	layers = document_get(image, "Layers", json_type_array);
	if (r == 0)
		r = layers ? allocate_layers(s, layers, origin, e) : bad(e, origin, "Layers are missing");
	for (size_t i = 0; r == 0 && i < json_object_array_length(layers); i++) {
		r = copy_member_name(document_item(layers, i), s->layers[i].path, sizeof s->layers[i].path, origin, e);
		if (r == 0)
			s->n_layers++;
	}
	return r;
}

int image_source_read_archive(struct image_source *s, const char *tag, struct err *e)
{
	_cleanup_free_ char *text = NULL, *origin = str_printf("%s: manifest.json", s->name);
	char config[512];
	const char *base;
	size_t len;
	int r = origin ? inroot_read(s->root_fd, "manifest.json", DOCUMENT_MAX, &text, &len) : -ENOMEM;

	if (r == -ENOENT && (r = inroot_open_file(s->root_fd, "index.json")) >= 0) {
		close(r);
		return image_source_read_layout(s, tag, e);
	}
	if (r < 0)
		return err_set(e, ERR_CONFIG, -r, "%s: no manifest.json inside; this is not a docker archive", s->name);
	r = image_parse_docker_manifest(text, len, origin, tag, s, config, e);
	if (r < 0)
		return r;
	r = inroot_read(s->root_fd, config, DOCUMENT_MAX, &s->config, &s->config_len);
	if (r < 0)
		return err_sys(e, -r, "%s: cannot read the member %.200s", s->name, config);
	/* The archive's members have no other digests: the config is named by its own, and it names the layers'
	 * content. */
	digest_of(s->config, s->config_len, s->config_digest);
	base = strrchr(config, '/');
	base = base ? base + 1 : config;
	if (strspn(base, "0123456789abcdef") == DIGEST_HEX - 1 && !str_after(base, s->config_digest))
		return err_set(e, ERR_CONFIG, EBADMSG, "%s: the member %.200s is corrupt: its digest is sha256:%s",
			       s->name, config, s->config_digest);
	return 0;
}

void image_source_fini(struct image_source *s)
{
	free(s->config);
	free(s->layers);
	s->config = NULL;
	s->layers = NULL;
	s->n_layers = 0;
}
