/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Annotations io.katacontainers.config.*, and command line flags, which are read the same way.
 *
 * Annotations come from whoever may create pods, who is not trusted with the host: a hypervisor annotation counts only
 * if an expression of enable_annotations matches its whole name, and one that names a host path only if a glob of the
 * key's valid_* list matches the path. Keys that grant something (enable_annotations, valid_*) can never be annotated.
 * A refusal is an error, for a pod that silently runs with other settings than asked for is worse than one that does
 * not run.
 */
#include <errno.h>
#include <fnmatch.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/loader.h"

#define PREFIX "io.katacontainers.config."

static const struct {
	enum config_section section;
	const char *name;
} sections[] = {
	{ CONFIG_HYPERVISOR, "hypervisor" },
	{ CONFIG_AGENT, "agent" },
	{ CONFIG_RUNTIME, "runtime" },
	{ CONFIG_FACTORY, "factory" },
};

const char *loader_annotation(const struct loader *l, const char *name)
{
	const struct strv *all = l->o->annotations;
	size_t n = strlen(name);

	for (size_t i = all ? all->len : 0; i-- > 0;)
		if (!strncmp(all->v[i], name, n) && all->v[i][n] == '=')
			return all->v[i] + n + 1;
	return NULL;
}

/* ---- what a pod may do ---- */

/* Does an expression match the whole name? */
static bool is_enabled(const struct strv *expressions, const char *name)
{
	for (size_t i = 0; i < expressions->len; i++) {
		_cleanup_free_ char *whole = str_printf("^(%s)$", expressions->v[i]);
		bool match;
		regex_t re;

		if (!whole || regcomp(&re, whole, REG_EXTENDED | REG_NOSUB))
			continue; /* expressions were checked when they were read: only memory can be short here */
		match = regexec(&re, name, 0, NULL, 0) == 0;
		regfree(&re);
		if (match)
			return true;
	}
	return false;
}

/* An absolute path without "..", which would step out of whatever directory a glob names. */
static bool is_plain_path(const char *path)
{
	size_t n = strlen(path);

	return path[0] == '/' && !strstr(path, "/../") && !(n >= 3 && !strcmp(path + n - 3, "/.."));
}

static int check_allowed(const struct config *c, const struct config_key *key, const char *full, const char *name,
			 const char *value, struct err *e)
{
	char title[64];
	const struct strv *globs;
	int list;

	if (key->section != CONFIG_HYPERVISOR)
		return 0;
	config_section_title(c, CONFIG_HYPERVISOR, title);
	if (!is_enabled(&c->hypervisor.enable_annotations, name))
		return err_set(e, ERR_CONFIG, EPERM,
			       "annotation %s: not allowed: no expression of %s enable_annotations (%s) matches "
			       "\"%s\"; add it "
			       "there to allow it",
			       full, title, config_origin(c, CONFIG_HYPERVISOR, "enable_annotations"), name);
	if (!key->allow)
		return 0;
	list = config_key_find(CONFIG_HYPERVISOR, key->allow, false, NULL);
	globs = (const struct strv *)(const void *)((const char *)c + config_key_at((size_t)list)->offset);
	for (size_t i = 0; i < globs->len; i++)
		if (!strcmp(globs->v[i], value) ||
		    (is_plain_path(value) && !fnmatch(globs->v[i], value, FNM_PATHNAME | FNM_PERIOD)))
			return 0;
	return err_set(
		e, ERR_CONFIG, EPERM,
		"annotation %s = \"%.200s\": not allowed: no entry of %s %s (%s) matches it; add it there to allow it",
		full, value, title, key->allow, config_origin(c, CONFIG_HYPERVISOR, key->allow));
}

/* ---- setting ---- */

static int set(struct config *c, size_t i, unsigned scale, const char *text, enum config_layer layer,
	       const char *origin, struct err *e)
{
	const struct config_key *key = config_key_at(i);
	_cleanup_buf_ struct buf why = { 0 };
	struct config_value v;
	int r = config_value_from_text(key, text, scale, &v, &why);

	if (r == -EINVAL)
		return err_set(e, ERR_CONFIG, EINVAL, "%s: %s: %s", origin, key->name, why.data);
	r = r < 0 ? r : config_store(c, i, &v, layer, origin);
	return r < 0 ? err_sys(e, -r, "cannot keep the configuration") : 0;
}

