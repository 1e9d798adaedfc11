/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/state.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/leftovers.h"

/* Of a pod of many containers, each with a dozen groups (cgroup v1). */
#define STATE_FILE_MAX (1 << 20)
#define ID_MAX         76 /* as containerd has it */

struct state_dir {
	char path[PATH_MAX];
	int lock_fd;
};

void pod_state_fini(struct pod_state *s)
{
	free(s->id);
	free(s->namespace);
	free(s->status);
	free(s->hypervisor);
	free(s->agent_address);
	free(s->command);
	free(s->rootfs);
	free(s->run_dir);
	free(s->netns);
	free(s->cgroup);
	pod_state_clear_containers(s);
	*s = (struct pod_state){ 0 };
}

int pod_state_add_container(struct pod_state *s, const char *id, const char *bundle, const char *cgroup, pid_t pid)
{
	struct pod_state_container *grown = realloc(s->containers, (s->n_containers + 1) * sizeof *grown), *c;

	if (!grown)
		return -ENOMEM;
	s->containers = grown;
	c = &grown[s->n_containers++];
	*c = (struct pod_state_container){
		.id = strdup(id), .bundle = strdup(bundle), .cgroup = strdup(cgroup ? cgroup : ""), .pid = pid
	};
	return c->id && c->bundle && c->cgroup ? 0 : -ENOMEM;
}

bool pod_state_has(const struct pod_state *s, const char *id)
{
	for (size_t i = 0; i < s->n_containers; i++)
		if (str_eq(s->containers[i].id, id))
			return true;
	return false;
}

void pod_state_clear_containers(struct pod_state *s)
{
	for (size_t i = 0; i < s->n_containers; i++) {
		free(s->containers[i].id);
		free(s->containers[i].bundle);
		free(s->containers[i].cgroup);
	}
	free(s->containers);
	s->containers = NULL;
	s->n_containers = 0;
}

/* The root of a user namespace is somebody else outside: rootless podman calls us there. */
static bool is_root_of_the_host(void)
{
	_cleanup_free_ char *map = NULL;
	unsigned inside, outside;

	if (geteuid() != 0)
		return false;
	if (file_read("/proc/self/uid_map", 4096, &map, NULL) < 0 || sscanf(map, "%u %u", &inside, &outside) != 2)
		return true;
	return inside == 0 && outside == 0;
}

const char *state_user_dir(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	return str_empty(runtime) || is_root_of_the_host() ? NULL : runtime;
}

const char *state_default_root(char *buf, size_t size)
{
	const char *runtime = state_user_dir();

	if (runtime)
		snprintf(buf, size, "%s/caisson", runtime);
	else
		snprintf(buf, size, "/run/caisson");
	return buf;
}

int state_check_id(const char *id, struct err *e)
{
	size_t n = strlen(id);

	if (n == 0 || n > ID_MAX || !isalnum((unsigned char)id[0]))
		goto bad;
	for (size_t i = 0; i < n; i++)
		if (!isalnum((unsigned char)id[i]) && !strchr("_.-", id[i]))
			goto bad;
	return 0;
bad:
	return err_set(e, ERR_CONFIG, EINVAL,
		       "\"%s\" cannot be a container id: use 1 to %d letters, digits, '_', '.' or '-', a letter or "
		       "digit first",
		       id, ID_MAX);
}

/* Open (and make, when create) the lock file of a state directory and try to lock it. */
static int try_lock(const char *dir, bool create)
{
	char path[PATH_MAX];
	_cleanup_close_ int fd = -1;

	snprintf(path, sizeof path, "%s/lock", dir);
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (create ? O_CREAT : 0), 0600);
	if (fd < 0)
		return -errno;
	if (flock(fd, LOCK_EX | LOCK_NB) < 0)
		return -errno;
	return take_fd(&fd);
}

/*
 * Making and removing container directories is serialised by a lock on the root folder: between mkdir and its own lock
 * a new directory looks like one that was left behind.
 */
static int lock_root(const char *root)
{
	_cleanup_close_ int fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0 || flock(fd, LOCK_EX) < 0)
		return -errno;
	return take_fd(&fd);
}

/*
 * Under lock_root(). 1: removed what a dead owner left, and what that tells of; 0: alive; negative errno. A directory
 * without lock was never finished.
 */
static int remove_if_dead(const char *root, const char *id)
{
	_cleanup_pod_state_ struct pod_state s = { 0 };
	_cleanup_close_ int fd = -1;
	char dir[PATH_MAX];
	bool alive;
	int r;

	snprintf(dir, sizeof dir, "%s/%s", root, id);
	fd = try_lock(dir, false);
	if (fd == -EWOULDBLOCK)
		return 0;
	if (fd < 0 && fd != -ENOENT)
		return fd;
	if (state_read(root, id, &s, &alive, NULL) == 0)
		leftovers_end(&s);
	r = dir_remove(dir);
	return r < 0 ? r : 1;
}

