/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to containers that are there: they are deleted, paused, resumed. For their creation: pod_create.c. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "oci/spec.h"
#include "pod/client_mounts.h"
#include "pod/overlays.h"
#include "pod/pod_internal.h"
#include "pod/rootfs_mounts.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the container");
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

/* ---- delete ---- */

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
	pod_run_poststop_hooks(c);
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
		pod_give_up_create(c);
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
