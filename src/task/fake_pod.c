/* SPDX-License-Identifier: Apache-2.0 */
#include "task/fake_pod.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "pod/host_cgroup.h"

struct waiter {
	struct list node;
	pod_wait_fn fn;
	void *userdata;
};

struct process {
	struct list node;
	char *id, *exec_id, *bundle;
	char *in, *out, *err;
	struct pod_io io;
	pid_t pid;
	enum pod_status status;
	bool told;
	struct pod_exit exit;
	struct list waiters;
};

struct pod {
	struct pod_params params;
	char *id;
	struct list processes;
	struct loop_source *timer;
	pid_t next_pid;
	struct {
		pod_start_fn fn; /* NULL: none */
		void *userdata;
	} slow; /* the start of an exec of this name: until it is killed */
	struct {
		pod_create_fn fn; /* NULL: none */
		void *userdata;
	} creating; /* the container "slow" */
	struct {
		pod_delete_fn fn; /* NULL: none */
		void *userdata;
	} deleting; /* the container "lasting" */
};

struct strv fake_pod_calls;

static struct process *find(struct pod *pod, const char *id, const char *exec_id)
{
	struct process *p;

	list_foreach (p, &pod->processes, struct process, node)
		if (str_eq(p->id, id) && str_eq(p->exec_id, exec_id))
			return p;
	return NULL;
}

static int lookup(struct pod *pod, const char *id, const char *exec_id, struct process **ret, struct err *e)
{
	*ret = find(pod, id, exec_id);
	return *ret ? 0 : err_set(e, ERR_CONFIG, ENOENT, "no process \"%s\" in container %s", exec_id, id);
}

static void answer_waiters(struct process *p)
{
	struct waiter *w;

	while ((w = list_first(&p->waiters, struct waiter, node))) {
		list_remove(&w->node);
		w->fn(&p->exit, w->userdata);
		free(w);
	}
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct pod *pod = userdata;
	struct process *p;

	list_foreach (p, &pod->processes, struct process, node) {
		if (p->status == POD_STOPPED && !p->told) {
			struct pod_event event = { .kind = POD_EVENT_EXIT,
						   .container_id = p->id,
						   .exec_id = p->exec_id,
						   .pid = p->pid,
						   .exit = p->exit };

			p->told = true;
			pod->params.event(&event, pod->params.userdata);
		}
		if (p->status == POD_STOPPED)
			answer_waiters(p);
	}
}

static void process_free(struct process *p)
{
	p->exit.status = p->status == POD_STOPPED ? p->exit.status : 255;
	answer_waiters(p);
	list_remove(&p->node);
	free(p->id);
	free(p->exec_id);
	free(p->bundle);
	free(p->in);
	free(p->out);
	free(p->err);
	free(p);
}

static struct process *process_new(struct pod *pod, const char *id, const char *exec_id, const char *bundle,
				   const struct pod_io *io)
{
	struct process *p = calloc(1, sizeof *p);

	p->id = strdup(id);
	p->exec_id = strdup(exec_id);
	p->bundle = strdup(bundle);
	p->in = strdup(io->in ? io->in : "");
	p->out = strdup(io->out ? io->out : "");
	p->err = strdup(io->err ? io->err : "");
	p->io = (struct pod_io){ .in = p->in, .out = p->out, .err = p->err, .terminal = io->terminal };
	p->status = POD_CREATED;
	list_init(&p->waiters);
	list_append(&pod->processes, &p->node);
	return p;
}

static void end(struct pod *pod, struct process *p, int status)
{
	p->status = POD_STOPPED;
	p->exit.status = status;
	p->exit.at = (struct timespec){ .tv_sec = 1700000000, .tv_nsec = 5 };
	loop_timer_set(pod->timer, 0);
}

void fake_pod_end(struct pod *pod, const char *id, const char *exec_id, int status)
{
	end(pod, find(pod, id, exec_id), status);
}

