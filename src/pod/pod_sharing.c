/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container that came into another one's VM for its network's sake (pod/pod_join.h), or that is one of a pod's. Of
 * the other namespaces it shares what it asked for: for that our agent knows words of its own. With Kata's, IPC and
 * host name are the sandbox's for every container.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/log.h"
#include "oci/builder.h"
#include "pod/pod_internal.h"
#include "pod/pod_join.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot share namespaces");
}

/*
 * It is in the pod because of its id: the pod's first container again, whose VM lives for the others. A new network
 * namespace is the pod's, into which hooks put interfaces; one that somebody else has made the VM cannot go to.
 */
static int check_network(const struct pod_container *c, struct err *e)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(c->spec, "network");
	struct stat named, ours;

	if (!ns || str_empty(ns->path) || !c->pod->netns)
		return 0;
	if (stat(ns->path, &named) < 0)
		return err_sys(e, errno, "cannot open the network namespace %s", ns->path);
	if (stat(c->pod->netns, &ours) == 0 && file_is_same(&named, &ours))
		return 0;
	return err_set(e, ERR_CONFIG, EBUSY,
		       "container %s cannot have the network namespace %s: its virtual machine is still used by "
		       "containers that share its network, and is in another one; stop them first, and start them "
		       "again afterwards",
		       c->id, ns->path);
}

/* Where its files are: engines choose that once for each container, while people may choose an id again. */
static int find_origin(const struct pod_container *c, const struct pod_container_params *params, struct strv *ret)
{
	int r = strv_add(ret, c->bundle);

	if (r == 0)
		r = strv_add(ret, c->spec->root ? c->spec->root->path : "");
	for (size_t i = 0; i < params->n_rootfs && r == 0; i++) {
		const struct pod_mount *m = &params->rootfs[i];

		r = strv_add(ret, m->source);
		/* Layers are an image's, and containerd may mount them in another place each time (erofs). */
		for (size_t k = 0; k < m->n_options && r == 0; k++)
			if (!str_after(m->options[k], "lowerdir="))
				r = strv_add(ret, m->options[k]);
	}
	return r;
}

static bool same_origin(const struct strv *a, const struct strv *b)
{
	for (size_t i = 0; i < a->len && a->len == b->len; i++)
		if (!str_eq(a->v[i], b->v[i]))
			return false;
	return a->len == b->len;
}

int pod_check_origin(struct pod_container *c, const struct pod_container_params *params, bool first, struct err *e)
{
	_cleanup_strv_ struct strv origin = { 0 };
	struct pod *pod = c->pod;

	if (!str_eq(c->id, pod->params.id))
		return 0;
	if (find_origin(c, params, &origin) < 0)
		return out_of_memory(e);
	if (first) {
		strv_fini(&pod->origin);
		pod->origin = origin;
		origin = (struct strv){ 0 };
		return 0;
	}
	if (!pod->origin.len || same_origin(&pod->origin, &origin))
		return 0;
	return err_set(e, ERR_CONFIG, EEXIST,
		       "container %s cannot be created: the virtual machine of another one of that id is still used by "
		       "containers that share its network; delete these first, or choose another id",
		       c->id);
}

static bool is_taken(const struct pod_container *c, const char *name)
{
	const struct pod_container *other;

	list_foreach (other, &c->pod->containers, struct pod_container, node)
		if (other != c && (str_eq(other->ipc_of, name) || str_eq(other->uts_of, name)))
			return true;
	return false;
}

/* What it does not share is called by its id, or, where others still have what it had before it came again, alike. */
static char *own_name(const struct pod_container *c)
{
	char *name = strdup(c->id);

	for (unsigned n = 1; name && is_taken(c, name); n++) {
		free(name);
		name = str_printf("%s+%u", c->id, n);
	}
	return name;
}

/* Whose namespace of a kind that the sandbox has one of: the other one's, or a new one. *ret: a path for the agent. */
static int decide(struct pod_container *c, const struct join *j, enum join_kind kind, const char *type, bool can,
		  char **ret_of, char **ret, struct err *e)
{
	const struct pod_container *other =
		j->of[kind] < 0 ? NULL : pod_find(c->pod, c->pod->record.containers[j->of[kind]].id, NULL);
	const char *of = other ? (kind == JOIN_IPC ? other->ipc_of : other->uts_of) : c->id;

	if (!of || !oci_spec_namespace(c->spec, type))
		return 0;
	if (!can) {
		log_warn("container %s: its %s namespace is the pod's: the guest's agent cannot make another one",
			 c->id, type);
		return 0;
	}
	*ret_of = other ? strdup(of) : own_name(c);
	*ret = other ? str_printf(PLAN_JOIN_CONTAINER "%s", other->id) : strdup(PLAN_JOIN_PRIVATE);
	return *ret_of && *ret ? 0 : out_of_memory(e);
}

