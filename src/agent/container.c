/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The life of a container: create → start → (exec, signal, pause, update) → free. What happens inside the new process
 * is child.c's; this file is the agent's side of it.
 */
#include "agent/container.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/child.h"
#include "agent/container_internal.h"
#include "agent/hooks.h"
#include "agent/resources.h"
#include "agent/rootfs.h"
#include "agent/spec_check.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/pb.h"
#include "sys/namespaces.h"

#define KILL_TIMEOUT_MS   2000
#define FREEZE_TIMEOUT_MS 5000

/* ---- what the new process needs ---- */

struct prepared {
	struct child_plan plan;
	int opened[CHILD_JOIN_MAX]; /* to be closed */
	size_t n_opened;
};

#define PREPARED_NONE                                                                                                  \
	{                                                                                                              \
		.plan = {.sync_fd = -1, .stdio = { -1, -1, -1 } }                                                      \
	}

static void prepared_fini(struct prepared *p)
{
	for (size_t i = 0; i < p->n_opened; i++)
		close(p->opened[i]);
	for (int i = 0; i < 3; i++)
		fd_close(&p->plan.stdio[i]);
	fd_close(&p->plan.sync_fd);
	free((char *)p->plan.cgroup_path);
}

static void prepared_init(struct prepared *p, const struct container *c)
{
	*p = (struct prepared){ 0 };
	p->plan = (struct child_plan){
		.id = c->id,
		.bundle = c->bundle,
		.spec = c->spec,
		.seccomp = &c->seccomp,
		.sync_fd = -1,
		.stdio = { -1, -1, -1 },
		.late_cgroup_ns_fd = -1,
		.init_pidfd = -1,
		.cgroup_fd = cgroup_dir_fd(c->cgroup),
	};
}

static void add_join(struct prepared *p, int flag, int fd)
{
	p->plan.join[p->plan.n_join].flag = flag;
	p->plan.join[p->plan.n_join++].fd = fd;
}

static int plan_namespaces(struct prepared *p, const struct container_params *params, const Grpc__Linux *l,
			   struct err *e)
{
	int user_fd = -1;

	for (size_t i = 0; i < l->n_namespaces; i++) {
		const Grpc__LinuxNamespace *ns = l->namespaces[i];
		int flag = namespace_flag(ns->type);
		int shared = flag == CLONE_NEWUTS   ? params->uts_ns_fd
			     : flag == CLONE_NEWIPC ? params->ipc_ns_fd
			     : flag == CLONE_NEWPID ? params->pid_ns_fd
						    : -1;

		if (!str_empty(ns->path)) {
			int fd = open(ns->path, O_RDONLY | O_CLOEXEC);

			if (fd < 0)
				return err_sys(e, errno, "open %s namespace %s", ns->type, ns->path);
			p->opened[p->n_opened++] = fd;
			if (flag == CLONE_NEWUSER)
				user_fd = fd;
			else
				add_join(p, flag, fd);
		} else if (shared >= 0) {
			add_join(p, flag, shared);
		} else {
			p->plan.new_flags |= flag;
		}
	}
	/* Last: afterwards we may not join what does not belong to it. */
	if (user_fd >= 0)
		add_join(p, CLONE_NEWUSER, user_fd);
	return 0;
}

/* ---- create, start, free ---- */

void container_look_for_oom(struct container *c)
{
	uint64_t count = c->oom.fd < 0 ? c->oom.count : cgroup_read_key(c->cgroup, "memory.events", "oom_kill");

	if (count == c->oom.count)
		return;
	c->oom.count = count;
	if (c->oom.fn)
		c->oom.fn(c, c->oom.userdata);
}

static void on_memory_event(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	char events[4096];

	while (read(fd, events, sizeof(events)) > 0)
		;
	container_look_for_oom(userdata);
}

