/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/plan_spec.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "oci/builder.h"
#include "pod/pod_role.h"
#include "sys/cgroup.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot adapt the container's configuration to the guest");
}

/* Replace a string of a message. Takes value over. */
static void set_string(char **field, char *value)
{
	if (*field != protobuf_c_empty_string)
		free(*field);
	*field = value;
}

static const char *shared_path(const struct plan_sharing *s, const char *type)
{
	return str_eq(type, "pid") ? s->pid : str_eq(type, "ipc") ? s->ipc : str_eq(type, "uts") ? s->uts : NULL;
}

/* One that is made needs its mappings: podman's pods tell them to each container, beside the first one's path. */
static int check_user_namespace(const Grpc__Spec *spec, struct err *e)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, "user");

	if (!ns || str_empty(ns->path) || spec->linux->n_uidmappings)
		return 0;
	return err_set(e, ERR_CONFIG, ENOTSUP,
		       "cannot join the user namespace %s, which is of the host; say how users are mapped (--uidmap)",
		       ns->path);
}

/*
 * The VM's network is the container's, so there is no network namespace in it. A namespace that is named by a path is
 * one of the host: the container gets a new one of that kind in the guest. In a pod that is what was meant, since the
 * path is one of the pod's first container: host name and IPC are the sandbox's there, and so is, then, the view of
 * processes (shareProcessNamespace). A container of a pod that has no PID namespace of its own was to see the host's
 * processes (hostPID): the host of a VM's is the VM, where those of the pod are.
 */
static int adapt_namespaces(struct plan_container *c, Grpc__Linux *l, const struct plan_request *q, struct err *e)
{
	size_t kept = 0;
	bool pod = q->pod;
	int r = check_user_namespace(c->spec, e);

	if (r < 0)
		return r;
	if (pod && (!q->sharing || q->sharing->in_pod) && pod_role(c->spec, NULL) == POD_ROLE_CONTAINER &&
	    !oci_spec_namespace(c->spec, "pid"))
		c->share_pidns = true;
	for (size_t i = 0; i < l->n_namespaces; i++) {
		Grpc__LinuxNamespace *ns = l->namespaces[i];

		if (str_eq(ns->type, "network")) {
			grpc__linux_namespace__free_unpacked(ns, NULL);
			l->namespaces[i] = NULL;
			continue;
		}
		l->namespaces[i] = NULL;
		l->namespaces[kept++] = ns;
	}
	l->n_namespaces = kept;
	for (size_t i = 0; i < kept; i++) {
		Grpc__LinuxNamespace *ns = l->namespaces[i];
		const char *shared = q->sharing ? shared_path(q->sharing, ns->type) : NULL;

		if (shared || (q->sharing && !q->sharing->in_pod)) {
			char *path = shared ? strdup(shared) : (char *)protobuf_c_empty_string;

			if (!path)
				return out_of_memory(e);
			set_string(&ns->path, path);
			continue;
		}
		if (str_empty(ns->path))
			continue;
		if (pod && str_eq(ns->type, "pid"))
			c->share_pidns = true;
		if (!pod &&
		    strv_addf(&c->notes,
			      "the %s namespace %s is one of the host: the container gets a new one in the guest",
			      ns->type, ns->path) < 0)
			return out_of_memory(e);
		set_string(&ns->path, (char *)protobuf_c_empty_string);
	}
	return 0;
}

/*
 * systemd's "SLICE:PREFIX:NAME" asks systemd for a scope, and an initramfs has none: /PREFIX/NAME, as Kata does. A path
 * keeps its components, without the ones that lead up.
 */
static int adapt_cgroup(Grpc__Linux *l, const char *id, struct err *e)
{
	const char *path = l->cgroupspath, *prefix, *name;
	_cleanup_free_ char *joined = NULL;
	char *clean;

	if (str_empty(path))
		return 0;
	prefix = strchr(path, ':');
	name = prefix ? strchr(prefix + 1, ':') : NULL;
	if (name && path[0] != '/') {
		joined = str_printf("/%.*s/%s", (int)(name - prefix - 1), prefix + 1, name[1] ? name + 1 : id);
		if (!joined)
			return out_of_memory(e);
		path = joined;
	}
	clean = cgroup_path_from_spec(path, id);
	if (!clean)
		return out_of_memory(e);
	set_string(&l->cgroupspath, clean);
	return 0;
}