/* Does the guest's agent know the words for another container's namespaces, and for new ones? */
static bool agent_joins(const struct pod_container *c)
{
	return sandbox_has_feature(c->pod->sandbox, PLAN_JOIN_FEATURE);
}

static int share(struct pod_container *c, const struct join *j, struct pod_sharing *ret, struct err *e)
{
	const char *pid_of = j->of[JOIN_PID] < 0 ? NULL : c->pod->record.containers[j->of[JOIN_PID]].id;
	bool can = agent_joins(c);
	int r;

	if (pid_of && !can)
		return err_set(
			e, ERR_CONFIG, ENOTSUP,
			"cannot share the pid namespace of container %s: the guest's agent cannot; use Caisson's "
			"guest image, or containers of a pod that shares its processes",
			pid_of);
	if (pid_of && !(ret->pid = str_printf(PLAN_JOIN_CONTAINER "%s", pid_of)))
		return out_of_memory(e);
	r = decide(c, j, JOIN_IPC, "ipc", can, &c->ipc_of, &ret->ipc, e);
	if (r == 0)
		r = decide(c, j, JOIN_UTS, "uts", can, &c->uts_of, &ret->uts, e);
	ret->any = true;
	ret->plan = (struct plan_sharing){ .pid = ret->pid, .ipc = ret->ipc, .uts = ret->uts, .shm = c->ipc_of };
	return r;
}

/*
 * Kubernetes' ephemeral containers (kubectl debug --target): in the PID namespace of another container of their pod.
 * That of the container that brought the VM is the sandbox's, which any agent knows.
 */
static int share_target(struct pod_container *c, char **ret, struct err *e)
{
	struct pod_container *target = NULL;
	struct join j;

	if (join_in_pod(&c->pod->record, c->spec, c->id, &j) && j.of[JOIN_PID] >= 0)
		target = pod_find(c->pod, c->pod->record.containers[j.of[JOIN_PID]].id, NULL);
	if (!target || target->brought_vm)
		return 0;
	if (!agent_joins(c)) {
		log_warn("container %s does not see the processes of container %s: the guest's agent cannot do that",
			 c->id, target->id);
		return 0;
	}
	*ret = str_printf(PLAN_JOIN_CONTAINER "%s", target->id);
	return *ret ? 0 : out_of_memory(e);
}

static bool wants_own(const struct pod_container *c, const char *type)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(c->spec, type);

	return ns && str_empty(ns->path);
}

/* One of a pod's names what it shares by paths; without one it has its own (podman pod create --share). */
static int share_in_pod(struct pod_container *c, struct pod_sharing *ret, struct err *e)
{
	static const struct join nobody = { .of = { -1, -1, -1, -1 } };
	bool own_ipc = wants_own(c, "ipc"), own_uts = wants_own(c, "uts");
	/* The guest is waited for: only for those who need to know. */
	bool can = (own_ipc || own_uts) && agent_joins(c);
	int r = share_target(c, &ret->pid, e);

	if (r == 0 && own_ipc)
		r = decide(c, &nobody, JOIN_IPC, "ipc", can, &c->ipc_of, &ret->ipc, e);
	if (r == 0 && own_uts)
		r = decide(c, &nobody, JOIN_UTS, "uts", can, &c->uts_of, &ret->uts, e);
	ret->any = ret->pid || ret->ipc || ret->uts;
	ret->plan = (struct plan_sharing){
		.in_pod = true, .pid = ret->pid, .ipc = ret->ipc, .uts = ret->uts, .shm = c->ipc_of
	};
	return r;
}

int pod_find_sharing(struct pod_container *c, struct pod_sharing *ret, struct err *e)
{
	enum pod_role role = pod_role(c->spec, NULL);
	struct join j;
	int r;

	if (role == POD_ROLE_CONTAINER)
		return share_in_pod(c, ret, e);
	if (role != POD_ROLE_SINGLE)
		return 0;
	if (!join_in_pod(&c->pod->record, c->spec, c->id, &j)) {
		r = check_network(c, e);
		/* What it had before it came again is the sandbox's: others may be in it. */
		return r < 0 || !c->brought_vm ? r : share(c, &j, ret, e);
	}
	r = join_check(&j, &c->pod->record, c->spec, e);
	if (r < 0)
		return r;
	pod_warn_of_size(c);
	return share(c, &j, ret, e);
}

void pod_sharing_fini(struct pod_sharing *s)
{
	free(s->pid);
	free(s->ipc);
	free(s->uts);
}
