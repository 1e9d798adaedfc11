/* SPDX-License-Identifier: Apache-2.0 */
/* A file of its own: the agent, which has no use for JSON, asks as well. */
#include "oci/spec.h"

/* Containerd's and CRI-O's rule: allow a *:* rwm. */
bool oci_spec_is_privileged(const Grpc__Spec *spec)
{
	const Grpc__LinuxResources *res = spec->linux ? spec->linux->resources : NULL;

	for (size_t i = 0; res && i < res->n_devices; i++) {
		const Grpc__LinuxDeviceCgroup *rule = res->devices[i];

		/* The parser has -1 for a number that is not there. */
		if (rule->allow && (str_empty(rule->type) || str_eq(rule->type, "a")) && rule->major <= 0 &&
		    rule->minor <= 0 && strchr(rule->access, 'w') && strchr(rule->access, 'm'))
			return true;
	}
	return false;
}
