/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroup.h. */
#include "sys/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "sys/cgroup_dir.h"
#include "sys/cgroup_internal.h"
#include "sys/inroot.h"

#define FILE_MAX (1 << 20) /* cgroup.procs of a group with very many processes */

static int append_component(struct buf *b, const char *name)
{
	if (!*name || str_eq(name, ".") || str_eq(name, ".."))
		return 0;
	return buf_printf(b, "/%s", name);
}

char *cgroup_path_from_spec(const char *spec_path, const char *id)
{
	_cleanup_free_ char *copy = strdup(spec_path);
	_cleanup_buf_ struct buf b = { 0 };
	char *rest = copy, *word, *colon;

	if (!copy)
		return NULL;
	/* systemd's form, as kubelet and podman send it: exactly two colons and no slash in front of them. */
	colon = strchr(copy, ':');
	if (colon && !strchr(copy, '/') && strchr(colon + 1, ':') && !strchr(strchr(colon + 1, ':') + 1, ':')) {
		char *slice = strsep(&rest, ":"), *prefix = strsep(&rest, ":");

		if (append_component(&b, *slice ? slice : "system.slice") < 0 ||
		    buf_printf(&b, "/%s%s%s", prefix, *prefix ? "-" : "", *rest ? rest : id) < 0)
			return NULL;
		return buf_take(&b);
	}
	while ((word = strsep(&rest, "/")))
		if (append_component(&b, word) < 0)
			return NULL;
	if (!b.len && buf_printf(&b, "/kata/%s", id) < 0)
		return NULL;
	return buf_take(&b);
}

int cgroup_create(const char *root, const char *path, struct cgroup **ret, struct err *e)
{
	struct cgroup *cg = calloc(1, sizeof(*cg));
	_cleanup_free_ char *procs = NULL;
	int r;

	if (!cg)
		return err_sys(e, ENOMEM, "create cgroup");
	cg->root_fd = cg->dir_fd = cg->devices_fd = -1;
	cg->root = strdup(root);
	cg->path = strdup(path);
	if (!cg->root || !cg->path) {
		cgroup_free(cg);
		return err_sys(e, ENOMEM, "create cgroup");
	}
	cg->root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (cg->root_fd >= 0 && faccessat(cg->root_fd, "cgroup.controllers", F_OK, 0) < 0)
		fd_close(&cg->root_fd); /* something else is mounted there */
	if (cg->root_fd < 0) {
		*ret = cg;
		return 0;
	}
	cg->dir_fd = cgroup_dir_make(cg->root_fd, cg->path, NULL, e);
	r = cg->dir_fd < 0 ? cg->dir_fd : 0;
	if (r == 0 && cgroup_read(cg, "cgroup.procs", &procs) == 0 && *procs) {
		r = err_set(e, ERR_SYSTEM, EBUSY, "cgroup %s is in use by other processes", path);
		fd_close(&cg->dir_fd); /* not ours to remove */
	}
	if (r < 0) {
		cgroup_free(cg);
		return r;
	}
	*ret = cg;
	return 0;
}

void cgroup_free(struct cgroup *cg)
{
	if (!cg)
		return;
	if (cg->dir_fd >= 0) {
		_cleanup_free_ char *path = strdup(cg->path);
		char *slash;

		cgroup_dir_remove_below(cg->dir_fd);
		/* rmdir(2) refuses what still has processes or other groups: that is where we stop. */
		while (path && (slash = strrchr(path, '/')) && path[1]) {
			if (unlinkat(cg->root_fd, path + 1, AT_REMOVEDIR) < 0)
				break;
			*slash = '\0';
		}
	}
	fd_close(&cg->devices_fd);
	fd_close(&cg->dir_fd);
	fd_close(&cg->root_fd);
	free(cg->root);
	free(cg->path);
	free(cg);
}

int cgroup_dir_fd(const struct cgroup *cg)
{
	return cg->dir_fd;
}

const char *cgroup_path(const struct cgroup *cg)
{
	return cg->path;
}

int cgroup_set(struct cgroup *cg, const char *controller, const char *file, const char *value, struct err *e)
{
	int r;

	if (cg->dir_fd < 0)
		return err_set(e, ERR_SYSTEM, EOPNOTSUPP,
			       "cannot limit %s: no cgroup v2 hierarchy with that controller is mounted at %s",
			       controller, cg->root);
	r = file_write_at(cg->dir_fd, file, value, strlen(value));
	if (r == -ENOENT)
		return err_set(e, ERR_SYSTEM, EOPNOTSUPP,
			       "cannot set %s: cgroup v2 controller %s is not available (kernel configuration or "
			       "command line)",
			       file, controller);
	return r < 0 ? err_sys(e, -r, "set %s of cgroup %s to \"%s\"", file, cg->path, value) : 0;
}

