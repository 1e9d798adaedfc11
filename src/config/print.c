/* SPDX-License-Identifier: Apache-2.0 */
/* Showing a configuration: each value and where it came from; and which of them nobody reads. */
#include <errno.h>
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>

#include "config/value.h"

/* A key of another hypervisor is of interest only if someone set it. */
static bool is_shown(const struct config *c, size_t i)
{
	const struct config_key *key = config_key_at(i);
	unsigned bit = config_hypervisor_bit(c->hypervisor_name);

	if (c->origins->of[i].layer != CONFIG_BY_DEFAULT)
		return true;
	return key->type != CONFIG_OPAQUE && (key->section != CONFIG_HYPERVISOR || !bit || (key->known & bit));
}

static const char *origin_of(const struct config *c, size_t i)
{
	return c->origins->of[i].text ? c->origins->of[i].text : "default";
}

static int format(const struct config *c, const struct config_key *key, struct buf *out)
{
	_cleanup_value_ struct config_value v = { 0 };
	int r;

	if (key->secret && strlen(c->runtime.jaeger_password))
		return buf_puts(out, "(not shown)");
	if (key->type == CONFIG_OPAQUE)
		return buf_puts(out, "(table)");
	r = config_value_get(c, key, &v);
	return r < 0 ? r : config_value_format(&v, out);
}

#define VALUE_WIDTH_MAX 48u /* wider values push the origin out of its column */

static int print_table(const struct config *c, struct buf *out)
{
	const struct config_key *key;
	char title[64];
	int width[2] = { 0 }, r;

	r = buf_printf(out, "# file: %s\n# hypervisor: %s\n", c->path ? c->path : "none",
		       *c->hypervisor_name ? c->hypervisor_name : "not chosen");
	/* Twice: to measure, to print. */
	for (int pass = 0; pass < 2; pass++) {
		int section = -1;

		for (size_t i = 0; r >= 0 && (key = config_key_at(i)); i++) {
			_cleanup_buf_ struct buf value = { 0 };

			if (!is_shown(c, i))
				continue;
			r = format(c, key, &value);
			if (r < 0)
				return r;
			if (!pass) {
				if ((int)strlen(key->name) > width[0])
					width[0] = (int)strlen(key->name);
				if ((int)value.len > width[1] && value.len <= VALUE_WIDTH_MAX)
					width[1] = (int)value.len;
				continue;
			}
			if (section != (int)key->section)
				r = buf_printf(out, "\n%s\n", config_section_title(c, key->section, title));
			section = (int)key->section;
			if (r >= 0)
				r = buf_printf(out, "%-*s  %-*s  %s\n", width[0], key->name, width[1], value.data,
					       origin_of(c, i));
		}
	}
	return r;
}

/* ---- JSON ---- */

static struct json_object *json_list(const struct strv *list)
{
	struct json_object *array = json_object_new_array();

	for (size_t i = 0; array && i < list->len; i++)
		json_object_array_add(array, json_object_new_string(list->v[i]));
	return array;
}

static struct json_object *json_value(const struct config *c, const struct config_key *key)
{
	_cleanup_value_ struct config_value v = { 0 };

	if (key->type == CONFIG_OPAQUE || key->secret || config_value_get(c, key, &v) < 0)
		return NULL;
	switch (v.type) {
	case CONFIG_BOOL:
		return json_object_new_boolean(v.u.boolean);
	case CONFIG_U32:
	case CONFIG_U64:
		return json_object_new_uint64(v.u.integer);
	case CONFIG_F64:
		return json_object_new_double(v.u.number);
	case CONFIG_STR:
		return json_object_new_string(v.u.string);
	case CONFIG_LIST:
		return json_list(&v.u.list);
	default:
		return NULL;
	}
}

static struct json_object *json_key(const struct config *c, size_t i)
{
	const struct config_key *key = config_key_at(i);
	struct json_object *o = json_object_new_object();
	char title[64];
	size_t n;

	if (!o)
		return NULL;
	config_section_title(c, key->section, title);
	n = strlen(title);
	title[n - 1] = '\0'; /* the brackets are TOML's */
	json_object_object_add(o, "section", json_object_new_string(title + 1));
	json_object_object_add(o, "key", json_object_new_string(key->name));
	json_object_object_add(o, "value", json_value(c, key));
	json_object_object_add(o, "origin", json_object_new_string(origin_of(c, i)));
	json_object_object_add(o, "default", json_object_new_boolean(c->origins->of[i].layer == CONFIG_BY_DEFAULT));
	json_object_object_add(o, "meaning", json_object_new_string(key->meaning));
	return o;
}

