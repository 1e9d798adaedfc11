/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/share_follow.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/share.h"
#include "sys/mounts.h"

struct share_follow {
	struct share *share;
	int fd; /* the table of mounts, which says when it has changed */
	struct loop_source *changes;
};

/* The guest may write to the folder: a link in it leads nowhere. Returns a descriptor, or -errno. */
static int open_place(const char *folder, const char *place)
{
	struct open_how how = { .flags = O_PATH | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS };
	_cleanup_close_ int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int fd = dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, place, &how, sizeof how);

	return fd < 0 ? -errno : fd;
}

static bool is_mount(int fd, unsigned long long id)
{
	struct statx st;

	/* What the kernel knows by itself: who serves a file system may not answer. */
	return statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_MNT_ID, &st) == 0 && st.stx_mnt_id == id;
}

/* -ESTALE: another one lies above it. */
static int copy_mount(const struct share_item *item, const char *staged, const struct mountinfo_mount *m)
{
	_cleanup_close_ int from = open_place(item->real, m->place), to = -1, copy = -1;

	if (from < 0)
		return from;
	if (!is_mount(from, m->id))
		return -ESTALE;
	to = open_place(staged, m->place);
	if (to < 0)
		return to;
	copy = share_clone(from, "", false, item->readonly);
	return copy < 0 ? copy : mount_attach(copy, to);
}

/* Lazily: the server, and the guest's caches through it, may hold files of it open. */
static int remove_copy(const char *staged, const struct mountinfo_mount *m)
{
	_cleanup_close_ int fd = open_place(staged, m->place);
	char path[64];

	if (fd < 0)
		return fd;
	snprintf(path, sizeof path, "/proc/thread-self/fd/%d", fd);
	return umount2(path, MNT_DETACH) < 0 ? -errno : 0;
}

/* An id alone says nothing: a mount that is gone leaves its to the next one. */
static bool has(const struct mountinfo_mounts *mounts, const struct mountinfo_mount *m)
{
	for (size_t i = 0; i < mounts->n; i++)
		if (mounts->v[i].id == m->id && str_eq(mounts->v[i].what, m->what))
			return true;
	return false;
}

/* Those that are gone, the last first. */
static void remove_copies(const struct share_item *item, const char *staged, const struct mountinfo_mounts *now)
{
	for (size_t i = item->below.n; i-- > 0;) {
		const struct mountinfo_mount *m = &item->below.v[i];
		int r = has(now, m) ? 0 : remove_copy(staged, m);

		/* It went with the one that it was mounted on. */
		if (r < 0 && r != -EINVAL && r != -ENOENT)
			log_warn("the guest keeps what was mounted on %s/%s: %s", item->real, m->place, strerror(-r));
	}
}

/* Those that are new. What could not be copied is left out of *now, and tried again with the next change. */
static void add_copies(const struct share_item *item, const char *staged, struct mountinfo_mounts *now)
{
	size_t kept = 0;

	for (size_t i = 0; i < now->n; i++) {
		struct mountinfo_mount *m = &now->v[i];
		int r = has(&item->below, m) ? 0 : copy_mount(item, staged, m);

		if (r < 0) {
			log_debug("the guest does not get what is mounted on %s/%s: %s", item->real, m->place,
				  strerror(-r));
			mountinfo_mount_fini(m);
			continue;
		}
		now->v[kept++] = *m;
	}
	now->n = kept;
}

/* A volume may have the stage below it, whose mounts are none of the host's: a copy of a copy would follow each copy.
 */
static void drop_stage(const char *stage, const char *real, struct mountinfo_mounts *mounts)
{
	const char *below = str_after(stage, str_eq(real, "/") ? "" : real), *rest;
	size_t kept = 0;

	for (size_t i = 0; below && *below == '/' && i < mounts->n; i++) {
		struct mountinfo_mount *m = &mounts->v[i];

		if ((rest = str_after(m->place, below + 1)) && (*rest == '\0' || *rest == '/'))
			mountinfo_mount_fini(m);
		else
			mounts->v[kept++] = *m;
	}
	if (below && *below == '/')
		mounts->n = kept;
}

static int list_below(const struct share *s, const char *real, struct mountinfo_mounts *ret)
{
	_cleanup_free_ char *stage = realpath(s->staging, NULL);
	int r = stage ? mountinfo_below(real, ret) : -errno;

	if (r == 0)
		drop_stage(stage, real, ret);
	return r;
}

/* Looked at before they are copied with the item: one too many is mounted twice, one too few would never come. */
int share_follow_begin(const struct share *share, struct share_item *item, struct err *e)
{
	int r;

	mountinfo_mounts_fini(&item->below);
	free(item->real);
	item->real = realpath(item->source, NULL);
	r = item->real ? list_below(share, item->real, &item->below) : -errno;
	return r < 0 ? err_sys(e, -r, "cannot find the mounts below %s", item->source) : 0;
}

static int update(const struct share *s, struct share_item *item)
{
	_cleanup_free_ char *staged = str_printf("%s/%s", s->staging, item->name);
	struct mountinfo_mounts now;
	int r = staged ? list_below(s, item->real, &now) : -ENOMEM;

	if (r < 0)
		return r;
	remove_copies(item, staged, &now);
	add_copies(item, staged, &now);
	mountinfo_mounts_fini(&item->below);
	item->below = now;
	return 0;
}

static void update_all(struct share_follow *f)
{
	for (size_t i = 0; i < f->share->n_items; i++) {
		struct share_item *item = &f->share->items[i];
		int r = item->follows && item->there && f->share->staged ? update(f->share, item) : 0;

		if (r < 0)
			log_warn("the guest does not get what is mounted below %s: %s", item->source, strerror(-r));
	}
}

static void on_change(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	update_all(userdata);
}

int share_follow_new(struct loop *loop, struct share *share, struct share_follow **ret, struct err *e)
{
	struct share_follow *f = calloc(1, sizeof *f);
	int r;

	if (!f)
		return err_sys(e, ENOMEM, "cannot watch mounts");
	f->share = share;
	/* Not /proc/self: another thread may be in another namespace. */
	f->fd = open("/proc/thread-self/mountinfo", O_RDONLY | O_CLOEXEC);
	r = f->fd < 0 ? -errno : loop_add_io(loop, f->fd, EPOLLPRI, on_change, f, &f->changes);
	if (r < 0) {
		share_follow_free(f);
		return err_sys(e, -r, "cannot watch mounts");
	}
	update_all(f);
	*ret = f;
	return 0;
}

void share_follow_free(struct share_follow *f)
{
	if (!f)
		return;
	loop_source_free(f->changes);
	fd_close(&f->fd);
	free(f);
}

bool share_follow_wanted(const struct share *share)
{
	for (size_t i = 0; !share_copies(share) && i < share->n_items; i++)
		if (share->items[i].follows)
			return true;
	return false;
}