static int set_up_cgroup(struct container *c, const char *root, struct err *e)
{
	const Grpc__Linux *l = c->spec->linux;
	_cleanup_free_ char *path = cgroup_path_from_spec(l->cgroupspath, c->id);
	int r = path ? cgroup_create(root, path, &c->cgroup, e) : err_sys(e, ENOMEM, "create cgroup");

	if (r == 0)
		r = resources_apply(c->cgroup, l->resources, l, e);
	if (r < 0)
		return r;
	c->oom.fd = cgroup_watch_memory(c->cgroup);
	if (c->oom.fd < 0)
		return 0;
	c->oom.count = cgroup_read_key(c->cgroup, "memory.events", "oom_kill");
	r = loop_add_io(c->loop, c->oom.fd, EPOLLIN, on_memory_event, c, &c->oom.source);
	return r < 0 ? err_sys(e, -r, "watch for memory shortage") : 0;
}

/* Namespaces that execs join, and the descriptors to do it with. */
static int remember_init(struct container *c, struct err *e)
{
	c->init_pidfd = pidfd_of(c->init->pid);
	if (c->init_pidfd < 0)
		return err_sys(e, -c->init_pidfd, "open the init process");
	for (size_t i = 0; i < c->spec->linux->n_namespaces; i++)
		c->joined |= namespace_flag(c->spec->linux->namespaces[i]->type);
	if (c->joined & CLONE_NEWCGROUP) {
		int fd = namespace_open(c->init->pid, "cgroup");

		if (fd < 0)
			return err_sys(e, -fd, "open /proc/%d/ns/cgroup", c->init->pid);
		c->cgroup_ns_fd = fd;
		c->joined &= ~CLONE_NEWCGROUP;
	}
	return 0;
}

static void on_poststart(int result, const struct err *e, void *userdata);

static void destroy(struct container *c)
{
	struct err gone = { 0 };
	struct process *p;

	err_set(&gone, ERR_CONFIG, ESRCH, "container %s was removed before the process was ready", c->id);
	if (c->init)
		process_setup_cancel(c->init, &gone);
	list_foreach (p, &c->execs, struct process, node)
		process_setup_cancel(p, &gone);
	if (c->hooks) {
		hooks_cancel(c->hooks);
		on_poststart(0, &gone, c);
	}
	fd_close(&c->sync_fd);
	loop_source_free(c->oom.source);
	fd_close(&c->oom.fd);
	if (c->cgroup)
		cgroup_kill(c->cgroup);
	if (c->init)
		process_signal(c->init, SIGKILL, NULL);
	/* They come first: an init ends only when all of its PID namespace are buried, and execs are so by us. */
	list_foreach (p, &c->execs, struct process, node) {
		process_kill_now(p, KILL_TIMEOUT_MS / 4);
		process_free(p);
	}
	if (c->init)
		process_kill_now(c->init, KILL_TIMEOUT_MS);
	if (c->cgroup && cgroup_wait_empty(c->cgroup, KILL_TIMEOUT_MS) == -ETIMEDOUT)
		log_warn("container %s: some processes do not end", c->id);
	process_free(c->init);
	c->init = NULL;
	fd_close(&c->init_pidfd);
	fd_close(&c->cgroup_ns_fd);
	cgroup_free(c->cgroup);
	c->cgroup = NULL;
}

static void end_beside(struct process *p, const struct stat *ns)
{
	struct stat st;
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", p->pid);
	if (p->pid > 0 && !p->exited && stat(path, &st) == 0 && file_is_same(&st, ns))
		process_end_now(p, KILL_TIMEOUT_MS / 4);
}

void container_end_beside(struct container *c, const struct container *first)
{
	struct process *p;
	struct stat ns;
	char path[32];

	if (!first->own_pid_ns || !first->init || first->init->pid <= 0 || first->init->exited)
		return;
	snprintf(path, sizeof(path), "/proc/%d/ns/pid", first->init->pid);
	if (stat(path, &ns) < 0)
		return;
	if (c->init)
		end_beside(c->init, &ns);
	list_foreach (p, &c->execs, struct process, node)
		end_beside(p, &ns);
}

static void free_memory(struct container *c)
{
	seccomp_filter_fini(&c->seccomp);
	if (c->spec)
		grpc__spec__free_unpacked(c->spec, NULL);
	free(c->id);
	free(c->bundle);
	free(c);
}

