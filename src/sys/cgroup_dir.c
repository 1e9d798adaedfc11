/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroup_dir.h. */
#include "sys/cgroup_dir.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"

#define FILE_MAX  (1 << 20) /* cgroup.procs of a group with very many processes */
#define DEPTH_MAX 32 /* groups inside groups; the kernel's cgroup.max.depth is higher, but nobody nests so deep */

/* ---- making ---- */

/*
 * Hand every controller down. What cannot be handed down is found out, and reported with its name, when a limit of that
 * controller is set.
 */
static void enable_controllers(int dir_fd)
{
	_cleanup_free_ char *list = NULL;
	_cleanup_buf_ struct buf all = { 0 };
	char *rest, *word;

	if (file_read_at(dir_fd, "cgroup.controllers", FILE_MAX, &list, NULL) < 0)
		return; /* v1 */
	rest = list;
	while ((word = strsep(&rest, " \n")))
		if (*word && buf_printf(&all, "%s+%s", all.len ? " " : "", word) < 0)
			return;
	if (!all.len || file_write_at(dir_fd, "cgroup.subtree_control", all.data, all.len) == 0)
		return;
	rest = all.data;
	while ((word = strsep(&rest, " ")))
		file_write_at(dir_fd, "cgroup.subtree_control", word, strlen(word));
}

/* cgroup-v1/cpusets.rst: cpus and mems begin empty, and tasks may enter only when both are not. */
static void inherit_cpuset(int parent_fd, int child_fd)
{
	static const char *const files[] = { "cpuset.cpus", "cpuset.mems" };

	if (faccessat(parent_fd, "cgroup.controllers", F_OK, 0) == 0)
		return; /* v2: empty means the parent's */
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		_cleanup_free_ char *mine = NULL, *value = NULL;
		size_t n;

		if (file_read_at(child_fd, files[i], FILE_MAX, &mine, NULL) < 0 || *mine != '\n')
			continue;
		if (file_read_at(parent_fd, files[i], FILE_MAX, &value, &n) == 0)
			file_write_at(child_fd, files[i], value, n);
	}
}

/* The group called name, made if need be; *made: whether it was. A descriptor, or -errno. */
static int make_child(int parent_fd, const char *name, bool *made)
{
	int fd;

	enable_controllers(parent_fd);
	*made = mkdirat(parent_fd, name, 0755) == 0;
	if (!*made && errno != EEXIST)
		return -errno;
	fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	inherit_cpuset(parent_fd, fd);
	return fd;
}

int cgroup_dir_make(int root_fd, const char *path, unsigned *ret_made, struct err *e)
{
	_cleanup_free_ char *copy = strdup(path);
	_cleanup_close_ int fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 3);
	_cleanup_buf_ struct buf done = { 0 };
	char *rest = copy, *word;
	unsigned n_made = 0;

	if (!copy || fd < 0)
		return err_sys(e, copy ? errno : ENOMEM, "create cgroup %s", path);
	while ((word = strsep(&rest, "/"))) {
		bool made;
		int child;

		if (!*word)
			continue;
		if (buf_printf(&done, "/%s", word) < 0) {
			cgroup_dir_remove_made(root_fd, done.data, n_made);
			return err_sys(e, ENOMEM, "create cgroup %s", path);
		}
		child = make_child(fd, word, &made);
		n_made += made;
		if (child < 0) {
			if (!made)
				*strrchr(done.data, '/') = '\0';
			cgroup_dir_remove_made(root_fd, done.data, n_made);
			return err_sys(e, -child, "create cgroup %s at %s", path, word);
		}
		close(fd);
		fd = child;
	}
	if (ret_made)
		*ret_made = n_made;
	return take_fd(&fd);
}

/* ---- processes ---- */

int cgroup_dir_enter(int dir_fd, pid_t pid)
{
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", pid);

	return file_write_at(dir_fd, "cgroup.procs", text, (size_t)n);
}

bool cgroup_dir_has(int dir_fd, pid_t pid)
{
	_cleanup_free_ char *procs = NULL;
	char *rest, *line;
	uint64_t member;

	if (file_read_at(dir_fd, "cgroup.procs", FILE_MAX, &procs, NULL) < 0)
		return false;
	rest = procs;
	while ((line = strsep(&rest, "\n")))
		if (str_to_u64(line, 10, &member) == 0 && member == (uint64_t)pid)
			return true;
	return false;
}

