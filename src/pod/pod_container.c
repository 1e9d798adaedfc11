/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to containers. The first one brings the VM, see pod_create_first(). */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/client_mounts.h"
#include "pod/hooks.h"
#include "pod/overlays.h"
#include "pod/plan_mounts.h"
#include "pod/plan_volumes.h"
#include "pod/pod_internal.h"
#include "pod/rootfs_mounts.h"
#include "pod/standin.h"
#include "sys/mounts.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the container");
}

/* ---- hooks ---- */

static struct hook_state hook_state(const struct pod_container *c, const char *status)
{
	const struct pod_process *p = pod_init_process(c);

	return (struct hook_state){
		.id = c->id, .status = status, .bundle = c->bundle, .pid = p ? p->standin_pid : 0, .spec = c->spec
	};
}

static int run_hooks(const struct pod_container *c, const char *kind, Grpc__Hook *const *hooks, size_t n, struct err *e)
{
	struct hook_state state = hook_state(c, "creating");

	return n ? hooks_run(hooks, n, kind, &state, NULL, e) : 0;
}

/* In the container's network, and in its root, as runc has it: so they write to "./etc". */
static int run_container_hooks(const struct pod_container *c, Grpc__Hook *const *hooks, size_t n, struct err *e)
{
	struct hook_state state = hook_state(c, "creating");
	struct stat st;

	/* A disk's is in the guest alone, and a sandbox that is nothing else has none. */
	if (c->rootfs && stat(c->rootfs, &st) == 0 && S_ISDIR(st.st_mode))
		state.cwd = c->rootfs;
	return n ? hooks_run(hooks, n, "createContainer", &state, c->pod->netns, e) : 0;
}

/* Before the network is looked at: docker's comes by one of these. */
static int run_create_hooks(struct pod_container *c, struct err *e)
{
	const Grpc__Hooks *h = c->spec->hooks;
	int r;

	if (!h)
		return 0;
	c->hooked = true;
	if ((r = run_hooks(c, "prestart", h->prestart, h->n_prestart, e)) < 0 ||
	    (r = run_hooks(c, "createRuntime", h->createruntime, h->n_createruntime, e)) < 0)
		return r;
	return run_container_hooks(c, h->createcontainer, h->n_createcontainer, e);
}

int pod_container_started(struct pod_container *c, struct err *e)
{
	struct hook_state state = hook_state(c, "running");
	const Grpc__Hooks *h = c->spec->hooks;

	return h && h->n_poststart ? hooks_run(h->poststart, h->n_poststart, "poststart", &state, NULL, e) : 0;
}

/* Its process has no id any more. Failures change nothing, for those behind them neither (runtime.md "Lifecycle"). */
static void run_poststop_hooks(const struct pod_container *c)
{
	struct hook_state state = hook_state(c, "stopped");

	state.pid = 0;
	if (c->spec->hooks)
		hooks_run_all(c->spec->hooks->poststop, c->spec->hooks->n_poststop, "poststop", &state);
}

/* ---- create ---- */

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

void pod_container_free(struct pod_container *c)
{
	struct pod_process *p;

	if (!c)
		return;
	pod_ask_give_up(c);
	while ((p = list_first(&c->processes, struct pod_process, node)))
		pod_process_free(p);
	list_remove(&c->node);
	if (c->plan)
		volume_watch_remove(c->pod->volumes, c->plan);
	if (c->pod->plan)
		plan_container_free(c->pod->plan, c->plan);
	rootfs_unmount(c->rootfs, c->n_mounts);
	overlays_unmount(&c->overlays);
	client_mounts_drop(&c->client_mounts);
	host_cgroup_free(c->cgroup);
	if (c->spec)
		oci_spec_free(c->spec);
	free(c->id);
	free(c->bundle);
	free(c->rootfs);
	free(c->ipc_of);
	free(c->uts_of);
	free(c);
}

/* Can a disk be given to the VM at this moment? */
static bool takes_disks(const struct pod *pod)
{
	struct vm_capabilities can = { 0 };

	pod->params.driver->capabilities(&pod->params.config->hypervisor, &can);
	return !pod->params.config->hypervisor.disable_block_device_use &&
	       (pod->sandbox ? can.block_hotplug : can.block);
}

