/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pod as a whole. The rest is in pod_host.c (the host's side: namespaces, cgroup, network, VM), pod_container.c,
 * pod_process.c (what is done to them) and pod_exit.c (what happens to them).
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "pod/plan_direct.h"
#include "pod/pod_internal.h"

static int out_of_memory(struct err *e)
{
	return err_sys(e, ENOMEM, "cannot keep the pod");
}

static char *copy(const char *s)
{
	return s ? strdup(s) : NULL;
}

/*
 * Sockets are made in the run directory, and their paths may have 107 bytes (unix(7)). The longest name in there is
 * "virtiofsd.sock" or a driver's of that kind.
 */
#define RUN_DIR_MAX 84

static int make_run_dir(struct pod *pod, struct err *e)
{
	const char *path = state_dir_path(pod->state), *runtime = state_user_dir();

	if (strlen(path) <= RUN_DIR_MAX) {
		pod->run_dir = strdup(path);
		return pod->run_dir ? 0 : out_of_memory(e);
	}
	pod->run_dir = str_printf("%s/caisson-XXXXXX", runtime ? runtime : "/run");
	if (!pod->run_dir)
		return out_of_memory(e);
	if (!mkdtemp(pod->run_dir)) {
		int code = errno;

		free(take_ptr(pod->run_dir));
		return err_sys(e, code, "cannot make a directory for the VM's sockets");
	}
	return 0;
}

/* The owner's, or one of our own. */
static int take_state_dir(struct pod *pod, struct err *e)
{
	pod->state = pod->params.state_dir;
	return pod->state ? 0 : state_dir_create(pod->params.state_root, pod->params.id, &pod->state, e);
}

static int init_record(struct pod *pod, struct err *e)
{
	struct pod_state *s = &pod->record;

	s->id = strdup(pod->params.id);
	s->namespace = strdup(pod->params.namespace ? pod->params.namespace : "");
	s->status = strdup("creating");
	s->hypervisor = strdup(pod->params.driver->name);
	s->agent_address = strdup("");
	s->command = strdup("");
	s->rootfs = strdup("");
	s->run_dir = strdup(pod->run_dir);
	s->netns = strdup("");
	s->cgroup = strdup("");
	s->pid = getpid();
	s->created = time(NULL);
	return s->id && s->namespace && s->status && s->hypervisor && s->agent_address && s->command && s->rootfs &&
			       s->run_dir && s->netns && s->cgroup
		       ? 0
		       : out_of_memory(e);
}

/* ---- its monitor ---- */

static void tell_monitor(struct pod_monitor_host *ret, void *userdata)
{
	const struct pod *pod = userdata;

	ret->cgroup = pod->cgroup;
	ret->file_server = pod->plan ? pod->plan->share.daemon_pid : 0;
}

/* A pod without is a pod all the same. */
static void start_monitor(struct pod *pod)
{
	_cleanup_free_ char *path = str_printf("%s/" MONITOR_SOCKET, pod->run_dir);
	struct pod_monitor_params params = {
		.loop = pod->loop, .path = path, .pod = pod, .host = tell_monitor, .userdata = pod
	};
	struct err e = { 0 };

	if (path && pod_monitor_start(&params, &pod->monitor, &e) < 0)
		log_warn("%s", e.text);
}

int pod_new(const struct pod_params *params, struct pod **ret, struct err *e)
{
	struct pod *pod = calloc(1, sizeof *pod);
	int r;

	if (!pod)
		return out_of_memory(e);
	pod->loop = params->loop;
	pod->params = *params;
	pod->params.id = strdup(params->id);
	pod->params.state_root = strdup(params->state_root);
	pod->params.namespace = copy(params->namespace);
	pod->netns_fd = -1;
	pod->mounts_fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	list_init(&pod->containers);
	list_init(&pod->due);
	if (!pod->params.id || !pod->params.state_root || (params->namespace && !pod->params.namespace))
		r = out_of_memory(e);
	else
		r = take_state_dir(pod, e);
	if (r == 0)
		r = make_run_dir(pod, e);
	if (r == 0)
		r = init_record(pod, e);
	if (r == 0)
		r = pod_write_state(pod, e);
	if (r < 0) {
		pod_free(pod);
		return r;
	}
	start_monitor(pod);
	*ret = pod;
	return 0;
}

void pod_free(struct pod *pod)
{
	struct pod_container *c;

	if (!pod)
		return;
	pod_monitor_stop(pod->monitor);
	pod_unwatch_vm(pod);
	while ((c = list_first(&pod->containers, struct pod_container, node)))
		pod_container_end(c);
	pod_host_stop(pod);
	pod_flush_due(pod);
	loop_source_free(pod->due_timer);
	if (pod->run_dir && pod->state && !str_eq(pod->run_dir, state_dir_path(pod->state)))
		dir_remove(pod->run_dir);
	if (pod->state != pod->params.state_dir)
		state_dir_remove(pod->state);
	pod_state_fini(&pod->record);
	strv_fini(&pod->origin);
	fd_close(&pod->mounts_fd);
	free(pod->run_dir);
	free((char *)pod->params.id);
	free((char *)pod->params.state_root);
	free((char *)pod->params.namespace);
	free(pod);
}

const char *pod_id(const struct pod *pod)
{
	return pod->params.id;
}

bool pod_is_empty(const struct pod *pod)
{
	return list_empty(&pod->containers);
}

struct vm *pod_vm(struct pod *pod)
{
	return pod->sandbox ? pod->sandbox->vm : NULL;
}

struct agent *pod_agent(struct pod *pod)
{
	return pod->sandbox ? pod->sandbox->agent : NULL;
}

const char *pod_direct_volume(const struct pod *pod, const char *volume)
{
	const struct plan_direct *v = pod->plan ? plan_direct_find(pod->plan, volume) : NULL;

	return v ? v->where : NULL;
}

int pod_resize_direct_volume(struct pod *pod, const char *volume, struct err *e)
{
	const struct plan_direct *v = pod->plan ? plan_direct_find(pod->plan, volume) : NULL;
	struct vm *vm = pod_vm(pod);

	if (!v || !vm)
		return err_set(e, ERR_CONFIG, ENOENT, "the pod has no direct-assigned volume %s", volume);
	if (!vm->driver->resize_block)
		return err_set(e, ERR_CONFIG, ENOTSUP, "volume %s: disks of a running %s cannot grow", volume,
			       vm->driver->name);
	return vm->driver->resize_block(vm, v->device, e);
}

/* ---- looking up ---- */

struct pod_container *pod_find(struct pod *pod, const char *id, struct err *e)
{
	struct pod_container *c;

	list_foreach (c, &pod->containers, struct pod_container, node)
		if (str_eq(c->id, id))
			return c;
	err_set(e, ERR_CONFIG, ENOENT, "container %s does not exist", id);
	return NULL;
}

struct pod_process *pod_init_process(const struct pod_container *c)
{
	return list_first(&c->processes, struct pod_process, node);
}

struct pod_process *pod_find_process(struct pod *pod, const char *id, const char *exec_id, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);
	struct pod_process *p;

	if (!c)
		return NULL;
	list_foreach (p, &c->processes, struct pod_process, node)
		if (str_eq(p->exec_id, exec_id ? exec_id : ""))
			return p;
	err_set(e, ERR_CONFIG, ENOENT, "container %s has no process %s", id, exec_id);
	return NULL;
}

