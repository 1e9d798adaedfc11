/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/pod_join.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/strv.h"
#include "oci/builder.h"
#include "sys/namespaces.h"

/* The flag is podman's and docker's. */
static const struct {
	const char *type, *flag;
} kinds[JOIN_KINDS] = {
	[JOIN_NETWORK] = { "network", "--network" },
	[JOIN_PID] = { "pid", "--pid" },
	[JOIN_IPC] = { "ipc", "--ipc" },
	[JOIN_UTS] = { "uts", "--uts" },
};

/* NULL: it is not named. */
static const char *path_in(const Grpc__Spec *spec, enum join_kind kind)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, kinds[kind].type);

	return ns && !str_empty(ns->path) ? ns->path : NULL;
}

static bool names_any(const Grpc__Spec *spec)
{
	for (int k = 0; k < JOIN_KINDS; k++)
		if (path_in(spec, k))
			return true;
	return false;
}

static void proc_path(char *buf, size_t size, pid_t pid, enum join_kind kind)
{
	const char *name = namespace_proc_name(namespace_flag(kinds[kind].type));

	if (pid)
		snprintf(buf, size, "/proc/%d/ns/%s", (int)pid, name);
	else
		snprintf(buf, size, "/proc/self/ns/%s", name);
}

/*
 * A stand-in has a network of its own, and processes where that is allowed; IPC and host name are those of its maker
 * there: for these only the path tells whose are meant.
 */
static bool is_of(const char *path, enum join_kind kind, pid_t pid)
{
	struct stat named, theirs, ours;
	char proc[64];

	if (pid <= 0)
		return false;
	proc_path(proc, sizeof proc, pid, kind);
	if (str_eq(path, proc))
		return true;
	if (stat(path, &named) < 0 || stat(proc, &theirs) < 0 || !file_is_same(&named, &theirs))
		return false;
	proc_path(proc, sizeof proc, 0, kind);
	return stat(proc, &ours) == 0 && !file_is_same(&named, &ours);
}

/* All of a pod are in one network: the one whose path it is comes first. */
static ssize_t find(const struct pod_state *s, const char *path, enum join_kind kind, const char *but)
{
	ssize_t found = -1;
	char proc[64];

	for (size_t i = 0; path && i < s->n_containers; i++) {
		const struct pod_state_container *c = &s->containers[i];

		if (str_eq(c->id, but) || !is_of(path, kind, c->pid))
			continue;
		proc_path(proc, sizeof proc, c->pid, kind);
		if (found < 0 || str_eq(path, proc))
			found = (ssize_t)i;
	}
	return found;
}

bool join_in_pod(const struct pod_state *s, const Grpc__Spec *spec, const char *but, struct join *ret)
{
	bool any = false;

	for (int k = 0; k < JOIN_KINDS; k++) {
		ret->of[k] = find(s, path_in(spec, k), k, but ? but : "");
		any |= ret->of[k] >= 0;
	}
	return any;
}

int join_check(const struct join *j, const struct pod_state *s, const Grpc__Spec *spec, struct err *e)
{
	for (int k = 0; k < JOIN_KINDS; k++) {
		const char *path = path_in(spec, k), *id = j->of[k] >= 0 ? s->containers[j->of[k]].id : NULL;

		if (id && j->of[JOIN_NETWORK] < 0)
			return err_set(e, ERR_CONFIG, ENOTSUP,
				       "cannot share the %s namespace of container %s without its network: both are of "
				       "its virtual machine; add --network container:%s",
				       kinds[k].type, id, id);
		if (path && !id && k != JOIN_NETWORK)
			return err_set(
				e, ERR_CONFIG, ENOTSUP,
				"cannot share the %s namespace %s: it is none of a container in the same virtual "
				"machine; leave %s out, or name a container of this runtime and share its "
				"network, too",
				kinds[k].type, path, kinds[k].flag);
	}
	return 0;
}

/*
 * Engines name a container's network by its process, and namespaces that they make by files. The virtual machine would
 * take the interfaces away from that process.
 */
static int check_stranger(const Grpc__Spec *spec, struct err *e)
{
	const char *path = path_in(spec, JOIN_NETWORK);
	int pid, end = 0;

	if (!path || sscanf(path, "/proc/%d/ns/net%n", &pid, &end) != 1 || !end || path[end])
		return 0;
	return err_set(e, ERR_CONFIG, ENOTSUP,
		       "cannot share the network namespace %s: it is none of a container of this runtime here, and its "
		       "processes would lose it to the virtual machine; share that of such a container, or, where "
		       "nobody else needs it, give it a name: ip netns attach NAME %d",
		       path, pid);
}

/* A pod that cannot be read has ended, or is none yet. */
static bool read_living(const char *root, const char *id, const char *namespace, struct pod_state *ret)
{
	bool alive = false;

	if (state_read(root, id, ret, &alive, NULL) < 0)
		return false;
	if (alive && str_eq(ret->namespace, namespace ? namespace : ""))
		return true;
	pod_state_fini(ret);
	return false;
}

int join_find_pod(const char *root, const char *namespace, const Grpc__Spec *spec, char **ret_sandbox, struct err *e)
{
	struct join none = { .of = { -1, -1, -1, -1 } };
	_cleanup_strv_ struct strv ids = { 0 };
	_cleanup_free_ char *found = NULL;
	int r = 0;

	*ret_sandbox = NULL;
	if (!names_any(spec))
		return 0;
	r = state_list(root, &ids, e);
	for (size_t i = 0; r == 0 && i < ids.len; i++) {
		_cleanup_pod_state_ struct pod_state s = { 0 };
		struct join j;

		/* That all is in this one, if anything is, is checked as well. */
		if (!read_living(root, ids.v[i], namespace, &s) || !join_in_pod(&s, spec, NULL, &j))
			continue;
		r = join_check(&j, &s, spec, e);
		free(found);
		found = strdup(ids.v[i]);
		if (r == 0 && !found)
			r = err_sys(e, ENOMEM, "cannot look for the namespaces' container");
	}
	if (r == 0 && !found && (r = join_check(&none, NULL, spec, e)) == 0)
		r = check_stranger(spec, e);
	if (r == 0)
		*ret_sandbox = take_ptr(found);
	return r;
}
