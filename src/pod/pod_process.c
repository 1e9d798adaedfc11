/* SPDX-License-Identifier: Apache-2.0 */
/* What is done to processes: exec, start, signals, window size, input. */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "codec/pb.h"
#include "pod/nics_watch.h"
#include "pod/plan_spec.h"
#include "pod/pod_internal.h"
#include "pod/standin.h"
#include "sys/namespaces.h"

/* What a stand-in's end may take; it has its mounts to let go of. */
#define STANDIN_END_MS 1000

/* For signals the agent takes an empty exec id as "every process"; the first one has the container's id. */
static const char *process_id(const struct pod_process *p)
{
	return *p->exec_id ? p->exec_id : p->container->id;
}

/* ---- making and forgetting one ---- */

static char *copy(const char *s)
{
	return strdup(s ? s : "");
}

static int copy_io(struct pod_io *to, const struct pod_io *from)
{
	*to = (struct pod_io){ .in = copy(from->in),
			       .out = copy(from->out),
			       .err = copy(from->err),
			       .terminal = from->terminal,
			       .console_socket = from->console_socket ? strdup(from->console_socket) : NULL };
	return to->in && to->out && to->err && (!from->console_socket || to->console_socket) ? 0 : -ENOMEM;
}

static int open_streams(struct pod_process *p, struct err *e)
{
	struct pod *pod = p->container->pod;
	struct pod_streams_params q = { .loop = pod->loop,
					.namespace = pod->params.namespace,
					.container_id = p->container->id,
					.exec_id = p->exec_id,
					.io = &p->io,
					.done = pod_process_output_done,
					.userdata = p };

	return pod_streams_open(&q, &p->streams, e);
}

static void resize(struct pod_process *p, uint32_t columns, uint32_t rows)
{
	agent_tty_resize_async(p->container->pod->sandbox->agent, p->container->id, p->exec_id, rows, columns, NULL,
			       NULL, NULL, NULL);
}

static void resize_to_terminal(struct pod_process *p)
{
	struct winsize size;
	int fd = pod_streams_window(p->streams);

	if (fd >= 0 && ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_row && size.ws_col)
		resize(p, size.ws_col, size.ws_row);
}

/*
 * A signal for the pod itself, which has no process: it means what it does to a pause container's, the first one of its
 * namespace, which hears nothing but what it has a handler for.
 */
static void signal_sandbox(struct pod_process *p, int signo)
{
	if (signo == SIGKILL || signo == SIGTERM || signo == SIGINT)
		pod_process_ended(p, 128 + signo, "");
}

/* The stand-in passes on what others do to it. */
static void on_standin(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct pod_process *p = userdata;
	struct pod *pod = p->container->pod;
	int signo = SIGKILL;

	(void)source;
	(void)revents;
	switch (standin_read(fd, &signo)) {
	case STANDIN_NOTHING:
		return;
	case STANDIN_WINCH:
		if (p->status == POD_RUNNING && !pod->lost)
			resize_to_terminal(p);
		return;
	case STANDIN_GONE:
		signo = SIGKILL;
		loop_source_free(take_ptr(p->standin));
		break;
	case STANDIN_SIGNAL:
		break;
	}
	if (pod_process_give_up_output(p, signo))
		return;
	if (p->container->sandbox_only) {
		signal_sandbox(p, signo);
		return;
	}
	if (p->status == POD_STOPPED || pod->lost || !pod->sandbox || !p->container->in_guest)
		return;
	agent_signal_async(pod->sandbox->agent, p->container->id, process_id(p), signo, NULL, NULL, NULL, NULL);
	if (pod_process_is_starting(p))
		p->start.signo = signo;
	if (signo == SIGKILL)
		pod_process_must_end(p);
}

static int make_standin(struct pod_process *p, const struct pod_process_params *params, struct err *e)
{
	struct standin_params q = { .netns = params->netns,
				    .new_netns = params->new_netns,
				    .name = params->name,
				    .args = params->args,
				    .n_args = params->n_args,
				    .terminal_fd = pod_streams_terminal(p->streams) };
	int r = standin_start(&q, &p->standin_pid, &p->standin_fd, e);

	p->standin_ours = r == 0;
	return r;
}

