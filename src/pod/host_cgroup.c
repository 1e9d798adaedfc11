/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The group exists once in every hierarchy that can be written. Making it remembers how many of its ancestors were not
 * there, because others (kubelet, podman) own those that were.
 */
#include "pod/host_cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "codec/json.h"
#include "pod/host_cgroup_internal.h"
#include "sys/cgroup_dir.h"
#include "sys/cgroup_layout.h"

#define LEAVE_MS 1000 /* how long processes that were told to end may still be there when the group is removed */
#define KILL_MS  5000
#define TEXT_MAX (1 << 16)

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cgroup of the sandbox");
}

static void group_fini(struct host_group *g)
{
	strv_fini(&g->controllers);
	free(g->mount_point);
	free(g->path);
	free(g->origin);
	fd_close(&g->root_fd);
	fd_close(&g->dir_fd);
}

void host_cgroup_close(struct host_cgroup *cg)
{
	if (!cg)
		return;
	for (size_t i = 0; i < cg->n_groups; i++)
		group_fini(&cg->groups[i]);
	free(cg->groups);
	free(cg->path);
	strv_fini(&cg->notes);
	free(cg);
}

/* What messages call a hierarchy. */
static const char *group_name(const struct host_group *g)
{
	return g->v2 ? "cgroup v2" : g->controllers.len ? g->controllers.v[0] : "cgroup v1";
}

/* ---- making ---- */

/* The next place of the array; it counts when the caller raises n_groups. */
static struct host_group *new_group(struct host_cgroup *cg, bool v2, const char *mount_point, const char *origin)
{
	struct host_group *grown = realloc(cg->groups, (cg->n_groups + 1) * sizeof(*grown)), *g;

	if (!grown)
		return NULL;
	cg->groups = grown;
	g = &grown[cg->n_groups];
	*g = (struct host_group){ .v2 = v2, .root_fd = -1, .dir_fd = -1 };
	g->mount_point = strdup(mount_point);
	g->origin = origin ? strdup(origin) : NULL;
	if (g->mount_point && (g->origin || !origin))
		return g;
	group_fini(g);
	return NULL;
}

/* A hierarchy that may not be written, as in a container without privileges, is as good as none. */
static bool may_be_left_out(int r)
{
	return r == -EROFS || r == -EACCES || r == -EPERM;
}

/* An ancestor that another pod made and removes just now (-ENOENT, -ENODEV) is made again. */
static int make_directory(struct host_group *g, struct err *e)
{
	for (int tries = 0;; tries++) {
		int fd = cgroup_dir_make(g->root_fd, g->path, &g->made, e);

		if ((fd != -ENOENT && fd != -ENODEV) || tries == 10)
			return fd;
	}
}

/*
 * What is in the group when it is removed is ended (host_cgroup_kill()): the processes of others must not be there, nor
 * in groups below it. Signal 0 only counts.
 */
static int refuse_used(const struct host_group *g, struct err *e)
{
	size_t count = 0;

	cgroup_dir_signal(g->dir_fd, 0, &count);
	if (g->made || !count)
		return 0;
	return err_set(e, ERR_CONFIG, EBUSY, "cgroup %s has processes of others in it: choose another cgroupsPath",
		       g->path);
}

static int enter_hierarchy(struct host_group *g, struct err *e)
{
	g->root_fd = open(g->mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->root_fd < 0)
		return err_sys(e, errno, "open %s", g->mount_point);
	g->dir_fd = make_directory(g, e);
	return g->dir_fd < 0 ? g->dir_fd : refuse_used(g, e);
}

static int make_group(struct host_cgroup *cg, const struct cgroup_hierarchy *h, const char *path, bool relative,
		      struct err *e)
{
	struct host_group *g = new_group(cg, h->v2, h->mount_point, h->own);
	struct err why = { 0 };
	int r = 0;

	if (!g)
		return out_of_memory(e);
	g->path = relative && h->own && !str_eq(h->own, "/") ? str_printf("%s%s", h->own, path) : strdup(path);
	for (size_t i = 0; i < h->controllers.len && r == 0; i++)
		r = strv_add(&g->controllers, h->controllers.v[i]);
	if (r < 0 || !g->path) {
		group_fini(g);
		return out_of_memory(e);
	}
	r = enter_hierarchy(g, &why);
	if (r == 0) {
		/* Ours whoever made it: the pod that did may have gone before this one. */
		if (str_after(path, HOST_CGROUP_OWN "/"))
			g->made = 2;
		cg->n_groups++;
		return 0;
	}
	err_wrap(&why, "%s", group_name(g));
	group_fini(g);
	if (may_be_left_out(r))
		return strv_addf(&cg->notes, "%s: the pod is not limited by it", why.text) < 0 ? out_of_memory(e) : 0;
	return err_set(e, why.domain, why.code, "%s", why.text);
}