int state_dir_create(const char *root, const char *id, struct state_dir **ret, struct err *e)
{
	_cleanup_close_ int root_fd = -1;
	struct state_dir *d;
	int r = state_check_id(id, e);

	if (r < 0)
		return r;
	r = dir_make(root, 0711);
	if (r < 0)
		return err_sys(e, -r, "cannot make %s", root);
	root_fd = lock_root(root);
	if (root_fd < 0)
		return err_sys(e, -root_fd, "cannot lock %s", root);
	d = calloc(1, sizeof *d);
	if (!d)
		return err_sys(e, ENOMEM, "cannot keep the state of %s", id);
	snprintf(d->path, sizeof d->path, "%s/%s", root, id);
	for (int attempt = 0; mkdir(d->path, 0711) < 0; attempt++) {
		r = errno == EEXIST && attempt == 0 ? remove_if_dead(root, id) : -errno;
		if (r == 0)
			r = err_set(e, ERR_CONFIG, EEXIST,
				    "a container named %s is running; choose another --name or end it with: caisson "
				    "kill %s",
				    id, id);
		else if (r < 0)
			r = err_sys(e, -r, "cannot make %s", d->path);
		if (r < 0) {
			free(d);
			return r;
		}
	}
	d->lock_fd = try_lock(d->path, true);
	if (d->lock_fd < 0) {
		r = err_sys(e, -d->lock_fd, "cannot lock %s", d->path);
		fd_close(&root_fd);
		state_dir_remove(d);
		return r;
	}
	*ret = d;
	return 0;
}

const char *state_dir_path(const struct state_dir *d)
{
	return d->path;
}

static void add_string(json_object *o, const char *key, const char *value)
{
	json_object_object_add(o, key, json_object_new_string(value ? value : ""));
}

static json_object *containers_to_json(const struct pod_state *s)
{
	json_object *list = json_object_new_array();

	for (size_t i = 0; i < s->n_containers; i++) {
		json_object *o = json_object_new_object();

		add_string(o, "id", s->containers[i].id);
		add_string(o, "bundle", s->containers[i].bundle);
		add_string(o, "cgroup", s->containers[i].cgroup);
		json_object_object_add(o, "pid", json_object_new_int(s->containers[i].pid));
		json_object_array_add(list, o);
	}
	return list;
}

int state_dir_write(struct state_dir *d, const struct pod_state *s, struct err *e)
{
	json_object *o = json_object_new_object();
	char path[PATH_MAX];
	const char *text;
	int r;

	snprintf(path, sizeof path, "%s/state.json", d->path);
	add_string(o, "id", s->id);
	add_string(o, "namespace", s->namespace);
	add_string(o, "status", s->status);
	add_string(o, "hypervisor", s->hypervisor);
	add_string(o, "agent_address", s->agent_address);
	add_string(o, "command", s->command);
	add_string(o, "rootfs", s->rootfs);
	add_string(o, "run_dir", s->run_dir);
	add_string(o, "netns", s->netns);
	add_string(o, "cgroup", s->cgroup);
	json_object_object_add(o, "containers", containers_to_json(s));
	json_object_object_add(o, "pid", json_object_new_int(s->pid));
	json_object_object_add(o, "created", json_object_new_int64(s->created));
	json_object_object_add(o, "terminal", json_object_new_boolean(s->terminal));
	text = json_object_to_json_string_ext(o, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE);
	r = text ? file_replace(path, text, strlen(text), 0600) : -ENOMEM;
	json_object_put(o);
	return r < 0 ? err_sys(e, -r, "cannot write %s", path) : 0;
}

void state_dir_remove(struct state_dir *d)
{
	_cleanup_free_ char *root = NULL;
	_cleanup_close_ int root_fd = -1;
	int r;

	if (!d)
		return;
	root = strndup(d->path, (size_t)(strrchr(d->path, '/') - d->path));
	root_fd = root ? lock_root(root) : -ENOMEM; /* without, somebody may come between: better than to leave it */
	r = dir_remove(d->path);
	if (r < 0)
		log_warn("cannot remove %s: %s; caisson list --prune will try again", d->path, strerror(-r));
	fd_close(&d->lock_fd);
	free(d);
}

static char *get_string(json_object *o, const char *key)
{
	json_object *v;

	if (!json_object_object_get_ex(o, key, &v) || !json_object_is_type(v, json_type_string))
		return strdup("");
	return strdup(json_object_get_string(v));
}

static int64_t get_int(json_object *o, const char *key)
{
	json_object *v;

	return json_object_object_get_ex(o, key, &v) ? json_object_get_int64(v) : 0;
}