static void free_hooks(Grpc__Hook ***list, size_t *n)
{
	for (size_t i = 0; i < *n; i++)
		grpc__hook__free_unpacked((*list)[i], NULL);
	free(*list);
	*list = NULL;
	*n = 0;
}

/* Those that a pod runs on the host (pod/hooks.h); startContainer is the guest's. */
static void take_host_hooks(Grpc__Hooks *h)
{
	free_hooks(&h->prestart, &h->n_prestart);
	free_hooks(&h->createruntime, &h->n_createruntime);
	free_hooks(&h->createcontainer, &h->n_createcontainer);
	free_hooks(&h->poststart, &h->n_poststart);
	free_hooks(&h->poststop, &h->n_poststop);
}

/* The hooks that run in the host's namespaces (OCI runtime spec 1.1, config.md "POSIX-platform Hooks"). */
static int drop_hooks(struct plan_container *c, const char *kind, Grpc__Hook ***list, size_t *n, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < *n; i++)
		r |= strv_addf(&c->notes,
			       "the %s hook %s is not run: hooks that are programs of the host are not run yet", kind,
			       (*list)[i]->path);
	free_hooks(list, n);
	return r ? out_of_memory(e) : 0;
}

static int adapt_hooks(struct plan_container *c, Grpc__Hooks *h, struct err *e)
{
	int r;

	if ((r = drop_hooks(c, "prestart", &h->prestart, &h->n_prestart, e)) < 0 ||
	    (r = drop_hooks(c, "createRuntime", &h->createruntime, &h->n_createruntime, e)) < 0 ||
	    (r = drop_hooks(c, "poststart", &h->poststart, &h->n_poststart, e)) < 0)
		return r;
	return drop_hooks(c, "poststop", &h->poststop, &h->n_poststop, e);
}

void plan_process(Grpc__Process *process)
{
	set_string(&process->apparmorprofile, (char *)protobuf_c_empty_string);
	set_string(&process->selinuxlabel, (char *)protobuf_c_empty_string);
}

/* What is the host's in a spec whose container is in a guest (kata.md §1, step 18): its CPUs and disks by number. */
static void drop_host_resources(Grpc__Spec *spec)
{
	Grpc__LinuxResources *res = spec->linux->resources;

	if (res && res->cpu) {
		set_string(&res->cpu->cpus, (char *)protobuf_c_empty_string);
		set_string(&res->cpu->mems, (char *)protobuf_c_empty_string);
	}
	if (res && res->blockio) {
		grpc__linux_block_io__free_unpacked(res->blockio, NULL);
		res->blockio = NULL;
	}
	if (res && res->network) {
		grpc__linux_network__free_unpacked(res->network, NULL);
		res->network = NULL;
	}
	if (spec->linux->intelrdt) {
		grpc__linux_intel_rdt__free_unpacked(spec->linux->intelrdt, NULL);
		spec->linux->intelrdt = NULL;
	}
}

int plan_spec(struct plan *p, struct plan_container *c, const struct plan_request *q, struct err *e)
{
	Grpc__Linux *l = c->spec->linux;
	int r = 0;

	if (c->spec->hooks && q->pod)
		take_host_hooks(c->spec->hooks);
	else if (c->spec->hooks)
		r = adapt_hooks(c, c->spec->hooks, e);
	if (c->spec->process)
		plan_process(c->spec->process);
	if (r < 0 || !l)
		return r;
	/* A filter that came with a bundle was meant for the host's kernel; one given to us by a flag is wanted. */
	if (q->bundle && p->config->runtime.disable_guest_seccomp && l->seccomp) {
		grpc__linux_seccomp__free_unpacked(l->seccomp, NULL);
		l->seccomp = NULL;
	}
	set_string(&l->mountlabel, (char *)protobuf_c_empty_string);
	if (q->pod)
		drop_host_resources(c->spec);
	r = adapt_namespaces(c, l, q, e);
	return r < 0 ? r : adapt_cgroup(l, c->id, e);
}
