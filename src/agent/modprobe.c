// SPDX-License-Identifier: Apache-2.0
#include "agent/modprobe.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <linux/module.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/fd.h"

#define LIST_MAX (4 << 20)

bool modprobe_called(const char *argv0)
{
	const char *slash = argv0 ? strrchr(argv0, '/') : NULL;

	return argv0 && str_eq(slash ? slash + 1 : argv0, "modprobe");
}

/* A file name's '-' and '_' mean the same, and the kernel asks with either. */
static void normalise(char *name)
{
	for (; *name; name++)
		if (*name == '-')
			*name = '_';
}

/* "kernel/fs/fuse/virtiofs.ko" → "virtiofs" */
static void module_name(const char *path, char *ret, size_t size)
{
	const char *slash = strrchr(path, '/');

	snprintf(ret, size, "%s", slash ? slash + 1 : path);
	ret[strcspn(ret, ".")] = '\0';
	normalise(ret);
}

static int add_once(struct strv *list, const char *path)
{
	for (size_t i = 0; i < list->len; i++)
		if (str_eq(list->v[i], path))
			return 0;
	return strv_add(list, path);
}

/* One line of modules.dep, "PATH: DEPENDENCY…", what must be loaded first stands last. Changes the line. */
static int add_line(char *path, char *dependencies, struct strv *ret)
{
	int r = 0;

	while (r == 0 && *dependencies) {
		char *space = strrchr(dependencies, ' ');
		const char *last = space ? space + 1 : dependencies;

		if (*last)
			r = add_once(ret, last);
		if (!space)
			break;
		*space = '\0';
	}
	return r < 0 ? r : add_once(ret, path);
}

static int find_module(const char *dep, const char *name, struct strv *ret)
{
	_cleanup_free_ char *text = strdup(dep);
	char *next = NULL;

	if (!text)
		return -ENOMEM;
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		char *colon = strchr(line, ':'), found[128];

		if (!colon)
			continue;
		*colon = '\0';
		module_name(line, found, sizeof found);
		if (str_eq(found, name))
			return add_line(line, colon + 1 + strspn(colon + 1, " "), ret);
	}
	return -ENOENT;
}

static int find_alias(const char *aliases, const char *dep, const char *name, struct strv *ret)
{
	_cleanup_free_ char *text = strdup(aliases);
	char *next = NULL;
	int found = -ENOENT;

	if (!text)
		return -ENOMEM;
	for (char *line = strtok_r(text, "\n", &next); line; line = strtok_r(NULL, "\n", &next)) {
		char *words = NULL, *pattern, *module;
		int r;

		if (!str_eq(strtok_r(line, " ", &words), "alias"))
			continue;
		pattern = strtok_r(NULL, " ", &words);
		module = strtok_r(NULL, " ", &words);
		if (!pattern || !module)
			continue;
		/* A '-' in brackets is a range; nowhere else does it matter which of the two it is. */
		if (!strchr(pattern, '['))
			normalise(pattern);
		if (fnmatch(pattern, name, 0) != 0)
			continue;
		normalise(module);
		r = find_module(dep, module, ret);
		if (r == 0)
			found = 0;
		else if (r != -ENOENT)
			return r;
	}
	return found;
}

int modprobe_resolve(const char *dir, const char *name, struct strv *ret)
{
	_cleanup_free_ char *dep = NULL, *aliases = NULL, *path = str_printf("%s/modules.dep", dir);
	char wanted[256];
	int r;

	if (strlen(name) >= sizeof wanted)
		return -ENAMETOOLONG;
	strcpy(wanted, name);
	normalise(wanted);
	if (!path)
		return -ENOMEM;
	r = file_read(path, LIST_MAX, &dep, NULL);
	if (r < 0)
		return r;
	r = find_module(dep, wanted, ret);
	if (r != -ENOENT)
		return r;
	free(path);
	path = str_printf("%s/modules.alias", dir);
	if (!path)
		return -ENOMEM;
	return file_read(path, LIST_MAX, &aliases, NULL) < 0 ? -ENOENT : find_alias(aliases, dep, wanted, ret);
}

