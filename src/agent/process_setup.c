/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process on its way to exec: from the fork of its stage (child.h) to the end of their socket.
 *
 *   stage ── CHILD_PID ──▶ born ── CHILD_TTY … CHILD_READY ──▶ released ── end of file ──▶ executed
 *
 * A container's init waits at CHILD_READY until the container is started, its execs do not.
 *
 * What is born into a running container can be held up by it at any point: by SIGSTOP, a frozen cgroup, a lease on the
 * program's file, a file system that does not answer; and an init in a shared PID namespace by those beside it. So all
 * of this is waited for in the loop, as are hooks, and what is not there in its time is killed, without waiting for its
 * end.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/container_internal.h"
#include "agent/hooks.h"
#include "base/fd.h"
#include "base/strv.h"
#include "sys/namespaces.h"

struct process_setup {
	struct process *p;
	int sync_fd;
	int *hold;               /* ready, it waits, and its socket goes here; NULL: it goes on */
	pid_t stage;             /* 0: has ended */
	bool released;           /* told to exec */
	struct hook_run *hooks;  /* that it waits for */
	unsigned int hook_kinds; /* how many kinds of them have begun */
	struct loop_source *io, *deadline;
	process_ready_fn fn;
	void *userdata;
};

static int set_died(const struct process *p, struct err *e)
{
	return err_set(e, ERR_SYSTEM, ECHILD, "the new process died before it was ready%s",
		       cgroup_read_key(p->c->cgroup, "memory.events", "oom_kill") ? ": the memory limit is too low"
										  : "");
}

static int set_late(const struct process *p, struct err *e)
{
	return err_set(e, ERR_SYSTEM, ETIMEDOUT, "the new process was not ready within %u ms: it is killed",
		       p->c->setup_timeout_ms);
}

/* ---- the end of it ---- */

static void setup_free(struct process_setup *s)
{
	loop_source_free(s->io);
	loop_source_free(s->deadline);
	hooks_cancel(s->hooks);
	fd_close(&s->sync_fd);
	if (s->stage)
		reaper_unwatch(s->p->c->reaper, s->stage);
	s->p->setup = NULL;
	free(s);
}

static void give_up(struct process_setup *s)
{
	if (s->stage)
		kill(s->stage, SIGKILL);
	process_signal(s->p, SIGKILL, NULL);
}

static void finish(struct process_setup *s, int result, const struct err *e)
{
	struct process *p = s->p;
	process_ready_fn fn = s->fn;
	void *userdata = s->userdata;

	if (result < 0)
		give_up(s);
	setup_free(s);
	fn(p, result, e, userdata);
}

/* ---- hooks ---- */

static int go_on(struct process_setup *s, struct err *e)
{
	return child_go_on(s->sync_fd) < 0 ? set_died(s->p, e) : 0;
}

static void on_hooks(int result, const struct err *e, void *userdata);

/* They have their own timeouts. */
static int next_hooks(struct process_setup *s, struct err *e)
{
	struct container *c = s->p->c;
	const Grpc__Hooks *h = c->spec->hooks;
	struct hook_state state = {
		.id = c->id, .bundle = c->bundle, .status = "creating", .pid = s->p->pid, .spec = c->spec
	};

	switch (s->hook_kinds++) {
	case 0:
		s->hooks = hooks_start(c->loop, c->reaper, "prestart", h->prestart, h->n_prestart, &state, on_hooks, s);
		break;
	case 1:
		s->hooks = hooks_start(c->loop, c->reaper, "createRuntime", h->createruntime, h->n_createruntime,
				       &state, on_hooks, s);
		break;
	default:
		loop_timer_set(s->deadline, c->setup_timeout_ms);
		return go_on(s, e);
	}
	loop_timer_set(s->deadline, UINT64_MAX);
	return s->hooks ? 0 : err_sys(e, ENOMEM, "run hooks");
}

static void on_hooks(int result, const struct err *e, void *userdata)
{
	struct process_setup *s = userdata;
	struct err own = *e;

	s->hooks = NULL;
	if (result == 0)
		result = next_hooks(s, &own);
	if (result < 0)
		finish(s, result, &own);
}

/* ---- what the new process says ---- */

static int write_map(pid_t pid, const char *file, Grpc__LinuxIDMapping *const *maps, size_t n, struct err *e)
{
	_cleanup_buf_ struct buf b = { 0 };
	char path[64];
	int r;

	for (size_t i = 0; i < n; i++)
		if (buf_printf(&b, "%u %u %u\n", maps[i]->containerid, maps[i]->hostid, maps[i]->size) < 0)
			return err_sys(e, ENOMEM, "write %s", file);
	snprintf(path, sizeof(path), "/proc/%d/%s", pid, file);
	r = file_write(path, b.data ? b.data : "");
	return r < 0 ? err_sys(e, -r, "write %s of the user namespace", file) : 0;
}

static int be_born(struct process *p, pid_t pid, struct err *e)
{
	siginfo_t info;
	int r;

	/* Its container may have killed it, and the reaper buried it, before we heard of it: the number is nobody's. */
	if (p->pid > 0 || waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) < 0)
		return set_died(p, e);
	r = process_born(p, pid, e);
	if (r < 0)
		kill(pid, SIGKILL);
	else if (p->early_signal)
		kill(pid, p->early_signal);
	return r;
}

static int take_terminal(struct process *p, int fd, struct err *e)
{
	if (fd < 0)
		return err_set(e, ERR_SYSTEM, EPROTO, "the terminal did not arrive");
	fd_set_nonblock(fd, true);
	fd_close(&p->in_fd);
	p->in_fd = p->out_fd = fd;
	return 0;
}

