/* SPDX-License-Identifier: Apache-2.0 */
/* See spec_check.h. */
#include "agent/spec_check.h"

#include <errno.h>
#include <sched.h>

#include "base/log.h"
#include "base/strv.h"
#include "sys/namespaces.h"

int spec_check_process(const Grpc__Process *p, struct err *e)
{
	if (!p || !p->n_args || str_empty(p->args[0]))
		return err_set(e, ERR_CONFIG, EINVAL, "process.args is empty");
	if (!str_empty(p->cwd) && p->cwd[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "process.cwd \"%s\" is not an absolute path", p->cwd);
	for (size_t i = 0; i < p->n_env; i++)
		if (!strchr(p->env[i], '='))
			return err_set(e, ERR_CONFIG, EINVAL, "process.env: \"%s\" is not NAME=value", p->env[i]);
	/* Without SELinux in the guest nothing would confine the process as the label asks for. */
	if (!str_empty(p->selinuxlabel))
		return err_set(e, ERR_CONFIG, EOPNOTSUPP, "process.selinuxLabel \"%s\": this agent applies no labels",
			       p->selinuxlabel);
	if (!str_empty(p->apparmorprofile))
		log_warn("process.apparmorProfile \"%s\" has no effect in the guest", p->apparmorprofile);
	return 0;
}

int spec_check(const Grpc__Spec *spec, struct err *e)
{
	int seen = 0, r = spec_check_process(spec->process, e);

	if (r < 0)
		return r;
	if (!spec->root || spec->root->path[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "root.path is not an absolute path");
	if (!spec->linux)
		return err_set(e, ERR_CONFIG, EINVAL, "the spec has no linux section");
	for (size_t i = 0; i < spec->linux->n_namespaces; i++) {
		int flag = namespace_flag(spec->linux->namespaces[i]->type);

		if (!flag || (seen & flag))
			return err_set(e, ERR_CONFIG, EINVAL, "namespace \"%s\" is %s",
				       spec->linux->namespaces[i]->type, flag ? "named twice" : "not known");
		seen |= flag;
	}
	if (!(seen & CLONE_NEWNS))
		return err_set(e, ERR_CONFIG, EINVAL, "the spec names no mount namespace, which a container must have");
	if ((spec->linux->n_uidmappings || spec->linux->n_gidmappings) && !(seen & CLONE_NEWUSER))
		return err_set(e, ERR_CONFIG, EINVAL, "the spec has ID mappings but no user namespace");
	return 0;
}