typedef void (*child_fn)(int parent_fd, int child_fd, const char *name, void *userdata);

static void each_child(int dir_fd, child_fn fn, void *userdata)
{
	int copy = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_closedir_ DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *entry;

	if (!d && copy >= 0)
		close(copy);
	while (d && (entry = readdir(d))) {
		_cleanup_close_ int child = -1;

		if (entry->d_type != DT_DIR || entry->d_name[0] == '.')
			continue;
		child = openat(dir_fd, entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (child >= 0)
			fn(dir_fd, child, entry->d_name, userdata);
	}
}

struct signal_all {
	int signo, depth;
	size_t *count;
};

static int signal_members(int dir_fd, struct signal_all *s);

static void signal_child(int parent_fd, int child_fd, const char *name, void *userdata)
{
	signal_members(child_fd, userdata);
}

static int signal_members(int dir_fd, struct signal_all *s)
{
	_cleanup_free_ char *procs = NULL;
	int r = file_read_at(dir_fd, "cgroup.procs", FILE_MAX, &procs, NULL);
	char *rest = procs, *line;
	uint64_t pid;

	while (r == 0 && (line = strsep(&rest, "\n")))
		/* 0 is a process outside our PID namespace; kill(0) would be ourselves. */
		if (str_to_u64(line, 10, &pid) == 0 && pid > 1 && pid <= INT32_MAX && kill((pid_t)pid, s->signo) == 0)
			++*s->count;
	if (++s->depth < DEPTH_MAX)
		each_child(dir_fd, signal_child, s);
	s->depth--;
	return r;
}

int cgroup_dir_signal(int dir_fd, int signo, size_t *count)
{
	return signal_members(dir_fd, &(struct signal_all){ .signo = signo, .count = count });
}

/* ---- reading ---- */

int cgroup_dir_u64(int dir_fd, const char *file, uint64_t *ret)
{
	_cleanup_free_ char *text = NULL;
	int r = file_read_at(dir_fd, file, FILE_MAX, &text, NULL);

	if (r < 0)
		return r;
	text[strcspn(text, "\n")] = '\0';
	if (str_eq(text, "max")) {
		*ret = UINT64_MAX;
		return 0;
	}
	return str_to_u64(text, 10, ret);
}

void cgroup_dir_keys(int dir_fd, const char *file, const struct cgroup_key *keys, size_t n)
{
	_cleanup_free_ char *text = NULL;
	char *rest, *line;

	for (size_t i = 0; i < n; i++)
		*keys[i].value = 0;
	if (file_read_at(dir_fd, file, FILE_MAX, &text, NULL) < 0)
		return;
	rest = text;
	while ((line = strsep(&rest, "\n")))
		for (size_t i = 0; i < n; i++) {
			const char *v = str_after(line, keys[i].key);

			if (v && *v == ' ')
				(void)str_to_u64(v + 1, 10, keys[i].value);
		}
}

uint64_t cgroup_dir_key(int dir_fd, const char *file, const char *key)
{
	uint64_t value;

	cgroup_dir_keys(dir_fd, file, &(struct cgroup_key){ key, &value }, 1);
	return value;
}

/* ---- removing ---- */

static void remove_child(int parent_fd, int child_fd, const char *name, void *userdata)
{
	int *depth = userdata;

	if (++*depth < DEPTH_MAX)
		each_child(child_fd, remove_child, depth);
	--*depth;
	unlinkat(parent_fd, name, AT_REMOVEDIR);
}

void cgroup_dir_remove_below(int dir_fd)
{
	each_child(dir_fd, remove_child, &(int){ 0 });
}

void cgroup_dir_remove_made(int root_fd, const char *path, unsigned made)
{
	_cleanup_free_ char *copy = strdup(path);
	char *slash;

	for (; copy && made && (slash = strrchr(copy, '/')); made--) {
		if (unlinkat(root_fd, copy + 1, AT_REMOVEDIR) < 0 && errno != ENOENT)
			return;
		*slash = '\0';
	}
}

int cgroup_dir_remove(int root_fd, const char *path)
{
	_cleanup_close_ int fd = -1;

	path += strspn(path, "/");
	if (unlinkat(root_fd, path, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	fd = openat(root_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return -errno;
	cgroup_dir_remove_below(fd);
	return unlinkat(root_fd, path, AT_REMOVEDIR) < 0 ? -errno : 0;
}
