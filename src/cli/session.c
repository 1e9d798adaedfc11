/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/session.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "cli/command.h"
#include "cli/terminal.h"
#include "pod/stdio.h"

/* Between the stop signal and SIGKILL when the time is up, as docker stop has it. */
#define STOP_GRACE_MS 10000
/*
 * How long output may still arrive after the process has ended (a child of it may hold the stream). The time in which
 * the caller does not take it does not count.
 */
#define DRAIN_MS 5000

static const int forwarded[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2, SIGCONT, SIGTSTP, SIGWINCH };
static const int ending[] = { SIGHUP, SIGINT, SIGQUIT, SIGTERM };

#define N_FORWARDED (sizeof forwarded / sizeof forwarded[0])

struct session {
	struct session_options o;
	struct stdio *stdio;
	struct agent_call *wait; /* NULL once it is answered */
	struct loop_source *signals[N_FORWARDED], *end, *timer;
	bool exited, output_done, timed_out, killed, reader_gone;
	int status, failure, write_failure; /* write_failure: of our own stdout or stderr; told when all is over */
	struct err err;
};

static void fill_set(sigset_t *set, const int *list, size_t n)
{
	sigemptyset(set);
	for (size_t i = 0; i < n; i++)
		sigaddset(set, list[i]);
}

int session_block_signals(struct err *e)
{
	sigset_t set;

	fill_set(&set, forwarded, N_FORWARDED);
	return sigprocmask(SIG_BLOCK, &set, NULL) < 0 ? err_sys(e, errno, "cannot block signals") : 0;
}

