/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/volume_watch.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/plan_volumes.h"

/* A change is several steps: it is copied when nothing has happened for so long. */
#define QUIET_MS 500

struct volume {
	char *item;
	int wd;
	bool changed;
};

struct volume_watch {
	struct share *share;
	struct agent *agent;
	int fd;
	struct loop_source *events, *quiet;
	struct volume *volumes;
	size_t n_volumes;
	/* One after the other. */
	struct agent_copy *copying; /* NULL: none is */
	const char *copied;         /* that volume's item */
};

static void on_copied(int result, const struct err *e, void *userdata);

static void copy_changed(struct volume_watch *w)
{
	for (size_t i = 0; i < w->n_volumes && !w->copying; i++) {
		struct volume *v = &w->volumes[i];
		struct err e = { 0 };

		if (!v->changed)
			continue;
		v->changed = false;
		w->copied = v->item;
		if (share_copy(w->share, v->item, w->agent, on_copied, w, &w->copying, &e) < 0)
			log_warn("a volume has changed, and the guest keeps what it had: %s", e.text);
	}
}

static void on_copied(int result, const struct err *e, void *userdata)
{
	struct volume_watch *w = userdata;

	w->copying = NULL;
	if (result < 0)
		log_warn("a volume has changed, and the guest keeps some of what it had: %s", e->text);
	copy_changed(w);
}

static void on_quiet(struct loop_source *source, void *userdata)
{
	copy_changed(userdata);
}

static void on_events(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	_Alignas(struct inotify_event) char data[4096];
	struct volume_watch *w = userdata;
	ssize_t n = read(fd, data, sizeof data);

	for (ssize_t at = 0; at < n;) {
		const struct inotify_event *event = (const struct inotify_event *)(data + at);

		for (size_t i = 0; i < w->n_volumes; i++)
			w->volumes[i].changed |= event->wd == w->volumes[i].wd || (event->mask & IN_Q_OVERFLOW);
		at += (ssize_t)(sizeof *event + event->len);
	}
	if (n > 0)
		loop_timer_set(w->quiet, QUIET_MS);
}

int volume_watch_new(struct loop *loop, struct share *share, struct agent *agent, struct volume_watch **ret,
		     struct err *e)
{
	struct volume_watch *w = calloc(1, sizeof *w);
	int r;

	if (!w)
		return err_sys(e, ENOMEM, "cannot watch volumes");
	w->share = share;
	w->agent = agent;
	w->fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	r = w->fd < 0 ? -errno : loop_add_io(loop, w->fd, EPOLLIN, on_events, w, &w->events);
	if (r == 0)
		r = loop_add_timer(loop, UINT64_MAX, on_quiet, w, &w->quiet);
	if (r < 0) {
		volume_watch_free(w);
		return err_sys(e, -r, "cannot watch volumes");
	}
	*ret = w;
	return 0;
}

void volume_watch_free(struct volume_watch *w)
{
	if (!w)
		return;
	agent_copy_cancel(w->copying);
	loop_source_free(w->events);
	loop_source_free(w->quiet);
	fd_close(&w->fd);
	for (size_t i = 0; i < w->n_volumes; i++)
		free(w->volumes[i].item);
	free(w->volumes);
	free(w);
}

static int add(struct volume_watch *w, const char *item, const char *source)
{
	struct volume *list = realloc(w->volumes, (w->n_volumes + 1) * sizeof *list);
	struct volume *v;

	if (!list)
		return -ENOMEM;
	w->volumes = list;
	v = &list[w->n_volumes];
	*v = (struct volume){ .item = strdup(item) };
	if (!v->item)
		return -ENOMEM;
	/* Two containers with the same folder have the same descriptor: both copies are made anew. */
	v->wd = inotify_add_watch(w->fd, source, IN_CREATE | IN_MOVED_TO | IN_CLOSE_WRITE | IN_DELETE | IN_ONLYDIR);
	if (v->wd < 0) {
		int code = errno;

		free(v->item);
		return -code;
	}
	w->n_volumes++;
	return 0;
}

int volume_watch_add(struct volume_watch *w, const struct plan_container *c, struct err *e)
{
	for (size_t i = 0; i < c->items.len; i++) {
		const struct share_item *item = share_find(w->share, c->items.v[i]);
		int r;

		if (!item || !item->source || plan_volume_kind(item->source) != PLAN_VOLUME_CHANGING)
			continue;
		r = add(w, item->name, item->source);
		if (r < 0) {
			volume_watch_remove(w, c);
			return err_sys(e, -r, "cannot watch the volume %s", item->source);
		}
	}
	return 0;
}

static bool is_watched(const struct volume_watch *w, int wd)
{
	for (size_t i = 0; i < w->n_volumes; i++)
		if (w->volumes[i].wd == wd)
			return true;
	return false;
}

void volume_watch_remove(struct volume_watch *w, const struct plan_container *c)
{
	for (size_t i = 0; w && i < w->n_volumes;) {
		struct volume v = w->volumes[i];

		if (!strv_contains(&c->items, v.item) && share_find(w->share, v.item)) {
			i++;
			continue;
		}
		/* With what is open of it the kubelet could not unmount it. */
		if (w->copying && w->copied == v.item)
			agent_copy_cancel(take_ptr(w->copying));
		w->volumes[i] = w->volumes[--w->n_volumes];
		if (!is_watched(w, v.wd))
			inotify_rm_watch(w->fd, v.wd);
		free(v.item);
	}
	if (w)
		copy_changed(w);
}