static int make_groups(struct host_cgroup *cg, const char *root, bool relative, struct err *e)
{
	_cleanup_cgroup_layout_ struct cgroup_layout layout = { 0 };
	int r = cgroup_layout_read(root, &layout, e);

	for (size_t i = 0; r == 0 && i < layout.n; i++)
		r = make_group(cg, &layout.v[i], cg->path, relative, e);
	if (r == 0 && !layout.n && strv_add(&cg->notes, "no cgroup hierarchy is mounted: the pod is not limited") < 0)
		r = out_of_memory(e);
	return r;
}

int host_cgroup_new(const char *root, const char *path, const char *id, struct host_cgroup **ret, struct err *e)
{
	_cleanup_(host_cgroup_free_p) struct host_cgroup *cg = calloc(1, sizeof(*cg));
	bool relative, systemd;
	int r;

	if (!cg)
		return out_of_memory(e);
	r = host_cgroup_path(path, id, &cg->path, &relative, &systemd, e);
	if (r < 0)
		return r;
	if (systemd && strv_addf(&cg->notes,
				 "cgroupsPath %s is systemd's: Caisson makes the group %s itself, and systemd does not "
				 "know it",
				 path, cg->path) < 0)
		return out_of_memory(e);
	r = make_groups(cg, root, relative, e);
	if (r < 0)
		return r;
	*ret = take_ptr(cg);
	return 0;
}

const struct strv *host_cgroup_notes(const struct host_cgroup *cg)
{
	return &cg->notes;
}

const struct host_group *host_cgroup_find(const struct host_cgroup *cg, const char *controller)
{
	for (size_t i = 0; i < cg->n_groups; i++)
		if (strv_contains(&cg->groups[i].controllers, controller))
			return &cg->groups[i];
	return NULL;
}

int host_cgroup_add(struct host_cgroup *cg, pid_t pid, struct err *e)
{
	for (size_t i = 0; i < cg->n_groups; i++) {
		int r = cgroup_dir_enter(cg->groups[i].dir_fd, pid);

		if (r < 0)
			return err_sys(e, -r, "move process %d into cgroup %s (%s)", pid, cg->groups[i].path,
				       group_name(&cg->groups[i]));
	}
	return 0;
}

/* ---- ending ---- */

/* Back to where the process was before; if that is gone, or refuses, to the root. */
static void leave(struct host_group *g)
{
	if (g->dir_fd < 0 || !cgroup_dir_has(g->dir_fd, getpid()))
		return;
	if (g->origin && !str_eq(g->origin, g->path)) {
		_cleanup_close_ int fd = openat(g->root_fd, g->origin[1] ? g->origin + 1 : ".",
						O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);

		if (fd >= 0 && cgroup_dir_enter(fd, getpid()) == 0)
			return;
	}
	cgroup_dir_enter(g->root_fd, getpid());
}

/* Whether we could not leave one of its groups: what is in there must not be killed then. */
static bool holds_us(const struct host_cgroup *cg)
{
	for (size_t i = 0; i < cg->n_groups; i++)
		if (cg->groups[i].dir_fd >= 0 && cgroup_dir_has(cg->groups[i].dir_fd, getpid()))
			return true;
	return false;
}

static void pause_ms(long ms)
{
	nanosleep(&(struct timespec){ .tv_nsec = ms * 1000000 }, NULL);
}

/* How many processes were signalled. */
static size_t kill_group(const struct host_group *g)
{
	size_t count = 0;

	if (g->dir_fd < 0)
		return 0;
	/* All at once, so that none can fork away: v2 since Linux 5.14. */
	if (g->v2)
		file_write_at(g->dir_fd, "cgroup.kill", "1", 1);
	cgroup_dir_signal(g->dir_fd, SIGKILL, &count);
	return count;
}

int host_cgroup_kill(struct host_cgroup *cg)
{
	const struct host_group *freezer = host_cgroup_find(cg, "freezer");
	uint64_t end = clock_ms() + KILL_MS;
	size_t left;

	for (size_t i = 0; i < cg->n_groups; i++)
		leave(&cg->groups[i]);
	if (holds_us(cg))
		return -EBUSY;
	/* v1: what is frozen cannot fork, and dies when it is thawed. */
	if (freezer && !freezer->v2)
		file_write_at(freezer->dir_fd, "freezer.state", "FROZEN", 6);
	for (;;) {
		left = 0;
		for (size_t i = 0; i < cg->n_groups; i++)
			left += kill_group(&cg->groups[i]);
		if (freezer && !freezer->v2)
			file_write_at(freezer->dir_fd, "freezer.state", "THAWED", 6);
		if (!left)
			return 0;
		if (clock_ms() >= end)
			return -ETIMEDOUT;
		pause_ms(5);
	}
}

static int remove_group(struct host_group *g, uint64_t deadline)
{
	int r;

	leave(g);
	while ((r = cgroup_dir_remove(g->root_fd, g->path)) == -EBUSY && clock_ms() < deadline)
		pause_ms(5);
	if (r == 0)
		cgroup_dir_remove_made(g->root_fd, g->path, g->made);
	return r;
}