/* Kernel parameters of an annotation come behind those of the file: a later one wins in the guest. */
static int set_annotation(struct loader *l, size_t i, unsigned scale, const char *text, const char *full)
{
	_cleanup_free_ char *origin = str_printf("annotation %s", full), *joined = NULL;
	const char *old = l->c->hypervisor.kernel_params;

	if (!origin)
		return loader_out_of_memory(l);
	if (!strcmp(config_key_at(i)->name, "kernel_params") && *old) {
		joined = str_printf("%s %s", old, text);
		if (!joined)
			return loader_out_of_memory(l);
		text = joined;
	}
	return set(l->c, i, scale, text, CONFIG_BY_ANNOTATION, origin, l->e);
}

static int unknown_annotation(struct loader *l, const char *full, enum config_section section, const char *name)
{
	const char *near = config_key_nearest(section, name);
	int i = near ? config_key_find(section, near, false, NULL) : -1;

	if (i >= 0 && config_key_at((size_t)i)->annotation)
		return loader_unknown(l, "annotation %.200s: unknown key; did you mean \"%s\"?", full, near);
	return loader_unknown(l, "annotation %.200s: unknown key; it is ignored", full);
}

static int apply(struct loader *l, const char *full, enum config_section section, const char *name, const char *value)
{
	const struct config_key *key;
	unsigned scale;
	int i, r;

	if (section == CONFIG_HYPERVISOR && (str_endswith(name, "_hash") || !strcmp(name, "asset_hash_type")))
		return err_set(
			l->e, ERR_CONFIG, EOPNOTSUPP,
			"annotation %.200s: checking the hash of guest files is not supported; remove the annotation",
			full);
	i = config_key_find(section, name, true, &scale);
	if (i < 0)
		return unknown_annotation(l, full, section, name);
	key = config_key_at((size_t)i);
	if (key->type == CONFIG_OPAQUE)
		return loader_warn(l, "annotation %.200s has no effect", full);
	if (!key->annotation)
		return err_set(l->e, ERR_CONFIG, EPERM,
			       "annotation %.200s: not allowed: only the configuration file can set this key", full);
	r = check_allowed(l->c, key, full, name, value, l->e);
	return r < 0 ? r : set_annotation(l, (size_t)i, scale, value, full);
}

static int annotate(struct loader *l, const char *full, const char *value)
{
	const char *rest = str_after(full, PREFIX), *name;

	/* Names that do not follow the pattern. */
	if (!strcmp(full, "io.katacontainers.enable_vcpus_pinning"))
		return apply(l, full, CONFIG_RUNTIME, "enable_vcpus_pinning", value);
	if (!strcmp(full, "io.katacontainers.asset_hash_type"))
		return apply(l, full, CONFIG_HYPERVISOR, "asset_hash_type", value);
	if (!strcmp(full, "io.katacontainers.config_path"))
		return loader_warn(l, "annotation %s has no effect: a pod cannot choose the configuration file", full);
	if (!rest)
		return 0;
	for (size_t i = 0; i < 3; i++) {
		name = str_after(rest, sections[i].name);
		if (name && *name == '.')
			return apply(l, full, sections[i].section, name + 1, value);
	}
	return loader_unknown(l, "annotation %.200s: unknown; it is ignored", full);
}

int loader_annotate(struct loader *l)
{
	const struct strv *all = l->o->annotations;

	for (size_t i = 0; all && i < all->len; i++) {
		const char *eq = strchr(all->v[i], '=');
		_cleanup_free_ char *full = NULL;
		int r;

		if (!eq)
			return err_set(l->e, ERR_CONFIG, EINVAL, "annotation \"%.200s\": expected KEY=VALUE",
				       all->v[i]);
		full = strndup(all->v[i], (size_t)(eq - all->v[i]));
		if (!full)
			return loader_out_of_memory(l);
		r = annotate(l, full, eq + 1);
		if (r < 0)
			return r;
	}
	return 0;
}

int config_override(struct config *c, const char *section, const char *key, const char *value, const char *origin,
		    struct err *e)
{
	for (size_t s = 0; s < sizeof sections / sizeof sections[0]; s++) {
		unsigned scale;
		int i, r;

		if (strcmp(sections[s].name, section) != 0)
			continue;
		i = config_key_find(sections[s].section, key, false, &scale);
		if (i < 0)
			break;
		r = set(c, (size_t)i, scale, value, CONFIG_BY_FLAG, origin, e);
		return r < 0 ? r : config_check_image(c, e);
	}
	return err_set(e, ERR_CONFIG, EINVAL, "%s: there is no configuration key %s.%s", origin, section, key);
}
