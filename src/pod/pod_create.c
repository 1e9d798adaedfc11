/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A container is created. The first one brings the VM, see create_first(); later ones go into the one that runs. What
 * the guest has to do with it is waited for in the loop, and until then nothing else is done to the container.
 */
#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/plan_volumes.h"
#include "pod/pod_internal.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the container");
}

static int container_new(struct pod *pod, const struct pod_container_params *params, struct pod_container **ret,
			 struct err *e)
{
	struct pod_container *c = calloc(1, sizeof *c);
	_cleanup_strv_ struct strv warnings = { 0 };
	int r = 0;

	if (!c)
		return out_of_memory(e);
	c->pod = pod;
	list_init(&c->node);
	list_init(&c->processes);
	list_init(&c->asks);
	c->sandbox_only = params->sandbox_only;
	c->id = strdup(params->id);
	c->bundle = realpath(params->bundle, NULL);
	if (!c->id)
		r = out_of_memory(e);
	else if (!c->bundle)
		r = err_sys(e, errno, "cannot use the bundle %s", params->bundle);
	if (r == 0)
		r = oci_spec_load(c->bundle, &c->spec, &warnings, e);
	for (size_t i = 0; i < warnings.len; i++)
		log_debug("container %s: %s", c->id, warnings.v[i]);
	if (r == 0 && !c->spec->process)
		r = err_set(e, ERR_CONFIG, EINVAL, "%s/config.json: process is missing", c->bundle);
	if (r == 0)
		r = pod_read_cpuset(c->spec->linux ? c->spec->linux->resources : NULL, &c->cpuset, e);
	if (r < 0) {
		pod_container_free(c);
		return r;
	}
	sizing_from_resources(c->spec->linux ? c->spec->linux->resources : NULL, &c->demand);
	*ret = c;
	return 0;
}

/* Does the spec want a network namespace that is new? */
static bool wants_new_netns(const Grpc__Spec *spec)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, "network");

	return ns && str_empty(ns->path);
}

static const char *given_netns(const Grpc__Spec *spec)
{
	const Grpc__LinuxNamespace *ns = oci_spec_namespace(spec, "network");

	return ns && !str_empty(ns->path) ? ns->path : NULL;
}

static int make_init_process(struct pod_container *c, const struct pod_container_params *params, bool first,
			     struct err *e)
{
	const Grpc__Process *process = c->spec->process;
	struct pod_io io = params->io;
	struct pod_process_params q = { .exec_id = "",
					.io = &io,
					.standin_fd = params->standin_fd,
					.standin_pid = params->standin_pid,
					.netns = first ? given_netns(c->spec) : c->pod->netns,
					.new_netns = first && wants_new_netns(c->spec),
					.name = process->n_args ? process->args[0] : "container",
					.args = process->args,
					.n_args = process->n_args };
	struct pod_process *p;

	io.terminal |= process->terminal;
	return pod_process_new(c, &q, &p, e);
}

/*
 * The order matters: the network namespace is there before the hooks, which may put interfaces into it, and those
 * before the VM, which gets them as NICs.
 */
static int create_first(struct pod_container *c, const struct pod_container_params *params, struct err *e)
{
	struct pod *pod = c->pod;
	bool writable;
	int r;

	pod->role = pod_role(c->spec, NULL);
	/* Whoever is first is in nobody's pod. */
	if (pod->role == POD_ROLE_CONTAINER)
		pod->role = POD_ROLE_SINGLE;
	if ((geteuid() == 0 && (r = pod_enter_mount_namespace(pod, e)) < 0) ||
	    (r = make_init_process(c, params, true, e)) < 0 ||
	    (r = pod_open_netns(pod, c->spec, pod_init_process(c)->standin_pid, e)) < 0 ||
	    (r = pod_write_state(pod, e)) < 0 || (r = pod_make_rootfs(c, params, &writable, e)) < 0 ||
	    (r = pod_make_overlays(c, e)) < 0 || (r = pod_run_create_hooks(c, e)) < 0 ||
	    (r = pod_make_cgroup(pod, c, e)) < 0 || (r = pod_apply_cpuset(c, e)) < 0 ||
	    (r = pod_size_vm(pod, c, e)) < 0 || (r = pod_attach_network(pod, e)) < 0 ||
	    (r = pod_start_vm(pod, c, writable, e)) < 0)
		return r;
	return pod_watch_vm(pod, e);
}