/* 1: it is ready. */
static int handle_message(struct process_setup *s, const struct child_message *m, int fd, struct err *e)
{
	struct process *p = s->p;
	const Grpc__Linux *l = p->c->spec->linux;
	int r = 0;

	if (s->hooks || (m->kind == CHILD_HOOKS && (s->hook_kinds || !p->c->spec->hooks)))
		return err_set(e, ERR_SYSTEM, EPROTO, "the new process did not wait for its hooks");
	switch (m->kind) {
	case CHILD_ERROR:
		return err_set(e,
			       m->domain > ERR_NONE && m->domain <= ERR_LIMIT ? (enum err_domain)m->domain : ERR_SYSTEM,
			       m->code > 0 ? m->code : EIO, "%s", m->text);
	case CHILD_PID:
		r = be_born(p, m->code, e);
		break;
	case CHILD_MAPS:
		r = write_map(p->pid, "uid_map", l->uidmappings, l->n_uidmappings, e);
		if (r == 0)
			r = write_map(p->pid, "gid_map", l->gidmappings, l->n_gidmappings, e);
		break;
	case CHILD_HOOKS:
		return next_hooks(s, e);
	case CHILD_TTY:
		return take_terminal(p, fd, e);
	case CHILD_READY:
		return p->pid > 0 ? 1 : err_set(e, ERR_SYSTEM, EPROTO, "the new process came without a pid");
	default:
		return err_set(e, ERR_SYSTEM, EPROTO, "the new process sent an unknown message");
	}
	return r < 0 ? r : go_on(s, e);
}

static int fork_stage(struct process *p, struct child_plan *plan, int *ret_sync, pid_t *ret, struct err *e)
{
	int pair[2], r = process_open_stdio(p, plan->stdio, e);
	pid_t stage;

	if (r < 0)
		return r;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return err_sys(e, errno, "create a socket pair");
	plan->sync_fd = pair[1];
	plan->process = p->spec;
	stage = clone_process(0, -1);
	if (stage == 0)
		child_stage(plan);
	fd_close(&plan->sync_fd);
	if (stage < 0) {
		close(pair[0]);
		return err_sys(e, -stage, "fork");
	}
	*ret_sync = pair[0];
	*ret = stage;
	return 0;
}

/* ---- waiting for it ---- */

static void on_sync(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct process_setup *s = userdata;
	struct child_message m;
	struct err e = { 0 };
	int tty = -1, r = child_receive(fd, &m, &tty);

	(void)source;
	(void)revents;
	if (r == -EAGAIN)
		return;
	if (r == -ENODATA && s->released) {
		finish(s, 0, &e); /* it has executed, or died: then its exit status tells */
		return;
	}
	if (r == -ENODATA)
		r = set_died(s->p, &e);
	else if (r < 0)
		r = err_sys(&e, -r, "wait for the new process");
	else
		r = handle_message(s, &m, tty, &e);
	if (r > 0 && s->hold) {
		*s->hold = take_fd(&s->sync_fd);
		finish(s, 0, &e);
	} else if (r > 0) {
		s->released = true;
		child_go_on(fd); /* should it be dead, the end of file comes */
	} else if (r < 0) {
		finish(s, r, &e);
	}
}

static void on_deadline(struct loop_source *source, void *userdata)
{
	struct process_setup *s = userdata;
	struct err e = { 0 };
	int r = set_late(s->p, &e);

	(void)source;
	finish(s, r, &e);
}

static void on_stage_end(pid_t pid, int wait_status, void *userdata)
{
	struct process_setup *s = userdata;

	(void)pid;
	(void)wait_status;
	s->stage = 0;
}

/* Takes sync_fd over, whatever it returns. */
static int setup_new(struct process *p, int sync_fd, int *hold, process_ready_fn fn, void *userdata, struct err *e)
{
	struct process_setup *s = calloc(1, sizeof(*s));
	int r;

	if (!s) {
		close(sync_fd);
		return err_sys(e, ENOMEM, "wait for the new process");
	}
	*s = (struct process_setup){ .p = p, .sync_fd = sync_fd, .hold = hold, .fn = fn, .userdata = userdata };
	p->setup = s;
	r = loop_add_io(p->c->loop, sync_fd, EPOLLIN, on_sync, s, &s->io);
	if (r == 0)
		r = loop_add_timer(p->c->loop, p->c->setup_timeout_ms, on_deadline, s, &s->deadline);
	if (r == 0)
		return 0;
	setup_free(s);
	return err_sys(e, -r, "wait for the new process");
}

int process_set_up(struct process *p, struct child_plan *plan, int *hold, process_ready_fn fn, void *userdata,
		   struct err *e)
{
	pid_t stage = 0;
	int sync = -1, r = fork_stage(p, plan, &sync, &stage, e);

	if (r < 0)
		return r;
	r = setup_new(p, sync, hold, fn, userdata, e);
	if (r < 0) {
		kill(stage, SIGKILL);
		return r;
	}
	p->setup->stage = stage;
	r = reaper_watch(p->c->reaper, stage, on_stage_end, p->setup);
	if (r == 0)
		return 0;
	give_up(p->setup);
	setup_free(p->setup);
	return err_sys(e, -r, "watch the new process");
}

int process_release(struct process *p, int *sync_fd, process_ready_fn fn, void *userdata, struct err *e)
{
	int r = setup_new(p, take_fd(sync_fd), NULL, fn, userdata, e);

	if (r < 0)
		return r;
	p->setup->released = true;
	child_go_on(p->setup->sync_fd); /* should it be dead, the end of file comes */
	return 0;
}

void process_setup_cancel(struct process *p, const struct err *e)
{
	if (p->setup)
		finish(p->setup, -e->code, e);
}