static void on_init_ready(struct process *p, int result, const struct err *e, void *userdata)
{
	struct container *c = userdata;
	struct err own = *e;

	(void)p;
	rootfs_forget_devices(c->spec, c->bundle);
	if (result == 0)
		result = remember_init(c, &own);
	if (result < 0)
		err_wrap(&own, "create container %s", c->id);
	c->created = result == 0;
	c->created_fn(c, result, &own, c->created_userdata);
}

static int create(struct container *c, const struct container_params *params, struct err *e)
{
	_cleanup_(prepared_fini) struct prepared prep = PREPARED_NONE;
	const char *root = params->cgroup_root ? params->cgroup_root : CGROUP_ROOT;
	int r = spec_check(c->spec, e);

	if (r == 0)
		r = set_up_cgroup(c, root, e);
	if (r < 0)
		return r;
	prepared_init(&prep, c);
	r = plan_namespaces(&prep, params, c->spec->linux, e);
	if (r == 0)
		r = seccomp_compile(c->spec->linux->seccomp, &c->seccomp, e);
	if (r < 0)
		return r;
	c->own_pid_ns = prep.plan.new_flags & CLONE_NEWPID;
	if (prep.plan.cgroup_fd >= 0)
		prep.plan.cgroup_path = str_printf("%s%s", root, cgroup_path(c->cgroup));
	c->init = process_new(c, "", c->spec->process);
	if (!c->init)
		return err_sys(e, ENOMEM, "create the init process");
	return process_set_up(c->init, &prep.plan, &c->sync_fd, on_init_ready, c, e);
}

int container_create(const struct container_params *params, container_created_fn fn, void *userdata,
		     struct container **ret, struct err *e)
{
	struct container *c = calloc(1, sizeof(*c));
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	if (!c)
		return err_sys(e, ENOMEM, "create container %s", params->id);
	list_init(&c->execs);
	c->sync_fd = c->init_pidfd = c->cgroup_ns_fd = c->oom.fd = -1;
	c->loop = params->loop;
	c->reaper = params->reaper;
	c->created_fn = fn;
	c->created_userdata = userdata;
	c->pipe_size = params->pipe_size;
	c->setup_timeout_ms = params->setup_timeout_ms ? params->setup_timeout_ms : SETUP_TIMEOUT_MS;
	c->id = strdup(params->id);
	c->bundle = strdup(params->bundle);
	c->spec = pb_copy(&params->spec->base);
	if (!c->id || !c->bundle || !c->spec)
		r = err_sys(e, ENOMEM, "copy the spec");
	else
		r = create(c, params, e);
	if (r < 0) {
		destroy(c);
		free_memory(c);
		err_wrap(e, "create container %s", params->id);
		return r;
	}
	*ret = c;
	return 0;
}

struct starting {
	container_started_fn fn;
	void *userdata;
};

static struct starting *starting_new(container_started_fn fn, void *userdata)
{
	struct starting *s = malloc(sizeof(*s));

	if (s)
		*s = (struct starting){ .fn = fn, .userdata = userdata };
	return s;
}

/* Spec "poststart": a failure is logged, and the container goes on. */
static void on_poststart(int result, const struct err *e, void *userdata)
{
	struct container *c = userdata;
	_cleanup_free_ struct starting *s = take_ptr(c->starting);

	c->hooks = NULL;
	if (result < 0)
		log_warn("container %s: %s", c->id, e->text);
	s->fn(c->init, 0, e, s->userdata);
}

static void on_init_started(struct process *p, int result, const struct err *e, void *userdata)
{
	_cleanup_free_ struct starting *s = userdata;
	struct container *c = p->c;
	const Grpc__Hooks *h = c->spec->hooks;
	struct hook_state state = {
		.id = c->id, .bundle = c->bundle, .status = "running", .pid = p->pid, .spec = c->spec
	};

	if (result == 0 && h && h->n_poststart)
		c->hooks = hooks_start(c->loop, c->reaper, "poststart", h->poststart, h->n_poststart, &state,
				       on_poststart, c);
	if (c->hooks)
		c->starting = take_ptr(s);
	else
		s->fn(result < 0 ? NULL : p, result, e, s->userdata);
}