void fake_pod_oom(struct pod *pod, const char *id)
{
	struct pod_event event = { .kind = POD_EVENT_OOM, .container_id = id, .exec_id = "" };

	pod->params.event(&event, pod->params.userdata);
}

static void end_slow(struct pod *pod)
{
	pod_start_fn fn = pod->slow.fn;
	struct err e = { 0 };

	if (!fn)
		return;
	pod->slow.fn = NULL;
	err_set(&e, ERR_GUEST, ECHILD, "the new process died");
	fn(-ECHILD, 0, &e, pod->slow.userdata);
}

void fake_pod_go_on(struct pod *pod, int result)
{
	pod_create_fn fn = pod->creating.fn;
	struct process *p = find(pod, "slow", "");
	pid_t pid = p ? p->pid : 0;
	struct err e = { 0 };

	if (!fn)
		return;
	pod->creating.fn = NULL;
	if (result < 0) {
		err_set(&e, ERR_GUEST, -result, "the container cannot be created");
		process_free(p);
	}
	fn(result, pid, &e, pod->creating.userdata);
}

/* ---- pod.h ---- */

int pod_new(const struct pod_params *params, struct pod **ret, struct err *e)
{
	struct pod *pod = calloc(1, sizeof *pod);

	pod->params = *params;
	pod->id = strdup(params->id);
	pod->next_pid = 1000;
	list_init(&pod->processes);
	if (loop_add_timer(params->loop, UINT64_MAX, on_timer, pod, &pod->timer) < 0)
		abort();
	*ret = pod;
	return 0;
}

void pod_free(struct pod *pod)
{
	struct process *p;

	if (!pod)
		return;
	end_slow(pod);
	fake_pod_go_on(pod, -ECANCELED);
	fake_pod_removed(pod);
	while ((p = list_first(&pod->processes, struct process, node)))
		process_free(p);
	loop_source_free(pod->timer);
	free(pod->id);
	free(pod);
}

/* Seen from outside by a file, because `delete` is a process of its own. */
int pod_cleanup(const char *state_root, const char *id, struct err *e)
{
	_cleanup_free_ char *path = str_printf("%s/%s.cleaned", state_root, id);
	int r = path ? dir_make(state_root, 0700) : -ENOMEM;

	return r < 0 ? r : file_replace(path, "", 0, 0600);
}

const char *pod_id(const struct pod *pod)
{
	return pod->id;
}

bool pod_is_empty(const struct pod *pod)
{
	return list_empty(&pod->processes);
}

static int create(struct pod *pod, const struct pod_container_params *params, pid_t *ret_pid, struct err *e)
{
	struct process *p;

	if (str_after(params->id, "fail"))
		return err_set(e, ERR_GUEST, ENOENT, "exec: \"nothing\": no such file or directory");
	if (str_after(params->id, "late"))
		return err_set(e, ERR_GUEST, ESRCH, "the virtual machine has ended");
	if (find(pod, params->id, ""))
		return err_set(e, ERR_CONFIG, EEXIST, "id %s", params->id);
	strv_addf(&fake_pod_calls, "create %s %s %zu %s%s", params->id, params->bundle, params->n_rootfs,
		  params->n_rootfs ? params->rootfs[0].type : "-",
		  params->io.console_socket ? params->io.console_socket : "");
	p = process_new(pod, params->id, "", params->bundle, &params->io);
	p->pid = pod->next_pid++;
	*ret_pid = p->pid;
	return 0;
}

void pod_create(struct pod *pod, const struct pod_container_params *params, pod_create_fn fn, void *userdata)
{
	struct err e = { 0 };
	pid_t pid = 0;
	int r = create(pod, params, &pid, &e);

	if (r == 0 && str_eq(params->id, "slow")) {
		pod->creating.fn = fn;
		pod->creating.userdata = userdata;
		return;
	}
	fn(r, pid, &e, userdata);
}

