/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Theory of operation. Entries are taken in the order of the archive. For each one its name is cleaned, then
 *  - a whiteout (".wh.NAME") removes what earlier layers left under that name, ".wh..wh..opq" all they left in the
 *    directory; what this layer itself has made so far stays (layer.md "Whiteouts");
 *  - anything else first removes what is in its place, unless both are directories, and is then written by libarchive's
 *    disk writer, which sets modes, owners, times and attributes in the right order and directories' times last.
 *
 * The archive can name anything, lie about sizes, nest deeply, repeat itself. Limits: length of the stream, number of
 * entries, PATH_MAX for a name. Only user.*, security.capability and POSIX ACL attributes are set: others would speak
 * to the host's overlayfs or security module.
 */
#include "unpack/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/strv.h"
#include "unpack/seen.h"
#include "unpack/stream.h"

#define WHITEOUT     ".wh."
#define OPAQUE       ".wh..wh..opq"
#define XATTRS_MAX   64
#define WHITEOUT_AUX ".wh..wh." /* aufs bookkeeping that docker skips too */

struct layer {
	const struct layer_params *params;
	struct stream stream;
	struct archive *disk;
	struct seen seen;
	struct seen hidden; /* directories out of which earlier layers are gone */
	uint64_t entries;
	struct err *err;
};

int layer_clean_path(const char *name, char *ret)
{
	size_t len = 0;

	for (const char *p = name; *p;) {
		size_t n = strcspn(p, "/");

		if (n == 2 && p[0] == '.' && p[1] == '.') {
			if (!len)
				return -EINVAL;
			while (len && ret[--len] != '/')
				;
		} else if (n && !(n == 1 && p[0] == '.')) {
			if (len + n + 2 > PATH_MAX)
				return -ENAMETOOLONG;
			if (len)
				ret[len++] = '/';
			memcpy(ret + len, p, n);
			len += n;
		}
		p += n;
		p += strspn(p, "/");
	}
	if (!len)
		ret[len++] = '.';
	ret[len] = '\0';
	return 0;
}

static int clean(const struct layer *l, const char *what, const char *name, char *ret)
{
	int r = name ? layer_clean_path(name, ret) : -EINVAL;

	if (!name)
		return err_set(l->err, ERR_CONFIG, EINVAL, "an entry has no readable %s", what);
	if (r == -EINVAL)
		return err_set(l->err, ERR_CONFIG, EINVAL, "%s \"%.300s\" leads out of the image", what, name);
	return r < 0 ? err_sys(l->err, -r, "%s \"%.100s…\"", what, name) : 0;
}

static int remove_any(const char *path)
{
	if (unlink(path) == 0 || errno == ENOENT || errno == ENOTDIR)
		return 0;
	return errno == EISDIR ? dir_remove(path) : -errno;
}

/* ---- whiteouts ---- */

static int hide(struct layer *l, const char *path);

/* Read at once, because the directory changes afterwards. No directory: no children. */
static int list_children(struct layer *l, const char *path, struct strv *names)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r = 0;
	_cleanup_closedir_ DIR *dir = fd >= 0 ? fdopendir(fd) : NULL;
	const struct dirent *d;

	if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
		return 0;
	if (!dir) {
		r = errno;
		fd_close(&fd);
		return err_sys(l->err, r, "cannot open \"%.300s\"", path);
	}
	while (r == 0 && (d = readdir(dir)))
		if (!str_eq(d->d_name, ".") && !str_eq(d->d_name, ".."))
			r = str_eq(path, ".") ? strv_add(names, d->d_name) : strv_addf(names, "%s/%s", path, d->d_name);
	return r < 0 ? err_set(l->err, ERR_SYSTEM, ENOMEM, "out of memory") : 0;
}

/*
 * Remove the children that earlier layers left in a directory. Once is enough: what comes later is this layer's own;
 * so an archive of nothing but whiteouts cannot have large directories read again and again.
 */
static int hide_children(struct layer *l, const char *path)
{
	_cleanup_strv_ struct strv names = { 0 };
	int r = seen_add_alone(&l->hidden, path);

	if (r == 0)
		return 0;
	if (r < 0)
		return err_set(l->err, ERR_SYSTEM, ENOMEM, "out of memory");
	r = list_children(l, path, &names);
	for (size_t i = 0; r == 0 && i < names.len; i++)
		r = hide(l, names.v[i]);
	return r;
}

