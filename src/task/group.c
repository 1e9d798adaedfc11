/* SPDX-License-Identifier: Apache-2.0 */
#include "task/group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/pod_join.h"
#include "pod/pod_role.h"

#define KATA_PREFIX "io.katacontainers."

static int fill(const Grpc__Spec *spec, const char *id, struct task_group *ret)
{
	const char *sandbox = NULL;
	enum pod_role role = pod_role(spec, &sandbox);
	int r = 0;

	ret->is_member = role == POD_ROLE_CONTAINER;
	ret->is_single = role == POD_ROLE_SINGLE;
	/* podman names the pod itself when that has no infra container. */
	ret->may_be_alone = ret->is_member && str_eq(oci_spec_annotation(spec, "io.container.manager"), "libpod");
	ret->sandbox = strdup(ret->is_member ? sandbox : id);
	for (size_t i = 0; r == 0 && i < spec->n_annotations; i++)
		if (str_after(spec->annotations[i]->key, KATA_PREFIX))
			r = strv_addf(&ret->config, "%s=%s", spec->annotations[i]->key, spec->annotations[i]->value);
	return ret->sandbox ? r : -ENOMEM;
}

int task_group_of(const Grpc__Spec *spec, const char *id, struct task_group *ret, struct err *e)
{
	int r;

	*ret = (struct task_group){ 0 };
	r = fill(spec, id, ret);
	if (r == 0)
		return 0;
	task_group_fini(ret);
	return err_sys(e, -r, "cannot read the annotations");
}

int task_group_read(const char *bundle, const char *id, struct task_group *ret, struct err *e)
{
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	int r;

	*ret = (struct task_group){ 0 };
	r = oci_spec_load(bundle, &spec, NULL, e);
	return r < 0 ? r : task_group_of(spec, id, ret, e);
}

int task_group_join(struct task_group *g, const Grpc__Spec *spec, const char *state_root, const char *namespace,
		    struct err *e)
{
	char *sandbox = NULL;
	int r = g->is_single ? join_find_pod(state_root, namespace, spec, &sandbox, e) : 0;

	if (r < 0 || !sandbox)
		return r;
	free(g->sandbox);
	g->sandbox = sandbox;
	g->is_member = true;
	return 0;
}

int task_group_alone(struct task_group *g, const char *id, struct err *e)
{
	char *own = strdup(id);

	if (!own)
		return err_sys(e, ENOMEM, "cannot read the annotations");
	free(g->sandbox);
	g->sandbox = own;
	g->is_member = g->may_be_alone = false;
	return 0;
}

void task_group_fini(struct task_group *g)
{
	free(take_ptr(g->sandbox));
	strv_fini(&g->config);
}
