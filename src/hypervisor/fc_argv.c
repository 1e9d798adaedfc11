/* SPDX-License-Identifier: Apache-2.0 */
/* Firecracker's command line, behind the jailer's if there is one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "hypervisor/fc_vm.h"

static int firecracker_args(const struct vm_config *c, struct strv *argv)
{
	int r = 0;

	r |= strv_add(argv, "--api-sock");
	r |= strv_add(argv, FC_API);
	r |= strv_add(argv, "--log-path");
	r |= strv_add(argv, "log");
	r |= strv_add(argv, "--level");
	r |= strv_add(argv, c->hv->enable_debug ? "Debug" : "Warning");
	r |= strv_add(argv, "--metrics-path");
	r |= strv_add(argv, "metrics");
	if (c->hv->disable_seccomp)
		r |= strv_add(argv, "--no-seccomp");
	return r;
}

/*
 * As Kata runs it: as root, because the files it shall open are root's. A cgroup of its own is not asked for: it stays
 * in ours.
 */
static int jailer_args(const struct vm_config *c, const char *program, struct strv *argv)
{
	int r = 0;

	r |= strv_add(argv, c->hv->jailer_path);
	r |= strv_add(argv, "--id");
	r |= strv_add(argv, FC_JAIL_ID);
	r |= strv_add(argv, "--exec-file");
	r |= strv_add(argv, program);
	r |= strv_add(argv, "--uid");
	r |= strv_add(argv, "0");
	r |= strv_add(argv, "--gid");
	r |= strv_add(argv, "0");
	r |= strv_add(argv, "--chroot-base-dir");
	r |= strv_add(argv, c->run_dir);
	if (access("/sys/fs/cgroup/cgroup.controllers", F_OK) == 0) {
		r |= strv_add(argv, "--cgroup-version");
		r |= strv_add(argv, "2");
	}
	return r | strv_add(argv, "--");
}

int fc_argv(const struct vm_config *c, const char *program, struct strv *argv, struct err *e)
{
	_cleanup_free_ char *id = strdup(c->id);
	int r = 0;

	for (char *s = id; s && *s; s++)
		if (*s == '_' || *s == '.')
			*s = '-';
	if (!id)
		r = -ENOMEM;
	else if (!str_empty(c->hv->jailer_path))
		r = jailer_args(c, program, argv);
	else
		r = strv_add(argv, program) | strv_add(argv, "--id") | strv_addf(argv, "%.64s", id);
	return r || firecracker_args(c, argv) ? err_sys(e, ENOMEM, "Firecracker's command line") : 0;
}
