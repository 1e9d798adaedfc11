// SPDX-License-Identifier: Apache-2.0
/*
 * Files that the host copies in where it shares no file system. Only below AGENT_SHARE_DIR: each part of a path is
 * opened beneath the one before and no link is followed, because containers can write there.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/rpc.h"
#include "agent/storage.h"
#include "base/fd.h"

#define DIAGNOSTIC_MAX 65536

static int open_beneath(int dirfd, const char *path, int flags, mode_t mode)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC | O_NOFOLLOW),
				.mode = flags & O_CREAT ? mode & 07777 : 0,
				.resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS };
	long fd = syscall(SYS_openat2, dirfd, path, &how, sizeof how);

	return fd < 0 ? -errno : (int)fd;
}

/* The directory of relative path `path`, made as needed; *ret_name: the last part, inside path. */
static int open_parent(int base, char *path, mode_t dir_mode, const char **ret_name)
{
	_cleanup_close_ int dir = fcntl(base, F_DUPFD_CLOEXEC, 3);
	char *part = path;

	if (dir < 0)
		return -errno;
	for (;;) {
		char *slash = strchr(part, '/');
		int next;

		if (!slash)
			break;
		*slash = '\0';
		if (*part) {
			if (mkdirat(dir, part, dir_mode ? dir_mode & 07777 : 0755) < 0 && errno != EEXIST)
				return -errno;
			next = open_beneath(dir, part, O_RDONLY | O_DIRECTORY, 0);
			if (next < 0)
				return next;
			close(dir);
			dir = next;
		}
		part = slash + 1;
	}
	if (!*part)
		return -EINVAL;
	*ret_name = part;
	return take_fd(&dir);
}

