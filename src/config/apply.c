/* SPDX-License-Identifier: Apache-2.0 */
/* The merged tree of the configuration files, laid over the defaults of the hypervisor that it chooses. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/loader.h"

#define NO_PLACE "%s:%" PRIu32 ": "

/* ---- complaints ---- */

static const struct {
	enum config_section section;
	const char *title;
} sections[] = {
	{ CONFIG_HYPERVISOR, "[hypervisor.*]" },
	{ CONFIG_AGENT, "[agent.kata]" },
	{ CONFIG_RUNTIME, "[runtime]" },
	{ CONFIG_FACTORY, "[factory]" },
};

static int unknown_key(struct loader *l, enum config_section section, const char *title, const struct toml_entry *entry)
{
	const char *near = config_key_nearest(section, entry->key);

	for (size_t i = 0; i < sizeof sections / sizeof sections[0]; i++)
		if (config_key_find(sections[i].section, entry->key, false, NULL) >= 0)
			return loader_unknown(l, NO_PLACE "%s unknown key \"%.100s\"; it belongs in %s",
					      entry->value->file, entry->line, title, entry->key, sections[i].title);
	if (near)
		return loader_unknown(l, NO_PLACE "%s unknown key \"%.100s\"; did you mean \"%s\"?", entry->value->file,
				      entry->line, title, entry->key, near);
	return loader_unknown(l, NO_PLACE "%s unknown key \"%.100s\"; it is ignored", entry->value->file, entry->line,
			      title, entry->key);
}

static int unknown_name(struct loader *l, const struct toml_entry *entry, const char *what, const char *prefix,
			const char *const *known)
{
	const char *near = config_nearest(entry->key, known);

	if (near)
		return loader_unknown(l, NO_PLACE "unknown %s [%s%.100s]; did you mean [%s%s]?", entry->value->file,
				      entry->line, what, prefix, entry->key, prefix, near);
	return loader_unknown(l, NO_PLACE "unknown %s [%s%.100s]; it is ignored", entry->value->file, entry->line, what,
			      prefix, entry->key);
}

static int bad_value(struct loader *l, const char *title, const struct toml_entry *entry, const char *why)
{
	const struct toml_value *v = entry->value;

	return err_set(l->e, ERR_CONFIG, EINVAL, "%s:%" PRIu32 ":%" PRIu32 ": %s %.100s: %s", v->file, v->line,
		       v->column, title, entry->key, why);
}

static int need_table(struct loader *l, const struct toml_entry *entry, const char *title)
{
	if (entry->value->type == TOML_TABLE)
		return 0;
	return err_set(l->e, ERR_CONFIG, EINVAL, "%s:%" PRIu32 ":%" PRIu32 ": %s: expected a table, found %s",
		       entry->value->file, entry->value->line, entry->value->column, title,
		       toml_type_name(entry->value->type));
}

/* ---- values ---- */

static int store(struct loader *l, size_t key, const struct toml_entry *entry, struct config_value *v)
{
	_cleanup_free_ char *origin = str_printf("%s:%" PRIu32, entry->value->file, entry->line);

	if (!origin) {
		config_value_fini(v);
		return loader_out_of_memory(l);
	}
	return config_store(l->c, key, v, CONFIG_BY_FILE, origin) < 0 ? loader_out_of_memory(l) : 0;
}

static int image_member(struct loader *l, const struct toml_value *table, const char *name, char **ret)
{
	const struct toml_value *v = toml_get(table, name);

	*ret = strdup(v && v->type == TOML_STRING ? v->u.string.data : "");
	return *ret ? 0 : loader_out_of_memory(l);
}

/* [[hypervisor.X.guest_extension_images]] */
static int take_images(struct loader *l, const char *title, const struct toml_entry *entry)
{
	const struct toml_value *array = entry->value;
	struct config_hypervisor *h = &l->c->hypervisor;

	if (array->type != TOML_ARRAY)
		return bad_value(l, title, entry, "expected an array of tables");
	if (!array->u.array.len)
		return 0;
	if (h->extension_images) /* a second table of the same hypervisor under its alias */
		return bad_value(l, title, entry,
				 "the images are listed already, under another name of this hypervisor");
	h->extension_images = calloc(array->u.array.len, sizeof *h->extension_images);
	if (!h->extension_images)
		return loader_out_of_memory(l);
	for (size_t i = 0; i < array->u.array.len; i++) {
		struct config_extension_image *image = &h->extension_images[h->n_extension_images++];
		const struct toml_value *table = array->u.array.items[i];
		int r = image_member(l, table, "name", &image->name);

		r = r < 0 ? r : image_member(l, table, "path", &image->path);
		r = r < 0 ? r : image_member(l, table, "verity_params", &image->verity_params);
		if (r < 0)
			return r;
		if (!*image->name || !*image->path)
			return bad_value(l, title, entry, "each table needs the strings name and path");
	}
	return 0;
}