static int print_json(const struct config *c, struct buf *out)
{
	struct json_object *root = json_object_new_object(), *values = json_object_new_array();
	const char *text;
	int r = -ENOMEM;

	if (root && values) {
		for (size_t i = 0; config_key_at(i); i++)
			if (is_shown(c, i))
				json_object_array_add(values, json_key(c, i));
		json_object_object_add(root, "file", c->path ? json_object_new_string(c->path) : NULL);
		json_object_object_add(root, "hypervisor", json_object_new_string(c->hypervisor_name));
		json_object_object_add(root, "values", values);
		values = NULL;
		text = json_object_to_json_string_ext(root, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_NOSLASHESCAPE);
		r = text ? buf_printf(out, "%s\n", text) : -ENOMEM;
	}
	json_object_put(values);
	json_object_put(root);
	return r;
}

int config_print(const struct config *c, bool json, struct buf *out)
{
	return json ? print_json(c, out) : print_table(c, out);
}

int config_command_print(const struct config_load_options *o, bool json, struct buf *out, struct strv *warnings,
			 struct err *e)
{
	_cleanup_config_ struct config *c = NULL;
	int r = config_load(o, &c, warnings, e);

	if (r < 0)
		return r;
	r = config_print(c, json, out);
	return r < 0 ? err_sys(e, -r, "cannot print the configuration") : 0;
}

/* ---- keys that nobody reads ---- */

static bool is_honoured(const struct config_key *key, const char *const *hypervisor_keys, const char *const *other_keys)
{
	static const char *const prefixes[] = {
		[CONFIG_AGENT] = "agent.",
		[CONFIG_RUNTIME] = "runtime.",
		[CONFIG_FACTORY] = "factory.",
	};
	const char *const *list = key->section == CONFIG_HYPERVISOR ? hypervisor_keys : other_keys;

	if (!list)
		return true;
	for (; *list; list++) {
		const char *name = key->section == CONFIG_HYPERVISOR ? *list : str_after(*list, prefixes[key->section]);

		if (name && !strcmp(name, key->name))
			return true;
	}
	return false;
}

/* Set, but to what would be anyway? Kata's files spell out many defaults. */
static int is_default_value(const struct config *c, const struct config_key *key)
{
	_cleanup_value_ struct config_value now = { 0 }, dflt = { 0 };
	_cleanup_buf_ struct buf why = { 0 };
	char text[256];
	int r;

	if (key->type == CONFIG_OPAQUE)
		return 0;
	config_key_default(key, *c->hypervisor_name ? c->hypervisor_name : NULL, text, sizeof text);
	r = config_value_get(c, key, &now);
	r = r < 0 ? r : config_value_from_text(key, text, 1, &dflt, &why);
	return r < 0 ? r : config_value_equal(&now, &dflt);
}

/* Read by this folder itself. */
static bool is_ours(const struct config_key *key)
{
	return key->section == CONFIG_HYPERVISOR
		       ? !strcmp(key->name, "enable_annotations") || str_after(key->name, "valid_")
	       : key->section == CONFIG_AGENT   ? !strcmp(key->name, "dial_timeout")
	       : key->section == CONFIG_RUNTIME ? !strcmp(key->name, "hypervisor_name")
						: false;
}

int config_warn_ineffective(const struct config *c, const char *const *hypervisor_keys, const char *const *other_keys,
			    struct strv *warnings)
{
	const struct config_key *key;
	char title[64];

	for (size_t i = 0; (key = config_key_at(i)); i++) {
		int r;

		if (c->origins->of[i].layer == CONFIG_BY_DEFAULT || is_ours(key) ||
		    is_honoured(key, hypervisor_keys, other_keys))
			continue;
		r = is_default_value(c, key);
		if (r < 0)
			return r;
		if (r > 0)
			continue;
		r = strv_addf(warnings, "%s: %s %s has no effect%s", origin_of(c, i),
			      config_section_title(c, key->section, title), key->name,
			      key->section == CONFIG_HYPERVISOR ? " with this hypervisor" : "");
		if (r < 0)
			return r;
	}
	return 0;
}
