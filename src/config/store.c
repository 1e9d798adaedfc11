/* SPDX-License-Identifier: Apache-2.0 */
/*
 * struct config as a store of values by key: making it with all defaults, putting, getting, freeing, and the origin of
 * each value. The key table's offsets are used here and nowhere else.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/value.h"

static void *field_of(const struct config *c, const struct config_key *key)
{
	return (char *)(uintptr_t)c + key->offset;
}

int config_store(struct config *c, size_t key, struct config_value *v, enum config_layer layer, const char *origin)
{
	const struct config_key *k = config_key_at(key);
	void *field = field_of(c, k);
	char *copy = NULL;

	if (origin) {
		copy = strdup(origin);
		if (!copy) {
			config_value_fini(v);
			return -ENOMEM;
		}
	}
	free(c->origins->of[key].text);
	c->origins->of[key] = (struct config_origin){ layer, copy };
	switch (k->type) {
	case CONFIG_BOOL:
		*(bool *)field = v->u.boolean;
		break;
	case CONFIG_U32:
		*(uint32_t *)field = (uint32_t)v->u.integer;
		break;
	case CONFIG_U64:
		*(uint64_t *)field = v->u.integer;
		break;
	case CONFIG_F64:
		*(double *)field = v->u.number;
		break;
	case CONFIG_STR:
		free(*(char **)field);
		*(char **)field = v->u.string;
		break;
	case CONFIG_LIST:
		strv_fini(field);
		*(struct strv *)field = v->u.list;
		break;
	case CONFIG_OPAQUE:
		break;
	}
	*v = (struct config_value){ 0 };
	return 0;
}

int config_value_get(const struct config *c, const struct config_key *key, struct config_value *ret)
{
	const void *field = field_of(c, key);
	const struct strv *list = field;

	*ret = (struct config_value){ .type = key->type };
	switch (key->type) {
	case CONFIG_BOOL:
		ret->u.boolean = *(const bool *)field;
		return 0;
	case CONFIG_U32:
		ret->u.integer = *(const uint32_t *)field;
		return 0;
	case CONFIG_U64:
		ret->u.integer = *(const uint64_t *)field;
		return 0;
	case CONFIG_F64:
		ret->u.number = *(const double *)field;
		return 0;
	case CONFIG_STR:
		ret->u.string = strdup(*(char *const *)field);
		return ret->u.string ? 0 : -ENOMEM;
	case CONFIG_LIST:
		return strv_copy(&ret->u.list, list->v, list->len);
	default:
		return 0;
	}
}

int config_new(const char *hypervisor, struct config **ret)
{
	_cleanup_config_ struct config *c = calloc(1, sizeof *c);
	const struct config_key *key;
	char text[256];

	if (!c)
		return -ENOMEM;
	c->origins = calloc(1, sizeof *c->origins + config_key_count() * sizeof c->origins->of[0]);
	c->hypervisor_name = strdup(hypervisor ? hypervisor : "");
	if (!c->origins || !c->hypervisor_name)
		return -ENOMEM;
	c->origins->n = config_key_count();
	for (size_t i = 0; (key = config_key_at(i)); i++) {
		_cleanup_buf_ struct buf why = { 0 };
		struct config_value v;
		int r;

		if (key->type == CONFIG_OPAQUE)
			continue;
		config_key_default(key, hypervisor, text, sizeof text);
		r = config_value_from_text(key, text, 1, &v, &why);
		r = r < 0 ? r : config_store(c, i, &v, CONFIG_BY_DEFAULT, NULL);
		if (r < 0)
			return r;
	}
	*ret = take_ptr(c);
	return 0;
}

void config_free(struct config *c)
{
	const struct config_key *key;

	if (!c)
		return;
	for (size_t i = 0; (key = config_key_at(i)); i++) {
		if (key->type == CONFIG_STR)
			free(*(char **)field_of(c, key));
		else if (key->type == CONFIG_LIST)
			strv_fini(field_of(c, key));
		if (c->origins)
			free(c->origins->of[i].text);
	}
	for (size_t i = 0; i < c->hypervisor.n_extension_images; i++) {
		free(c->hypervisor.extension_images[i].name);
		free(c->hypervisor.extension_images[i].path);
		free(c->hypervisor.extension_images[i].verity_params);
	}
	free(c->hypervisor.extension_images);
	free(c->origins);
	free(c->hypervisor_name);
	free(c->path);
	free(c);
}

const char *config_section_title(const struct config *c, enum config_section section, char out[64])
{
	static const char *const titles[] = {
		[CONFIG_AGENT] = "[agent.kata]",
		[CONFIG_RUNTIME] = "[runtime]",
		[CONFIG_FACTORY] = "[factory]",
	};

	if (section != CONFIG_HYPERVISOR)
		snprintf(out, 64, "%s", titles[section]);
	else if (*c->hypervisor_name)
		snprintf(out, 64, "[hypervisor.%s]", c->hypervisor_name);
	else
		snprintf(out, 64, "[hypervisor]");
	return out;
}

const char *config_origin(const struct config *c, enum config_section section, const char *key)
{
	int i = config_key_find(section, key, false, NULL);

	if (i < 0)
		return NULL;
	return c->origins->of[i].text ? c->origins->of[i].text : "default";
}

bool config_is_set(const struct config *c, enum config_section section, const char *key)
{
	int i = config_key_find(section, key, false, NULL);

	return i >= 0 && c->origins->of[i].layer != CONFIG_BY_DEFAULT;
}

/* Make a string key "" again, by default. */
static int clear(struct config *c, size_t key)
{
	struct config_value v = { .type = CONFIG_STR, .u.string = strdup("") };

	return v.u.string ? config_store(c, key, &v, CONFIG_BY_DEFAULT, NULL) : -ENOMEM;
}

int config_check_image(struct config *c, struct err *e)
{
	size_t image = (size_t)config_key_find(CONFIG_HYPERVISOR, "image", false, NULL);
	size_t initrd = (size_t)config_key_find(CONFIG_HYPERVISOR, "initrd", false, NULL);
	const struct config_origin *a = &c->origins->of[image], *b = &c->origins->of[initrd];

	if (str_empty(c->hypervisor.image) || str_empty(c->hypervisor.initrd))
		return 0;
	if (a->layer == b->layer)
		return err_set(e, ERR_CONFIG, EINVAL,
			       "%s sets image and %s sets initrd, but a guest has one or the other; remove one of them",
			       a->text, b->text);
	if (clear(c, a->layer < b->layer ? image : initrd) < 0)
		return err_sys(e, ENOMEM, "cannot keep the configuration");
	return 0;
}