int pod_state(struct pod *pod, const char *id, const char *exec_id, struct pod_process_state *ret, struct err *e)
{
	struct pod_process *p = pod_find_process(pod, id, exec_id, e);

	if (!p)
		return -ENOENT;
	*ret = (struct pod_process_state){
		.bundle = p->container->bundle, .pid = p->standin_pid, .status = p->status, .io = p->io, .exit = p->exit
	};
	if (p->status == POD_RUNNING && p->container->paused)
		ret->status = POD_PAUSED;
	return 0;
}

int pod_containers(struct pod *pod, struct strv *ret, struct err *e)
{
	struct pod_container *c;

	list_foreach (c, &pod->containers, struct pod_container, node)
		if (!c->create.fn && !c->sandbox_only && strv_add(ret, c->id) < 0)
			return out_of_memory(e);
	return 0;
}

int pod_pids(struct pod *pod, const char *id, pid_t **ret, size_t *ret_n, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);
	struct pod_process *p;
	size_t n = 0;
	pid_t *pids;

	if (!c)
		return -ENOENT;
	list_foreach (p, &c->processes, struct pod_process, node)
		n++;
	pids = calloc(n + 1, sizeof *pids);
	if (!pids)
		return out_of_memory(e);
	n = 0;
	list_foreach (p, &c->processes, struct pod_process, node)
		if (p->status != POD_STOPPED && p->standin_pid > 0)
			pids[n++] = p->standin_pid;
	*ret = pids;
	*ret_n = n;
	return 0;
}

