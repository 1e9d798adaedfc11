// SPDX-License-Identifier: Apache-2.0
#include "agent/guest_hooks.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/strv.h"

#define HOOKS_MAX 64 /* in one folder */

static int add_hook(Grpc__Hook ***list, size_t *n, const char *path)
{
	Grpc__Hook **grown = reallocarray(*list, *n + 1, sizeof **list), *hook;

	if (!grown)
		return -ENOMEM;
	*list = grown;
	hook = malloc(sizeof *hook);
	if (!hook)
		return -ENOMEM;
	grpc__hook__init(hook);
	grown[(*n)++] = hook;
	hook->path = strdup(path);
	hook->args = calloc(1, sizeof *hook->args);
	if (!hook->path || !hook->args)
		return -ENOMEM;
	hook->args[0] = strdup(path);
	if (!hook->args[0])
		return -ENOMEM;
	hook->n_args = 1;
	return 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int add_folder(Grpc__Hook ***list, size_t *n, const char *dir, const char *kind)
{
	_cleanup_free_ char *folder = str_printf("%s/%s", dir, kind);
	_cleanup_closedir_ DIR *d = folder ? opendir(folder) : NULL;
	_cleanup_strv_ struct strv names = { 0 };
	struct dirent *de;
	int r = folder ? 0 : -ENOMEM;

	while (d && r == 0 && (de = readdir(d)))
		if (de->d_name[0] != '.')
			r = names.len == HOOKS_MAX ? -E2BIG : strv_add(&names, de->d_name);
	if (names.len)
		qsort(names.v, names.len, sizeof *names.v, by_name);
	for (size_t i = 0; i < names.len && r == 0; i++) {
		_cleanup_free_ char *path = str_printf("%s/%s", folder, names.v[i]);
		struct stat st;

		if (!path)
			return -ENOMEM;
		if (stat(path, &st) == 0 && S_ISREG(st.st_mode) && access(path, X_OK) == 0)
			r = add_hook(list, n, path);
	}
	return r;
}

int guest_hooks_add(Grpc__Spec *spec, const char *dir, struct err *e)
{
	int r;

	if (dir[0] != '/')
		return err_set(e, ERR_PROTOCOL, EINVAL, "guest hook path \"%.128s\" is not absolute", dir);
	if (!spec->hooks) {
		spec->hooks = malloc(sizeof *spec->hooks);
		if (!spec->hooks)
			return err_sys(e, ENOMEM, "cannot add guest hooks");
		grpc__hooks__init(spec->hooks);
	}
	r = add_folder(&spec->hooks->prestart, &spec->hooks->n_prestart, dir, "prestart");
	if (r == 0)
		r = add_folder(&spec->hooks->poststart, &spec->hooks->n_poststart, dir, "poststart");
	if (r == 0)
		r = add_folder(&spec->hooks->poststop, &spec->hooks->n_poststop, dir, "poststop");
	return r < 0 ? err_sys(e, -r, "cannot add the guest hooks in %.128s", dir) : 0;
}
