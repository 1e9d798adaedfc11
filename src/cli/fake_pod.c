/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pod/pod.h without a virtual machine, for tests of the OCI commands: processes run on the host, in the container's
 * root. Linked in place of the real one into the program caisson-on-host. No wall around anything: for tests only.
 *
 * Annotations of the container ask for trouble: test.create=fail, test.create=die, test.create=never, test.start=fail,
 * test.start=never (an exec's), test.delete=die, test.kill=gone, test.kill=die, test.oom.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/list.h"
#include "base/strv.h"
#include "oci/builder.h"
#include "oci/spec.h"
#include "pod/host_cgroup.h"
#include "pod/pod.h"
#include "pod/standin.h"
#include "pod/state.h"
#include "sys/namespaces.h"
#include "sys/spawn.h"

struct pod {
	struct pod_params params;
	struct list containers;
};

struct container {
	struct list link;
	struct pod *pod;
	char *id, *bundle;
	Grpc__Spec *spec;
	struct list processes;
	bool paused;
	uint64_t oom_kills;     /* one more at each look, with the annotation test.oom */
	pod_create_fn creating; /* NULL: it has been created */
	void *creating_userdata;
};

struct waiter {
	struct list link;
	pod_wait_fn fn;
	void *userdata;
};

struct process {
	struct list link;
	struct container *c;
	char *exec_id, *in, *out, *err;
	Grpc__Process *spec; /* borrowed from the container's for the first */
	bool own_spec, terminal;
	enum pod_status status;
	int standin_fd;
	pid_t standin_pid, pid;
	struct loop_source *standin, *child, *due;
	pod_start_fn starting; /* NULL: it is not */
	void *starting_userdata;
	struct list waiters;
	struct pod_exit exit;
};

static struct container *find(const struct pod *pod, const char *id)
{
	struct container *c;

	list_foreach (c, (struct list *)&pod->containers, struct container, link)
		if (str_eq(c->id, id))
			return c;
	return NULL;
}

static struct process *find_process(const struct pod *pod, const char *id, const char *exec_id)
{
	struct container *c = find(pod, id);
	struct process *p;

	if (!c)
		return NULL;
	list_foreach (p, &c->processes, struct process, link)
		if (str_eq(p->exec_id, exec_id))
			return p;
	return NULL;
}

static int missing(struct err *e)
{
	return err_set(e, ERR_CONFIG, ENOENT, "no such process");
}

int pod_new(const struct pod_params *params, struct pod **ret, struct err *e)
{
	struct pod *pod = calloc(1, sizeof *pod);

	(void)e;
	pod->params = *params;
	list_init(&pod->containers);
	*ret = pod;
	return 0;
}

bool pod_is_empty(const struct pod *pod)
{
	return list_empty(&pod->containers);
}

/* ---- the end of a process ---- */

static void on_due(struct loop_source *s, void *userdata)
{
	struct process *p = userdata;
	struct waiter *w;

	(void)s;
	if (p->status != POD_STOPPED)
		return;
	while ((w = list_first(&p->waiters, struct waiter, link))) {
		list_remove(&w->link);
		w->fn(&p->exit, w->userdata);
		free(w);
	}
}

static void on_child(struct loop_source *s, pid_t pid, int status, void *userdata)
{
	struct process *p = userdata;

	(void)pid;
	loop_source_free(s);
	p->child = NULL;
	p->status = POD_STOPPED;
	p->exit.status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	clock_gettime(CLOCK_REALTIME, &p->exit.at);
	loop_source_free(take_ptr(p->standin));
	(void)standin_end(p->standin_fd, p->exit.status);
	loop_timer_set(p->due, 0);
}

static void on_standin(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct process *p = userdata;
	int signo = SIGKILL;

	(void)revents;
	switch (standin_read(fd, &signo)) {
	case STANDIN_GONE:
		loop_source_free(s);
		p->standin = NULL;
		break;
	case STANDIN_SIGNAL:
		break;
	default:
		return;
	}
	if (p->pid > 0 && p->status != POD_STOPPED)
		kill(p->pid, signo);
}

static struct process *process_new(struct container *c, const char *exec_id, const struct pod_io *io, int standin_fd,
				   pid_t standin_pid)
{
	struct process *p = calloc(1, sizeof *p);

	p->c = c;
	p->exec_id = strdup(exec_id);
	p->in = strdup(io->in);
	p->out = strdup(io->out);
	p->err = strdup(str_empty(io->err) ? io->out : io->err);
	p->terminal = io->terminal;
	p->status = POD_CREATED;
	p->standin_fd = standin_fd;
	p->standin_pid = standin_pid;
	list_init(&p->waiters);
	list_append(&c->processes, &p->link);
	loop_add_io(c->pod->params.loop, standin_fd, EPOLLIN, on_standin, p, &p->standin);
	loop_add_timer(c->pod->params.loop, UINT64_MAX, on_due, p, &p->due);
	return p;
}

static void process_free(struct process *p)
{
	struct err e = { 0 };

	if (p->starting)
		p->starting(err_set(&e, ERR_CONFIG, ESRCH, "it was deleted"), 0, &e, p->starting_userdata);
	if (p->pid > 0 && p->status != POD_STOPPED) {
		kill(p->pid, SIGKILL);
		waitpid(p->pid, NULL, 0);
	}
	p->status = POD_STOPPED;
	on_due(NULL, p);
	list_remove(&p->link);
	loop_source_free(p->child);
	loop_source_free(p->standin);
	loop_source_free(p->due);
	fd_close(&p->standin_fd);
	if (p->own_spec)
		oci_process_free(p->spec);
	free(p->exec_id);
	free(p->in);
	free(p->out);
	free(p->err);
	free(p);
}

static void container_free(struct container *c)
{
	struct err e = { 0 };
	struct process *p;

	if (c->creating)
		c->creating(err_set(&e, ERR_CONFIG, ECANCELED, "the pod was ended"), 0, &e, c->creating_userdata);
	while ((p = list_first(&c->processes, struct process, link)))
		process_free(p);
	list_remove(&c->link);
	if (c->spec)
		oci_spec_free(c->spec);
	free(c->id);
	free(c->bundle);
	free(c);
}

void pod_free(struct pod *pod)
{
	struct container *c;

	if (!pod)
		return;
	while ((c = list_first(&pod->containers, struct container, link)))
		container_free(c);
	free(pod);
}

/* ---- what is done to them ---- */

/* As far as other clients of the same folder read it: who is there, in which network. */
static void write_down(struct pod *pod)
{
	struct pod_state s = { .id = (char *)pod->params.id, .pid = getpid() };
	struct container *c;
	char netns[64] = "";

	list_foreach (c, &pod->containers, struct container, link) {
		struct process *p = list_first(&c->processes, struct process, link);

		(void)pod_state_add_container(&s, c->id, c->bundle, NULL, p->standin_pid);
		snprintf(netns, sizeof netns, "/proc/%d/ns/net", (int)p->standin_pid);
	}
	s.netns = netns;
	(void)state_dir_write(pod->params.state_dir, &s, NULL);
	pod_state_clear_containers(&s);
}

static int create(struct pod *pod, const struct pod_container_params *params, pid_t *ret_pid, struct err *e)
{
	struct container *c = calloc(1, sizeof *c);
	const char *trouble;
	int r;

	c->pod = pod;
	c->id = strdup(params->id);
	c->bundle = strdup(params->bundle);
	list_init(&c->processes);
	list_append(&pod->containers, &c->link);
	r = oci_spec_load(params->bundle, &c->spec, NULL, e);
	trouble = r == 0 ? oci_spec_annotation(c->spec, "test.create") : NULL;
	if (str_eq(trouble, "die"))
		_exit(3);
	if (str_eq(trouble, "fail"))
		r = err_set(e, ERR_GUEST, EIO, "the test wants this to fail");
	if (r == 0 && params->standin_fd < 0)
		r = err_set(e, ERR_CONFIG, EINVAL, "no stand-in was handed over");
	if (r < 0) {
		if (params->standin_fd >= 0)
			close(params->standin_fd);
		container_free(c);
		return r;
	}
	process_new(c, "", &params->io, params->standin_fd, params->standin_pid)->spec = c->spec->process;
	*ret_pid = params->standin_pid;
	write_down(pod);
	return 0;
}

void pod_create(struct pod *pod, const struct pod_container_params *params, pod_create_fn fn, void *userdata)
{
	struct err e = { 0 };
	pid_t pid = 0;
	int r = create(pod, params, &pid, &e);
	struct container *c = r == 0 ? find(pod, params->id) : NULL;

	if (c && str_eq(oci_spec_annotation(c->spec, "test.create"), "never")) {
		c->creating = fn;
		c->creating_userdata = userdata;
		return;
	}
	fn(r, pid, &e, userdata);
}

int pod_exec(struct pod *pod, const char *id, const char *exec_id, const Grpc__Process *process,
	     const struct pod_io *io, int standin_fd, pid_t standin_pid, struct err *e)
{
	struct container *c = find(pod, id);
	_cleanup_free_ char *text = oci_process_to_json(process);
	struct process *p;

	if (!c)
		return missing(e);
	p = process_new(c, exec_id, io, standin_fd, standin_pid);
	p->own_spec = oci_spec_parse_process(text, strlen(text), "exec", &p->spec, NULL, e) == 0;
	return p->own_spec ? 0 : -EINVAL;
}

/* "fd:PID:N" */
static int stream(const char *name)
{
	unsigned pid, n;
	int pidfd, fd;

	if (sscanf(name, "fd:%u:%u", &pid, &n) != 2)
		return -1;
	pidfd = pidfd_of((pid_t)pid);
	fd = (int)syscall(SYS_pidfd_getfd, pidfd, n, 0);
	close(pidfd);
	return fd;
}

static __attribute__((noreturn)) void become(const struct process *p, const char *root, const int *fds)
{
	_cleanup_strv_ struct strv env = { 0 }, args = { 0 };

	spawn_reset_signals();
	setsid();
	for (int i = 0; i < 3; i++)
		dup2(fds[i], i);
	close_range(3, ~0u, 0);
	if (strv_copy(&env, p->spec->env, p->spec->n_env) < 0 || strv_copy(&args, p->spec->args, p->spec->n_args) < 0 ||
	    chroot(root) < 0 || chdir(str_empty(p->spec->cwd) ? "/" : p->spec->cwd) < 0 ||
	    (p->spec->user && (setgid(p->spec->user->gid) < 0 || setuid(p->spec->user->uid) < 0)))
		_exit(126);
	execvpe(args.v[0], args.v, env.v);
	_exit(127);
}

static int start(struct pod *pod, const char *id, const char *exec_id, pid_t *ret_pid, struct err *e)
{
	struct process *p = find_process(pod, id, exec_id);
	char root[PATH_MAX];
	int fds[3];

	if (!p)
		return missing(e);
	if (p->c->spec->root->path[0] == '/')
		snprintf(root, sizeof root, "%s", p->c->spec->root->path);
	else
		snprintf(root, sizeof root, "%s/%s", p->c->bundle, p->c->spec->root->path);
	fds[0] = stream(p->in);
	fds[1] = stream(p->out);
	fds[2] = stream(p->err);
	if (fds[0] < 0 || fds[1] < 0 || fds[2] < 0)
		return err_sys(e, errno, "cannot get the streams");
	p->pid = fork();
	if (p->pid == 0)
		become(p, root, fds);
	for (int i = 0; i < 3; i++)
		close(fds[i]);
	loop_add_child(pod->params.loop, p->pid, on_child, p, &p->child);
	p->status = POD_RUNNING;
	*ret_pid = p->standin_pid;
	return 0;
}

void pod_start(struct pod *pod, const char *id, const char *exec_id, pod_start_fn fn, void *userdata)
{
	struct process *p = find_process(pod, id, exec_id);
	const char *trouble = p ? oci_spec_annotation(p->c->spec, "test.start") : NULL;
	struct err e = { 0 };
	pid_t pid = 0;
	int r;

	if (*exec_id && str_eq(trouble, "never")) {
		p->starting = fn;
		p->starting_userdata = userdata;
		return;
	}
	if (!*exec_id && str_eq(trouble, "fail"))
		r = err_set(&e, ERR_GUEST, EIO, "the test wants this to fail");
	else
		r = start(pod, id, exec_id, &pid, &e);
	fn(r, pid, &e, userdata);
}

static int signal_process(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, struct err *e)
{
	struct process *p = find_process(pod, id, exec_id);
	const char *trouble;

	if (!p)
		return missing(e);
	trouble = signo == SIGKILL ? NULL : oci_spec_annotation(p->c->spec, "test.kill");
	if (str_eq(trouble, "die"))
		_exit(3);
	if (p->status == POD_STOPPED || str_eq(trouble, "gone"))
		return -ESRCH;
	if (p->pid > 0)
		return kill(all ? -p->pid : p->pid, signo) < 0 ? -errno : 0;
	/* Created only: as if the process waited to begin. */
	if (signo == SIGKILL || signo == SIGTERM)
		on_child(NULL, 0, signo, p);
	return 0;
}

void pod_kill(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = signal_process(pod, id, exec_id, signo, all, &e);

	fn(r, &e, userdata);
}

static int delete (struct pod *pod, const char *id, const char *exec_id, bool force, pid_t *ret_pid,
		   struct pod_exit *ret, struct err *e)
{
	struct process *p = find_process(pod, id, exec_id);

	if (!p)
		return missing(e);
	if (str_eq(oci_spec_annotation(p->c->spec, "test.delete"), "die"))
		_exit(3);
	if (!force && p->status != POD_STOPPED && (p->pid > 0 || p->starting))
		return err_set(e, ERR_CONFIG, EBUSY, "it runs");
	*ret_pid = p->standin_pid;
	*ret = p->exit;
	if (*exec_id)
		process_free(p);
	else
		container_free(p->c);
	write_down(pod);
	return 0;
}

void pod_delete(struct pod *pod, const char *id, const char *exec_id, bool force, pod_delete_fn fn, void *userdata)
{
	struct pod_exit exit = { 0 };
	struct err e = { 0 };
	pid_t pid = 0;
	int r = delete (pod, id, exec_id, force, &pid, &exit, &e);

	fn(r, pid, &exit, &e, userdata);
}

int pod_state(struct pod *pod, const char *id, const char *exec_id, struct pod_process_state *ret, struct err *e)
{
	struct process *p = find_process(pod, id, exec_id);

	if (!p)
		return missing(e);
	*ret = (struct pod_process_state){ .bundle = p->c->bundle,
					   .pid = p->standin_pid,
					   .status = p->c->paused ? POD_PAUSED : p->status,
					   .exit = p->exit };
	ret->io.in = p->in;
	ret->io.out = p->out;
	ret->io.err = p->err;
	ret->io.terminal = p->terminal;
	return 0;
}

int pod_wait(struct pod *pod, const char *id, const char *exec_id, pod_wait_fn fn, void *userdata, struct err *e)
{
	struct process *p = find_process(pod, id, exec_id);
	struct waiter *w = p ? calloc(1, sizeof *w) : NULL;

	if (!w)
		return missing(e);
	w->fn = fn;
	w->userdata = userdata;
	list_append(&p->waiters, &w->link);
	if (p->status == POD_STOPPED)
		loop_timer_set(p->due, 0);
	return 0;
}

static int pause_to(struct pod *pod, const char *id, bool paused, struct err *e)
{
	struct process *p = find_process(pod, id, "");

	if (!p)
		return missing(e);
	p->c->paused = paused;
	return p->pid > 0 && kill(p->pid, paused ? SIGSTOP : SIGCONT) < 0 ? -errno : 0;
}

void pod_pause(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = pause_to(pod, id, true, &e);

	fn(r, &e, userdata);
}

void pod_resume(struct pod *pod, const char *id, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	int r = pause_to(pod, id, false, &e);

	fn(r, &e, userdata);
}

int pod_resize_pty(struct pod *pod, const char *id, const char *exec_id, uint32_t width, uint32_t height, struct err *e)
{
	(void)width;
	(void)height;
	return find_process(pod, id, exec_id) ? 0 : missing(e);
}

int pod_close_stdin(struct pod *pod, const char *id, const char *exec_id, struct err *e)
{
	return find_process(pod, id, exec_id) ? 0 : missing(e);
}

/* For the test to look at: BUNDLE/updated.json. */
static int update(struct pod *pod, const char *id, const Grpc__LinuxResources *resources, struct err *e)
{
	struct container *c = find(pod, id);
	_cleanup_free_ char *text = oci_resources_to_json(resources), *path = NULL;

	if (!c)
		return missing(e);
	path = str_printf("%s/updated.json", c->bundle);
	return file_replace(path, text, strlen(text), 0644);
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
	Grpc__MemoryStats memory = GRPC__MEMORY_STATS__INIT;
	Grpc__MemoryStats__StatsEntry kills = GRPC__MEMORY_STATS__STATS_ENTRY__INIT, *list = &kills;
	struct container *c = find(pod, id);

	if (!c)
		return missing(e);
	if (oci_spec_annotation(c->spec, "test.oom")) {
		kills.key = (char *)"oom_kill";
		kills.value = c->oom_kills++;
		memory.stats = &list;
		memory.n_stats = 1;
		cgroup.memory_stats = &memory;
	}
	pids.current = 7;
	cgroup.pids_stats = &pids;
	m.cgroup_stats = &cgroup;
	fn(0, &m, e, userdata);
	return 0;
}

int pod_usage(const struct pod *pod, struct host_cgroup_usage *ret, struct err *e)
{
	(void)pod, (void)ret;
	return err_set(e, ERR_SYSTEM, EOPNOTSUPP, "usage of the pod: it has no cgroup");
}

int pod_pids(struct pod *pod, const char *id, pid_t **ret, size_t *ret_n, struct err *e)
{
	struct container *c = find(pod, id);
	struct process *p;
	size_t n = 0;

	if (!c)
		return missing(e);
	*ret = calloc(64, sizeof **ret);
	list_foreach (p, &c->processes, struct process, link)
		if (p->status != POD_STOPPED && n < 64)
			(*ret)[n++] = p->standin_pid;
	*ret_n = n;
	return 0;
}

int pod_containers(struct pod *pod, struct strv *ret, struct err *e)
{
	struct container *c;

	(void)e;
	list_foreach (c, &pod->containers, struct container, link)
		if (!c->creating)
			(void)strv_add(ret, c->id);
	return 0;
}

const char *pod_id(const struct pod *pod)
{
	return pod->params.id;
}

struct vm *pod_vm(struct pod *pod)
{
	(void)pod;
	return NULL;
}

const char *pod_direct_volume(const struct pod *pod, const char *volume)
{
	(void)pod, (void)volume;
	return NULL;
}

int pod_resize_direct_volume(struct pod *pod, const char *volume, struct err *e)
{
	(void)pod;
	return err_set(e, ERR_CONFIG, ENOENT, "no volume %s", volume);
}

struct agent *pod_agent(struct pod *pod)
{
	(void)pod;
	return NULL;
}