/* Decide what the guest gets as root, and mount what must be mounted for it. */
static int make_rootfs(struct pod_container *c, const struct pod_container_params *params, bool *ret_writable,
		       struct err *e)
{
	const char *path = c->spec->root ? c->spec->root->path : "";
	_cleanup_free_ char *joined = NULL;
	bool readonly;
	int r;

	if (c->sandbox_only) {
		*ret_writable = false;
		return 0;
	}
	*ret_writable = !c->spec->root || !c->spec->root->readonly;
	if (takes_disks(c->pod) && rootfs_is_disk(params->rootfs, params->n_rootfs, &readonly)) {
		*ret_writable = !readonly;
		c->rootfs = strdup(params->rootfs[0].source);
		return c->rootfs ? 0 : out_of_memory(e);
	}
	joined = path[0] == '/' ? strdup(path) : str_printf("%s/%s", c->bundle, *path ? path : "rootfs");
	if (!joined)
		return out_of_memory(e);
	if (params->n_rootfs) {
		c->rootfs = take_ptr(joined);
		r = pod_enter_mount_namespace(c->pod, e);
		return r < 0 ? r : rootfs_mount(params->rootfs, params->n_rootfs, c->rootfs, &c->n_mounts, e);
	}
	c->rootfs = realpath(joined, NULL);
	return c->rootfs ? 0 : err_sys(e, errno, "cannot use the root file system %s", joined);
}

/* Beside the pod's sockets: nothing of the client's is there. */
static char *overlay_places(const struct pod_container *c)
{
	return str_printf("%s/overlay-%s", state_dir_path(c->pod->state), c->id);
}

static int make_overlays(struct pod_container *c, struct err *e)
{
	_cleanup_free_ char *prefix = overlay_places(c);

	return prefix ? overlays_mount(c->spec, prefix, &c->overlays, e) : out_of_memory(e);
}

int pod_container_spec(const struct pod_container *c, Grpc__Spec **ret, struct err *e)
{
	_cleanup_free_ char *prefix = overlay_places(c);
	Grpc__Spec *spec;
	int r = prefix ? oci_spec_load(c->bundle, &spec, NULL, e) : out_of_memory(e);

	if (r < 0)
		return r;
	if (overlays_as_binds(spec, prefix) < 0) {
		oci_spec_free(spec);
		return out_of_memory(e);
	}
	*ret = spec;
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
	    (r = pod_write_state(pod, e)) < 0 || (r = make_rootfs(c, params, &writable, e)) < 0 ||
	    (r = make_overlays(c, e)) < 0 || (r = run_create_hooks(c, e)) < 0 || (r = pod_make_cgroup(pod, c, e)) < 0 ||
	    (r = pod_apply_cpuset(c, e)) < 0 || (r = pod_size_vm(pod, c, e)) < 0 ||
	    (r = pod_attach_network(pod, e)) < 0 || (r = pod_start_vm(pod, c, writable, e)) < 0)
		return r;
	return pod_watch_vm(pod, e);
}

/* Of an overlay: of an image that podman has mounted, say. */
static int fetch_layers(struct pod_container *c, pid_t client, struct err *e)
{
	_cleanup_strv_ struct strv layers = { 0 };
	int r = 0;

	for (size_t i = 0; i < c->spec->n_mounts; i++)
		if (overlay_is(c->spec->mounts[i]) && overlay_layers(c->spec->mounts[i], &layers) < 0)
			return out_of_memory(e);
	for (size_t i = 0; r == 0 && i < layers.len; i++)
		r = client_mounts_fetch(client, layers.v[i], &c->client_mounts, e);
	return r;
}

/*
 * What the client of a later container mounted for it, we do not see by ourselves. Its /proc is its own, must not come
 * to lie over ours, and is not shared with the guest either.
 */