int pod_exec(struct pod *pod, const char *id, const char *exec_id, const Grpc__Process *process,
	     const struct pod_io *io, int standin_fd, pid_t standin_pid, struct err *e)
{
	const struct process *first = find(pod, id, "");

	if (find(pod, id, exec_id))
		return err_set(e, ERR_CONFIG, EEXIST, "id %s", exec_id);
	if (first->status == POD_STOPPED)
		return err_set(e, ERR_CONFIG, ESRCH, "cannot exec in a stopped state");
	strv_addf(&fake_pod_calls, "exec %s %s %s %d", id, exec_id, process->n_args ? process->args[0] : "-",
		  process->terminal);
	process_new(pod, id, exec_id, first->bundle, io);
	return 0;
}

static int start(struct pod *pod, const char *id, const char *exec_id, pid_t *ret_pid, struct err *e)
{
	struct process *p;
	int r = lookup(pod, id, exec_id, &p, e);

	if (r < 0)
		return r;
	if (str_after(id, "wrong"))
		return err_set(e, ERR_GUEST, ENOENT, "no such file or directory");
	if (p->status != POD_CREATED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot start a running process");
	p->status = POD_RUNNING;
	p->pid = p->pid ? p->pid : pod->next_pid++;
	*ret_pid = p->pid;
	return 0;
}

void pod_start(struct pod *pod, const char *id, const char *exec_id, pod_start_fn fn, void *userdata)
{
	struct err e = { 0 };
	pid_t pid = 0;
	int r;

	if (str_eq(exec_id, "slow")) {
		pod->slow.fn = fn;
		pod->slow.userdata = userdata;
		return;
	}
	r = start(pod, id, exec_id, &pid, &e);
	fn(r, pid, &e, userdata);
}

static int signal_process(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, struct err *e)
{
	struct process *p;
	int r = lookup(pod, id, exec_id, &p, e);

	if (r < 0)
		return r;
	if (p->status == POD_STOPPED)
		return err_set(e, ERR_CONFIG, ESRCH, "process already finished");
	strv_addf(&fake_pod_calls, "kill %s/%s %d%s", id, exec_id, signo, all ? " all" : "");
	if (signo)
		end(pod, p, 128 + signo);
	if (str_eq(exec_id, "slow"))
		end_slow(pod);
	return 0;
}

void pod_kill(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = signal_process(pod, id, exec_id, signo, all, &e);

	fn(r, &e, userdata);
}

static int delete (struct pod *pod, const char *id, const char *exec_id, pid_t *ret_pid, struct pod_exit *ret,
		   struct err *e)
{
	struct process *p, *other;
	int r = lookup(pod, id, exec_id, &p, e);

	if (r < 0)
		return r;
	if (p->status == POD_RUNNING || p->status == POD_PAUSED)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot delete a running process");
	*ret_pid = p->pid;
	*ret = p->exit;
	process_free(p);
	if (str_empty(exec_id))
		list_foreach (other, &pod->processes, struct process, node)
			if (str_eq(other->id, id))
				process_free(other);
	return 0;
}

static void finish_delete(struct pod *pod, const char *id, const char *exec_id, pod_delete_fn fn, void *userdata)
{
	struct pod_exit exit = { 0 };
	struct err e = { 0 };
	pid_t pid = 0;
	int r = delete (pod, id, exec_id, &pid, &exit, &e);

	fn(r, pid, &exit, &e, userdata);
}

void fake_pod_removed(struct pod *pod)
{
	pod_delete_fn fn = pod->deleting.fn;

	pod->deleting.fn = NULL;
	if (fn)
		finish_delete(pod, "lasting", "", fn, pod->deleting.userdata);
}

void pod_delete(struct pod *pod, const char *id, const char *exec_id, bool force, pod_delete_fn fn, void *userdata)
{
	if (!str_eq(id, "lasting") || !str_empty(exec_id)) {
		finish_delete(pod, id, exec_id, fn, userdata);
		return;
	}
	assert(!pod->deleting.fn);
	pod->deleting.fn = fn;
	pod->deleting.userdata = userdata;
}

int pod_state(struct pod *pod, const char *id, const char *exec_id, struct pod_process_state *ret, struct err *e)
{
	struct process *p;
	int r = lookup(pod, id, exec_id, &p, e);

	if (r < 0)
		return r;
	*ret = (struct pod_process_state){
		.bundle = p->bundle, .pid = p->pid, .status = p->status, .io = p->io, .exit = p->exit
	};
	return 0;
}

int pod_wait(struct pod *pod, const char *id, const char *exec_id, pod_wait_fn fn, void *userdata, struct err *e)
{
	struct waiter *w = calloc(1, sizeof *w);
	struct process *p;
	int r = lookup(pod, id, exec_id, &p, e);

	if (r < 0) {
		free(w);
		return r;
	}
	w->fn = fn;
	w->userdata = userdata;
	list_append(&p->waiters, &w->node);
	loop_timer_set(pod->timer, 0);
	return 0;
}

static int set_paused(struct pod *pod, const char *id, enum pod_status from, enum pod_status to, struct err *e)
{
	struct process *p;
	int r = lookup(pod, id, "", &p, e);

	if (r < 0)
		return r;
	if (p->status != from)
		return err_set(e, ERR_CONFIG, EBUSY, "the container is not %s",
			       from == POD_RUNNING ? "running" : "paused");
	p->status = to;
	return 0;
}

void pod_pause(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = set_paused(pod, id, POD_RUNNING, POD_PAUSED, &e);

	fn(r, &e, userdata);
}

void pod_resume(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = set_paused(pod, id, POD_PAUSED, POD_RUNNING, &e);

	fn(r, &e, userdata);
}

int pod_resize_pty(struct pod *pod, const char *id, const char *exec_id, uint32_t width, uint32_t height, struct err *e)
{
	return strv_addf(&fake_pod_calls, "resize %s/%s %ux%u", id, exec_id, width, height);
}

int pod_close_stdin(struct pod *pod, const char *id, const char *exec_id, struct err *e)
{
	return strv_addf(&fake_pod_calls, "close-stdin %s/%s", id, exec_id);
}

static int update(struct pod *pod, const char *id, const Grpc__LinuxResources *resources, struct err *e)
{
	return strv_addf(&fake_pod_calls, "update %s %lld", id,
			 resources->memory ? (long long)resources->memory->limit : -1);
}

void pod_update(struct pod *pod, const char *id, Grpc__LinuxResources *resources, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = update(pod, id, resources, &e);

	grpc__linux_resources__free_unpacked(resources, NULL);
	fn(r, &e, userdata);
}

int pod_stats(struct pod *pod, const char *id, pod_stats_fn fn, void *userdata, struct err *e)
{
	Grpc__StatsContainerResponse m = GRPC__STATS_CONTAINER_RESPONSE__INIT;
	Grpc__CgroupStats cgroup = GRPC__CGROUP_STATS__INIT;
	Grpc__PidsStats pids = GRPC__PIDS_STATS__INIT;

	pids.current = 42;
	cgroup.pids_stats = &pids;
	m.cgroup_stats = &cgroup;
	fn(0, &m, e, userdata);
	return 0;
}

int pod_usage(const struct pod *pod, struct host_cgroup_usage *ret, struct err *e)
{
	*ret = (struct host_cgroup_usage){ .memory_bytes = 300 << 20, .memory_limit_bytes = UINT64_MAX, .pids = 21 };
	return 0;
}

int pod_pids(struct pod *pod, const char *id, pid_t **ret, size_t *ret_n, struct err *e)
{
	struct process *p;
	size_t n = 0;

	*ret = calloc(64, sizeof **ret);
	list_foreach (p, &pod->processes, struct process, node)
		if (str_eq(p->id, id) && p->pid && p->status != POD_STOPPED && n < 64)
			(*ret)[n++] = p->pid;
	*ret_n = n;
	return 0;
}
