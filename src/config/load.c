/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loading a configuration: find the main file, read it and the drop-ins beside it into one tree, have the tree and the
 * annotations laid over the defaults.
 *
 * The search order is Kata's (Rust runtime, then Go runtime, in each directory), with our own two files in front. The
 * files are trusted: who can write them is root already. Annotations come from whoever made the pod; see annotation.c.
 */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "config/loader.h"

static const char *const search_paths[] = {
	"/etc/caisson/configuration.toml",
	"/usr/share/defaults/caisson/configuration.toml",
	"/etc/kata-containers/runtime-rs/configuration.toml",
	"/etc/kata-containers/configuration.toml",
	"/usr/share/defaults/kata-containers/runtime-rs/configuration.toml",
	"/usr/share/defaults/kata-containers/configuration.toml",
	"/opt/kata/share/defaults/kata-containers/runtime-rs/configuration.toml",
	"/opt/kata/share/defaults/kata-containers/configuration.toml",
	NULL,
};

const char *const *config_search_paths(void)
{
	return search_paths;
}

int loader_out_of_memory(struct loader *l)
{
	return err_sys(l->e, ENOMEM, "cannot load the configuration");
}

__attribute__((format(printf, 3, 0))) static int add_line(struct loader *l, struct strv *to, const char *fmt,
							  va_list ap)
{
	_cleanup_buf_ struct buf line = { 0 };

	if (buf_vprintf(&line, fmt, ap) < 0 || strv_add_take(to, buf_take(&line)) < 0)
		return loader_out_of_memory(l);
	return 0;
}

int loader_warn(struct loader *l, const char *fmt, ...)
{
	va_list ap;
	int r;

	if (!l->warnings)
		return 0;
	va_start(ap, fmt);
	r = add_line(l, l->warnings, fmt, ap);
	va_end(ap);
	return r;
}

int loader_unknown(struct loader *l, const char *fmt, ...)
{
	va_list ap;
	int r;

	va_start(ap, fmt);
	r = add_line(l, &l->unknown, fmt, ap);
	va_end(ap);
	return r;
}

/* ---- files ---- */

/* The file the user named, by a flag or by the environment. */
static int resolve_named(struct loader *l, const char *path, const char *how)
{
	/* A pipe, as in --config <(command): there is nothing to resolve and nothing beside it. */
	l->path = str_after(path, "/dev/") ? strdup(path) : realpath(path, NULL);
	if (l->path)
		return 0;
	if (errno == ENOMEM)
		return loader_out_of_memory(l);
	return err_sys(l->e, errno, "cannot find the configuration file %s, named by %s", path, how);
}

static int search(struct loader *l)
{
	const char *root = l->o->root ? l->o->root : "";

	for (size_t i = 0; search_paths[i]; i++) {
		_cleanup_free_ char *path = str_printf("%s%s", root, search_paths[i]);
		int r;

		if (!path)
			return loader_out_of_memory(l);
		l->path = realpath(path, NULL);
		if (l->path)
			return 0;
		if (errno == ENOMEM)
			return loader_out_of_memory(l);
		if (errno == ENOENT || errno == ENOTDIR)
			continue;
		r = loader_warn(l, "%s: passed over: %s", path, strerror(errno));
		if (r < 0)
			return r;
	}
	return 0;
}

/* Parse a file's text and merge it into l->doc. */
static int take_text(struct loader *l, const char *data, size_t len, const char *path)
{
	struct toml_value *doc;
	int r = strv_add(&l->names, path);

	if (r < 0)
		return loader_out_of_memory(l);
	r = toml_parse(data, len, l->names.v[l->names.len - 1], &doc, l->e);
	if (r < 0)
		return r;
	if (!l->doc) {
		l->doc = doc;
		return 0;
	}
	return toml_merge(l->doc, doc) < 0 ? loader_out_of_memory(l) : 0;
}

static int take_file(struct loader *l, const char *path)
{
	_cleanup_free_ char *data = NULL;
	size_t len;
	int r = file_read(path, CONFIG_FILE_MAX, &data, &len);

	if (r < 0)
		return err_sys(l->e, -r, "cannot read the configuration file %s", path);
	return take_text(l, data, len, path);
}

