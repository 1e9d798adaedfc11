/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From a reference to a root file system: read the documents (image_source.c), look the config's digest up in the
 * store, and if it is not there, unpack layer by layer into a temporary directory that is renamed at the end. The name
 * is the digest of the config, and the config holds the digests of all layers' contents, which caisson-unpack checks:
 * so a directory of that name has the right content, whatever archive it came from.
 */
#include "oci/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "oci/digest.h"
#include "oci/document.h"
#include "oci/image_source.h"
#include "oci/image_store.h"
#include "oci/unpacker.h"
#include "sys/inroot.h"

#define BYTES_MAX   (64ull << 30)
#define ENTRIES_MAX 2000000

struct request {
	char *path, *tag; /* tag NULL: none */
	bool archive;
};

static void request_fini(struct request *q)
{
	free(q->path);
	free(q->tag);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
}

/* ---- references ---- */

static const char *reference_path(const char *s, bool *ret_archive)
{
	const char *rest = str_after(s, "docker-archive:");

	*ret_archive = rest;
	return rest ? rest : str_after(s, "oci:");
}

bool oci_image_is_reference(const char *s)
{
	bool archive;

	return reference_path(s, &archive);
}

/* Both paths and tags may hold colons: the path is the longest part in front of a colon that exists. */
static int parse_reference(const char *s, struct request *q, struct err *e)
{
	const char *rest = reference_path(s, &q->archive);

	if (str_empty(rest))
		return err_set(e, ERR_CONFIG, EINVAL,
			       "image \"%.200s\": expected oci:DIR[:TAG] or docker-archive:FILE[:TAG]", s);
	for (size_t n = strlen(rest);;) {
		_cleanup_free_ char *path = strndup(rest, n);

		if (!path)
			return no_memory(e);
		if (access(path, F_OK) == 0 || errno == EACCES) {
			q->path = take_ptr(path);
			q->tag = rest[n] && rest[n + 1] ? strdup(rest + n + 1) : NULL;
			return 0;
		}
		while (n && rest[--n] != ':')
			;
		if (!n)
			break;
	}
	return err_set(e, ERR_CONFIG, ENOENT, "image \"%.200s\": there is no such %s", s,
		       q->archive ? "file" : "directory");
}

/* ---- the store ---- */

static char *stored_path(const char *store, const char *digest, const char *name)
{
	return str_printf("%s/%s%s%s", store, digest, *name ? "/" : "", name);
}

static bool is_stored(const char *store, const char *digest)
{
	_cleanup_free_ char *path = stored_path(store, digest, "image.json");

	return path && access(path, F_OK) == 0;
}

/* Open a layer and check the digest of the blob, before anything reads its content. */
static int open_layer(const struct image_source *s, size_t i, int *ret, struct err *e)
{
	const struct image_layer *l = &s->layers[i];
	_cleanup_close_ int fd = inroot_open_file(s->root_fd, l->path);
	char is[DIGEST_HEX];
	int r;

	if (fd == -ENOENT)
		return err_set(e, ERR_CONFIG, ENOENT, "the blob %s is missing", l->path);
	if (fd < 0)
		return err_sys(e, -fd, "cannot open the blob %.200s", l->path);
	if (*l->digest) {
		r = digest_of_fd(fd, is);
		if (r < 0)
			return err_sys(e, -r, "cannot read the blob %.200s", l->path);
		if (!str_eq(is, l->digest))
			return err_set(e, ERR_CONFIG, EBADMSG, "the blob sha256:%s is corrupt: its digest is sha256:%s",
				       l->digest, is);
	}
	*ret = take_fd(&fd);
	return 0;
}

static int unpack_layers(const struct unpacker *u, const struct image_source *s, const struct oci_image *image,
			 int rootfs_fd, struct err *e)
{
	int r = 0;

	if (s->n_layers != image->diff_ids.len)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: the manifest has %zu layers, the config %zu", s->name,
			       s->n_layers, image->diff_ids.len);
	for (size_t i = 0; r == 0 && i < s->n_layers; i++) {
		_cleanup_close_ int fd = -1;

		r = open_layer(s, i, &fd, e);
		if (r == 0)
			r = unpacker_layer(u, fd, rootfs_fd, image->diff_ids.v[i], e);
		if (r < 0)
			err_wrap(e, "%s: layer %zu of %zu", s->name, i + 1, s->n_layers);
	}
	return r;
}