static int fetch_client_mounts(struct pod_container *c, const struct pod_container_params *params, struct err *e)
{
	const struct pod_process *p = pod_init_process(c);
	const char *root = c->spec->root ? c->spec->root->path : "";
	_cleanup_free_ char *rootfs =
		root[0] == '/' ? strdup(root) : str_printf("%s/%s", c->bundle, *root ? root : "rootfs");
	int r;

	if (!rootfs)
		return out_of_memory(e);
	/* A stand-in of ours is where we are. Whoever told no mounts has made them itself, where we have come from. */
	if (p->standin_ours)
		return params->n_rootfs || c->pod->mounts_fd < 0
			       ? 0
			       : client_mounts_fetch_from(c->pod->mounts_fd, rootfs, &c->client_mounts, e);
	r = client_mounts_fetch(p->standin_pid, rootfs, &c->client_mounts, e);
	if (r == 0)
		r = fetch_layers(c, p->standin_pid, e);
	for (size_t i = 0; r == 0 && i < c->spec->n_mounts; i++) {
		const Grpc__Mount *m = c->spec->mounts[i];
		_cleanup_free_ char *volume = NULL;

		if (!plan_is_bind(m) || plan_is_guests_own(m->source))
			continue;
		if (plan_subpath_volume(m->source, &volume) < 0)
			return out_of_memory(e);
		/* Of a subPath it is to be known what it is a part of. */
		if (volume)
			r = client_mounts_fetch(p->standin_pid, volume, &c->client_mounts, e);
		if (r == 0)
			r = client_mounts_fetch(p->standin_pid, m->source, &c->client_mounts, e);
	}
	return r;
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
	    (r = pod_find_sharing(c, &sharing, e)) < 0 || (r = fetch_client_mounts(c, params, e)) < 0 ||
	    (r = make_rootfs(c, params, &q.rootfs_writable, e)) < 0 || (r = make_overlays(c, e)) < 0 ||
	    (r = run_create_hooks(c, e)) < 0 || (r = pod_make_cgroup(pod, c, e)) < 0 ||
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
		run_poststop_hooks(c);
	pod_container_free(c);
	if (!list_empty(&pod->containers)) {
		pod_shrink(pod);
		pod_follow_cpuset(pod);
		return;
	}
	pod_unwatch_vm(pod);
	pod_host_stop(pod);
}

/* Where the container's mount on target comes from, in the guest. NULL: there is none, or it is a device. */
static const char *guest_source(const struct pod_container *c, const char *target)
{
	const Grpc__Spec *spec = c->plan->spec;

	for (size_t i = 0; i < spec->n_mounts; i++)
		if (str_eq(spec->mounts[i]->destination, target))
			return spec->mounts[i]->source;
	return NULL;
}

/* What the guest has in a place is no path of the host's that a client sees: a tmpfs, /dev/shm, an emptyDir in memory.
 */
static bool is_in_guest_only(const struct pod_container *c, const Grpc__Mount *m)
{
	const char *source;

	/* Of /dev there are the image's own files to see. */
	if (str_eq(m->type, "tmpfs"))
		return !str_eq(m->destination, "/dev");
	if (overlay_is(m))
		return true;
	source = guest_source(c, m->destination);
	return source && str_after(source, GUEST_RUN_DIR "/") && !str_after(source, GUEST_SHARE_DIR "/");
}

/*
 * Clients look for the container below /proc/PID/root. They can read there what the guest was given, and write only
 * where that reaches the guest: else a copy would seem to have arrived. A root that is a disk of the guest's cannot be
 * there.
 */