int pod_process_new(struct pod_container *c, const struct pod_process_params *params, struct pod_process **ret,
		    struct err *e)
{
	struct pod_process *p = calloc(1, sizeof *p);
	int r = 0;

	if (!p) {
		if (params->standin_fd >= 0)
			close(params->standin_fd);
		return err_sys(e, ENOMEM, "cannot keep the process");
	}
	p->container = c;
	p->standin_fd = params->standin_fd;
	p->standin_pid = params->standin_fd >= 0 ? params->standin_pid : 0;
	p->status = POD_CREATED;
	list_init(&p->waiters);
	list_init(&p->node);
	list_append(&c->processes, &p->node);
	p->exec_id = strdup(params->exec_id);
	if (!p->exec_id || copy_io(&p->io, params->io) < 0)
		r = err_sys(e, ENOMEM, "cannot keep the process");
	if (r == 0)
		r = open_streams(p, e);
	if (r == 0 && p->standin_fd < 0)
		r = make_standin(p, params, e);
	if (r == 0)
		*ret = p;
	/* On failure it goes with its container, or by the caller of an exec. */
	return r;
}

int pod_process_listen(struct pod_process *p, struct err *e)
{
	int r = loop_add_io(p->container->pod->loop, p->standin_fd, EPOLLIN, on_standin, p, &p->standin);

	return r < 0 ? err_sys(e, -r, "cannot watch the process's stand-in") : 0;
}

/* Whatever it is held up by. */
static void reap(struct pod_process *p)
{
	if (!p->standin_ours || p->standin_pid <= 0)
		return;
	if (waitpid(p->standin_pid, NULL, WNOHANG) != 0)
		return;
	kill(p->standin_pid, SIGKILL);
	waitpid(p->standin_pid, NULL, 0);
}

void pod_process_end_standin(struct pod_process *p)
{
	struct pollfd ended = { .fd = -1, .events = POLLIN };

	if (standin_end(p->standin_fd, p->exit.status) < 0)
		log_debug("the stand-in %d of %s is gone already", (int)p->standin_pid, p->container->id);
	if (!p->standin_ours || p->standin_pid <= 0)
		return;
	ended.fd = pidfd_of(p->standin_pid);
	kill(p->standin_pid, SIGKILL);
	if (ended.fd >= 0 && poll(&ended, 1, STANDIN_END_MS) == 1 && waitpid(p->standin_pid, NULL, WNOHANG) != 0)
		p->standin_ours = false;
	fd_close(&ended.fd);
}

void pod_process_free(struct pod_process *p)
{
	struct err e = { 0 };

	if (!p)
		return;
	if (pod_process_is_starting(p)) {
		err_set(&e, ERR_CONFIG, ESRCH, "%s was deleted while it was started", process_id(p));
		pod_process_fail_start(p, &e);
	}
	if (p->status != POD_STOPPED && p->standin_fd >= 0)
		standin_end(p->standin_fd, 255);
	agent_call_cancel(p->wait);
	loop_source_free(p->drain);
	loop_source_free(p->deadline);
	loop_source_free(p->standin);
	fd_close(&p->standin_fd);
	reap(p);
	pod_streams_free(p->streams);
	list_remove(&p->node);
	if (p->spec)
		grpc__process__free_unpacked(p->spec, NULL);
	free((char *)p->io.in);
	free((char *)p->io.out);
	free((char *)p->io.err);
	free((char *)p->io.console_socket);
	free(p->exec_id);
	free(p);
}

/* ---- exec ---- */

static int check_exec(struct pod *pod, const char *id, const char *exec_id, struct pod_container **ret, struct err *e)
{
	struct pod_container *c = pod_find(pod, id, e);

	if (!c)
		return -ENOENT;
	*ret = c;
	if (state_check_id(exec_id, NULL) < 0 || str_eq(exec_id, id))
		return err_set(e, ERR_CONFIG, EINVAL, "\"%s\" cannot be the id of a process", exec_id);
	if (pod_find_process(pod, id, exec_id, NULL))
		return err_set(e, ERR_CONFIG, EEXIST, "container %s has a process %s already", id, exec_id);
	if (pod_check_created(c, e) < 0)
		return -EBUSY;
	if (c->removal)
		return err_set(e, ERR_CONFIG, EBUSY, "container %s is being deleted", id);
	/* runc's words. What comes into a container that is about to be frozen would not answer. */
	if (c->paused || c->pausing)
		return err_set(e, ERR_CONFIG, EBUSY, "cannot exec in a paused container (%s)", id);
	return pod_check_guest(pod, e);
}