int session_interrupt_fd(void)
{
	sigset_t set;

	fill_set(&set, ending, sizeof ending / sizeof ending[0]);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* For signals the agent takes an empty exec id as "every process"; the first one has the container's id. */
static const char *process_id(const struct session *s)
{
	return *s->o.exec_id ? s->o.exec_id : s->o.container_id;
}

static void check_done(struct session *s)
{
	if (s->failure || (s->exited && s->output_done))
		loop_quit(s->o.loop, 0);
}

static void fail(struct session *s, int r, const struct err *e)
{
	if (s->failure)
		return;
	s->failure = s->write_failure = r;
	if (e)
		s->err = *e;
	check_done(s);
}

static void resize(struct session *s)
{
	uint16_t rows, columns;

	if (s->o.terminal && terminal_size(STDIN_FILENO, &rows, &columns) == 0)
		agent_tty_resize_async(s->o.agent, s->o.container_id, s->o.exec_id, rows, columns, NULL, NULL, NULL,
				       NULL);
}

static bool waits_for_caller(const struct session *s)
{
	return stdio_since_full_ms(s->stdio) < DRAIN_MS;
}

/* The process has ended. What waits for a caller that does not read must have another end than that it reads. */
static void give_up_output(struct session *s, int signo)
{
	for (size_t i = 0; i < sizeof ending / sizeof ending[0]; i++)
		if (ending[i] == signo && waits_for_caller(s))
			s->output_done = true;
	check_done(s);
}

static void on_signal(struct loop_source *source, int signo, void *userdata)
{
	struct session *s = userdata;
	struct err e = { 0 };

	if (signo == SIGWINCH) {
		resize(s);
		return;
	}
	if (s->exited) {
		give_up_output(s, signo);
		return;
	}
	if (agent_signal_async(s->o.agent, s->o.container_id, process_id(s), signo, NULL, NULL, NULL, &e) < 0)
		log_debug("signal %d was not delivered: %s", signo, e.text);
}

static void on_drain_timeout(struct loop_source *source, void *userdata)
{
	struct session *s = userdata;

	if (waits_for_caller(s)) {
		loop_timer_set(source, DRAIN_MS);
		return;
	}
	s->output_done = true;
	check_done(s);
}

static void on_timeout(struct loop_source *source, void *userdata)
{
	struct session *s = userdata;
	int signo = s->timed_out ? SIGKILL : s->o.stop_signal;

	if (s->killed) {
		/* The guest does not even kill. The caller ends it. */
		log_warn("the container did not end by SIGKILL");
		s->exited = s->output_done = true;
		check_done(s);
		return;
	}
	s->killed = s->timed_out;

	if (!s->timed_out) {
		progress_show(NULL);
		log_error("the time limit of %u s is over: ending the container", s->o.timeout_s);
	}
	s->timed_out = true;
	agent_signal_async(s->o.agent, s->o.container_id, process_id(s), signo, NULL, NULL, NULL, NULL);
	loop_timer_set(source, STOP_GRACE_MS);
}

static void on_exit_status(int result, int status, const struct err *e, void *userdata)
{
	struct session *s = userdata;

	s->wait = NULL;
	if (result < 0) {
		fail(s, result, e);
		return;
	}
	s->exited = true;
	s->status = status;
	loop_source_free(s->timer);
	s->timer = NULL;
	if (!s->output_done && loop_add_timer(s->o.loop, DRAIN_MS, on_drain_timeout, s, &s->timer) < 0)
		s->output_done = true;
	check_done(s);
}

static void on_output_done(int result, const struct err *e, void *userdata)
{
	struct session *s = userdata;

	s->output_done = true;
	if (result < 0 && e->domain == ERR_SYSTEM && !s->failure) {
		/* Our own disk or terminal: the process goes on, whether or not it has ended already. */
		s->write_failure = result;
		s->err = *e;
	} else if (result < 0 && !s->exited) {
		fail(s, result, e);
	}
	check_done(s);
}

static void on_output(int stream, const void *data, size_t n, void *userdata)
{
	struct session *s = userdata;

	progress_show(NULL);
	if (s->o.first_byte_us && !*s->o.first_byte_us)
		*s->o.first_byte_us = clock_us();
	output_log_write(s->o.log, data, n);
}

/*
 * A command of the host whose reader goes away dies of SIGPIPE when it writes. We stand for the command: so do we. The
 * process in the guest could not be told otherwise, since its pipe has a reader, the agent.
 */
static void on_reader_gone(int stream, void *userdata)
{
	struct session *s = userdata;

	s->reader_gone = true;
	loop_quit(s->o.loop, 0);
}

static void on_end(struct loop_source *source, int fd, uint32_t revents, void *userdata)
{
	struct session *s = userdata;

	loop_io_set_events(source, 0);
	loop_source_free(s->end);
	s->end = NULL;
	fail(s, -ENOTCONN, NULL);
}

static int start_stdio(struct session *s, struct err *e)
{
	struct stdio_params o = {
		.loop = s->o.loop,
		.agent = s->o.agent,
		.container_id = s->o.container_id,
		.exec_id = s->o.exec_id,
		.in_fd = s->o.interactive ? STDIN_FILENO : -1,
		.out_fd = STDOUT_FILENO,
		.err_fd = s->o.terminal ? -1 : STDERR_FILENO,
		.terminal = s->o.terminal,
		.tee = on_output,
		.gone = on_reader_gone,
		.done = on_output_done,
		.userdata = s,
	};

	return stdio_start(&o, &s->stdio, e);
}

int session_start(const struct session_options *o, struct session **ret, struct err *e)
{
	struct session *s = calloc(1, sizeof *s);
	int r = 0;

	if (!s)
		return err_sys(e, ENOMEM, "cannot serve the container's streams");
	s->o = *o;
	if (o->terminal && o->interactive && isatty(STDIN_FILENO) && (r = terminal_raw(STDIN_FILENO)) < 0)
		r = err_sys(e, -r, "cannot put the terminal into raw mode");
	for (size_t i = 0; r == 0 && i < N_FORWARDED; i++) {
		r = loop_add_signal(o->loop, forwarded[i], on_signal, s, &s->signals[i]);
		if (r < 0)
			r = err_sys(e, -r, "cannot pass signals on");
	}
	if (r == 0 && o->end_fd >= 0 && (r = loop_add_io(o->loop, o->end_fd, EPOLLIN, on_end, s, &s->end)) < 0)
		r = err_sys(e, -r, "cannot watch the VM");
	if (r == 0 && o->timeout_s &&
	    (r = loop_add_timer(o->loop, (uint64_t)o->timeout_s * 1000, on_timeout, s, &s->timer)) < 0)
		r = err_sys(e, -r, "cannot set the timeout");
	if (r == 0)
		r = agent_wait_async(o->agent, o->container_id, o->exec_id, on_exit_status, s, &s->wait, e);
	if (r == 0)
		r = start_stdio(s, e);
	if (r < 0) {
		session_free(s);
		return r;
	}
	*ret = s;
	return 0;
}

int session_run(struct session *s, int *ret_status, struct err *e)
{
	int r;

	resize(s);
	check_done(s);
	r = loop_run(s->o.loop);
	if (r < 0)
		return err_sys(e, -r, "the event loop failed");
	if (s->write_failure) {
		if (e)
			*e = s->err;
		return s->write_failure;
	}
	if (s->reader_gone && !s->exited) {
		/* The first process ends with the VM. */
		if (*s->o.exec_id)
			agent_signal(s->o.agent, s->o.container_id, s->o.exec_id, SIGKILL, NULL);
		*ret_status = 128 + SIGPIPE;
		return 0;
	}
	*ret_status = s->timed_out ? EXIT_TIMEOUT : s->status;
	return 0;
}

void session_free(struct session *s)
{
	if (!s)
		return;
	terminal_restore();
	stdio_free(s->stdio);
	agent_call_cancel(s->wait);
	for (size_t i = 0; i < N_FORWARDED; i++)
		loop_source_free(s->signals[i]);
	loop_source_free(s->end);
	loop_source_free(s->timer);
	free(s);
}
