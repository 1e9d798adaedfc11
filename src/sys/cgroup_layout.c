/* SPDX-License-Identifier: Apache-2.0 */
/* See cgroup_layout.h. Formats: proc_pid_mountinfo(5), cgroups(7). */
#include "sys/cgroup_layout.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/fd.h"
#include "sys/mountinfo.h"

#define FILE_MAX (16 << 20) /* a node with thousands of pods has a mountinfo of some MiB */
#define USUAL    "/sys/fs/cgroup"

/* One line of mountinfo that is of a cgroup hierarchy. Points into the text. */
struct mount {
	const char *root, *point, *options; /* options: of the super block: controllers of v1 are among them */
	bool v2;
};

/* ID PARENT MAJOR:MINOR ROOT POINT OPTIONS [FIELD...] - TYPE SOURCE SUPER_OPTIONS */
static bool parse_mount(char *line, struct mount *ret)
{
	char *field[6], *rest = line, *type;

	for (size_t i = 0; i < 6; i++)
		if (!(field[i] = strsep(&rest, " ")))
			return false;
	while ((type = strsep(&rest, " ")) && strcmp(type, "-") != 0)
		;
	type = strsep(&rest, " ");
	if (!type || !strsep(&rest, " ") || !rest || (strcmp(type, "cgroup") != 0 && strcmp(type, "cgroup2") != 0))
		return false;
	mountinfo_unescape(field[3]);
	mountinfo_unescape(field[4]);
	*ret = (struct mount){ .root = field[3], .point = field[4], .options = rest, .v2 = type[6] == '2' };
	return true;
}

/* Is word one of the comma-separated ones of list? */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *p = list; p; p = strchr(p, ','), p += !!p)
		if (!strncmp(p, word, n) && (p[n] == ',' || !p[n]))
			return true;
	return false;
}

static bool is_mount_of(const struct mount *m, bool v2, const struct strv *controllers)
{
	if (v2 || m->v2)
		return v2 && m->v2;
	for (size_t i = 0; i < controllers->len; i++)
		if (!has_word(m->options, controllers->v[i]))
			return false;
	return true;
}

/* The path of this process's group as seen through a mount whose root is `root` of the hierarchy. */
static int own_below(const char *root, const char *path, char **ret)
{
	const char *below = str_eq(root, "/") ? path : str_after(path, root);

	*ret = NULL;
	if (!below || (*below && *below != '/') || strstr(below, "/.."))
		return 0;
	*ret = strdup(*below ? below : "/");
	return *ret ? 0 : -ENOMEM;
}

/* A mount can be hidden by a later one at the same place or above it. */
static bool is_reachable(const char *point)
{
	_cleanup_free_ char *procs = str_printf("%s/cgroup.procs", point);

	return procs && access(procs, F_OK) == 0;
}

static const struct mount *choose(const struct mount *mounts, size_t n, const char *root, bool v2,
				  const struct strv *controllers)
{
	const struct mount *best = NULL;

	for (size_t i = 0; i < n; i++) {
		_cleanup_free_ char *point = str_printf("%s%s", root, mounts[i].point);

		if (!is_mount_of(&mounts[i], v2, controllers) || !point || !is_reachable(point))
			continue;
		/* Of two at one place, the later one is on top. */
		if (!best || str_eq(mounts[i].point, best->point) ||
		    (str_after(mounts[i].point, USUAL) && !str_after(best->point, USUAL)))
			best = &mounts[i];
	}
	return best;
}

/* v2: what can be handed down from its topmost group that is visible here. */
static int read_controllers(const char *mount_point, struct strv *ret)
{
	_cleanup_free_ char *path = str_printf("%s/cgroup.controllers", mount_point), *text = NULL;
	char *rest, *word;

	if (!path)
		return -ENOMEM;
	if (file_read(path, FILE_MAX, &text, NULL) < 0)
		return 0;
	rest = text;
	while ((word = strsep(&rest, " \n")))
		if (*word && strv_add(ret, word) < 0)
			return -ENOMEM;
	return 0;
}

