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

/* A directory of which entries are still to come. */
struct level {
	DIR *dir;
	char *guest_path;
};

/* A walk: copy_begin() and copy_next() make one request after the other. */
struct agent_copy {
	struct agent *agent;
	char *root; /* host path that was asked for */
	unsigned entries;
	uint64_t bytes;
	struct level levels[AGENT_COPY_DEPTH];
	unsigned depth;
	/* The request that is to be sent, and what it consists of. */
	Grpc__CopyFileRequest q;
	char *path;
	uint8_t *data;
	int fd; /* of a file that is read piece by piece; -1: none */
	uint64_t offset;
	/* Asynchronous: */
	struct agent_call *call;
	agent_done_fn fn;
	void *userdata;
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

static int cannot(const struct agent_copy *c, int code, struct err *e)
{
	return err_sys(e, code, "cannot copy %s to the guest", c->root);
}

static int cannot_entry(const struct agent_copy *c, int code, const char *name, struct err *e)
{
	return err_sys(e, code, "cannot copy %s to the guest: %s", c->root, name);
}

static int copy_count(struct agent_copy *c, uint64_t bytes, struct err *e)
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

/* Each of these returns 1 when c->q is to be sent, 0 when there is nothing to send, or a negative errno. */

static int next_piece(struct agent_copy *c, struct err *e)
{
	uint64_t left = (uint64_t)c->q.file_size - c->offset;
	size_t n = left < CHUNK ? (size_t)left : CHUNK;
	int r = fd_read_full(c->fd, c->data, n);

	if (r == -ENODATA)
		return err_set(e, ERR_SYSTEM, EBUSY, "cannot copy to %s: the file shrank meanwhile", c->path);
	if (r < 0)
		return err_sys(e, -r, "cannot read what goes to %s", c->path);
	c->q.offset = (int64_t)c->offset;
	c->q.data.data = c->data;
	c->q.data.len = n;
	c->offset += n;
	return 1;
}

/* An empty file is one request as well. */
static int begin_regular(struct agent_copy *c, int dir_fd, const char *name, struct err *e)
{
	struct stat st;
	int r;

	c->fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	if (c->fd < 0 || fstat(c->fd, &st) < 0)
		return cannot_entry(c, errno, name, e);
	if (!S_ISREG(st.st_mode))
		return err_set(e, ERR_SYSTEM, EBUSY, "cannot copy %s to the guest: %s changed meanwhile", c->root,
			       name);
	r = copy_count(c, (uint64_t)st.st_size, e);
	if (r < 0)
		return r;
	c->data = malloc(st.st_size < CHUNK ? (size_t)st.st_size + 1 : CHUNK);
	if (!c->data)
		return cannot(c, ENOMEM, e);
	request_init(&c->q, &st, c->path);
	c->q.file_size = st.st_size;
	c->offset = 0;
	return next_piece(c, e);
}

static int copy_link(struct agent_copy *c, int dir_fd, const char *name, const struct stat *st, struct err *e)
{
	ssize_t n;
	int r;

	c->data = malloc(PATH_MAX);
	if (!c->data)
		return cannot(c, ENOMEM, e);
	n = readlinkat(dir_fd, name, (char *)c->data, PATH_MAX);
	if (n < 0 || n == PATH_MAX)
		return cannot_entry(c, n < 0 ? errno : ENAMETOOLONG, name, e);
	r = copy_count(c, 0, e);
	if (r < 0)
		return r;
	request_init(&c->q, st, c->path);
	c->q.file_size = n;
	c->q.data.data = c->data;
	c->q.data.len = (size_t)n;
	return 1;
}

/* What it holds comes next. */
static int enter_dir(struct agent_copy *c, int dir_fd, const char *name, struct err *e)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	struct level *l = &c->levels[c->depth];
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return cannot_entry(c, errno, name, e);
	if (c->depth == AGENT_COPY_DEPTH)
		return err_set(e, ERR_LIMIT, EFBIG, "cannot copy %s to the guest: it is more than %u levels deep",
			       c->root, AGENT_COPY_DEPTH);
	r = copy_count(c, 0, e);
	if (r < 0)
		return r;
	*l = (struct level){ .dir = fdopendir(fd), .guest_path = strdup(c->path) };
	if (l->dir)
		fd = -1;
	if (!l->dir || !l->guest_path) {
		if (l->dir)
			closedir(l->dir);
		free(l->guest_path);
		return cannot(c, ENOMEM, e);
	}
	c->depth++;
	request_init(&c->q, &st, c->path);
	return 1;
}

static void leave_dir(struct agent_copy *c)
{
	struct level *l = &c->levels[--c->depth];

	closedir(l->dir);
	free(l->guest_path);
}

/* guest_path: taken over. */
static int copy_entry(struct agent_copy *c, int dir_fd, const char *name, char *guest_path, struct err *e)
{
	struct stat st;

	free(c->path);
	free(take_ptr(c->data));
	c->path = guest_path;
	if (!guest_path)
		return cannot(c, ENOMEM, e);
	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return cannot_entry(c, errno, name, e);
	if (S_ISREG(st.st_mode))
		return begin_regular(c, dir_fd, name, e);
	if (S_ISLNK(st.st_mode))
		return copy_link(c, dir_fd, name, &st, e);
	if (S_ISDIR(st.st_mode))
		return enter_dir(c, dir_fd, name, e);
	log_warn("%s: not copied to the guest: %s is a socket, a pipe or a device", c->root, name);
	return 0;
}