int pod_exec(struct pod *pod, const char *id, const char *exec_id, const Grpc__Process *process,
	     const struct pod_io *io, int standin_fd, pid_t standin_pid, struct err *e)
{
	struct pod_io with_terminal = *io;
	struct pod_process_params q = { .exec_id = exec_id,
					.io = &with_terminal,
					.standin_fd = standin_fd,
					.standin_pid = standin_pid,
					.netns = pod->netns,
					.name = process->n_args ? process->args[0] : "exec",
					.args = process->args,
					.n_args = process->n_args };
	struct pod_container *c = NULL;
	struct pod_process *p;
	int r = check_exec(pod, id, exec_id, &c, e);

	if (r < 0) {
		if (standin_fd >= 0)
			close(standin_fd);
		return r;
	}
	with_terminal.terminal |= process->terminal;
	r = pod_process_new(c, &q, &p, e);
	if (r == 0)
		r = pod_process_listen(p, e);
	if (r == 0) {
		p->spec = pb_copy(&process->base);
		if (!p->spec) {
			r = err_sys(e, ENOMEM, "cannot keep the process");
		} else {
			plan_process(p->spec);
			p->spec->terminal = with_terminal.terminal;
		}
	}
	if (r < 0) {
		pod_process_free(pod_find_process(pod, id, exec_id, NULL));
		return r;
	}
	pod_emit(pod, POD_EVENT_EXEC_ADDED, p);
	return 0;
}

/* ---- start ---- */

bool pod_process_is_starting(const struct pod_process *p)
{
	return p->start.call || p->start.looks;
}

static void answer_start(struct pod_process *p, int r, const struct err *e)
{
	pod_start_fn fn = p->start.fn;

	p->start.fn = NULL;
	fn(r, r < 0 ? 0 : p->standin_pid, e, p->start.userdata);
}

void pod_process_fail_start(struct pod_process *p, const struct err *e)
{
	agent_call_cancel(take_ptr(p->start.call));
	if (p->start.looks)
		nics_watch_forget(&p->start.look);
	p->start.looks = false;
	pod_streams_hang_up(p->streams);
	answer_start(p, -e->code, e);
}

static void started(struct pod_process *p)
{
	struct agent *agent = p->container->pod->sandbox->agent;
	struct err e = { 0 };
	int r = 0;

	p->status = POD_RUNNING;
	if (p->io.terminal)
		resize_to_terminal(p);
	if (p->columns && p->rows)
		resize(p, p->columns, p->rows);
	pod_emit(p->container->pod, *p->exec_id ? POD_EVENT_EXEC_STARTED : POD_EVENT_START, p);
	if (!*p->exec_id) {
		r = pod_container_started(p->container, &e);
		pod_note_state(p->container->pod);
	}
	/* "the runtime MUST generate an error, stop the container" (OCI runtime spec 1.3, runtime.md "Lifecycle") */
	if (r < 0 && !p->container->sandbox_only) {
		agent_signal_async(agent, p->container->id, process_id(p), SIGKILL, NULL, NULL, NULL, NULL);
		pod_process_must_end(p);
	}
	answer_start(p, r, &e);
	/* The guest knows nothing of that one. */
	if (r < 0 && p->container->sandbox_only)
		signal_sandbox(p, SIGKILL);
}

static int begin_exec(struct pod_process *p, struct err *e)
{
	struct agent *agent = p->container->pod->sandbox->agent;
	int r = pod_process_watch(p, e);

	if (r == 0)
		r = pod_streams_start(p->streams, agent, e);
	p->pumping = r == 0;
	if (r < 0)
		agent_signal_async(agent, p->container->id, p->exec_id, SIGKILL, NULL, NULL, NULL, NULL);
	return r;
}

