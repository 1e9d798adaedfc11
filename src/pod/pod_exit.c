/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What happens to a pod by itself: processes end, memory runs out, the VM ends. All of it arrives in the loop.
 *
 * A process has ended when the guest has told its status and all its output is written, or has not been for DRAIN_MS (a
 * child of it may hold the stream, a client may not read). A client that made the stand-in waits for that one's end
 * only: it, or the owner, deletes the process then, and with it what is not written yet. So the time for which such a
 * client does not read does not count. The VM's end ends everything in it, at once.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "oci/builder.h"
#include "pod/oom_file.h"
#include "pod/pod_internal.h"
#include "pod/pod_role.h"

#define DRAIN_MS 5000
/*
 * Out of memory: how many are taken in within this time, one right behind the other, for an end that comes with a
 * shortage is to be told after it. Then there is a pause, and at once when the guest tells of a container that there is
 * not: a liar shall not keep us busy.
 */
#define OOM_PAUSE_MS 1000
#define OOM_BURST    8

/* ---- those who wait ---- */

struct waiter {
	struct list node;
	pod_wait_fn fn;
	void *userdata;
	struct pod_exit exit;
};

void pod_flush_due(struct pod *pod)
{
	struct waiter *w;

	while ((w = list_first(&pod->due, struct waiter, node))) {
		list_remove(&w->node);
		w->fn(&w->exit, w->userdata);
		free(w);
	}
}

static void on_due(struct loop_source *source, void *userdata)
{
	struct pod *pod = userdata;

	loop_source_free(source);
	pod->due_timer = NULL;
	pod_flush_due(pod);
}

/* Their turn comes with the next round of the loop. */
static void answer_waiters(struct pod_process *p)
{
	struct pod *pod = p->container->pod;
	struct waiter *w;

	while ((w = list_first(&p->waiters, struct waiter, node))) {
		list_remove(&w->node);
		w->exit = p->exit;
		list_append(&pod->due, &w->node);
	}
	if (!list_empty(&pod->due) && !pod->due_timer && loop_add_timer(pod->loop, 0, on_due, pod, &pod->due_timer) < 0)
		log_error("out of memory: those who wait for processes are told late");
}

int pod_wait(struct pod *pod, const char *id, const char *exec_id, pod_wait_fn fn, void *userdata, struct err *e)
{
	struct pod_process *p = pod_find_process(pod, id, exec_id, e);
	struct waiter *w;

	if (!p)
		return -ENOENT;
	if (pod_check_created(p->container, e) < 0)
		return -EBUSY;
	w = calloc(1, sizeof *w);
	if (!w)
		return err_sys(e, ENOMEM, "cannot wait for the process");
	w->fn = fn;
	w->userdata = userdata;
	list_append(&p->waiters, &w->node);
	if (p->status == POD_STOPPED)
		answer_waiters(p);
	return 0;
}

/* ---- the end of a process ---- */

void pod_process_ended(struct pod_process *p, int status, const char *reason)
{
	struct pod *pod = p->container->pod;
	bool never_started = p->status == POD_CREATED;
	struct err e = { 0 };

	if (p->status == POD_STOPPED)
		return;
	if (pod_process_is_starting(p)) {
		err_set(&e, ERR_GUEST, ESRCH, "the process has ended before it was started%s%s", *reason ? ": " : "",
			reason);
		pod_process_fail_start(p, &e);
	}
	agent_call_cancel(take_ptr(p->wait));
	loop_source_free(take_ptr(p->drain));
	loop_source_free(take_ptr(p->deadline));
	if (!p->answered) {
		p->exit.status = status;
		clock_gettime(CLOCK_REALTIME, &p->exit.at);
		snprintf(p->exit.reason, sizeof p->exit.reason, "%s", reason);
	}
	p->status = POD_STOPPED;
	/* Nothing will be written: containerd's client waits for the end of its FIFOs before it deletes. */
	if (never_started && p->streams)
		pod_streams_hang_up(p->streams);
	loop_source_free(take_ptr(p->standin));
	pod_process_end_standin(p);
	/*
	 * An exec that never ran and is deleted has no exit, as with runc: docker would take that for its status
	 * instead of the error. But who killed it while it was starting waits for one.
	 */
	if (!never_started || !*p->exec_id || p->start.signo || pod->lost)
		pod_emit(pod, POD_EVENT_EXIT, p);
	answer_waiters(p);
	if (!*p->exec_id)
		pod_note_state(pod);
}