/* Kata's memory agent: nothing is kept of it, but typing errors are found. */
static int check_mem_agent(struct loader *l, const struct toml_entry *entry)
{
	static const char *const known[] = {
		"mem_agent_enable",
		"enable",
		"memcg_disable",
		"memcg_swap",
		"memcg_swappiness_max",
		"memcg_period_secs",
		"memcg_period_psi_percent_limit",
		"memcg_eviction_psi_percent_limit",
		"memcg_eviction_run_aging_count_min",
		"compact_disable",
		"compact_period_secs",
		"compact_period_psi_percent_limit",
		"compact_psi_percent_limit",
		"compact_sec_max",
		"compact_order",
		"compact_threshold",
		"compact_force_times",
		NULL,
	};
	const struct toml_value *table = entry->value;
	int r = need_table(l, entry, "[agent.kata.mem_agent]");

	for (size_t i = 0; r >= 0 && i < table->u.table.len; i++) {
		const struct toml_entry *key = &table->u.table.entries[i];
		const char *near;
		size_t k = 0;

		while (known[k] && strcmp(known[k], key->key))
			k++;
		if (known[k])
			continue;
		near = config_nearest(key->key, known);
		r = loader_unknown(l, NO_PLACE "[agent.kata.mem_agent] unknown key \"%.100s\"%s%s%s", key->value->file,
				   key->line, key->key, near ? "; did you mean \"" : "; it is ignored",
				   near ? near : "", near ? "\"?" : "");
	}
	return r;
}

static int apply_opaque(struct loader *l, size_t i, const char *title, const struct toml_entry *entry)
{
	struct config_value v = { .type = CONFIG_OPAQUE };
	const char *name = config_key_at(i)->name;
	int r = 0;

	if (!strcmp(name, "guest_extension_images"))
		r = take_images(l, title, entry);
	else if (!strcmp(name, "mem_agent"))
		r = check_mem_agent(l, entry);
	return r < 0 ? r : store(l, i, entry, &v);
}

static int apply_key(struct loader *l, size_t i, unsigned scale, const char *title, const struct toml_entry *entry)
{
	const struct config_key *key = config_key_at(i);
	_cleanup_buf_ struct buf why = { 0 };
	struct config_value v;
	int r;

	if (key->type == CONFIG_OPAQUE)
		return apply_opaque(l, i, title, entry);
	/* "" where a word out of some must stand: Kata takes its default then. */
	if (key->type == CONFIG_STR && key->check && key->check[0] != '|' && entry->value->type == TOML_STRING &&
	    !entry->value->u.string.len)
		return 0;
	r = config_value_from_toml(key, entry->value, scale, &v, &why);
	if (r == -ENOMEM)
		return loader_out_of_memory(l);
	if (r < 0)
		return bad_value(l, title, entry, why.data);
	return store(l, i, entry, &v);
}

/*
 * One table. The key's own name wins over its other spellings, so those are taken first. check_only: of a hypervisor
 * that was not chosen.
 */
static int apply_section(struct loader *l, enum config_section section, const char *title,
			 const struct toml_value *table, bool check_only)
{
	for (int own_names = 0; own_names < 2; own_names++)
		for (size_t n = 0; n < table->u.table.len; n++) {
			const struct toml_entry *entry = &table->u.table.entries[n];
			unsigned scale;
			int i = config_key_find(section, entry->key, false, &scale), r = 0;

			if (i >= 0 && !check_only && own_names == !strcmp(config_key_at((size_t)i)->name, entry->key))
				r = apply_key(l, (size_t)i, scale, title, entry);
			else if (i < 0 && own_names && section == CONFIG_HYPERVISOR && !strcmp(entry->key, "factory") &&
				 entry->value->type == TOML_TABLE)
				r = apply_section(l, CONFIG_FACTORY, "[hypervisor.*.factory]", entry->value,
						  check_only);
			else if (i < 0 && own_names)
				r = unknown_key(l, section, title, entry);
			if (r < 0)
				return r;
		}
	return 0;
}