/* ---- what others are told ---- */

void pod_emit(struct pod *pod, enum pod_event_kind kind, const struct pod_process *p)
{
	struct pod_event event = { .kind = kind,
				   .container_id = p->container->id,
				   .exec_id = p->exec_id,
				   .pid = p->standin_pid,
				   .exit = p->exit };

	if (pod->params.event)
		pod->params.event(&event, pod->params.userdata);
}

static const char *status_of(const struct pod *pod)
{
	struct pod_container *c = list_first(&pod->containers, struct pod_container, node);
	struct pod_process *p = c ? pod_init_process(c) : NULL;

	return !p || c->create.fn         ? "creating"
	       : p->status == POD_CREATED ? "created"
	       : p->status == POD_STOPPED ? "stopped"
	       : c->paused                ? "paused"
					  : "running";
}

static int replace(char **field, const char *value)
{
	char *new = strdup(value ? value : "");

	if (!new)
		return -ENOMEM;
	free(*field);
	*field = new;
	return 0;
}

static int list_containers(struct pod *pod)
{
	struct pod_state *s = &pod->record;
	struct pod_container *c;

	pod_state_clear_containers(s);
	list_foreach (c, &pod->containers, struct pod_container, node) {
		struct pod_process *p = pod_init_process(c);
		_cleanup_free_ char *cgroup = c->cgroup ? host_cgroup_describe(c->cgroup) : NULL;

		if (pod_state_add_container(s, c->id, c->bundle, cgroup,
					    p && p->status != POD_STOPPED ? p->standin_pid : 0) < 0)
			return -ENOMEM;
	}
	return 0;
}

int pod_write_state(struct pod *pod, struct err *e)
{
	struct pod_state *s = &pod->record;
	_cleanup_free_ char *cgroup = pod->cgroup ? host_cgroup_describe(pod->cgroup) : NULL;
	struct vm *vm = pod_vm(pod);
	int r = 0;

	r |= replace(&s->status, status_of(pod));
	r |= replace(&s->agent_address, vm ? vm->agent_address : "");
	r |= replace(&s->netns, pod->network ? pod->network->netns : "");
	r |= replace(&s->cgroup, cgroup);
	r |= list_containers(pod);
	return r ? out_of_memory(e) : state_dir_write(pod->state, s, e);
}

void pod_note_state(struct pod *pod)
{
	struct err e = { 0 };

	if (pod_write_state(pod, &e) < 0)
		log_warn("pod %s: its record is out of date: %s", pod->params.id, e.text);
}

int pod_explain(struct pod *pod, int r, struct err *e)
{
	return pod->sandbox ? sandbox_explain_end(pod->sandbox, r, e) : r;
}

int pod_check_guest(const struct pod *pod, struct err *e)
{
	if (pod->lost)
		return err_set(e, ERR_GUEST, ESRCH, "the virtual machine has ended: %s", pod->reason);
	if (!pod->sandbox)
		return err_set(e, ERR_CONFIG, EBUSY, "the virtual machine does not run");
	return 0;
}
