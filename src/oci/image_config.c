/* SPDX-License-Identifier: Apache-2.0 */
/* The config blob of an image (OCI image spec 1.1, config.md): what the container inherits from it. */
#include <errno.h>

#include "oci/digest.h"
#include "oci/document.h"
#include "oci/image.h"

#define LAYERS_MAX 1024

#if defined(__x86_64__)
#define ARCHITECTURE "amd64"
#elif defined(__aarch64__)
#define ARCHITECTURE "arm64"
#else
#error "unknown architecture"
#endif

const char *oci_host_architecture(void)
{
	return ARCHITECTURE;
}

static int bad(struct err *e, const char *origin, const char *what)
{
	return err_set(e, ERR_CONFIG, EINVAL, "%s: %s", origin, what);
}

static int no_memory(struct err *e)
{
	return err_set(e, ERR_SYSTEM, ENOMEM, "out of memory");
}

/* A list of strings, or absent. */
static int take_list(struct json_object *config, const char *key, const char *origin, struct strv *ret, struct err *e)
{
	struct json_object *list;

	if (!json_object_object_get_ex(config, key, &list) || !list)
		return 0;
	if (!json_object_is_type(list, json_type_array))
		return err_set(e, ERR_CONFIG, EINVAL, "%s: config.%s: expected a list", origin, key);
	for (size_t i = 0; i < json_object_array_length(list); i++) {
		const char *s = document_item(list, i);

		if (!s)
			return err_set(e, ERR_CONFIG, EINVAL, "%s: config.%s[%zu]: expected a string", origin, key, i);
		if (strv_add(ret, s) < 0)
			return no_memory(e);
	}
	return 0;
}

/* The names of an object's members, with "=value" behind them when the values are wanted. */
static int take_members(struct json_object *config, const char *key, bool values, struct strv *ret, struct err *e)
{
	struct json_object *o = document_get(config, key, json_type_object);

	if (!o)
		return 0;
	json_object_object_foreach(o, name, value)
	{
		int r = values ? strv_addf(ret, "%s=%s", name,
					   json_object_is_type(value, json_type_string) ? json_object_get_string(value)
											: "")
			       : strv_add(ret, name);

		if (r < 0)
			return no_memory(e);
	}
	return 0;
}

static int take_string(struct json_object *config, const char *key, char **ret, struct err *e)
{
	const char *s = document_string(config, key);

	if (!s)
		return 0;
	*ret = strdup(s);
	return *ret ? 0 : no_memory(e);
}

static int take_diff_ids(struct json_object *o, const char *origin, struct strv *ret, struct err *e)
{
	struct json_object *ids =
		document_get(document_get(o, "rootfs", json_type_object), "diff_ids", json_type_array);
	char hex[DIGEST_HEX];

	if (!ids)
		return bad(e, origin, "rootfs.diff_ids is missing; this is not the config of an image");
	if (json_object_array_length(ids) > LAYERS_MAX)
		return bad(e, origin, "more than 1024 layers");
	for (size_t i = 0; i < json_object_array_length(ids); i++) {
		const char *s = document_item(ids, i);

		if (!s || digest_parse(s, hex) < 0)
			return err_set(e, ERR_CONFIG, EINVAL, "%s: rootfs.diff_ids[%zu]: expected sha256:…", origin, i);
		if (strv_add(ret, hex) < 0)
			return no_memory(e);
	}
	return 0;
}

static int check_platform(struct json_object *o, const char *origin, struct oci_image *image, struct err *e)
{
	const char *os = document_string(o, "os");

	if (str_empty(image->architecture))
		return bad(e, origin, "architecture is missing");
	if (!str_empty(os) && !str_eq(os, "linux"))
		return err_set(e, ERR_CONFIG, EINVAL, "the image is for %.40s, not for linux", os);
	if (!str_eq(image->architecture, ARCHITECTURE))
		return err_set(e, ERR_CONFIG, EINVAL, "the image is for %.40s, this host runs %s", image->architecture,
			       ARCHITECTURE);
	return 0;
}

static int fill(struct oci_image *image, struct json_object *o, const char *origin, struct err *e)
{
	struct json_object *c = document_get(o, "config", json_type_object);
	int r = take_string(o, "architecture", &image->architecture, e);

	if (r == 0)
		r = take_diff_ids(o, origin, &image->diff_ids, e);
	if (r == 0)
		r = check_platform(o, origin, image, e);
	if (r < 0 || !c)
		return r;
	r = take_list(c, "Env", origin, &image->env, e);
	if (r == 0)
		r = take_list(c, "Entrypoint", origin, &image->entrypoint, e);
	if (r == 0)
		r = take_list(c, "Cmd", origin, &image->cmd, e);
	if (r == 0)
		r = take_string(c, "User", &image->user, e);
	if (r == 0)
		r = take_string(c, "WorkingDir", &image->workdir, e);
	if (r == 0)
		r = take_string(c, "StopSignal", &image->stop_signal, e);
	if (r == 0)
		r = take_members(c, "ExposedPorts", false, &image->exposed_ports, e);
	if (r == 0)
		r = take_members(c, "Volumes", false, &image->volumes, e);
	if (r == 0)
		r = take_members(c, "Labels", true, &image->labels, e);
	return r;
}

int oci_image_parse_config(const char *text, size_t len, const char *origin, struct oci_image **ret, struct err *e)
{
	_cleanup_json_ struct json_object *o = NULL;
	_cleanup_image_ struct oci_image *image = calloc(1, sizeof *image);
	int r;

	if (!image)
		return no_memory(e);
	r = document_parse(text, len, origin, &o, e);
	if (r == 0)
		r = fill(image, o, origin, e);
	if (r < 0)
		return r;
	*ret = take_ptr(image);
	return 0;
}

void oci_image_free(struct oci_image *image)
{
	if (!image)
		return;
	free(image->digest);
	free(image->rootfs);
	free(image->architecture);
	free(image->user);
	free(image->workdir);
	free(image->stop_signal);
	strv_fini(&image->env);
	strv_fini(&image->entrypoint);
	strv_fini(&image->cmd);
	strv_fini(&image->exposed_ports);
	strv_fini(&image->volumes);
	strv_fini(&image->labels);
	strv_fini(&image->diff_ids);
	free(image);
}

int oci_image_command(const struct oci_image *image, const struct strv *entrypoint, const struct strv *args,
		      struct strv *ret)
{
	const struct strv *first = entrypoint ? entrypoint : &image->entrypoint;
	const struct strv *rest = args && args->len ? args : entrypoint ? NULL : &image->cmd;
	struct strv all = { 0 };
	int r = 0;

	for (size_t i = 0; r == 0 && i < first->len; i++)
		r = strv_add(&all, first->v[i]);
	for (size_t i = 0; r == 0 && rest && i < rest->len; i++)
		r = strv_add(&all, rest->v[i]);
	if (r < 0) {
		strv_fini(&all);
		return r;
	}
	*ret = all;
	return 0;
}