/* What the guest's agent can do counts for parts of volumes only: nobody else waits for its answer. */
static int ask_for_subpaths(const struct pod_container *c, struct err *e)
{
	struct pod *pod = c->pod;

	for (size_t i = 0; i < c->spec->n_mounts && !pod->plan->subpaths; i++) {
		_cleanup_free_ char *volume = NULL;

		if (plan_subpath_volume(c->spec->mounts[i]->source, &volume) < 0)
			return out_of_memory(e);
		if (volume)
			pod->plan->subpaths = sandbox_has_storage_driver(pod->sandbox, PLAN_SUBPATH_DRIVER);
	}
	return 0;
}

static int create_later(struct pod_container *c, const struct pod_container_params *params, struct err *e)
{
	struct pod *pod = c->pod;
	struct plan_request q = { .id = c->id, .bundle = c->bundle, .pod = true };
	_cleanup_(pod_sharing_fini) struct pod_sharing sharing = { 0 };
	int r;

	if ((r = make_init_process(c, params, false, e)) < 0 || (r = pod_write_state(pod, e)) < 0 ||
	    (r = pod_find_sharing(c, &sharing, e)) < 0 || (r = pod_fetch_client_mounts(c, params, e)) < 0 ||
	    (r = pod_make_rootfs(c, params, &q.rootfs_writable, e)) < 0 || (r = pod_make_overlays(c, e)) < 0 ||
	    (r = pod_run_create_hooks(c, e)) < 0 || (r = pod_make_cgroup(pod, c, e)) < 0 ||
	    (r = pod_apply_cpuset(c, e)) < 0 || (r = ask_for_subpaths(c, e)) < 0 ||
	    (r = pod_container_spec(c, &q.spec, e)) < 0)
		return r;
	q.rootfs = c->rootfs;
	q.sharing = sharing.any ? &sharing.plan : NULL;
	r = plan_add_container(pod->plan, &q, &c->plan, e);
	for (size_t i = 0; r == 0 && i < c->plan->notes.len; i++)
		log_warn("container %s: %s", c->id, c->plan->notes.v[i]);
	return r;
}

/* As if it had never been. */
static void undo_create(struct pod_container *c)
{
	struct pod *pod = c->pod;

	if (c->in_guest)
		sandbox_remove_container(pod->sandbox, c->plan);
	/* What the others have made is still to be taken back. */
	if (c->hooked)
		pod_run_poststop_hooks(c);
	pod_container_free(c);
	if (!list_empty(&pod->containers)) {
		pod_shrink(pod);
		pod_follow_cpuset(pod);
		return;
	}
	pod_unwatch_vm(pod);
	pod_host_stop(pod);
}

/* fn may end the pod. */
static void fail_create(struct pod_container *c, int r, const struct err *e)
{
	struct pod *pod = c->pod;
	pod_create_fn fn = c->create.fn;
	void *userdata = c->create.userdata;

	undo_create(c);
	pod_write_state(pod, NULL);
	fn(r, 0, e, userdata);
}

/* Where the VM has ended, that is the reason. */
static void creation_failed(struct pod_container *c, int r, struct err *e)
{
	if (c->pod->lost)
		err_set(e, ERR_GUEST, -r, "%s", c->pod->reason);
	fail_create(c, r, e);
}

static int follow_mounts(struct pod *pod, struct err *e)
{
	if (pod->follow || !share_follow_wanted(&pod->plan->share))
		return 0;
	return share_follow_new(pod->loop, &pod->plan->share, &pod->follow, e);
}

static int created(struct pod_container *c, struct err *e)
{
	struct pod_process *p = pod_init_process(c);
	int r;

	c->in_guest = !c->sandbox_only;
	/* Once more when it starts: docker's name server comes by a hook (20.10), or when the process is there. */
	resolver_look(c->pod->resolver, c->spec);
	r = c->in_guest ? pod_process_watch(p, e) : 0;
	if (r == 0)
		r = pod_process_listen(p, e);
	if (r == 0)
		r = follow_mounts(c->pod, e);
	return r < 0 ? r : pod_write_state(c->pod, e);
}