static void show_root(const struct pod_container *c)
{
	bool copied = share_copies(&c->pod->plan->share);
	struct standin_bind binds[STANDIN_BINDS_MAX] = { { .source = c->rootfs, .target = "/" } };
	_cleanup_close_ int root = -1;
	struct stat st;
	size_t n = 1;

	/* Mounted by us, after the stand-in got mounts of its own: it sees the empty folder below. */
	if (c->n_mounts && (root = mount_clone_at(AT_FDCWD, c->rootfs, true)) < 0)
		binds[0].source = NULL;
	binds[0].readonly = copied || (c->spec->root && c->spec->root->readonly);
	if (stat(c->rootfs, &st) == 0 && !S_ISDIR(st.st_mode))
		binds[0].source = NULL;
	for (size_t i = 0; i < c->spec->n_mounts && n < STANDIN_BINDS_MAX; i++) {
		const Grpc__Mount *m = c->spec->mounts[i];
		struct standin_bind *b = &binds[n];

		*b = (struct standin_bind){ .target = m->destination, .readonly = copied || plan_is_readonly(m) };
		if (!is_in_guest_only(c, m)) {
			if (!plan_is_bind(m) || m->source[0] != '/')
				continue;
			b->source = m->source;
		}
		n++;
	}
	standin_show(pod_init_process(c)->standin_fd, root, binds, n);
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
		show_root(c);
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

/* ---- delete ---- */

/* Its pod ends. */
static void give_up_create(struct pod_container *c)
{
	struct err e = { 0 };
	int r = err_set(&e, ERR_CONFIG, ECANCELED, "the pod was ended while container %s was created", c->id);

	agent_call_cancel(take_ptr(c->create.call));
	sandbox_creation_cancel(take_ptr(c->create.creation));
	sandbox_forget_container(c->pod->sandbox, c->plan);
	fail_create(c, r, &e);
}

/* A Delete of a container, while that is waited for. */
struct deletion {
	pod_delete_fn fn;
	void *userdata;
	char *id;
	pid_t pid;
	struct pod_exit exit;
};

static void on_deleted(int result, const struct err *e, void *userdata)
{
	struct deletion *d = userdata;

	d->fn(result, d->pid, &d->exit, e, d->userdata);
	free(d->id);
	free(d);
}

/* Nothing of it is in the guest any more. Returns the delete that is to be told; NULL: there is none. */
static struct pod_ask *forget(struct pod_container *c)
{
	struct pod_ask *removal = take_ptr(c->removal);
	struct pod_process *p;

	c->in_guest = false;
	list_foreach (p, &c->processes, struct pod_process, node)
		pod_process_ended(p, 128 + SIGKILL, "");
	run_poststop_hooks(c);
	/* It has done what the others wanted, too. */
	if (removal) {
		list_remove(&removal->node);
		agent_call_cancel(take_ptr(removal->call));
	}
	pod_container_free(c);
	return removal;
}

/* Answers that will not come any more, or that nobody wants. */
static void cancel_waits(struct pod_container *c)
{
	struct pod_process *p;

	list_foreach (p, &c->processes, struct pod_process, node)
		agent_call_cancel(take_ptr(p->wait));
}

void pod_container_end(struct pod_container *c)
{
	struct pod *pod = c->pod;
	struct err e = { 0 };
	struct pod_ask *removal;

	if (c->create.fn) {
		give_up_create(c);
		return;
	}
	cancel_waits(c);
	/* A guest that removes it now may still write to its disks: they go with the VM, which has an end of its own.
	 */
	if (c->in_guest && !pod->lost && !c->removal)
		sandbox_remove_container(pod->sandbox, c->plan);
	else if (c->in_guest && !c->removal)
		sandbox_forget_container(pod->sandbox, c->plan);
	removal = forget(c);
	if (removal)
		pod_ask_done(removal, 0, &e);
}

/* The guest has no part in it any more. */
static void finish_delete(struct pod_container *c)
{
	struct pod *pod = c->pod;
	struct pod_ask *removal = forget(c);
	const struct deletion *d = removal->userdata;
	struct pod_event event = {
		.kind = POD_EVENT_DELETE, .container_id = d->id, .exec_id = "", .pid = d->pid, .exit = d->exit
	};
	struct err e = { 0 };

	if (list_empty(&pod->containers)) {
		pod_unwatch_vm(pod);
		pod_host_stop(pod);
		pod->lost = false;
	} else {
		pod_shrink(pod);
		pod_follow_cpuset(pod);
	}
	if (pod->params.event)
		pod->params.event(&event, pod->params.userdata);
	pod_note_state(pod);
	pod_ask_done(removal, 0, &e);
}

static void on_remove_answer(int result, const struct err *e, void *userdata)
{
	struct pod_ask *ask = userdata;
	struct pod_container *c = ask->container;

	ask->call = NULL;
	sandbox_container_removed(c->pod->sandbox, c->plan, result, e);
	finish_delete(c);
}

static void delete_container(struct pod_container *c, pod_delete_fn fn, void *userdata)
{
	struct pod_process *p = pod_init_process(c);
	struct deletion *d = calloc(1, sizeof *d);
	struct pod *pod = c->pod;
	struct err e = { 0 };
	struct pod_ask *ask;

	if (!d || !(d->id = strdup(c->id))) {
		free(d);
		fn(out_of_memory(&e), 0, &(struct pod_exit){ 0 }, &e, userdata);
		return;
	}
	d->fn = fn;
	d->userdata = userdata;
	d->pid = p->standin_pid;
	ask = pod_ask_new(c, on_deleted, d);
	/* The second one is told when the first one has done it. */
	if (!ask || c->removal)
		return;
	c->removal = ask;
	pod_process_ended(p, 128 + SIGKILL, "");
	d->exit = p->exit;
	cancel_waits(c);
	if (c->in_guest && !pod->lost &&
	    sandbox_remove_container_async(pod->sandbox, c->plan, on_remove_answer, ask, &ask->call, &e) == 0)
		return;
	if (c->in_guest)
		sandbox_forget_container(pod->sandbox, c->plan);
	finish_delete(c);
}

/* The guest forgets it by itself. */
static void delete_exec(struct pod_process *p, pod_delete_fn fn, void *userdata)
{
	bool never_ran = p->status == POD_CREATED && !pod_process_is_starting(p);
	struct pod *pod = p->container->pod;
	pid_t pid = p->standin_pid;
	struct pod_exit exit = { 0 };
	struct err e = { 0 };

	if ((p->status == POD_RUNNING || pod_process_is_starting(p)) && !pod->lost)
		agent_signal_async(pod->sandbox->agent, p->container->id, p->exec_id, SIGKILL, NULL, NULL, NULL, NULL);
	pod_process_ended(p, 128 + SIGKILL, "");
	/* Nothing was killed, and there is no status, as with runc. */
	if (!never_ran)
		exit = p->exit;
	pod_process_free(p);
	pod_note_state(pod);
	fn(0, pid, &exit, &e, userdata);
}

static int check_delete(const struct pod_process *p, bool force, struct err *e)
{
	bool exec = *p->exec_id;

	if (pod_check_created(p->container, e) < 0)
		return -EBUSY;
	if ((p->status == POD_RUNNING || pod_process_is_starting(p)) && !force)
		return err_set(e, ERR_CONFIG, EBUSY, "%s %s is running: it must be ended before it is deleted",
			       exec ? "process" : "container", exec ? p->exec_id : p->container->id);
	return 0;
}

void pod_delete(struct pod *pod, const char *id, const char *exec_id, bool force, pod_delete_fn fn, void *userdata)
{
	struct err e = { 0 };
	struct pod_process *p = pod_find_process(pod, id, exec_id, &e);
	int r = p ? check_delete(p, force, &e) : -ENOENT;

	if (r < 0)
		fn(r, 0, &(struct pod_exit){ 0 }, &e, userdata);
	else if (*p->exec_id)
		delete_exec(p, fn, userdata);
	else
		delete_container(p->container, fn, userdata);
}

/* ---- pause, resume ---- */

static struct pod_container *find_running(struct pod *pod, const char *id, bool paused, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);

	if (!c || pod_check_guest(pod, e) < 0)
		return NULL;
	if (c->pausing)
		err_set(e, ERR_CONFIG, EBUSY, "container %s is being paused or resumed", id);
	else if (pod_init_process(c)->status == POD_RUNNING && c->paused == paused)
		return c;
	else
		err_set(e, ERR_CONFIG, EBUSY, "container %s is not %s", id, paused ? "paused" : "running");
	return NULL;
}