static bool waits_for_client(const struct pod_process *p)
{
	return !p->standin_ours && pod_streams_since_full_ms(p->streams) < DRAIN_MS;
}

static void on_drain_timeout(struct loop_source *source, void *userdata)
{
	struct pod_process *p = userdata;

	if (waits_for_client(p))
		loop_timer_set(source, DRAIN_MS);
	else
		pod_process_ended(p, 255, "");
}

bool pod_process_give_up_output(struct pod_process *p, int signo)
{
	bool ends = signo == SIGKILL || signo == SIGTERM || signo == SIGINT || signo == SIGQUIT || signo == SIGHUP;

	if (!p->answered)
		return false;
	if (ends && p->status != POD_STOPPED && waits_for_client(p))
		pod_process_ended(p, 255, "");
	return true;
}

void pod_process_check_ended(struct pod_process *p)
{
	/* Whoever started it is told first that it has begun. */
	if (!p->answered || p->status == POD_STOPPED || pod_process_is_starting(p))
		return;
	if (!p->pumping ||
	    (!p->drain && loop_add_timer(p->container->pod->loop, DRAIN_MS, on_drain_timeout, p, &p->drain) < 0))
		pod_process_ended(p, 255, "");
}

void pod_process_output_done(int result, const struct err *e, void *userdata)
{
	struct pod_process *p = userdata;

	p->pumping = false;
	if (result < 0 && !p->container->pod->lost)
		log_warn("container %s: %s", p->container->id, e->text);
	pod_process_check_ended(p);
}

static void lose(struct pod *pod, const char *reason);

static void on_wait_answer(int result, int status, const struct err *e, void *userdata)
{
	struct pod_process *p = userdata;
	struct pod *pod = p->container->pod;
	struct err why = *e;

	p->wait = NULL;
	if (result == 0) {
		p->answered = true;
		/* The guest's word: at most something that an exit status can be. */
		p->exit.status = status < 0 || status > 255 ? 255 : status;
		clock_gettime(CLOCK_REALTIME, &p->exit.at);
		pod_process_check_ended(p);
		return;
	}
	if (result == -ECANCELED || result == -ECONNRESET || result == -EPIPE || result == -EPROTO) {
		sandbox_explain_end(pod->sandbox, result, &why);
		lose(pod, why.text);
		return;
	}
	pod_process_ended(p, 255, why.text);
}

int pod_process_watch(struct pod_process *p, struct err *e)
{
	return agent_wait_async(p->container->pod->sandbox->agent, p->container->id, p->exec_id, on_wait_answer, p,
				&p->wait, e);
}

/* ---- the VM ---- */

/* Nothing in the VM lives any more, or nothing of it can be known. */
static void lose(struct pod *pod, const char *reason)
{
	struct pod_container *c;
	struct pod_process *p;

	if (pod->lost)
		return;
	pod->lost = true;
	snprintf(pod->reason, sizeof pod->reason, "%s", reason);
	log_error("pod %s: the virtual machine has ended: %s", pod->params.id, reason);
	pod_unwatch_vm(pod);
	/* Its address may soon be another VM's. */
	pod_forward_free(take_ptr(pod->forward));
	/* What is being created fails by itself. */
	list_foreach (c, &pod->containers, struct pod_container, node)
		list_foreach (p, &c->processes, struct pod_process, node)
			if (!c->create.fn)
				pod_process_ended(p, 255, reason);
	/* A VM whose agent is lost is of no use, and must not run on behind everybody's back. */
	pod->params.driver->stop(pod->sandbox->vm, 0, NULL);
}