static int copy_dir(int dir, const char *name, const Grpc__CopyFileRequest *m)
{
	_cleanup_close_ int fd = -1;

	if (mkdirat(dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	fd = open_beneath(dir, name, O_RDONLY | O_DIRECTORY, 0);
	if (fd < 0)
		return fd;
	if (fchown(fd, (uid_t)m->uid, (gid_t)m->gid) < 0 || fchmod(fd, m->file_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_link(int dir, const char *name, const Grpc__CopyFileRequest *m)
{
	_cleanup_free_ char *target = NULL;

	if (m->data.len == 0 || memchr(m->data.data, '\0', m->data.len))
		return -EINVAL;
	target = strndup((const char *)m->data.data, m->data.len);
	if (!target)
		return -ENOMEM;
	if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(target, dir, name) < 0)
		return -errno;
	return fchownat(dir, name, (uid_t)m->uid, (gid_t)m->gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int write_at(int fd, const uint8_t *data, size_t n, int64_t offset)
{
	while (n > 0) {
		ssize_t k = pwrite(fd, data, n, offset);

		if (k < 0) {
			if (errno == EINTR)
				continue;
			return -errno;
		}
		data += k;
		n -= (size_t)k;
		offset += k;
	}
	return 0;
}

/* A chunk goes to NAME.tmp; with the last one the file gets its owner, mode and name. */
static int copy_chunk(int dir, const char *name, const Grpc__CopyFileRequest *m)
{
	_cleanup_free_ char *tmp = str_printf("%s.tmp", name);
	_cleanup_close_ int fd = -1;
	struct stat st;
	int64_t end;
	int r;

	if (!tmp)
		return -ENOMEM;
	if (m->offset < 0 || m->file_size < 0 || __builtin_add_overflow(m->offset, (int64_t)m->data.len, &end) ||
	    end > m->file_size)
		return -EINVAL;
	/* O_NONBLOCK: a container may have put a pipe there, or a file with a lease on it. */
	fd = open_beneath(dir, tmp, O_WRONLY | O_CREAT | O_NONBLOCK | (m->offset == 0 ? O_TRUNC : 0), 0600);
	if (fd < 0)
		return fd;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = write_at(fd, m->data.data, m->data.len, m->offset);
	if (r < 0) {
		unlinkat(dir, tmp, 0); /* a full disk should not stay so for a part of a file */
		return r;
	}
	if (fstat(fd, &st) < 0)
		return -errno;
	if (st.st_size != m->file_size)
		return 0;
	if (fchown(fd, (uid_t)m->uid, (gid_t)m->gid) < 0 || fchmod(fd, m->file_mode & 07777) < 0)
		return -errno;
	return renameat(dir, tmp, dir, name) < 0 ? -errno : 0;
}

static int copy_file(const Grpc__CopyFileRequest *m, struct err *e)
{
	const char *rest = storage_path_valid(m->path) ? str_after(m->path, AGENT_SHARE_DIR "/") : NULL, *name = NULL;
	_cleanup_close_ int base = -1, dir = -1;
	_cleanup_free_ char *path = NULL;
	int r;

	if (!rest || !rest[strspn(rest, "/")])
		return err_set(e, ERR_PROTOCOL, EINVAL, "\"%.256s\" is not below " AGENT_SHARE_DIR, m->path);
	path = strdup(rest);
	if (!path)
		return err_sys(e, ENOMEM, "cannot write %s", m->path);
	for (size_t n = strlen(path); n > 0 && path[n - 1] == '/'; n--)
		path[n - 1] = '\0';
	r = dir_make(AGENT_SHARE_DIR, 0755);
	if (r < 0)
		return err_sys(e, -r, "cannot make " AGENT_SHARE_DIR);
	base = open(AGENT_SHARE_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = base < 0 ? -errno : open_parent(base, path, m->dir_mode, &name);
	if (dir < 0)
		return err_sys(e, -dir, "cannot make the directory of %.256s", m->path);
	switch (m->file_mode & S_IFMT) {
	case S_IFDIR:
		r = copy_dir(dir, name, m);
		break;
	case S_IFLNK:
		r = copy_link(dir, name, m);
		break;
	case S_IFREG:
	case 0:
		r = copy_chunk(dir, name, m);
		break;
	default:
		r = -EINVAL;
	}
	return r < 0 ? err_sys(e, -r, "cannot write %.256s", m->path) : 0;
}

RPC(rpc_copy_file)
{
	struct err e = { 0 };
	int r = copy_file((const Grpc__CopyFileRequest *)message, &e);

	(void)userdata;
	rpc_result(req, r, &e);
}

/* ---- diagnostics: the termination message of a container whose file system the host does not see ---- */

static const char *annotation(const Grpc__Spec *spec, const char *key)
{
	for (size_t i = 0; i < spec->n_annotations; i++)
		if (str_eq(spec->annotations[i]->key, key))
			return spec->annotations[i]->value;
	return NULL;
}

static int termination_message(struct agent *a, const char *id, char **ret, struct err *e)
{
	struct agent_container *c;
	const Grpc__Spec *spec;
	const char *path;
	int r = agent_find_container(a, id, &c, e);

	if (r < 0)
		return r;
	spec = container_spec(c->c);
	path = annotation(spec, "io.kubernetes.container.terminationMessagePath");
	for (size_t i = 0; path && i < spec->n_mounts; i++) {
		const Grpc__Mount *m = spec->mounts[i];
		_cleanup_close_ int fd = -1;
		struct stat st;
		ssize_t n;

		if (!str_eq(m->destination, path))
			continue;
		/* The container can write there: no links, no devices, no pipes, no more than fits. */
		fd = open(m->source, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
		if (fd < 0 || fstat(fd, &st) < 0)
			return err_sys(e, errno, "cannot read the termination message of %s", id);
		if (!S_ISREG(st.st_mode))
			return err_set(e, ERR_GUEST, EINVAL, "the termination message of %s is not a file", id);
		*ret = calloc(1, DIAGNOSTIC_MAX + 1);
		if (!*ret)
			return err_sys(e, ENOMEM, "cannot read the termination message of %s", id);
		n = read(fd, *ret, DIAGNOSTIC_MAX);
		return n < 0 ? err_sys(e, errno, "cannot read the termination message of %s", id) : 0;
	}
	return err_set(e, ERR_PROTOCOL, ENOENT, "container %s has no termination message path", id);
}

RPC(rpc_get_diagnostic_data)
{
	const Grpc__GetDiagnosticDataRequest *m = (const Grpc__GetDiagnosticDataRequest *)message;
	Grpc__GetDiagnosticDataResponse resp = GRPC__GET_DIAGNOSTIC_DATA_RESPONSE__INIT;
	_cleanup_free_ char *text = NULL;
	struct err e = { 0 };
	int r;

	if (strcmp(m->log_type, "termination-log") && strcmp(m->log_type, "termination_log")) {
		ttrpc_reply_error(req, TTRPC_INVALID_ARGUMENT, "log type \"%.64s\" is not known", m->log_type);
		return;
	}
	r = termination_message(userdata, m->container_id, &text, &e);
	if (r < 0) {
		rpc_fail(req, &e);
		return;
	}
	resp.data = text;
	ttrpc_reply(req, &resp.base);
}