/* Full paths of files in dir. *ret_all: each of them is there. */
static int add_paths(const char *dir, const struct strv *files, struct strv *ret, bool *ret_all)
{
	*ret_all = true;
	for (size_t i = 0; i < files->len; i++) {
		int r = strv_addf(ret, "%s/%s", dir, files->v[i]);

		if (r < 0)
			return r;
		*ret_all &= access(ret->v[ret->len - 1], R_OK) == 0;
	}
	return 0;
}

int modprobe_find(const char *const *dirs, size_t n, const char *name, struct strv *ret)
{
	_cleanup_strv_ struct strv some = { 0 };
	int first = 0;

	for (size_t i = 0; i < n; i++) {
		_cleanup_strv_ struct strv files = { 0 }, paths = { 0 };
		bool all;
		int r = modprobe_resolve(dirs[i], name, &files);

		if (i == 0)
			first = r;
		if (r < 0)
			continue;
		r = add_paths(dirs[i], &files, &paths, &all);
		if (r < 0)
			return r;
		if (all || !some.len) {
			strv_fini(&some);
			some = paths;
			paths = (struct strv){ 0 };
		}
		if (all)
			break;
	}
	if (!some.len)
		return first < 0 ? first : -ENOENT;
	*ret = some;
	some = (struct strv){ 0 };
	return 0;
}

static int load(const char *path, const char *parameters)
{
	/* Distributions pack them (.ko.xz, .ko.zst), and the kernel unpacks them (CONFIG_MODULE_DECOMPRESS). */
	int flags = str_endswith(path, ".ko") ? 0 : MODULE_INIT_COMPRESSED_FILE;
	_cleanup_close_ int fd = -1;
	char name[128], loaded[160];

	/* The kernel would find out as well, but only once it has read and checked all of the file. */
	module_name(path, name, sizeof name);
	snprintf(loaded, sizeof loaded, "/sys/module/%s/initstate", name);
	if (access(loaded, F_OK) == 0)
		return 0;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	return syscall(SYS_finit_module, fd, parameters, flags) < 0 && errno != EEXIST ? -errno : 0;
}

/* Modules that share an alias are tried one after the other: one that has nothing to do here does not stop the rest. */
static int load_all(const struct strv *paths, const char *parameters, bool quiet)
{
	int first = 0;

	for (size_t i = 0; i < paths->len; i++) {
		int r = load(paths->v[i], i + 1 == paths->len ? parameters : "");

		if (r < 0 && !quiet)
			fprintf(stderr, "modprobe: %s: %s\n", paths->v[i], strerror(-r));
		if (r < 0 && first == 0)
			first = r;
	}
	return first;
}

int modprobe_load(const char *name, const char *parameters, bool quiet)
{
	_cleanup_free_ char *own = NULL, *shared = NULL;
	_cleanup_strv_ struct strv paths = { 0 };
	struct utsname host;
	int r;

	uname(&host);
	own = str_printf("/lib/modules/%s", host.release);
	shared = str_printf(MODPROBE_SHARED_DIR "/%s", host.release);
	r = own && shared ? modprobe_find((const char *[]){ own, shared }, 2, name, &paths) : -ENOMEM;
	if (r < 0) {
		if (!quiet)
			fprintf(stderr, "modprobe: no module %s in %s: %s\n", name, own ? own : "memory", strerror(-r));
		return r;
	}
	return load_all(&paths, parameters, quiet);
}

int modprobe_main(int argc, char **argv)
{
	char parameters[1024] = "";
	bool quiet = false;
	int i;

	for (i = 1; i < argc && argv[i][0] == '-'; i++) {
		quiet |= str_eq(argv[i], "-q") || str_eq(argv[i], "-qb") || str_eq(argv[i], "--quiet");
		if (str_eq(argv[i], "--")) {
			i++;
			break;
		}
	}
	if (i >= argc) {
		fprintf(stderr, "usage: modprobe [-q] [--] NAME [PARAMETER...]\n");
		return 2;
	}
	for (int p = i + 1; p < argc; p++) {
		size_t n = strlen(parameters);

		if (snprintf(parameters + n, sizeof parameters - n, "%s%s", n ? " " : "", argv[p]) >=
		    (int)(sizeof parameters - n)) {
			fprintf(stderr, "modprobe: the parameters of %s are too long\n", argv[i]);
			return 1;
		}
	}
	return modprobe_load(argv[i], parameters, quiet) < 0;
}