static void on_exec_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_process *p = userdata;
	struct err e = *answer;

	p->start.call = NULL;
	if (result < 0)
		result = sandbox_exec_failure(pod_explain(p->container->pod, result, &e), &e);
	else
		result = begin_exec(p, &e);
	if (result == 0) {
		started(p);
		return;
	}
	pod_process_fail_start(p, &e);
	/* Whoever sent the signal waits for the end. */
	if (p->start.signo)
		pod_process_ended(p, 128 + p->start.signo, "");
}

static int start_exec(struct pod_process *p, struct err *e)
{
	Grpc__ExecProcessRequest q = GRPC__EXEC_PROCESS_REQUEST__INIT;
	int r;

	q.container_id = p->container->id;
	q.exec_id = p->exec_id;
	q.process = p->spec;
	r = agent_exec_async(p->container->pod->sandbox->agent, &q, on_exec_answer, p, &p->start.call, e);
	grpc__process__free_unpacked(take_ptr(p->spec), NULL);
	return r;
}

static void on_start_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_process *p = userdata;
	struct err e = *answer;

	p->start.call = NULL;
	result = sandbox_container_started(p->container->pod->sandbox, result, &e);
	if (result == 0)
		started(p);
	else
		pod_process_fail_start(p, &e);
	pod_process_check_ended(p);
}

/* The streams come first: what it writes at once must find a reader, and a terminal its size. */
static int ask_to_start(struct pod_process *p, struct err *e)
{
	struct pod *pod = p->container->pod;
	int r = pod_streams_start(p->streams, pod->sandbox->agent, e);

	p->pumping = r == 0;
	if (r == 0)
		r = agent_start_container_async(pod->sandbox->agent, p->container->id, on_start_answer, p,
						&p->start.call, e);
	return r;
}

static void on_looked(int result, const struct err *answer, void *userdata)
{
	struct pod_process *p = userdata;
	struct err e = *answer;

	p->start.looks = false;
	if (result < 0)
		pod_explain(p->container->pod, result, &e);
	else
		result = ask_to_start(p, &e);
	if (result == 0)
		return;
	pod_process_fail_start(p, &e);
	pod_process_check_ended(p);
}

static int start_container(struct pod_process *p, struct err *e)
{
	struct pod *pod = p->container->pod;

	resolver_look(pod->resolver, p->container->spec);
	/* Its network was looked at a moment ago, when the VM started; who starts it does not wait for the guest. */
	if (p->container->sandbox_only) {
		started(p);
		return 0;
	}
	/* The first one's, or its when it is there again: made for it between create and start, too. */
	if (list_first(&pod->containers, struct pod_container, node) != p->container && !p->container->brought_vm)
		return ask_to_start(p, e);
	p->start.looks = true;
	nics_watch_look(pod->sandbox->nics, &p->start.look, on_looked, p);
	return 0;
}

static int check_start(const struct pod_process *p, struct err *e)
{
	if (pod_check_created(p->container, e) < 0)
		return -EBUSY;
	if (p->status != POD_CREATED || p->tried)
		return err_set(e, ERR_CONFIG, EBUSY, "%s has been started before", process_id(p));
	return 0;
}

void pod_start(struct pod *pod, const char *id, const char *exec_id, pod_start_fn fn, void *userdata)
{
	struct err e = { 0 };
	struct pod_process *p = pod_find_process(pod, id, exec_id, &e);
	int r = p ? check_start(p, &e) : -ENOENT;

	if (r < 0) {
		fn(r, 0, &e, userdata);
		return;
	}
	p->tried = true;
	p->start.fn = fn;
	p->start.userdata = userdata;
	r = pod_check_guest(pod, &e);
	if (r == 0)
		r = *p->exec_id ? start_exec(p, &e) : start_container(p, &e);
	if (r < 0)
		pod_process_fail_start(p, &e);
}

/* ---- signals, window size, input ---- */

/* An exec that nobody has started yet. */
static bool not_in_guest(const struct pod_process *p)
{
	return *p->exec_id && p->status == POD_CREATED && !pod_process_is_starting(p);
}

