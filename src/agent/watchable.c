// SPDX-License-Identifier: Apache-2.0
/*
 * Nothing is remembered between rounds: a copy has its source's time of modification, so source and copy are compared
 * with each other. Files are rewritten in place, for a container may have one of them mounted by itself. Links are
 * replaced at one stroke, and after all files: Kubernetes writes a new folder and then turns the link "..data" to it.
 */
#include "agent/watchable.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"

#define INTERVAL_MS 2000
#define DEPTH_MAX   8
#define DIRS_MAX    64   /* of the source */
#define REMOVED_MAX 1024 /* in one round: a container may put anything into its copy */
#define LINK_NAME   ".caisson-new-link"

struct watchable {
	char *source;
	int target_fd; /* a directory, or a file open for writing */
	bool is_dir;
	bool failed; /* the last round, which was then logged */
	struct loop_source *timer;
};

struct count {
	size_t entries, dirs;
	uint64_t bytes;
};

typedef int (*entry_fn)(int dir_fd, const char *name, const struct stat *st, void *userdata);

/* Visit the entries of a directory. The descriptor stays the caller's. */
static int for_each(int dir_fd, entry_fn fn, void *userdata)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	_cleanup_closedir_ DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *de;

	if (!d) {
		r = -errno;
		fd_close(&copy);
		return r;
	}
	while (r == 0 && (de = readdir(d))) {
		struct stat st;

		if (str_eq(de->d_name, ".") || str_eq(de->d_name, ".."))
			continue;
		/* Gone meanwhile: the next round will tell. */
		if (fstatat(dir_fd, de->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			r = fn(dir_fd, de->d_name, &st, userdata);
	}
	return r;
}

static int open_dir_at(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

/* ---- how large ---- */

static int count_entry(int dir_fd, const char *name, const struct stat *st, void *userdata)
{
	struct count *c = userdata;

	if (S_ISDIR(st->st_mode)) {
		_cleanup_close_ int fd = -1;

		if (++c->dirs > DIRS_MAX)
			return -E2BIG;
		fd = open_dir_at(dir_fd, name);
		return fd < 0 ? fd : for_each(fd, count_entry, c);
	}
	if (++c->entries > WATCHABLE_ENTRIES_MAX)
		return -E2BIG;
	if (S_ISREG(st->st_mode) &&
	    (st->st_size > WATCHABLE_BYTES_MAX || (c->bytes += (uint64_t)st->st_size) > WATCHABLE_BYTES_MAX))
		return -E2BIG;
	return 0;
}

/* ---- taking away ---- */

struct removal {
	int depth;
	size_t *left;
};

static int remove_entry(int dir_fd, const char *name, const struct stat *st, void *userdata)
{
	const struct removal *above = userdata;
	struct removal here = { above->depth + 1, above->left };

	if (*here.left == 0)
		return -E2BIG;
	--*here.left;
	if (S_ISDIR(st->st_mode)) {
		_cleanup_close_ int fd = here.depth > DEPTH_MAX ? -ELOOP : open_dir_at(dir_fd, name);
		int r = fd < 0 ? fd : for_each(fd, remove_entry, &here);

		if (r < 0)
			return r;
	}
	if (unlinkat(dir_fd, name, S_ISDIR(st->st_mode) ? AT_REMOVEDIR : 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

/* ---- copying ---- */

static bool is_current(const struct stat *source, const struct stat *copy)
{
	return source->st_size == copy->st_size && source->st_mode == copy->st_mode && source->st_uid == copy->st_uid &&
	       source->st_gid == copy->st_gid && source->st_mtim.tv_sec == copy->st_mtim.tv_sec &&
	       source->st_mtim.tv_nsec == copy->st_mtim.tv_nsec;
}

static int give_attributes(int fd, const struct stat *st)
{
	struct timespec times[2] = { { .tv_nsec = UTIME_OMIT }, st->st_mtim };

	/* The owner first: it takes set-user-id bits away. */
	if (fchown(fd, st->st_uid, st->st_gid) < 0 || fchmod(fd, st->st_mode & 07777) < 0 || futimens(fd, times) < 0)
		return -errno;
	return 0;
}

/* Only when it is needed: each change of attributes is an event for those who watch. */
static int own_dir(int fd, const struct stat *source)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -errno;
	if ((st.st_uid != source->st_uid || st.st_gid != source->st_gid) &&
	    fchown(fd, source->st_uid, source->st_gid) < 0)
		return -errno;
	if (st.st_mode != source->st_mode && fchmod(fd, source->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

/* Both are regular files, the copy is open for writing. */
static int copy_content(int source_fd, int copy_fd)
{
	_cleanup_free_ char *data = NULL;
	struct stat st, have;
	size_t n = 0;
	ssize_t got;

	if (fstat(source_fd, &st) < 0 || fstat(copy_fd, &have) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || !S_ISREG(have.st_mode))
		return -EINVAL;
	if (is_current(&st, &have))
		return 0;
	if (st.st_size > WATCHABLE_BYTES_MAX)
		return -E2BIG;
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return -ENOMEM;
	/* What grows or shrinks under our hands has another time in the next round. */
	while (n < (size_t)st.st_size && (got = pread(source_fd, data + n, (size_t)st.st_size - n, (off_t)n)) != 0) {
		if (got < 0)
			return -errno;
		n += (size_t)got;
	}
	/* A reader never finds it empty. */
	for (size_t done = 0; done < n; done += (size_t)got) {
		got = pwrite(copy_fd, data + done, n - done, (off_t)done);
		if (got < 0)
			return -errno;
	}
	if (ftruncate(copy_fd, (off_t)n) < 0)
		return -errno;
	return give_attributes(copy_fd, &st);
}

struct pair {
	int copy_fd; /* the directory */
	bool links;  /* this pass is for links, the other one for all else */
	int depth;
	size_t *removals_left;
};

static int sync_dir(int source_fd, int copy_fd, int depth, size_t *removals_left);

/* Take away what stands where something of another kind must be. */
static int make_room(int dir_fd, const char *name, mode_t kind, size_t *removals_left)
{
	struct removal r = { 0, removals_left };
	struct stat st;

	if (fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0 : -errno;
	return (st.st_mode & S_IFMT) == kind ? 0 : remove_entry(dir_fd, name, &st, &r);
}

static int sync_link(int source_dir, int copy_dir, const char *name)
{
	char want[PATH_MAX], have[PATH_MAX];
	ssize_t n = readlinkat(source_dir, name, want, sizeof want - 1), m;

	if (n < 0)
		return -errno;
	want[n] = '\0';
	m = readlinkat(copy_dir, name, have, sizeof have - 1);
	if (m == n && !memcmp(want, have, (size_t)n))
		return 0;
	if (unlinkat(copy_dir, LINK_NAME, 0) < 0 && errno != ENOENT)
		return -errno;
	if (symlinkat(want, copy_dir, LINK_NAME) < 0 || renameat(copy_dir, LINK_NAME, copy_dir, name) < 0)
		return -errno;
	return 0;
}

static int sync_subdir(int source_dir, const char *name, const struct stat *st, const struct pair *p)
{
	int copy_dir = p->copy_fd;
	_cleanup_close_ int source = -1, copy = -1;
	int r;

	if (mkdirat(copy_dir, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	source = open_dir_at(source_dir, name);
	copy = open_dir_at(copy_dir, name);
	if (source < 0 || copy < 0)
		return source < 0 ? source : copy;
	r = sync_dir(source, copy, p->depth + 1, p->removals_left);
	return r < 0 ? r : own_dir(copy, st);
}

static int sync_file(int source_dir, int copy_dir, const char *name)
{
	/* O_NONBLOCK: a pipe that takes a file's place meanwhile must not stop us. */
	_cleanup_close_ int source = openat(source_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int copy = -1;

	if (source < 0)
		return -errno;
	copy = openat(copy_dir, name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0600);
	return copy < 0 ? -errno : copy_content(source, copy);
}

static int sync_entry(int dir_fd, const char *name, const struct stat *st, void *userdata)
{
	const struct pair *p = userdata;
	mode_t kind = st->st_mode & S_IFMT;
	int r;

	if (S_ISLNK(kind) != p->links || str_eq(name, LINK_NAME) ||
	    (!S_ISLNK(kind) && !S_ISDIR(kind) && !S_ISREG(kind)))
		return 0;
	/* A link is renamed into its place, which only a directory resists. */
	r = make_room(p->copy_fd, name, kind, p->removals_left);
	if (r < 0)
		return r;
	if (S_ISLNK(kind))
		return sync_link(dir_fd, p->copy_fd, name);
	return S_ISDIR(kind) ? sync_subdir(dir_fd, name, st, p) : sync_file(dir_fd, p->copy_fd, name);
}

struct leftover {
	int source_fd;
	struct removal removal;
};

static int drop_entry(int dir_fd, const char *name, const struct stat *st, void *userdata)
{
	struct leftover *l = userdata;
	struct stat unused;

	if (fstatat(l->source_fd, name, &unused, AT_SYMLINK_NOFOLLOW) < 0 && errno == ENOENT)
		return remove_entry(dir_fd, name, st, &l->removal);
	return 0;
}

static int sync_dir(int source_fd, int copy_fd, int depth, size_t *removals_left)
{
	struct pair p = { .copy_fd = copy_fd, .depth = depth, .removals_left = removals_left };
	struct leftover l = { source_fd, { 0, removals_left } };
	int r = depth > DEPTH_MAX ? -ELOOP : for_each(source_fd, sync_entry, &p);

	p.links = true;
	if (r == 0)
		r = for_each(source_fd, sync_entry, &p);
	return r < 0 ? r : for_each(copy_fd, drop_entry, &l);
}

int watchable_sync(struct watchable *w)
{
	_cleanup_close_ int fd = open(w->source, O_RDONLY | O_NONBLOCK | O_CLOEXEC | (w->is_dir ? O_DIRECTORY : 0));
	size_t removals_left = REMOVED_MAX;
	struct count c = { 0 };
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!w->is_dir)
		return copy_content(fd, w->target_fd);
	r = for_each(fd, count_entry, &c);
	if (r == 0)
		r = sync_dir(fd, w->target_fd, 0, &removals_left);
	return r < 0 ? r : own_dir(w->target_fd, &st);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct watchable *w = userdata;
	int r = watchable_sync(w);

	if (r < 0 && !w->failed)
		log_warn("the copy of %s cannot follow it: %s", w->source, strerror(-r));
	w->failed = r < 0;
	loop_timer_set(s, INTERVAL_MS);
}

int watchable_new(struct loop *loop, const char *source, const char *target, struct watchable **ret, struct err *e)
{
	struct watchable *w = calloc(1, sizeof *w);
	struct stat st;
	int r = 0;

	if (!w)
		return err_sys(e, ENOMEM, "cannot watch %s", source);
	w->target_fd = -1;
	w->source = strdup(source);
	if (!w->source)
		r = -ENOMEM;
	else if (stat(source, &st) < 0)
		r = -errno;
	if (r == 0) {
		w->is_dir = S_ISDIR(st.st_mode);
		w->target_fd = open(target, O_NOFOLLOW | O_CLOEXEC | (w->is_dir ? O_RDONLY | O_DIRECTORY : O_WRONLY));
		r = w->target_fd < 0 ? -errno : watchable_sync(w);
	}
	if (r == 0)
		r = loop_add_timer(loop, INTERVAL_MS, on_timer, w, &w->timer);
	if (r < 0) {
		watchable_free(w);
		return err_sys(e, -r, "cannot watch %s", source);
	}
	*ret = w;
	return 0;
}

void watchable_free(struct watchable *w)
{
	if (!w)
		return;
	loop_source_free(w->timer);
	fd_close(&w->target_fd);
	free(w->source);
	free(w);
}