void pod_process_give_up(struct pod_process *p)
{
	static const char reason[] = "the guest does not end its process";
	bool ended = p->answered; /* and only its output is missing */

	if (p->status == POD_STOPPED)
		return;
	pod_process_ended(p, 128 + SIGKILL, reason);
	if (ended)
		return;
	log_error("container %s%s%s: %s", p->container->id, *p->exec_id ? ", " : "", p->exec_id, reason);
	if (*p->exec_id)
		return;
	pod_ask_killed(p->container);
	lose(p->container->pod, reason);
}

static void on_deadline(struct loop_source *source, void *userdata)
{
	(void)source;
	pod_process_give_up(userdata);
}

void pod_process_must_end(struct pod_process *p)
{
	if (p->status == POD_STOPPED || p->deadline)
		return;
	if (*p->exec_id && p->status == POD_CREATED && !pod_process_is_starting(p))
		return;
	if (loop_add_timer(p->container->pod->loop, POD_KILL_MS, on_deadline, p, &p->deadline) < 0)
		log_error("out of memory: the end of a process of %s is up to its guest", p->container->id);
}

static void on_vm_end(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct pod *pod = userdata;
	struct err e = { 0 };

	(void)source;
	(void)fd;
	(void)revents;
	sandbox_explain_end(pod->sandbox, -ENOTCONN, &e);
	lose(pod, err_is_set(&e) ? e.text : "for a reason that is not known");
}

static void ask_oom(struct pod *pod);

static void on_oom_pause_over(struct loop_source *source, void *userdata)
{
	struct pod *pod = userdata;

	(void)source;
	loop_source_free(take_ptr(pod->oom_pause));
	ask_oom(pod);
}

static void on_oom(int result, const char *id, const struct err *e, void *userdata)
{
	struct pod *pod = userdata;
	struct pod_container *c = result < 0 ? NULL : pod_find(pod, id, NULL);
	const struct pod_process *p = c ? pod_init_process(c) : NULL;
	uint64_t now = clock_ms();

	pod->oom = NULL;
	if (result < 0) {
		log_debug("out of memory is not told: %s", e->text);
		return;
	}
	/* Before the end is told, and looked at for why. The pid of one that has ended may be anybody's. */
	if (c)
		oom_file_leave(c->bundle, p->status == POD_STOPPED ? 0 : p->standin_pid,
			       oci_spec_annotation(c->spec, POD_ROLE_CRIO));
	if (c)
		pod_emit(pod, POD_EVENT_OOM, pod_init_process(c));
	if (now - pod->oom_since_ms >= OOM_PAUSE_MS) {
		pod->oom_since_ms = now;
		pod->oom_burst = 0;
	}
	if (c && ++pod->oom_burst < OOM_BURST)
		ask_oom(pod);
	else if (loop_add_timer(pod->loop, OOM_PAUSE_MS, on_oom_pause_over, pod, &pod->oom_pause) < 0)
		log_warn("out of memory: the guest's shortages are not told any more");
}

static void ask_oom(struct pod *pod)
{
	struct err e = { 0 };

	if (agent_get_oom_event_async(pod->sandbox->agent, on_oom, pod, &pod->oom, &e) < 0)
		log_warn("out of memory will not be told: %s", e.text);
}

int pod_watch_vm(struct pod *pod, struct err *e)
{
	int r = loop_add_io(pod->loop, sandbox_end_fd(pod->sandbox), EPOLLIN, on_vm_end, pod, &pod->end);

	if (r < 0)
		return err_sys(e, -r, "cannot watch the VM");
	ask_oom(pod);
	return 0;
}

void pod_unwatch_vm(struct pod *pod)
{
	loop_source_free(take_ptr(pod->end));
	loop_source_free(take_ptr(pod->oom_pause));
	agent_call_cancel(take_ptr(pod->oom));
}