/* ID:CONTROLLERS:PATH. Adds the hierarchy when it is mounted. */
static int add_line(struct cgroup_layout *l, char *line, const struct mount *mounts, size_t n, const char *root)
{
	struct cgroup_hierarchy *grown, h = { 0 };
	char *list, *word, *path = line;
	const char *id = strsep(&path, ":");
	const struct mount *m;
	int r = 0;

	list = strsep(&path, ":");
	if (!path)
		return 0;
	h.v2 = str_eq(id, "0") && !*list;
	while (!h.v2 && (word = strsep(&list, ",")))
		r |= strv_add(&h.controllers, word);
	m = r < 0 ? NULL : choose(mounts, n, root, h.v2, &h.controllers);
	if (!m) {
		strv_fini(&h.controllers);
		return r;
	}
	h.mount_point = str_printf("%s%s", root, m->point);
	r = h.mount_point ? own_below(m->root, path, &h.own) : -ENOMEM;
	if (r == 0 && h.v2)
		r = read_controllers(h.mount_point, &h.controllers);
	grown = realloc(l->v, (l->n + 1) * sizeof(*grown));
	if (grown)
		l->v = grown;
	if (r < 0 || !grown) {
		strv_fini(&h.controllers);
		free(h.mount_point);
		free(h.own);
		return -ENOMEM;
	}
	l->v[l->n++] = h;
	return 0;
}

static int parse_mounts(char *text, struct mount **ret, size_t *ret_n)
{
	_cleanup_free_ struct mount *mounts = NULL;
	size_t n = 0;
	char *line;

	while ((line = strsep(&text, "\n"))) {
		struct mount *grown = realloc(mounts, (n + 1) * sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		mounts = grown;
		n += parse_mount(line, &mounts[n]);
	}
	*ret = take_ptr(mounts);
	*ret_n = n;
	return 0;
}

int cgroup_layout_read(const char *root, struct cgroup_layout *ret, struct err *e)
{
	_cleanup_cgroup_layout_ struct cgroup_layout l = { 0 };
	_cleanup_free_ struct mount *mounts = NULL;
	_cleanup_free_ char *info_path = NULL, *info = NULL, *self_path = NULL, *self = NULL;
	char *rest, *line;
	size_t n;
	int r;

	root = root ? root : "";
	info_path = str_printf("%s/proc/self/mountinfo", root);
	self_path = str_printf("%s/proc/self/cgroup", root);
	if (!info_path || !self_path)
		return err_sys(e, ENOMEM, "find the cgroup hierarchies");
	r = file_read(info_path, FILE_MAX, &info, NULL);
	if (r < 0)
		return err_sys(e, -r, "find the cgroup hierarchies: read %s", info_path);
	r = file_read(self_path, FILE_MAX, &self, NULL);
	if (r < 0 && r != -ENOENT) /* a kernel without cgroups */
		return err_sys(e, -r, "find the cgroup hierarchies: read %s", self_path);
	r = parse_mounts(info, &mounts, &n);
	rest = self;
	while (r == 0 && (line = strsep(&rest, "\n")))
		r = add_line(&l, line, mounts, n, root);
	if (r < 0)
		return err_sys(e, -r, "find the cgroup hierarchies");
	*ret = l;
	l = (struct cgroup_layout){ 0 };
	return 0;
}

void cgroup_layout_fini(struct cgroup_layout *l)
{
	for (size_t i = 0; i < l->n; i++) {
		strv_fini(&l->v[i].controllers);
		free(l->v[i].mount_point);
		free(l->v[i].own);
	}
	free(l->v);
	*l = (struct cgroup_layout){ 0 };
}

const struct cgroup_hierarchy *cgroup_layout_find(const struct cgroup_layout *l, const char *controller)
{
	for (size_t i = 0; i < l->n; i++)
		if (strv_contains(&l->v[i].controllers, controller))
			return &l->v[i];
	return NULL;
}