int container_start(struct container *c, container_started_fn fn, void *userdata, struct err *e)
{
	struct starting *s;
	int r;

	if (c->sync_fd < 0)
		return err_set(e, ERR_CONFIG, EBUSY, "container %s was started before", c->id);
	s = starting_new(fn, userdata);
	if (!s)
		return err_sys(e, ENOMEM, "start container %s", c->id);
	r = process_release(c->init, &c->sync_fd, on_init_started, s, e);
	if (r < 0)
		free(s);
	return r;
}

static struct hook_state stopped_state(const struct container *c)
{
	return (struct hook_state){ .id = c->id, .bundle = c->bundle, .status = "stopped", .spec = c->spec };
}

static void on_poststop(int result, const struct err *e, void *userdata)
{
	struct container *c = userdata;

	c->hooks = NULL;
	if (result < 0)
		log_warn("container %s: %s", c->id, e->text);
	c->stopped_fn(c->stopped_userdata);
}

void container_stop(struct container *c, void (*fn)(void *userdata), void *userdata)
{
	const Grpc__Hooks *h = c->spec->hooks;
	struct hook_state state = stopped_state(c);

	destroy(c);
	c->stopped = true;
	c->stopped_fn = fn;
	c->stopped_userdata = userdata;
	if (h && h->n_poststop)
		c->hooks =
			hooks_start(c->loop, c->reaper, "poststop", h->poststop, h->n_poststop, &state, on_poststop, c);
	if (!c->hooks)
		fn(userdata);
}

void container_free(struct container *c)
{
	const Grpc__Hooks *h;
	struct hook_state state;
	struct err e = { 0 };

	if (!c)
		return;
	h = c->spec->hooks;
	state = stopped_state(c);
	if (!c->stopped) {
		destroy(c);
		if (c->created && h && hooks_run("poststop", h->poststop, h->n_poststop, &state, &e) < 0)
			log_warn("container %s: %s", c->id, e.text);
	} else if (c->hooks) {
		hooks_cancel(c->hooks);
		on_poststop(0, &e, c);
	}
	free_memory(c);
}

/* ---- processes ---- */

const char *container_id(const struct container *c)
{
	return c->id;
}

const Grpc__Spec *container_spec(const struct container *c)
{
	return c->spec;
}

struct process *container_find_process(struct container *c, const char *exec_id)
{
	struct process *p;

	if (str_empty(exec_id) || str_eq(exec_id, c->id))
		return c->init;
	list_foreach (p, &c->execs, struct process, node)
		if (str_eq(p->id, exec_id) && !p->doomed)
			return p;
	return NULL;
}

/*
 * Where execs are born. A container that manages cgroups of its own (systemd, docker) has moved its processes further
 * down, and nothing can be born into the group above them: then the group where its init is. -1: none.
 */
