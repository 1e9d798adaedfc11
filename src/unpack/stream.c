/* SPDX-License-Identifier: Apache-2.0 */
#include "unpack/stream.h"

#include <archive_entry.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

int stream_open_source(struct archive *a, const struct layer_params *p)
{
	return p->data ? archive_read_open_memory(a, p->data, p->size) : archive_read_open_fd(a, p->fd, 65536);
}

/* The next decompressed bytes. Returns their number, 0 at the end, or -1 with the error set. */
static la_ssize_t next(struct stream *s, const void **ret, struct err *e)
{
	la_int64_t offset;
	size_t n = 0;
	int r;

	if (s->at_end)
		return 0;
	do
		r = archive_read_data_block(s->raw, ret, &n, &offset);
	while (r == ARCHIVE_OK && n == 0);
	if (r == ARCHIVE_EOF) {
		s->at_end = true;
		return 0;
	}
	if (r < ARCHIVE_WARN) {
		const char *text = archive_error_string(s->raw);

		err_set(e, ERR_CONFIG, EINVAL, "cannot decompress: %s", text ? text : "broken data");
		return -1;
	}
	if (__builtin_add_overflow(s->bytes, n, &s->bytes) || s->bytes > s->params->max_bytes) {
		err_set(e, ERR_LIMIT, EFBIG, "unpacks to more than %llu bytes",
			(unsigned long long)s->params->max_bytes);
		return -1;
	}
	sha256_update(&s->hash, n, *ret);
	return (la_ssize_t)n;
}

static la_ssize_t on_read(struct archive *a, void *arg, const void **ret)
{
	struct stream *s = arg;
	la_ssize_t n = next(s, ret, s->err);

	if (n < 0)
		archive_set_error(a, EIO, "%s", s->err ? s->err->text : "cannot read");
	return n;
}

int stream_open(struct stream *s, const struct layer_params *p, struct err *e)
{
	struct archive_entry *entry;
	const char *text;
	int r;

	*s = (struct stream){ .params = p, .err = e };
	sha256_init(&s->hash);
	s->raw = archive_read_new();
	s->tar = archive_read_new();
	if (!s->raw || !s->tar)
		return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	archive_read_support_filter_gzip(s->raw);
	archive_read_support_filter_zstd(s->raw);
	archive_read_support_format_raw(s->raw);
	archive_read_support_format_empty(s->raw);
	r = stream_open_source(s->raw, p);
	if (r >= ARCHIVE_WARN)
		r = archive_read_next_header(s->raw, &entry);
	if (r < ARCHIVE_WARN) {
		text = archive_error_string(s->raw);
		return err_set(e, ERR_CONFIG, EINVAL, "cannot decompress: %s", text ? text : "broken data");
	}
	s->at_end = r == ARCHIVE_EOF;
	archive_read_support_format_tar(s->tar);
	archive_read_support_format_empty(s->tar);
	if (archive_read_open(s->tar, s, NULL, on_read, NULL) < ARCHIVE_WARN) {
		if (err_is_set(e))
			return -e->code;
		text = archive_error_string(s->tar);
		return err_set(e, ERR_CONFIG, EINVAL, "not a tar archive: %s", text ? text : "broken data");
	}
	return 0;
}

static void to_hex(const uint8_t *digest, char *ret)
{
	for (size_t i = 0; i < LAYER_DIGEST_SIZE; i++)
		snprintf(ret + 2 * i, 3, "%02x", digest[i]);
}

int stream_finish(struct stream *s, struct err *e)
{
	uint8_t digest[LAYER_DIGEST_SIZE];
	char is[2 * LAYER_DIGEST_SIZE + 1], wanted[2 * LAYER_DIGEST_SIZE + 1];
	const void *data;
	la_ssize_t n;

	do
		n = next(s, &data, e);
	while (n > 0);
	if (n < 0)
		return e ? -e->code : -EINVAL;
	sha256_digest(&s->hash, sizeof digest, digest);
	if (!s->params->diff_id || !memcmp(digest, s->params->diff_id, sizeof digest))
		return 0;
	to_hex(digest, is);
	to_hex(s->params->diff_id, wanted);
	return err_set(e, ERR_CONFIG, EBADMSG,
		       "its content has the digest sha256:%s, but the image's config says sha256:%s", is, wanted);
}

void stream_close(struct stream *s)
{
	if (s->tar)
		archive_read_free(s->tar);
	if (s->raw)
		archive_read_free(s->raw);
}