static int hide(struct layer *l, const char *path)
{
	int r;

	if (seen_has(&l->seen, path))
		return hide_children(l, path);
	r = remove_any(path);
	return r < 0 ? err_sys(l->err, -r, "cannot remove \"%.300s\"", path) : 0;
}

/* path: cleaned; base: its last part, which begins with the whiteout mark. */
static int apply_whiteout(struct layer *l, char *path, char *base)
{
	const char *name = base + strlen(WHITEOUT);

	if (str_eq(base, OPAQUE)) {
		if (base == path)
			return hide_children(l, ".");
		base[-1] = '\0';
		return hide_children(l, path);
	}
	if (str_after(base, WHITEOUT_AUX))
		return 0;
	if (!*name || str_eq(name, ".") || str_eq(name, ".."))
		return err_set(l->err, ERR_CONFIG, EINVAL, "\"%.300s\" is a whiteout of nothing", path);
	memmove(base, name, strlen(name) + 1);
	return hide(l, path);
}

/* ---- entries ---- */

/* Keep the attributes that belong to the image. */
static int filter_xattrs(struct layer *l, struct archive_entry *entry)
{
	const char *name;
	const void *value;
	size_t size, n = 0;
	struct archive_entry *copy;

	if (!archive_entry_xattr_reset(entry))
		return 0;
	/* The values belong to the entry: they are read from a copy while the entry gets a new list. */
	copy = archive_entry_clone(entry);
	if (!copy)
		return err_set(l->err, ERR_SYSTEM, ENOMEM, "out of memory");
	archive_entry_xattr_reset(copy);
	archive_entry_xattr_clear(entry);
	while (n < XATTRS_MAX && archive_entry_xattr_next(copy, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || (!str_after(name, "user.") && !str_eq(name, "security.capability") &&
			      !str_after(name, "system.posix_acl_")))
			continue;
		archive_entry_xattr_add_entry(entry, name, value, size);
		n++;
	}
	archive_entry_free(copy);
	return 0;
}

/* Is the failure that libarchive reports one of the medium, which must not be passed over? */
static int disk_result(struct layer *l, int r, const char *path)
{
	int code = archive_errno(l->disk);
	const char *text = archive_error_string(l->disk);

	if (r >= ARCHIVE_OK)
		return 0;
	if (r == ARCHIVE_WARN && (code == EOPNOTSUPP || !l->params->owners) && code != ENOSPC && code != EDQUOT) {
		fprintf(stderr, "warning: \"%.300s\": %s\n", path, text ? text : "not complete");
		return 0;
	}
	if (code == ENOSPC || code == EDQUOT)
		return err_sys(l->err, code, "cannot write \"%.300s\"", path);
	return err_set(l->err, ERR_SYSTEM, code > 0 ? code : EIO, "cannot write \"%.300s\": %s", path,
		       text ? text : "unknown failure");
}

static int copy_data(struct layer *l, const char *path)
{
	for (;;) {
		const void *data;
		la_int64_t offset;
		size_t n;
		int r = archive_read_data_block(l->stream.tar, &data, &n, &offset);

		if (r == ARCHIVE_EOF)
			return 0;
		if (r < ARCHIVE_WARN) {
			if (err_is_set(l->err))
				return -l->err->code;
			return err_set(l->err, ERR_CONFIG, EINVAL, "\"%.300s\": %s", path,
				       archive_error_string(l->stream.tar));
		}
		r = (int)archive_write_data_block(l->disk, data, n, offset);
		if (r < ARCHIVE_OK)
			return disk_result(l, ARCHIVE_FATAL, path);
	}
}

/* Make room: what is there goes, unless the entry is a directory that joins one. */
static int clear_place(struct layer *l, const char *path, mode_t type)
{
	struct stat st;
	int r;

	if (str_eq(path, "."))
		return type == S_IFDIR ? 0 : err_set(l->err, ERR_CONFIG, EINVAL, "the root is not a directory");
	if (lstat(path, &st) < 0 || (S_ISDIR(st.st_mode) && type == S_IFDIR))
		return 0;
	r = remove_any(path);
	return r < 0 ? err_sys(l->err, -r, "cannot replace \"%.300s\"", path) : 0;
}

static int check_entry(struct layer *l, struct archive_entry *entry, const char *path)
{
	la_int64_t uid = archive_entry_uid(entry), gid = archive_entry_gid(entry);

	if (uid < 0 || uid >= UINT32_MAX || gid < 0 || gid >= UINT32_MAX)
		return err_set(l->err, ERR_CONFIG, EINVAL, "\"%.300s\" belongs to user %lld, group %lld", path,
			       (long long)uid, (long long)gid);
	return 0;
}

