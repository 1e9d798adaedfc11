/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/pod_role.h"

#include <stdbool.h>
#include <stddef.h>

#include "base/strv.h"
#include "oci/builder.h"

#define CRIO_SANDBOX "io.kubernetes.cri-o.SandboxID"

static const struct {
	const char *type, *sandbox; /* keys */
	const char *is_sandbox, *is_container;
} managers[] = {
	{ POD_ROLE_CRIO, CRIO_SANDBOX, "sandbox", "container" },
	{ "io.kubernetes.cri.container-type", "io.kubernetes.cri.sandbox-id", "sandbox", "container" },
	{ "io.kubernetes.docker.type", "io.kubernetes.sandbox.id", "podsandbox", "container" },
};

enum pod_role pod_role(const Grpc__Spec *spec, const char **ret_sandbox)
{
	const char *unused;
	bool told = false;

	if (!ret_sandbox)
		ret_sandbox = &unused;
	*ret_sandbox = NULL;
	for (size_t i = 0; i < sizeof managers / sizeof managers[0]; i++) {
		const char *type = oci_spec_annotation(spec, managers[i].type);

		if (!type)
			continue;
		told = true;
		*ret_sandbox = oci_spec_annotation(spec, managers[i].sandbox);
		if (str_eq(type, managers[i].is_sandbox))
			return POD_ROLE_SANDBOX;
		/* Without the id of a pod there is none to be in. */
		if (str_eq(type, managers[i].is_container) && !str_empty(*ret_sandbox))
			return POD_ROLE_CONTAINER;
	}
	/* podman, since 4.4, tells no type, and all but the pod's first container where they belong. */
	*ret_sandbox = told ? NULL : oci_spec_annotation(spec, CRIO_SANDBOX);
	if (!str_empty(*ret_sandbox))
		return POD_ROLE_CONTAINER;
	*ret_sandbox = NULL;
	return POD_ROLE_SINGLE;
}