static void on_create_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_container *c = userdata;
	pod_create_fn fn = c->create.fn;
	struct err e = *answer;

	c->create.creation = NULL;
	/* The answer can come behind the news that the VM has ended, and nobody would tell of this end again. */
	if (result == 0)
		result = pod_check_guest(c->pod, &e);
	/* The guest may create it yet: its id would be taken there for as long as the VM runs. */
	if (result == -ETIMEDOUT)
		agent_remove_container_async(c->pod->sandbox->agent, c->id, NULL, NULL, NULL, NULL);
	result = result < 0 ? sandbox_create_failed(c->pod->sandbox, c->plan, result, &e) : created(c, &e);
	if (result < 0) {
		creation_failed(c, result, &e);
		return;
	}
	c->create.fn = NULL;
	if (!c->sandbox_only)
		pod_show_root(c);
	pod_emit(c->pod, POD_EVENT_CREATE, pod_init_process(c));
	fn(0, pod_init_process(c)->standin_pid, &e, c->create.userdata);
}

static int ask_guest(struct pod_container *c, struct err *e)
{
	int r = c->pod->volumes ? volume_watch_add(c->pod->volumes, c->plan, e) : 0;

	return r < 0 ? r
		     : sandbox_create_container_async(c->pod->sandbox, c->plan, on_create_answer, c,
						      &c->create.creation, e);
}

static void on_room(int result, const struct err *answer, void *userdata)
{
	struct pod_container *c = userdata;
	struct err e = *answer;

	c->create.call = NULL;
	if (result < 0) {
		pod_not_grown(c->pod);
		result = pod_explain(c->pod, result, &e);
	} else {
		result = pod_check_guest(c->pod, &e);
	}
	if (result == 0)
		result = ask_guest(c, &e);
	else
		sandbox_forget_container(c->pod->sandbox, c->plan);
	if (result < 0)
		creation_failed(c, result, &e);
}

/* CPUs and memory first, see on_room(); then the guest is asked, see on_create_answer(). */
static int create_in_guest(struct pod_container *c, struct err *e)
{
	int r = c->sandbox_only ? 1 : pod_grow(c->pod, on_room, c, &c->create.call, e);

	return r ? r : ask_guest(c, e);
}

int pod_check_created(const struct pod_container *c, struct err *e)
{
	return c->create.fn ? err_set(e, ERR_CONFIG, EBUSY, "container %s is being created", c->id) : 0;
}

void pod_create(struct pod *pod, const struct pod_container_params *params, pod_create_fn fn, void *userdata)
{
	bool first = pod_is_empty(pod);
	struct pod_container *c = NULL;
	struct err e = { 0 };
	int r = state_check_id(params->id, &e);

	if (r == 0 && pod_find(pod, params->id, NULL))
		r = err_set(&e, ERR_CONFIG, EEXIST, "container %s exists already", params->id);
	if (r == 0 && params->sandbox_only && !first)
		r = err_set(&e, ERR_CONFIG, EBUSY, "the pod has containers already");
	if (r == 0 && (!first || pod->lost))
		r = pod_check_guest(pod, &e);
	if (r == 0)
		r = container_new(pod, params, &c, &e);
	if (r == 0)
		r = pod_check_origin(c, params, first, &e);
	if (r < 0) {
		pod_container_free(c);
		if (params->standin_fd >= 0)
			close(params->standin_fd);
		fn(r, 0, &e, userdata);
		return;
	}
	c->create.fn = fn;
	c->create.userdata = userdata;
	list_append(&pod->containers, &c->node);
	c->brought_vm = first || str_eq(c->id, pod->params.id);
	r = first ? create_first(c, params, &e) : create_later(c, params, &e);
	if (r == 0)
		r = create_in_guest(c, &e);
	if (r < 0)
		fail_create(c, r, &e);
	else if (c->sandbox_only)
		on_create_answer(0, &e, c);
}

void pod_give_up_create(struct pod_container *c)
{
	struct err e = { 0 };
	int r = err_set(&e, ERR_CONFIG, ECANCELED, "the pod was ended while container %s was created", c->id);

	agent_call_cancel(take_ptr(c->create.call));
	sandbox_creation_cancel(take_ptr(c->create.creation));
	sandbox_forget_container(c->pod->sandbox, c->plan);
	fail_create(c, r, &e);
}