static int take_drop_in(struct loader *l, const char *dir, const char *name)
{
	_cleanup_free_ char *path = str_printf("%s/%s", dir, name);
	struct stat st;

	if (!path)
		return loader_out_of_memory(l);
	if (stat(path, &st) < 0)
		return err_sys(l->e, errno, "cannot look at the configuration file %s", path);
	/* Kubernetes keeps the files of a mounted ConfigMap in hidden directories "..data", "..2024_…". */
	if (S_ISDIR(st.st_mode) && str_after(name, ".."))
		return 0;
	if (!S_ISREG(st.st_mode))
		return err_set(l->e, ERR_CONFIG, EINVAL,
			       "%s is not a file; remove it: config.d holds configuration files only", path);
	return take_file(l, path);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static int take_drop_ins(struct loader *l)
{
	_cleanup_closedir_ DIR *d = NULL;
	_cleanup_free_ char *dir = NULL;
	_cleanup_strv_ struct strv names = { 0 };
	struct dirent *entry;

	dir = str_printf("%.*s/config.d", (int)(strrchr(l->path, '/') - l->path), l->path);
	if (!dir)
		return loader_out_of_memory(l);
	d = opendir(dir);
	if (!d)
		return errno == ENOENT || errno == ENOTDIR
			       ? 0
			       : err_sys(l->e, errno, "cannot look into the folder %s", dir);
	while ((errno = 0, entry = readdir(d))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (names.len == CONFIG_DROP_INS_MAX)
			return err_set(l->e, ERR_LIMIT, EFBIG, "%s holds more than %d files", dir, CONFIG_DROP_INS_MAX);
		if (strv_add(&names, entry->d_name) < 0)
			return loader_out_of_memory(l);
	}
	if (errno)
		return err_sys(l->e, errno, "cannot read the folder %s", dir);
	if (names.len)
		qsort(names.v, names.len, sizeof names.v[0], by_name);
	for (size_t i = 0; i < names.len; i++) {
		int r = take_drop_in(l, dir, names.v[i]);

		if (r < 0)
			return r;
	}
	return 0;
}

static int read_all(struct loader *l)
{
	const char *env = getenv("KATA_CONF_FILE");
	int r;

	if (l->o->body)
		return take_text(l, l->o->body, strlen(l->o->body), "config_body");
	if (l->o->path)
		r = resolve_named(l, l->o->path, "--config");
	else if (!str_empty(env))
		r = resolve_named(l, env, "KATA_CONF_FILE");
	else
		r = search(l);
	if (r < 0 || !l->path)
		return r;
	r = take_file(l, l->path);
	return r < 0 || str_after(l->path, "/dev/") ? r : take_drop_ins(l);
}

/* ---- all of it ---- */

/* What nobody knew: an error, or so many warnings. */
static int settle_unknown(struct loader *l)
{
	if (l->o->strict && l->unknown.len) {
		err_set(l->e, ERR_CONFIG, EINVAL, "%s", l->unknown.v[0]);
		if (l->unknown.len > 1)
			err_append(l->e, " (and %zu more like this)", l->unknown.len - 1);
		return -EINVAL;
	}
	for (size_t i = 0; l->warnings && i < l->unknown.len; i++)
		if (strv_add(l->warnings, l->unknown.v[i]) < 0)
			return loader_out_of_memory(l);
	return 0;
}

static int load(struct loader *l)
{
	int r = read_all(l);

	r = r < 0 ? r : loader_apply(l);
	r = r < 0 ? r : config_check_image(l->c, l->e);
	r = r < 0 ? r : loader_annotate(l);
	r = r < 0 ? r : config_check_image(l->c, l->e);
	return r < 0 ? r : settle_unknown(l);
}

int config_load(const struct config_load_options *o, struct config **ret, struct strv *warnings, struct err *e)
{
	struct err local = { 0 };
	struct loader l = { .o = o, .e = e ? e : &local, .warnings = warnings };
	int r = load(&l);

	if (r == 0)
		*ret = take_ptr(l.c);
	config_free(l.c);
	toml_free(l.doc);
	strv_fini(&l.names);
	strv_fini(&l.unknown);
	free(l.path);
	return r;
}
