/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/exec_process.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"

static int set_user(struct exec_process *p, const char *user, const char *rootfs, struct err *e)
{
	_cleanup_close_ int fd = open(rootfs, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct oci_user who;
	int r = oci_user_resolve(user, fd, &who, e);

	if (r < 0)
		return r;
	grpc__user__init(&p->user);
	p->user.uid = who.uid;
	p->user.gid = who.gid;
	memcpy(p->groups, who.groups, who.n_groups * sizeof *who.groups);
	p->user.additionalgids = p->groups;
	p->user.n_additionalgids = who.n_groups;
	p->process.user = &p->user;
	return 0;
}

/* Behind those that the user has. */
static int add_groups(struct exec_process *p, const struct strv *groups, struct err *e)
{
	size_t n = p->process.user ? p->process.user->n_additionalgids : 0;
	uint64_t gid;

	if (!groups->len)
		return 0;
	if (p->process.user != &p->user) {
		if (p->process.user)
			p->user = *p->process.user;
		else
			grpc__user__init(&p->user);
		n = n < OCI_USER_GROUPS_MAX ? n : OCI_USER_GROUPS_MAX;
		if (n)
			memcpy(p->groups, p->user.additionalgids, n * sizeof *p->groups);
	}
	for (size_t i = 0; i < groups->len; i++) {
		if (str_to_u64(groups->v[i], 10, &gid) < 0 || gid > UINT32_MAX || n == OCI_USER_GROUPS_MAX)
			return err_set(e, ERR_CONFIG, EINVAL, "--additional-gids %s: expected a number", groups->v[i]);
		p->groups[n++] = (uint32_t)gid;
	}
	p->user.additionalgids = p->groups;
	p->user.n_additionalgids = n;
	p->process.user = &p->user;
	return 0;
}

static int set_env(struct exec_process *p, const struct exec_flags *f, const Grpc__Process *own, struct err *e)
{
	int r = strv_copy(&p->env, own->env, own->n_env);

	if (r == 0 && f->terminal && !strv_get_env(&p->env, "TERM"))
		r = strv_add(&p->env, "TERM=xterm");
	for (size_t i = 0; r == 0 && i < f->env.len; i++)
		r = strv_set_env(&p->env, f->env.v[i]);
	p->process.env = p->env.v;
	p->process.n_env = p->env.len;
	return r < 0 ? err_sys(e, ENOMEM, "cannot start the command") : 0;
}

/*
 * --cap adds to what the process may use. What it hands on to programs that it executes stays as it is, but where it
 * hands on something: a set of inheritable ones would give every user of the container the capability.
 */
static int add_caps(struct exec_process *p, const struct strv *caps, struct err *e)
{
	struct set {
		char ***list;
		size_t *n;
	} sets[4];
	size_t n = 3;
	int r = 0;

	if (!caps->len)
		return 0;
	if (p->process.capabilities)
		p->caps = *p->process.capabilities;
	else
		grpc__linux_capabilities__init(&p->caps);
	sets[0] = (struct set){ &p->caps.bounding, &p->caps.n_bounding };
	sets[1] = (struct set){ &p->caps.effective, &p->caps.n_effective };
	sets[2] = (struct set){ &p->caps.permitted, &p->caps.n_permitted };
	sets[3] = (struct set){ &p->caps.ambient, &p->caps.n_ambient };
	if (p->caps.n_inheritable)
		n++;
	for (size_t i = 0; i < n; i++) {
		struct strv *list = &p->cap_lists[i];

		r |= strv_copy(list, *sets[i].list, *sets[i].n);
		for (size_t k = 0; r == 0 && k < caps->len; k++)
			if (!strv_contains(list, caps->v[k]))
				r |= strv_add(list, caps->v[k]);
		*sets[i].list = list->v;
		*sets[i].n = list->len;
	}
	p->process.capabilities = &p->caps;
	return r ? err_sys(e, ENOMEM, "cannot start the command") : 0;
}

int exec_process_build(struct exec_process *ret, const struct exec_flags *f, const Grpc__Process *own,
		       const char *rootfs, struct err *e)
{
	int r;

	*ret = (struct exec_process){ .process = *own };
	r = set_env(ret, f, own, e);
	if (r == 0 && f->user)
		r = set_user(ret, f->user, rootfs, e);
	if (r == 0)
		r = add_groups(ret, &f->groups, e);
	if (r == 0)
		r = add_caps(ret, &f->caps, e);
	if (r < 0)
		return r;
	ret->process.terminal = f->terminal;
	ret->process.args = f->args;
	ret->process.n_args = f->n_args;
	if (f->workdir)
		ret->process.cwd = (char *)f->workdir;
	if (f->no_new_privileges)
		ret->process.nonewprivileges = true;
	return 0;
}

void exec_process_fini(struct exec_process *p)
{
	strv_fini(&p->env);
	for (size_t i = 0; i < 4; i++)
		strv_fini(&p->cap_lists[i]);
}