/* Why a group cannot be removed: the first process in it, for people. */
static void warn_left(const struct host_group *g, int error)
{
	_cleanup_free_ char *pids = NULL, *path = NULL, *name = NULL;
	int pid = 0;

	if (g->dir_fd >= 0 && file_read_at(g->dir_fd, "cgroup.procs", 4096, &pids, NULL) == 0)
		pid = atoi(pids);
	path = str_printf("/proc/%d/comm", pid);
	if (pid && path && file_read(path, 64, &name, NULL) == 0)
		log_warn("cgroup %s%s is left behind: process %d (%.*s) is in it", g->mount_point, g->path, pid,
			 (int)strcspn(name, "\n"), name);
	else
		log_warn("cgroup %s%s is left behind: %s", g->mount_point, g->path, strerror(error));
}

void host_cgroup_free(struct host_cgroup *cg)
{
	uint64_t deadline = clock_ms() + LEAVE_MS;
	bool killed = false;

	if (!cg)
		return;
	for (size_t i = 0; i < cg->n_groups; i++) {
		struct host_group *g = &cg->groups[i];
		int r = remove_group(g, deadline);

		/* Those had time to end by themselves, with a status that somebody waits for. */
		if (r == -EBUSY && !killed) {
			host_cgroup_kill(cg);
			killed = true;
			deadline = clock_ms() + KILL_MS;
			r = remove_group(g, deadline);
		}
		if (r < 0)
			warn_left(g, -r);
	}
	host_cgroup_close(cg);
}

/* ---- for another process ---- */

char *host_cgroup_describe(const struct host_cgroup *cg)
{
	_cleanup_json_ struct json_object *top = json_object_make();
	struct json_object *list = json_array_make();

	json_set_str(top, "path", cg->path);
	for (size_t i = 0; i < cg->n_groups; i++) {
		const struct host_group *g = &cg->groups[i];
		struct json_object *o = json_object_make(), *controllers = json_array_make();

		for (size_t c = 0; c < g->controllers.len; c++)
			json_add_str(controllers, g->controllers.v[c]);
		json_set_bool(o, "v2", g->v2);
		json_set(o, "controllers", controllers);
		json_set_str(o, "mount_point", g->mount_point);
		json_set_str(o, "path", g->path);
		if (g->origin)
			json_set_str(o, "origin", g->origin);
		json_set_u64(o, "made", g->made);
		json_add(list, o);
	}
	json_set(top, "groups", list);
	return json_write(top, false);
}

/* One that is gone meanwhile (dir_fd -1) keeps its place: its ancestors may still be there to be removed. */
static int open_group(struct host_cgroup *cg, struct json_object *o)
{
	const char *mount_point = json_get_str(o, "mount_point"), *path = json_get_str(o, "path");
	struct json_object *controllers = json_get_array(o, "controllers");
	struct host_group *g;
	uint64_t made;
	bool v2;

	if (json_get_bool(o, "v2", &v2) < 0 || json_get_u64(o, "made", &made) < 0 || made > PATH_MAX || !mount_point ||
	    !path || path[0] != '/' || !path[1] || !controllers)
		return -EINVAL;
	g = new_group(cg, v2, mount_point, json_get_str(o, "origin"));
	if (!g)
		return -ENOMEM;
	cg->n_groups++;
	g->made = (unsigned)made;
	g->path = strdup(path);
	for (size_t i = 0; i < json_array_len(controllers); i++) {
		const char *name = json_str(json_array_at(controllers, i));

		if (!name)
			return -EINVAL;
		if (strv_add(&g->controllers, name) < 0)
			return -ENOMEM;
	}
	if (!g->path)
		return -ENOMEM;
	g->root_fd = open(g->mount_point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (g->root_fd >= 0)
		g->dir_fd = openat(g->root_fd, g->path + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return 0;
}

int host_cgroup_open(const char *described, struct host_cgroup **ret, struct err *e)
{
	_cleanup_json_ struct json_object *top = NULL;
	struct host_cgroup *cg = calloc(1, sizeof(*cg));
	struct json_object *list;
	int r;

	if (!cg)
		return out_of_memory(e);
	r = json_parse(described, strlen(described), TEXT_MAX, &top, e);
	if (r < 0) {
		host_cgroup_close(cg);
		err_wrap(e, "description of a cgroup");
		return r;
	}
	list = json_get_array(top, "groups");
	cg->path = strdup(json_get_str(top, "path") ? json_get_str(top, "path") : "");
	r = !cg->path ? -ENOMEM : !list ? -EINVAL : 0;
	for (size_t i = 0; r == 0 && i < json_array_len(list); i++)
		r = open_group(cg, json_array_at(list, i));
	if (r < 0) {
		host_cgroup_close(cg);
		return r == -ENOMEM ? out_of_memory(e)
				    : err_set(e, ERR_SYSTEM, EINVAL, "description of a cgroup: something is missing");
	}
	*ret = cg;
	return 0;
}