bool cgroup_has(const struct cgroup *cg, const char *file)
{
	return cg->dir_fd >= 0 && faccessat(cg->dir_fd, file, F_OK, 0) == 0;
}

int cgroup_read(const struct cgroup *cg, const char *file, char **ret)
{
	return cg->dir_fd < 0 ? -EOPNOTSUPP : file_read_at(cg->dir_fd, file, FILE_MAX, ret, NULL);
}

int cgroup_read_u64(const struct cgroup *cg, const char *file, uint64_t *ret)
{
	return cg->dir_fd < 0 ? -EOPNOTSUPP : cgroup_dir_u64(cg->dir_fd, file, ret);
}

uint64_t cgroup_read_key(const struct cgroup *cg, const char *file, const char *key)
{
	return cgroup_dir_key(cg->dir_fd, file, key);
}

void cgroup_read_keys(const struct cgroup *cg, const char *file, const struct cgroup_key *keys, size_t n)
{
	cgroup_dir_keys(cg->dir_fd, file, keys, n);
}

/* cgroup.events tells of changes by POLLPRI. */
static int wait_event(struct cgroup *cg, const char *key, uint64_t wanted, int timeout_ms)
{
	_cleanup_close_ int fd = openat(cg->dir_fd, "cgroup.events", O_RDONLY | O_CLOEXEC);
	uint64_t end = clock_ms() + (uint64_t)timeout_ms;

	if (fd < 0)
		return -errno;
	for (;;) {
		struct pollfd p = { .fd = fd, .events = POLLPRI };
		char byte[512];
		uint64_t now;

		/* Reading arms the notification; the value is looked at afterwards, so that no change is missed. */
		if (pread(fd, byte, sizeof(byte), 0) < 0)
			return -errno;
		if (cgroup_read_key(cg, "cgroup.events", key) == wanted)
			return 0;
		now = clock_ms();
		if (now >= end)
			return -ETIMEDOUT;
		if (poll(&p, 1, (int)(end - now)) < 0 && errno != EINTR)
			return -errno;
	}
}

int cgroup_freeze(struct cgroup *cg, bool freeze, int timeout_ms, struct err *e)
{
	int r = cgroup_set(cg, "freezer", "cgroup.freeze", freeze ? "1" : "0", e);

	if (r < 0)
		return r;
	r = wait_event(cg, "frozen", freeze, timeout_ms);
	if (r == 0)
		return 0;
	if (freeze)
		cgroup_set(cg, "freezer", "cgroup.freeze", "0", NULL);
	return err_sys(e, -r, "%s cgroup %s", freeze ? "freeze" : "thaw", cg->path);
}

int cgroup_kill(struct cgroup *cg)
{
	int r = cg->dir_fd < 0 ? -EOPNOTSUPP : file_write_at(cg->dir_fd, "cgroup.kill", "1", 1);

	return r == -ENOENT ? cgroup_signal_all(cg, SIGKILL, NULL) : r; /* before Linux 5.14 */
}

int cgroup_signal_all(struct cgroup *cg, int signo, size_t *ret_count)
{
	size_t count = 0;
	int r = cg->dir_fd < 0 ? -EOPNOTSUPP : cgroup_dir_signal(cg->dir_fd, signo, &count);

	if (r == 0 && ret_count)
		*ret_count = count;
	return r;
}

int cgroup_wait_empty(struct cgroup *cg, int timeout_ms)
{
	return cg->dir_fd < 0 ? -EOPNOTSUPP : wait_event(cg, "populated", 0, timeout_ms);
}

int cgroup_watch_memory(const struct cgroup *cg)
{
	_cleanup_close_ int fd = -1, file = -1;

	if (cg->dir_fd < 0)
		return -EOPNOTSUPP;
	file = openat(cg->dir_fd, "memory.events", O_PATH | O_CLOEXEC);
	if (file < 0)
		return -errno;
	fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	if (fd < 0 || inotify_add_watch(fd, fd_path(file).text, IN_MODIFY) < 0)
		return -errno;
	return take_fd(&fd);
}