static int exec_cgroup(struct container *c, int *ret_opened)
{
	_cleanup_free_ char *text = NULL;
	const char *path, *below;
	char name[64];

	*ret_opened = -1;
	snprintf(name, sizeof(name), "/proc/%d/cgroup", c->init->pid);
	if (cgroup_dir_fd(c->cgroup) < 0 || file_read(name, 1 << 16, &text, NULL) < 0)
		return cgroup_dir_fd(c->cgroup);
	/* "0::/path" is the v2 line (cgroups(7)). */
	path = strstr(text, "0::");
	below = path ? str_after(path + 3, cgroup_path(c->cgroup)) : NULL;
	if (!below || *below != '/')
		return cgroup_dir_fd(c->cgroup);
	((char *)below)[strcspn(below, "\n")] = '\0';
	*ret_opened = openat(cgroup_dir_fd(c->cgroup), below + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	return *ret_opened >= 0 ? *ret_opened : cgroup_dir_fd(c->cgroup);
}

static int check_exec(struct container *c, const char *exec_id, const Grpc__Process *process, struct err *e)
{
	uint64_t frozen;
	int r = spec_check_process(process, e);

	if (r < 0)
		return r;
	/* Where init waits to be started, its namespaces and its root are what they will be: runc allows it, too. */
	if (c->init->exited || !c->created)
		return err_set(e, ERR_CONFIG, ESRCH, "container %s is not running", c->id);
	/* A process that is born into a frozen group does not run: we would wait for it in vain. */
	if (cgroup_read_u64(c->cgroup, "cgroup.freeze", &frozen) == 0 && frozen)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot exec in a paused container (%s)", c->id);
	if (container_find_process(c, exec_id))
		return err_set(e, ERR_CONFIG, EEXIST, "process %s exists already in container %s", exec_id, c->id);
	return 0;
}

static void on_exec_started(struct process *p, int result, const struct err *e, void *userdata)
{
	_cleanup_free_ struct starting *s = userdata;

	s->fn(result < 0 ? NULL : p, result, e, s->userdata);
	if (result < 0)
		process_doom(p);
}

int container_exec(struct container *c, const char *exec_id, const Grpc__Process *process, container_started_fn fn,
		   void *userdata, struct err *e)
{
	_cleanup_(prepared_fini) struct prepared prep;
	_cleanup_(process_free_p) struct process *p = NULL;
	_cleanup_close_ int group = -1;
	struct starting *s;
	Grpc__Process *copy;
	struct err local = { 0 };
	int r;

	e = e ? e : &local;
	prepared_init(&prep, c);
	r = check_exec(c, exec_id, process, e);
	if (r < 0)
		return r;
	copy = pb_copy(&process->base);
	p = copy ? process_new(c, exec_id, copy) : NULL;
	if (!p) {
		grpc__process__free_unpacked(copy, NULL);
		return err_sys(e, ENOMEM, "create process %s", exec_id);
	}
	p->owned = copy;
	prep.plan.exec = true;
	prep.plan.cgroup_fd = exec_cgroup(c, &group);
	prep.plan.init_pidfd = c->init_pidfd;
	prep.plan.init_flags = c->joined;
	prep.plan.late_cgroup_ns_fd = c->cgroup_ns_fd;
	s = starting_new(fn, userdata);
	r = s ? process_set_up(p, &prep.plan, NULL, on_exec_started, s, e)
	      : err_sys(e, ENOMEM, "create process %s", exec_id);
	if (r < 0) {
		free(s);
		return r;
	}
	list_append(&c->execs, &p->node);
	take_ptr(p);
	return 0;
}

void container_forget_process(struct container *c, struct process *p)
{
	if (p && p != c->init)
		process_free(p);
}

int container_signal_all(struct container *c, int signo, struct err *e)
{
	struct process *p;
	int r = cgroup_signal_all(c->cgroup, signo, NULL);

	if (r == 0)
		return 0;
	if (r != -EOPNOTSUPP)
		return err_sys(e, -r, "signal the processes of container %s", c->id);
	/* No cgroup: those we know. */
	process_signal(c->init, signo, NULL);
	list_foreach (p, &c->execs, struct process, node)
		process_signal(p, signo, NULL);
	return 0;
}

/* ---- resources ---- */

int container_update(struct container *c, const Grpc__LinuxResources *resources, struct err *e)
{
	int r = resources_update(c->cgroup, resources, e);

	if (r < 0)
		err_wrap(e, "update container %s", c->id);
	return r;
}

int container_pause(struct container *c, struct err *e)
{
	return cgroup_freeze(c->cgroup, true, FREEZE_TIMEOUT_MS, e);
}

int container_resume(struct container *c, struct err *e)
{
	return cgroup_freeze(c->cgroup, false, FREEZE_TIMEOUT_MS, e);
}

void container_on_oom(struct container *c, void (*fn)(struct container *c, void *userdata), void *userdata)
{
	c->oom.fn = fn;
	c->oom.userdata = userdata;
}
