/* SPDX-License-Identifier: Apache-2.0 */
#include "task/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "codec/json.h"

#define CONFIG_JSON_MAX (4u << 20)
#define KATA_PREFIX     "io.katacontainers."

static const struct engine {
	const char *type_key, *first, *member, *sandbox_key;
} engines[] = {
	{ "io.kubernetes.cri-o.ContainerType", "sandbox", "container", "io.kubernetes.cri-o.SandboxID" },
	{ "io.kubernetes.cri.container-type", "sandbox", "container", "io.kubernetes.cri.sandbox-id" },
	{ "io.kubernetes.docker.type", "podsandbox", "container", "io.kubernetes.sandbox.id" },
};

static int add_config(const char *key, struct json_object *value, void *userdata)
{
	const char *text = json_str(value);

	if (!str_after(key, KATA_PREFIX) || !text)
		return 0;
	return strv_addf(userdata, "%s=%s", key, text);
}

static int find_sandbox(const struct json_object *annotations, const char *id, struct task_group *ret, struct err *e)
{
	const char *sandbox = id;

	for (size_t i = 0; i < sizeof engines / sizeof *engines; i++) {
		const struct engine *g = &engines[i];
		const char *type = json_get_str(annotations, g->type_key);

		if (!type)
			continue;
		if (str_eq(type, g->member)) {
			sandbox = json_get_str(annotations, g->sandbox_key);
			if (str_empty(sandbox))
				return err_set(e, ERR_CONFIG, EINVAL,
					       "annotation %s is \"%s\", but %s, which names the pod, is missing",
					       g->type_key, type, g->sandbox_key);
			ret->is_member = true;
		} else if (!str_eq(type, g->first)) {
			return err_set(e, ERR_CONFIG, EINVAL, "annotation %s is \"%.100s\": expected \"%s\" or \"%s\"",
				       g->type_key, type, g->first, g->member);
		}
		break;
	}
	ret->sandbox = strdup(sandbox);
	return ret->sandbox ? 0 : err_sys(e, ENOMEM, "cannot read the annotations");
}

int task_group_read(const char *bundle, const char *id, struct task_group *ret, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/config.json", bundle);
	_cleanup_json_ struct json_object *spec = NULL;
	struct json_object *annotations;
	int r;

	*ret = (struct task_group){ 0 };
	if (!path)
		return err_sys(e, ENOMEM, "cannot read the annotations");
	r = json_parse_file(path, CONFIG_JSON_MAX, &spec, e);
	if (r < 0)
		return r;
	annotations = json_get_object(spec, "annotations");
	r = annotations && json_each(annotations, add_config, &ret->config) < 0 ?
		    err_sys(e, ENOMEM, "cannot read the annotations") :
		    find_sandbox(annotations, id, ret, e);
	if (r < 0) {
		err_wrap(e, "%s", path);
		task_group_fini(ret);
	}
	return r;
}

void task_group_fini(struct task_group *g)
{
	free(take_ptr(g->sandbox));
	strv_fini(&g->config);
}
