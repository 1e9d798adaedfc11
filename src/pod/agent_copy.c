/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files copied into the guest, for hypervisors and configurations without a shared file system.
 *
 * The agent takes a file in pieces by offset and puts it in place when file_size bytes have come; a directory or a link
 * is one request (S_IFDIR; S_IFLNK with the target as data). Trees are walked with openat() and without following
 * links, so that a tree that changes under us cannot lead elsewhere.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/agent.h"

#define CHUNK    (1u << 20) /* as Kata's runtime sends them */
#define DIR_MODE 0755       /* of parents that the agent has to make */

struct copy {
	struct agent *agent;
	const char *root; /* host path that was asked for */
	unsigned entries;
	uint64_t bytes;
};

static void request_init(Grpc__CopyFileRequest *q, const struct stat *st, const char *guest_path)
{
	grpc__copy_file_request__init(q);
	q->path = (char *)guest_path;
	q->file_mode = st->st_mode;
	q->dir_mode = DIR_MODE;
	q->uid = (int32_t)st->st_uid;
	q->gid = (int32_t)st->st_gid;
}

static int copy_count(struct copy *c, uint64_t bytes, struct err *e)
{
	c->entries++;
	c->bytes += bytes;
	if (c->entries > AGENT_COPY_ENTRIES || c->bytes > AGENT_COPY_BYTES)
		return err_set(e, ERR_LIMIT, EFBIG,
			       "cannot copy %s to the guest: it holds more than %u files or %u MiB; use a shared file "
			       "system or "
			       "a block image",
			       c->root, AGENT_COPY_ENTRIES, (unsigned)(AGENT_COPY_BYTES >> 20));
	return 0;
}

static int copy_content(struct copy *c, int fd, Grpc__CopyFileRequest *q, uint64_t size, struct err *e)
{
	_cleanup_free_ uint8_t *data = malloc(size < CHUNK ? size + 1 : CHUNK);
	uint64_t offset = 0;

	if (!data)
		return err_sys(e, ENOMEM, "cannot copy %s to the guest", c->root);
	q->file_size = (int64_t)size;
	q->data.data = data;
	/* An empty file is one request as well. */
	do {
		size_t n = size - offset < CHUNK ? (size_t)(size - offset) : CHUNK;
		int r = fd_read_full(fd, data, n);

		if (r == -ENODATA)
			return err_set(e, ERR_SYSTEM, EBUSY, "cannot copy to %s: the file shrank meanwhile", q->path);
		if (r < 0)
			return err_sys(e, -r, "cannot read what goes to %s", q->path);
		q->offset = (int64_t)offset;
		q->data.len = n;
		r = agent_copy_file(c->agent, q, e);
		if (r < 0)
			return r;
		offset += n;
	} while (offset < size);
	return 0;
}

static int copy_regular(struct copy *c, int dir_fd, const char *name, const char *guest_path, struct err *e)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	Grpc__CopyFileRequest q;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return err_sys(e, errno, "cannot copy %s to the guest: %s", c->root, name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_SYSTEM, EBUSY, "cannot copy %s to the guest: %s changed meanwhile", c->root,
			       name);
	r = copy_count(c, (uint64_t)st.st_size, e);
	if (r < 0)
		return r;
	request_init(&q, &st, guest_path);
	return copy_content(c, fd, &q, (uint64_t)st.st_size, e);
}

static int copy_link(struct copy *c, int dir_fd, const char *name, const struct stat *st, const char *guest_path,
		     struct err *e)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(dir_fd, name, target, sizeof target);
	Grpc__CopyFileRequest q;
	int r;

	if (n < 0 || n == (ssize_t)sizeof target)
		return err_sys(e, n < 0 ? errno : ENAMETOOLONG, "cannot copy %s to the guest: %s", c->root, name);
	r = copy_count(c, 0, e);
	if (r < 0)
		return r;
	request_init(&q, st, guest_path);
	q.file_size = n;
	q.data.data = (uint8_t *)target;
	q.data.len = (size_t)n;
	return agent_copy_file(c->agent, &q, e);
}