static int store_image(const char *store, const struct unpacker *u, const struct image_source *s,
		       const struct oci_image *image, struct err *e)
{
	_cleanup_store_tmp_ struct store_tmp tmp = { 0 };
	_cleanup_free_ char *rootfs = NULL, *config = NULL, *final = stored_path(store, s->config_digest, "");
	_cleanup_close_ int fd = -1;
	int r = store_tmp_make(store, &tmp, e);

	if (r < 0)
		return r;
	rootfs = str_printf("%s/rootfs", tmp.path);
	config = str_printf("%s/image.json", tmp.path);
	if (!rootfs || !config || !final)
		return no_memory(e);
	/* Containers see the mode of their root; the temporary directory around it is closed to others. */
	if (mkdir(rootfs, 0755) < 0 || chmod(rootfs, 0755) < 0)
		return err_sys(e, errno, "cannot make %s", rootfs);
	fd = open(rootfs, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", rootfs);
	r = unpack_layers(u, s, image, fd, e);
	if (r < 0)
		return r;
	r = file_replace(config, s->config, s->config_len, 0600);
	if (r < 0)
		return err_sys(e, -r, "cannot write %s", config);
	if (rename(tmp.path, final) < 0)
		return err_sys(e, errno, "cannot rename %s to %s", tmp.path, final);
	/* It has left: nothing is there to be removed under the old name. */
	return 0;
}

/* One at a time, so that several starts of a new image unpack it once. */
static int store_once(const struct oci_image_options *o, int store_fd, const struct unpacker *u,
		      const struct image_source *s, const struct oci_image *image, struct err *e)
{
	_cleanup_close_ int lock = openat(store_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (lock < 0)
		return err_sys(e, errno, "cannot open %s/lock", o->store);
	while (flock(lock, LOCK_EX) < 0)
		if (errno != EINTR)
			return err_sys(e, errno, "cannot lock %s/lock", o->store);
	return is_stored(o->store, s->config_digest) ? 0 : store_image(o->store, u, s, image, e);
}

int oci_image_clean_store(const char *store, struct err *e)
{
	_cleanup_close_ int fd = -1;

	return access(store, F_OK) < 0 ? 0 : store_open(store, &fd, e);
}

/* ---- sources ---- */

struct opening {
	const struct oci_image_options *o;
	const struct request *request;
	struct unpacker unpacker;
	int store_fd;
	struct store_tmp members; /* of a docker archive */
	struct image_source source;
};

/* Copy the archive's members out, at most max_file bytes each. */
static int open_members(struct opening *p, uint64_t max_file, struct err *e)
{
	_cleanup_close_ int fd = open(p->request->path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct stat st;
	int r;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", p->request->path);
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return err_set(e, ERR_CONFIG, EINVAL, "%s is not a file", p->request->path);
	store_tmp_remove(&p->members);
	r = store_tmp_make(p->o->store, &p->members, e);
	if (r == 0)
		r = unpacker_members(&p->unpacker, fd, p->members.fd, max_file, e);
	if (r < 0)
		err_wrap(e, "%s", p->request->path);
	return r;
}

static int read_source(struct opening *p, struct err *e)
{
	struct image_source *s = &p->source;

	s->name = p->request->path;
	if (p->request->archive) {
		/* The documents are small; that is enough to know whether the image is in the store. */
		int r = open_members(p, DOCUMENT_MAX, e);

		s->root_fd = p->members.fd;
		return r < 0 ? r : image_source_read_archive(s, p->request->tag, e);
	}
	s->root_fd = open(s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root_fd < 0)
		return err_sys(e, errno, "cannot open the image layout %s", s->name);
	return image_source_read_layout(s, p->request->tag, e);
}

static int finish_image(const struct opening *p, struct oci_image *image, struct err *e)
{
	image->digest = strdup(p->source.config_digest);
	image->rootfs = stored_path(p->o->store, p->source.config_digest, "rootfs");
	return image->digest && image->rootfs ? 0 : no_memory(e);
}

static int open_image(struct opening *p, struct oci_image **ret, struct err *e)
{
	_cleanup_image_ struct oci_image *image = NULL;
	struct image_source *s = &p->source;
	int r = store_open(p->o->store, &p->store_fd, e);

	if (r == 0)
		r = read_source(p, e);
	if (r < 0)
		return r;
	r = oci_image_parse_config(s->config, s->config_len, s->name, &image, e);
	if (r == 0 && !is_stored(p->o->store, s->config_digest)) {
		if (p->request->archive) {
			r = open_members(p, UINT64_MAX, e);
			s->root_fd = p->members.fd;
		}
		if (r == 0)
			r = store_once(p->o, p->store_fd, &p->unpacker, s, image, e);
	}
	if (r == 0)
		r = finish_image(p, image, e);
	if (r < 0)
		return r;
	*ret = take_ptr(image);
	return 0;
}

int oci_image_open(const char *reference, const struct oci_image_options *o, struct oci_image **ret, struct err *e)
{
	_cleanup_(request_fini) struct request request = { 0 };
	struct opening p = {
		.o = o,
		.request = &request,
		.unpacker = { o->unpack, o->max_bytes ? o->max_bytes : BYTES_MAX,
			      o->max_entries ? o->max_entries : ENTRIES_MAX },
		.store_fd = -1,
		.members = { .fd = -1 },
		.source = { .root_fd = -1 },
	};
	int r = parse_reference(reference, &request, e);

	if (r == 0)
		r = open_image(&p, ret, e);
	image_source_fini(&p.source);
	if (!request.archive)
		fd_close(&p.source.root_fd);
	store_tmp_remove(&p.members);
	fd_close(&p.store_fd);
	return r;
}