static int read_containers(json_object *o, struct pod_state *ret)
{
	json_object *list;

	if (!json_object_object_get_ex(o, "containers", &list) || !json_object_is_type(list, json_type_array))
		return 0;
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		json_object *c = json_object_array_get_idx(list, i);
		_cleanup_free_ char *id = get_string(c, "id"), *bundle = get_string(c, "bundle"),
				    *cgroup = get_string(c, "cgroup");

		if (!id || !bundle || !cgroup ||
		    pod_state_add_container(ret, id, bundle, cgroup, (pid_t)get_int(c, "pid")) < 0)
			return -ENOMEM;
	}
	return 0;
}

int state_read(const char *root, const char *id, struct pod_state *ret, bool *ret_alive, struct err *e)
{
	char dir[PATH_MAX], path[PATH_MAX + 16];
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int fd = -1;
	json_object *o;
	int r = state_check_id(id, e);

	if (r < 0)
		return r;
	snprintf(dir, sizeof dir, "%s/%s", root, id);
	snprintf(path, sizeof path, "%s/state.json", dir);
	r = file_read(path, STATE_FILE_MAX, &text, NULL);
	if (r == -ENOENT)
		return err_set(e, ERR_CONFIG, ENOENT, "no container named %s; see: caisson list", id);
	if (r < 0)
		return err_sys(e, -r, "cannot read %s", path);
	o = json_tokener_parse(text);
	if (!o)
		return err_set(e, ERR_SYSTEM, EIO, "%s is damaged; caisson list --prune removes what is left of %s",
			       path, id);
	*ret = (struct pod_state){
		.id = strdup(id),
		.namespace = get_string(o, "namespace"),
		.status = get_string(o, "status"),
		.hypervisor = get_string(o, "hypervisor"),
		.agent_address = get_string(o, "agent_address"),
		.command = get_string(o, "command"),
		.rootfs = get_string(o, "rootfs"),
		.run_dir = get_string(o, "run_dir"),
		.netns = get_string(o, "netns"),
		.cgroup = get_string(o, "cgroup"),
		.pid = (pid_t)get_int(o, "pid"),
		.created = get_int(o, "created"),
		.terminal = get_int(o, "terminal") != 0,
	};
	r = read_containers(o, ret);
	json_object_put(o);
	if (r < 0 || !ret->id || !ret->namespace || !ret->status || !ret->hypervisor || !ret->agent_address ||
	    !ret->command || !ret->rootfs || !ret->run_dir || !ret->netns || !ret->cgroup) {
		pod_state_fini(ret);
		return err_sys(e, ENOMEM, "cannot read %s", path);
	}
	fd = try_lock(dir, false);
	*ret_alive = fd == -EWOULDBLOCK;
	return 0;
}

bool state_dir_is_held(const char *root, const char *id)
{
	_cleanup_close_ int fd = -1;
	char dir[PATH_MAX];

	snprintf(dir, sizeof dir, "%s/%s", root, id);
	fd = try_lock(dir, false);
	return fd == -EWOULDBLOCK;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int state_list(const char *root, struct strv *ret, struct err *e)
{
	_cleanup_closedir_ DIR *d = opendir(root);
	struct dirent *entry;

	if (!d)
		return errno == ENOENT ? 0 : err_sys(e, errno, "cannot list %s", root);
	while ((entry = readdir(d)))
		if (isalnum((unsigned char)entry->d_name[0]) && strv_add(ret, entry->d_name) < 0)
			return err_sys(e, ENOMEM, "cannot list %s", root);
	if (ret->len)
		qsort(ret->v, ret->len, sizeof *ret->v, by_name);
	return 0;
}

int state_remove_dead(const char *root, const char *id, struct err *e)
{
	_cleanup_close_ int root_fd = -1;
	int r;

	/* Nobody makes a directory of such a name. */
	if (state_check_id(id, NULL) < 0)
		return 0;
	root_fd = lock_root(root);
	if (root_fd < 0)
		return root_fd == -ENOENT ? 0 : err_sys(e, -root_fd, "cannot lock %s", root);
	r = remove_if_dead(root, id);
	if (r == 0)
		return err_set(e, ERR_CONFIG, EBUSY, "the owner of %s lives", id);
	return r < 0 ? err_sys(e, -r, "cannot remove %s/%s", root, id) : 0;
}

int state_prune(const char *root, struct strv *ret_removed, struct err *e)
{
	_cleanup_strv_ struct strv ids = { 0 };
	_cleanup_close_ int root_fd = lock_root(root);
	int r;

	if (root_fd < 0)
		return root_fd == -ENOENT ? 0 : err_sys(e, -root_fd, "cannot lock %s", root);
	r = state_list(root, &ids, e);
	for (size_t i = 0; r == 0 && i < ids.len; i++) {
		int removed = remove_if_dead(root, ids.v[i]);

		if (removed < 0)
			r = err_sys(e, -removed, "cannot remove %s/%s", root, ids.v[i]);
		else if (removed > 0 && strv_add(ret_removed, ids.v[i]) < 0)
			r = err_sys(e, ENOMEM, "cannot prune %s", root);
	}
	return r;
}