static struct pod_process *find_living(struct pod *pod, const char *id, const char *exec_id, struct err *e)
{
	struct pod_process *p = pod_find_process(pod, id, exec_id, e);

	if (!p)
		return NULL;
	if (p->status == POD_STOPPED || p->answered) {
		err_set(e, ERR_CONFIG, ESRCH, "process already finished");
		return NULL;
	}
	if (not_in_guest(p)) {
		err_set(e, ERR_CONFIG, EBUSY, "process %s has not been started", exec_id);
		return NULL;
	}
	return pod_check_created(p->container, e) < 0 || pod_check_guest(pod, e) < 0 ? NULL : p;
}

/* SIGKILL was sent: to one process of the container, or to all. */
static void await_end(struct pod_container *c, const struct pod_process *one)
{
	struct pod_process *p;

	list_foreach (p, &c->processes, struct pod_process, node)
		if (!one || p == one)
			pod_process_must_end(p);
}

static void on_signal_answer(int result, const struct err *answer, void *userdata)
{
	struct pod_ask *ask = userdata;
	struct pod *pod = ask->container->pod;
	struct err e = *answer;

	ask->call = NULL;
	/* A guest that is silent has its time to end the process, and no more. */
	if (ask->signo == SIGKILL && result == -ETIMEDOUT)
		result = 0;
	if (result < 0)
		result = pod_explain(pod, result, &e);
	/* The loop has not heard of that end yet. With any other error clients would not delete the container. */
	if (result < 0 && sandbox_has_ended(pod->sandbox))
		result = err_set(&e, ERR_CONFIG, ESRCH, "process already finished");
	pod_ask_done(ask, result, &e);
}

void pod_kill(struct pod *pod, const char *id, const char *exec_id, int signo, bool all, pod_done_fn fn, void *userdata)
{
	struct err e = { 0 };
	struct pod_process *p = find_living(pod, id, exec_id, &e), *ended;
	struct pod_ask *ask;
	int r;

	if (!p && (ended = pod_find_process(pod, id, exec_id, NULL)))
		(void)pod_process_give_up_output(ended, signo);
	if (!p && !(all && e.code == ESRCH)) {
		fn(-e.code, &e, userdata);
		return;
	}
	if (p && p->container->sandbox_only) {
		signal_sandbox(p, signo);
		fn(0, &e, userdata);
		return;
	}
	ask = pod_ask_new(pod_find(pod, id, NULL), fn, userdata);
	if (!ask)
		return;
	ask->signo = signo;
	r = agent_signal_async(pod->sandbox->agent, id, all || !p ? "" : process_id(p), signo, on_signal_answer, ask,
			       &ask->call, &e);
	if (r >= 0 && p && pod_process_is_starting(p))
		p->start.signo = signo;
	/* Also a guest that refuses has to end it in time. */
	if (signo == SIGKILL)
		await_end(ask->container, all ? NULL : p);
	if (r < 0)
		on_signal_answer(r, &e, ask);
}

int pod_resize_pty(struct pod *pod, const char *id, const char *exec_id, uint32_t width, uint32_t height, struct err *e)
{
	struct err own = { 0 };
	struct pod_process *p = pod_find_process(pod, id, exec_id, NULL);
	bool early = p && not_in_guest(p);

	if (!early && !(p = find_living(pod, id, exec_id, &own))) {
		if (e)
			*e = own;
		return -own.code;
	}
	if (!p->io.terminal)
		return err_set(e, ERR_CONFIG, EINVAL, "process %s has no terminal", process_id(p));
	if (early) {
		p->columns = width;
		p->rows = height;
		return 0;
	}
	return agent_tty_resize_async(pod->sandbox->agent, id, p->exec_id, height, width, NULL, NULL, NULL, e);
}

int pod_close_stdin(struct pod *pod, const char *id, const char *exec_id, struct err *e)
{
	struct pod_process *p = pod_find_process(pod, id, exec_id, e);

	if (!p)
		return -ENOENT;
	return p->streams && p->status != POD_STOPPED ? pod_streams_close_stdin(p->streams, e) : 0;
}