/* ---- tables ---- */

static int apply_hypervisors(struct loader *l, const struct toml_value *table)
{
	for (size_t i = 0; i < table->u.table.len; i++) {
		const struct toml_entry *entry = &table->u.table.entries[i];
		const char *name = config_hypervisor_canonical(entry->key);
		char title[96];
		int r;

		if (!name) {
			r = unknown_name(l, entry, "hypervisor", "hypervisor.", config_hypervisor_names());
		} else {
			snprintf(title, sizeof title, "[hypervisor.%.64s]", entry->key);
			r = need_table(l, entry, title);
			if (r >= 0)
				r = apply_section(l, CONFIG_HYPERVISOR, title, entry->value,
						  strcmp(name, l->c->hypervisor_name) != 0);
		}
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_agents(struct loader *l, const struct toml_value *table)
{
	static const char *const known[] = { "kata", NULL };

	for (size_t i = 0; i < table->u.table.len; i++) {
		const struct toml_entry *entry = &table->u.table.entries[i];
		int r;

		if (strcmp(entry->key, "kata") != 0)
			r = unknown_name(l, entry, "agent", "agent.", known);
		else
			r = need_table(l, entry, "[agent.kata]");
		if (r >= 0 && !strcmp(entry->key, "kata"))
			r = apply_section(l, CONFIG_AGENT, "[agent.kata]", entry->value, false);
		if (r < 0)
			return r;
	}
	return 0;
}

static int apply_root(struct loader *l)
{
	static const char *const known[] = { "hypervisor", "agent", "runtime", "factory", NULL };
	const struct toml_value *root = l->doc;

	for (size_t i = 0; i < root->u.table.len; i++) {
		const struct toml_entry *entry = &root->u.table.entries[i];
		char title[32];
		size_t k = 0;
		int r;

		while (known[k] && strcmp(known[k], entry->key) != 0)
			k++;
		if (!known[k]) {
			r = unknown_name(l, entry, "table", "", known);
			if (r < 0)
				return r;
			continue;
		}
		snprintf(title, sizeof title, "[%s]", known[k]);
		r = need_table(l, entry, title);
		if (r < 0)
			return r;
		if (k == CONFIG_HYPERVISOR)
			r = apply_hypervisors(l, entry->value);
		else if (k == CONFIG_AGENT)
			r = apply_agents(l, entry->value);
		else
			r = apply_section(l, (enum config_section)k, title, entry->value, false);
		if (r < 0)
			return r;
	}
	return 0;
}

/* ---- which hypervisor ---- */

static int no_such_hypervisor(struct loader *l, const char *how, const char *name)
{
	const char *const *names = config_hypervisor_names();

	err_set(l->e, ERR_CONFIG, EINVAL, "%s: unknown hypervisor \"%.100s\"; known are", how, name);
	for (size_t i = 0; names[i]; i++)
		err_append(l->e, "%s %s", i ? "," : "", names[i]);
	return -EINVAL;
}

/* Number of tables for hypervisors that are known, and the canonical name of one. */
static size_t count_tables(const struct toml_value *hypervisors, const char **ret_name)
{
	size_t n = 0;

	if (hypervisors && hypervisors->type == TOML_TABLE)
		for (size_t i = 0; i < hypervisors->u.table.len; i++) {
			const char *name = config_hypervisor_canonical(hypervisors->u.table.entries[i].key);

			if (name && (!n || strcmp(name, *ret_name) != 0)) {
				*ret_name = name;
				n++;
			}
		}
	return n;
}

static bool has_table(const struct toml_value *hypervisors, const char *name)
{
	if (hypervisors && hypervisors->type == TOML_TABLE)
		for (size_t i = 0; i < hypervisors->u.table.len; i++) {
			const char *other = config_hypervisor_canonical(hypervisors->u.table.entries[i].key);

			if (other && !strcmp(other, name))
				return true;
		}
	return false;
}

#define HYPERVISOR_ANNOTATION "io.katacontainers.config.runtime.hypervisor_name"

/* A pod may choose among the hypervisors that the administrator has configured. */
static int choose_by_annotation(struct loader *l, const struct toml_value *tables, const char **ret)
{
	const char *wish = loader_annotation(l, HYPERVISOR_ANNOTATION);
	const char *name = wish ? config_hypervisor_canonical(wish) : NULL;

	if (str_empty(wish))
		return 0;
	if (!name)
		return no_such_hypervisor(l, "annotation " HYPERVISOR_ANNOTATION, wish);
	if (l->doc && !has_table(tables, name) && (!*ret || strcmp(*ret, name) != 0))
		return err_set(l->e, ERR_CONFIG, EPERM,
			       "annotation " HYPERVISOR_ANNOTATION
			       " = \"%.100s\": not allowed: the configuration %s has no "
			       "[hypervisor.%s] table; add one to allow it",
			       wish, l->path ? l->path : "given", name);
	*ret = name;
	return 0;
}

static int choose(struct loader *l, const char **ret)
{
	const struct toml_value *tables = toml_get(l->doc, "hypervisor");
	const struct toml_entry *entry = toml_find(toml_get(l->doc, "runtime"), "hypervisor_name");
	int r;

	*ret = NULL;
	if (l->o->hypervisor) {
		*ret = config_hypervisor_canonical(l->o->hypervisor);
		return *ret ? 0 : no_such_hypervisor(l, "--hypervisor", l->o->hypervisor);
	}
	if (entry && entry->value->type == TOML_STRING && entry->value->u.string.len) {
		*ret = config_hypervisor_canonical(entry->value->u.string.data);
		if (!*ret) {
			char place[512];

			snprintf(place, sizeof place, "%s:%" PRIu32 ":%" PRIu32 ": [runtime] hypervisor_name",
				 entry->value->file, entry->value->line, entry->value->column);
			return no_such_hypervisor(l, place, entry->value->u.string.data);
		}
	} else if (count_tables(tables, ret) != 1) {
		*ret = NULL;
	}
	r = choose_by_annotation(l, tables, ret);
	if (r < 0 || !*ret || !l->doc || has_table(tables, *ret))
		return r;
	return loader_warn(l, "%s: no [hypervisor.%s] table; its defaults are used", l->path ? l->path : l->doc->file,
			   *ret);
}

/* ---- what keys mean to each other ---- */

/* The Go runtime bounds reaching the agent by dial_timeout (seconds), the Rust one by reconnect_timeout_ms. */
static int settle_timeouts(struct loader *l)
{
	struct config_agent *a = &l->c->agent;
	int i = config_key_find(CONFIG_AGENT, "reconnect_timeout_ms", false, NULL);
	struct config_value v = { .type = CONFIG_U32, .u.integer = (uint64_t)a->dial_timeout * 1000 };

	if (!a->dial_timeout || config_is_set(l->c, CONFIG_AGENT, "reconnect_timeout_ms"))
		return 0;
	if (v.u.integer > UINT32_MAX)
		v.u.integer = UINT32_MAX;
	if (config_store(l->c, (size_t)i, &v, CONFIG_BY_FILE, config_origin(l->c, CONFIG_AGENT, "dial_timeout")) < 0)
		return loader_out_of_memory(l);
	return 0;
}

/* With no file at all pods may use the annotations that Kata's shipped files allow; a file says so itself. */
static int allow_usual_annotations(struct loader *l)
{
	static const char *const usual[] = { "enable_iommu",  "kernel_params",  "kernel_verity_params",
					     "default_vcpus", "default_memory", "cc_init_data" };
	struct strv *list = &l->c->hypervisor.enable_annotations;

	for (size_t i = 0; i < sizeof usual / sizeof usual[0]; i++)
		if (strv_add(list, usual[i]) < 0)
			return loader_out_of_memory(l);
	return 0;
}

int loader_apply(struct loader *l)
{
	const char *hypervisor;
	int r = choose(l, &hypervisor);

	if (r < 0)
		return r;
	if (config_new(hypervisor, &l->c) < 0)
		return loader_out_of_memory(l);
	if (!l->doc)
		return allow_usual_annotations(l);
	if (l->path) {
		l->c->path = strdup(l->path);
		if (!l->c->path)
			return loader_out_of_memory(l);
	}
	r = apply_root(l);
	return r < 0 ? r : settle_timeouts(l);
}