static int copy_next(struct agent_copy *c, struct err *e)
{
	if (c->fd >= 0 && c->offset < (uint64_t)c->q.file_size)
		return next_piece(c, e);
	fd_close(&c->fd);
	while (c->depth) {
		struct level *l = &c->levels[c->depth - 1];
		struct dirent *d;
		int r;

		errno = 0;
		d = readdir(l->dir);
		if (!d && errno)
			return cannot(c, errno, e);
		if (!d) {
			leave_dir(c);
			continue;
		}
		if (str_eq(d->d_name, ".") || str_eq(d->d_name, ".."))
			continue;
		r = copy_entry(c, dirfd(l->dir), d->d_name, str_printf("%s/%s", l->guest_path, d->d_name), e);
		if (r)
			return r;
	}
	return 0;
}

static int copy_begin(struct agent_copy *c, const char *host_path, const char *guest_path, struct err *e)
{
	_cleanup_free_ char *real = realpath(host_path, NULL);
	struct stat st;

	if (!real || lstat(real, &st) < 0)
		return err_sys(e, errno, "cannot copy %s to the guest", host_path);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
		return err_set(
			e, ERR_CONFIG, EINVAL,
			"cannot copy %s to the guest: it is neither a file nor a directory; use a shared file system",
			host_path);
	c->root = strdup(host_path);
	if (!c->root)
		return err_sys(e, ENOMEM, "cannot copy %s to the guest", host_path);
	return copy_entry(c, AT_FDCWD, real, strdup(guest_path), e);
}

static void copy_free(struct agent_copy *c)
{
	while (c->depth)
		leave_dir(c);
	fd_close(&c->fd);
	free(c->path);
	free(c->data);
	free(c->root);
	free(c);
}

static struct agent_copy *copy_new(struct agent *a, const char *host_path, struct err *e)
{
	struct agent_copy *c = calloc(1, sizeof *c);

	if (!c) {
		err_sys(e, ENOMEM, "cannot copy %s to the guest", host_path);
		return NULL;
	}
	c->agent = a;
	c->fd = -1;
	return c;
}

int agent_copy_path(struct agent *a, const char *host_path, const char *guest_path, struct err *e)
{
	struct agent_copy *c = copy_new(a, host_path, e);
	int r = c ? copy_begin(c, host_path, guest_path, e) : -ENOMEM;

	while (r > 0) {
		r = agent_copy_file(a, &c->q, e);
		if (r == 0)
			r = copy_next(c, e);
	}
	if (c)
		copy_free(c);
	return r;
}

static void on_copied(int result, const struct err *answer, void *userdata)
{
	struct agent_copy *c = userdata;
	agent_done_fn fn = c->fn;
	struct err e = *answer;

	c->call = NULL;
	if (result == 0)
		result = copy_next(c, &e);
	if (result > 0)
		result = agent_copy_file_async(c->agent, &c->q, on_copied, c, &c->call, &e);
	if (c->call)
		return;
	userdata = c->userdata;
	copy_free(c);
	fn(result, &e, userdata);
}

/* r: of what made the first request; c: taken over. */
static int copy_start(struct agent_copy *c, int r, agent_done_fn fn, void *userdata, struct agent_copy **ret,
		      struct err *e)
{
	/* Nothing would ever be answered. */
	if (r == 0)
		r = err_set(e, ERR_SYSTEM, EBUSY, "cannot copy %s to the guest: it changed meanwhile", c->root);
	if (r > 0)
		r = agent_copy_file_async(c->agent, &c->q, on_copied, c, &c->call, e);
	if (r < 0) {
		copy_free(c);
		return r;
	}
	c->fn = fn;
	c->userdata = userdata;
	*ret = c;
	return 0;
}

int agent_copy_path_async(struct agent *a, const char *host_path, const char *guest_path, agent_done_fn fn,
			  void *userdata, struct agent_copy **ret, struct err *e)
{
	struct agent_copy *c = copy_new(a, host_path, e);

	return c ? copy_start(c, copy_begin(c, host_path, guest_path, e), fn, userdata, ret, e) : -ENOMEM;
}

static int data_begin(struct agent_copy *c, const void *data, size_t n, const char *guest_path, mode_t mode,
		      struct err *e)
{
	struct stat st = { .st_mode = S_IFREG | (mode & 07777) };

	if (n > CHUNK)
		return err_set(e, ERR_LIMIT, EFBIG, "cannot copy %zu bytes to %s at once", n, guest_path);
	c->path = strdup(guest_path);
	c->data = malloc(n + 1);
	if (!c->path || !c->data)
		return err_sys(e, ENOMEM, "cannot copy to %s", guest_path);
	memcpy(c->data, data, n);
	request_init(&c->q, &st, c->path);
	c->q.file_size = (int64_t)n;
	c->q.data.data = c->data;
	c->q.data.len = n;
	return 1;
}

int agent_copy_data_async(struct agent *a, const void *data, size_t n, const char *guest_path, mode_t mode,
			  agent_done_fn fn, void *userdata, struct agent_copy **ret, struct err *e)
{
	struct agent_copy *c = copy_new(a, guest_path, e);

	return c ? copy_start(c, data_begin(c, data, n, guest_path, mode, e), fn, userdata, ret, e) : -ENOMEM;
}

void agent_copy_cancel(struct agent_copy *c)
{
	if (!c)
		return;
	agent_call_cancel(c->call);
	copy_free(c);
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
