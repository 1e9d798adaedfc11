/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The outer tar of a docker archive. Its members are layers and JSON files, which the runtime then opens one by one;
 * so they are only copied, small ones first when the runtime just wants to know which image it is.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "base/strv.h"
#include "unpack/layer.h"
#include "unpack/stream.h"

struct members {
	const struct layer_params *params;
	struct archive *in, *disk;
	uint64_t entries, bytes, max_file;
	struct err *err;
};

static int input_failed(struct members *m)
{
	const char *text = archive_error_string(m->in);

	return err_set(m->err, ERR_CONFIG, EINVAL, "broken archive: %s", text ? text : "no reason known");
}

static int disk_failed(struct members *m, const char *path)
{
	int code = archive_errno(m->disk);

	return err_sys(m->err, code > 0 ? code : EIO, "cannot write \"%.300s\"", path);
}

static int copy_data(struct members *m, const char *path)
{
	for (;;) {
		const void *data;
		la_int64_t offset;
		size_t n;
		int r = archive_read_data_block(m->in, &data, &n, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return input_failed(m);
		m->bytes += n;
		if (m->bytes > m->params->max_bytes)
			return err_set(m->err, ERR_LIMIT, EFBIG, "unpacks to more than %llu bytes",
				       (unsigned long long)m->params->max_bytes);
		if (archive_write_data_block(m->disk, data, n, offset) < ARCHIVE_OK)
			return disk_failed(m, path);
	}
}

static int copy_member(struct members *m, struct archive_entry *entry)
{
	char path[PATH_MAX], target[PATH_MAX];
	const char *name = archive_entry_pathname(entry), *link = archive_entry_hardlink(entry);
	mode_t type = link ? S_IFREG : archive_entry_filetype(entry);
	int r = name ? layer_clean_path(name, path) : -EINVAL;

	if (r == 0 && link)
		r = layer_clean_path(link, target);
	if (r < 0)
		return err_set(m->err, ERR_CONFIG, EINVAL, "member \"%.300s\" leads out of the archive",
			       name ? name : "?");
	if (str_eq(path, ".") || (type != S_IFREG && type != S_IFDIR && type != S_IFLNK))
		return 0;
	if (type == S_IFREG && (archive_entry_size(entry) < 0 || (uint64_t)archive_entry_size(entry) > m->max_file))
		return 0;
	archive_entry_set_pathname(entry, path);
	if (link)
		archive_entry_set_hardlink(entry, target);
	else
		archive_entry_set_perm(entry, type == S_IFDIR ? 0700 : 0600);
	/* A hard link or a link to a member that was left out is of no use, but no failure either. */
	if (archive_write_header(m->disk, entry) < ARCHIVE_WARN)
		return link && archive_errno(m->disk) == ENOENT ? 0 : disk_failed(m, path);
	r = archive_entry_size(entry) > 0 && !link ? copy_data(m, path) : 0;
	if (r == 0 && archive_write_finish_entry(m->disk) < ARCHIVE_WARN)
		r = disk_failed(m, path);
	return r;
}

static int copy_all(struct members *m)
{
	struct archive_entry *entry;
	int r;

	archive_read_support_filter_gzip(m->in);
	archive_read_support_filter_zstd(m->in);
	archive_read_support_format_tar(m->in);
	if (stream_open_source(m->in, m->params) < ARCHIVE_WARN)
		return input_failed(m);
	for (;;) {
		r = archive_read_next_header(m->in, &entry);
		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN)
			return input_failed(m);
		if (++m->entries > m->params->max_entries)
			return err_set(m->err, ERR_LIMIT, EFBIG, "more than %llu members",
				       (unsigned long long)m->params->max_entries);
		r = copy_member(m, entry);
		if (r < 0)
			return r;
	}
}

int layer_copy_members(const struct layer_params *p, uint64_t max_file, struct err *e)
{
	struct members m = { .params = p, .max_file = max_file, .err = e };
	int r;

	m.in = archive_read_new();
	m.disk = archive_write_disk_new();
	if (m.in && m.disk) {
		archive_write_disk_set_options(m.disk, ARCHIVE_EXTRACT_UNLINK);
		r = copy_all(&m);
	} else {
		r = err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
	}
	archive_write_free(m.disk);
	archive_read_free(m.in);
	return r;
}