/* 1: to be left out. */
static int skip_entry(const struct layer *l, struct archive_entry *entry, const char *path, const char *target)
{
	mode_t type = archive_entry_filetype(entry);

	if (target)
		return str_eq(target, path); /* a hard link to itself */
	if (type == S_IFSOCK)
		return 1;
	if ((type == S_IFCHR || type == S_IFBLK) && !l->params->owners) {
		fprintf(stderr, "warning: \"%.300s\": device nodes need root\n", path);
		return 1;
	}
	return 0;
}

static int write_entry(struct layer *l, struct archive_entry *entry, const char *path)
{
	char target[PATH_MAX];
	const char *link = archive_entry_hardlink(entry);
	int r = check_entry(l, entry, path);

	if (r == 0 && link)
		r = clean(l, "hard link target", link, target);
	if (r < 0)
		return r;
	if (skip_entry(l, entry, path, link ? target : NULL))
		return 0;
	r = clear_place(l, path, link ? 0 : archive_entry_filetype(entry));
	if (r < 0)
		return r;
	archive_entry_set_pathname(entry, path);
	if (link)
		archive_entry_set_hardlink(entry, target);
	archive_entry_set_fflags(entry, 0, 0);
	r = filter_xattrs(l, entry);
	if (r < 0)
		return r;
	r = disk_result(l, archive_write_header(l->disk, entry), path);
	if (r == 0 && archive_entry_size(entry) > 0)
		r = copy_data(l, path);
	if (r == 0)
		r = disk_result(l, archive_write_finish_entry(l->disk), path);
	if (r == 0 && seen_add(&l->seen, path) < 0)
		r = err_set(l->err, ERR_SYSTEM, ENOMEM, "out of memory");
	return r;
}

static int apply_entry(struct layer *l, struct archive_entry *entry)
{
	char path[PATH_MAX], *base;
	int r;

	if (++l->entries > l->params->max_entries)
		return err_set(l->err, ERR_LIMIT, EFBIG, "more than %llu entries",
			       (unsigned long long)l->params->max_entries);
	r = clean(l, "entry", archive_entry_pathname(entry), path);
	if (r < 0)
		return r;
	base = strrchr(path, '/');
	base = base ? base + 1 : path;
	if (str_after(base, WHITEOUT))
		return apply_whiteout(l, path, base);
	return write_entry(l, entry, path);
}

static int next_entry(struct layer *l, struct archive_entry **ret)
{
	int r = archive_read_next_header(l->stream.tar, ret);
	const char *text;

	if (r == ARCHIVE_EOF)
		return 0;
	if (r >= ARCHIVE_WARN)
		return 1;
	if (err_is_set(l->err))
		return -l->err->code;
	text = archive_error_string(l->stream.tar);
	return err_set(l->err, ERR_CONFIG, EINVAL, "broken tar archive: %s", text ? text : "no reason known");
}

int layer_apply(const struct layer_params *p, struct err *e)
{
	/* Not UNLINK: it takes a link to a folder away when the target of a hard link is named through it. */
	int flags = ARCHIVE_EXTRACT_PERM | ARCHIVE_EXTRACT_TIME | ARCHIVE_EXTRACT_XATTR;
	struct err own = { 0 };
	struct layer l = { .params = p, .err = e ? e : &own };
	struct archive_entry *entry;
	int r;

	if (p->owners)
		flags |= ARCHIVE_EXTRACT_OWNER;
	l.disk = archive_write_disk_new();
	if (!l.disk)
		return err_set(l.err, ERR_SYSTEM, ENOMEM, "out of memory");
	archive_write_disk_set_options(l.disk, flags);
	r = stream_open(&l.stream, p, l.err);
	while (r == 0) {
		r = next_entry(&l, &entry);
		if (r <= 0)
			break;
		r = apply_entry(&l, entry);
	}
	/* Closing sets the modes and times of directories. */
	if (r == 0)
		r = disk_result(&l, archive_write_close(l.disk), ".");
	if (r == 0)
		r = stream_finish(&l.stream, l.err);
	archive_write_free(l.disk);
	stream_close(&l.stream);
	seen_fini(&l.seen);
	seen_fini(&l.hidden);
	return r;
}