static int copy_dir(struct copy *c, int fd, const char *guest_path, unsigned depth, struct err *e);

static int copy_entry(struct copy *c, int dir_fd, const char *name, const char *guest_path, unsigned depth,
		      struct err *e)
{
	struct stat st;
	int fd;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(e, errno, "cannot copy %s to the guest: %s", c->root, name);
	if (S_ISREG(st.st_mode))
		return copy_regular(c, dir_fd, name, guest_path, e);
	if (S_ISLNK(st.st_mode))
		return copy_link(c, dir_fd, name, &st, guest_path, e);
	if (!S_ISDIR(st.st_mode)) {
		log_warn("%s: not copied to the guest: %s is a socket, a pipe or a device", c->root, name);
		return 0;
	}
	fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return err_sys(e, errno, "cannot copy %s to the guest: %s", c->root, name);
	return copy_dir(c, fd, guest_path, depth, e);
}

/* Takes fd over. */
static int copy_dir(struct copy *c, int fd, const char *guest_path, unsigned depth, struct err *e)
{
	_cleanup_closedir_ DIR *dir = fdopendir(fd);
	Grpc__CopyFileRequest q;
	struct dirent *d;
	struct stat st;
	int r;

	if (!dir)
		close(fd);
	if (!dir || fstat(dirfd(dir), &st) < 0)
		return err_sys(e, errno, "cannot copy %s to the guest", c->root);
	if (depth >= AGENT_COPY_DEPTH)
		return err_set(e, ERR_LIMIT, EFBIG, "cannot copy %s to the guest: it is more than %u levels deep",
			       c->root, AGENT_COPY_DEPTH);
	r = copy_count(c, 0, e);
	if (r < 0)
		return r;
	request_init(&q, &st, guest_path);
	r = agent_copy_file(c->agent, &q, e);
	while (r == 0 && (errno = 0, d = readdir(dir))) {
		_cleanup_free_ char *path = NULL;

		if (str_eq(d->d_name, ".") || str_eq(d->d_name, ".."))
			continue;
		path = str_printf("%s/%s", guest_path, d->d_name);
		r = path ? copy_entry(c, dirfd(dir), d->d_name, path, depth + 1, e)
			 : err_sys(e, ENOMEM, "cannot copy %s to the guest", c->root);
	}
	if (r == 0 && errno)
		return err_sys(e, errno, "cannot copy %s to the guest", c->root);
	return r;
}

int agent_copy_path(struct agent *a, const char *host_path, const char *guest_path, struct err *e)
{
	struct copy c = { .agent = a, .root = host_path };
	_cleanup_free_ char *real = realpath(host_path, NULL);
	struct stat st;

	if (!real || lstat(real, &st) < 0)
		return err_sys(e, errno, "cannot copy %s to the guest", host_path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"cannot copy %s to the guest: it is neither a file nor a directory; use a shared file system",
			host_path);
	return copy_entry(&c, AT_FDCWD, real, guest_path, 0, e);
}

int agent_copy_data(struct agent *a, const void *data, size_t n, const char *guest_path, mode_t mode, struct err *e)
{
	struct stat st = { .st_mode = S_IFREG | (mode & 07777) };
	Grpc__CopyFileRequest q;
	size_t offset = 0;

	request_init(&q, &st, guest_path);
	q.file_size = (int64_t)n;
	do {
		int r;

		q.offset = (int64_t)offset;
		q.data.data = n ? (uint8_t *)data + offset : NULL;
		q.data.len = n - offset < CHUNK ? n - offset : CHUNK;
		r = agent_copy_file(a, &q, e);
		if (r < 0)
			return r;
		offset += q.data.len;
	} while (offset < n);
	return 0;
}