static void on_pause_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_ask *ask = userdata;
	struct pod_container *c = ask->container;
	struct err e = *answer;

	ask->call = NULL;
	c->pausing = false;
	if (result < 0)
		result = pod_explain(c->pod, result, &e);
	else if (pod_init_process(c)->status != POD_RUNNING)
		result = err_set(&e, ERR_CONFIG, EBUSY, "container %s is not running", c->id);
	if (result < 0) {
		pod_ask_done(ask, result, &e);
		return;
	}
	c->paused = ask->pause;
	pod_emit(c->pod, c->paused ? POD_EVENT_PAUSED : POD_EVENT_RESUMED, pod_init_process(c));
	pod_note_state(c->pod);
	pod_ask_done(ask, 0, &e);
}

static void set_paused(struct pod *pod, const char *id, bool pause, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	struct pod_container *c = find_running(pod, id, !pause, &e);
	struct pod_ask *ask;
	int r;

	if (!c) {
		fn(-e.code, &e, userdata);
		return;
	}
	ask = pod_ask_new(c, fn, userdata);
	if (!ask)
		return;
	ask->pause = pause;
	c->pausing = true;
	r = pause ? agent_pause_async(pod->sandbox->agent, id, on_pause_answer, ask, &ask->call, &e)
		  : agent_resume_async(pod->sandbox->agent, id, on_pause_answer, ask, &ask->call, &e);
	if (r < 0)
		on_pause_answer(r, &e, ask);
}

void pod_pause(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	set_paused(pod, id, true, fn, userdata);
}

void pod_resume(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	set_paused(pod, id, false, fn, userdata);
}
