/* SPDX-License-Identifier: Apache-2.0 */
/* One process of a container, from the agent's side: stdio, signals, exit. See container.h. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/container_internal.h"
#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "sys/namespaces.h"
#include "sys/pty.h"

struct process_watch {
	struct list node;
	void (*fn)(struct process *p, int status, void *userdata);
	void *userdata;
};

struct process *process_new(struct container *c, const char *id, const Grpc__Process *spec)
{
	struct process *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	list_init(&p->node);
	list_init(&p->watches);
	p->c = c;
	p->spec = spec;
	p->terminal = spec->terminal;
	p->in_fd = p->out_fd = p->err_fd = p->slave_fd = -1;
	p->id = strdup(id);
	if (!p->id) {
		process_free(p);
		return NULL;
	}
	return p;
}

static void close_stdio(struct process *p)
{
	if (p->out_fd == p->in_fd)
		p->out_fd = -1;
	fd_close(&p->in_fd);
	fd_close(&p->out_fd);
	fd_close(&p->err_fd);
	fd_close(&p->slave_fd);
}

void process_free(struct process *p)
{
	struct process_watch *w;

	if (!p)
		return;
	/* The number of one that has ended may be another process's by now. */
	if (p->pid > 0 && !p->exited)
		reaper_unwatch(p->c->reaper, p->pid);
	list_remove(&p->node);
	list_foreach (w, &p->watches, struct process_watch, node)
		free(w);
	loop_source_free(p->late_timer);
	close_stdio(p);
	if (p->owned)
		grpc__process__free_unpacked(p->owned, NULL);
	free(p->id);
	p->dead = true;
	if (!p->notifying)
		free(p);
}

void process_doom(struct process *p)
{
	if (p->pid <= 0 || p->exited) {
		process_free(p);
		return;
	}
	p->doomed = true;
	close_stdio(p);
}

static int make_pipe(struct process *p, int *ret_ours, int *ret_theirs, bool we_write)
{
	int fds[2], r;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	*ret_ours = fds[we_write];
	*ret_theirs = fds[!we_write];
	/* Only a wish: the kernel's pipe-user-pages-soft limit may be in the way. */
	if (p->c->pipe_size)
		fcntl(fds[0], F_SETPIPE_SZ, (int)p->c->pipe_size);
	/* The two ends are separate open files: the container's stays blocking. */
	r = fd_set_nonblock(*ret_ours, true);
	return r;
}

int process_open_stdio(struct process *p, int stdio[3], struct err *e)
{
	int r;

	stdio[0] = stdio[1] = stdio[2] = -1;
	if (p->terminal)
		return 0;
	r = make_pipe(p, &p->in_fd, &stdio[0], true);
	if (r == 0)
		r = make_pipe(p, &p->out_fd, &stdio[1], false);
	if (r == 0)
		r = make_pipe(p, &p->err_fd, &stdio[2], false);
	return r < 0 ? err_sys(e, -r, "create the pipes of standard input and output") : 0;
}

static void notify(struct process *p)
{
	struct process_watch *w;

	p->notifying = true;
	while (!p->dead && (w = list_first(&p->watches, struct process_watch, node))) {
		struct process_watch copy = *w;

		list_remove(&w->node);
		free(w);
		copy.fn(p, p->status, copy.userdata);
	}
	p->notifying = false;
	if (p->dead)
		free(p);
}

static void set_exited(struct process *p, int wait_status)
{
	p->exited = true;
	p->status = WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
	fd_close(&p->slave_fd);
}

static void on_exit_status(pid_t pid, int wait_status, void *userdata)
{
	struct process *p = userdata;
	struct container *c = p->c;
	struct process *other;

	set_exited(p, wait_status);
	/* Whoever hears of the end looks whether it was for lack of memory. The kernel counts before it kills. */
	container_look_for_oom(c);
	/* The kernel ends a PID namespace with its init; without one of its own that is our duty. */
	if (p == c->init && !c->own_pid_ns && cgroup_kill(c->cgroup) < 0)
		list_foreach (other, &c->execs, struct process, node)
			if (!other->exited && other->pid > 0)
				kill(other->pid, SIGKILL);
	if (p->doomed)
		process_free(p);
	else
		notify(p);
}

int process_born(struct process *p, pid_t pid, struct err *e)
{
	int r = reaper_watch(p->c->reaper, pid, on_exit_status, p);

	if (r < 0)
		return err_sys(e, -r, "watch the process");
	p->pid = pid;
	return 0;
}

void process_kill_now(struct process *p, int timeout_ms)
{
	struct pollfd poll_fd = { .events = POLLIN };
	int status;

	if (p->pid <= 0 || p->exited)
		return;
	poll_fd.fd = pidfd_of(p->pid);
	kill(p->pid, SIGKILL);
	if (poll_fd.fd >= 0) {
		poll(&poll_fd, 1, timeout_ms);
		close(poll_fd.fd);
	}
	if (waitpid(p->pid, &status, WNOHANG) == p->pid) {
		reaper_unwatch(p->c->reaper, p->pid);
		set_exited(p, status);
	}
}

static void on_late(struct loop_source *s, void *userdata)
{
	struct process *p = userdata;

	loop_source_free(p->late_timer);
	p->late_timer = NULL;
	if (p->doomed)
		process_free(p);
	else
		notify(p);
}

void process_end_now(struct process *p, int timeout_ms)
{
	bool ended = p->exited;

	process_kill_now(p, timeout_ms);
	if (!ended && p->exited && loop_add_timer(p->c->loop, 0, on_late, p, &p->late_timer) < 0)
		log_warn("container %s: cannot tell of the end of a process", p->c->id);
}

/* ---- container.h ---- */

pid_t process_pid(const struct process *p)
{
	return p->pid;
}

/* Whether a line of /proc/PID/status, which is a set of signals, has this one. */
static bool set_has(const char *status, const char *line, int signo)
{
	const char *set = strstr(status, line);

	return set && strtoull(set + strlen(line), NULL, 16) & 1ull << (signo - 1);
}

/* By sigwait(3). For what is not told, and the kernel does not count that among the blocked ones meanwhile. */
static bool waits_for_signals(pid_t pid)
{
	_cleanup_free_ char *text = NULL;
	char path[32];

	snprintf(path, sizeof path, "/proc/%d/syscall", pid);
	return file_read(path, 4096, &text, NULL) == 0 && *text >= '0' && *text <= '9' &&
	       strtol(text, NULL, 10) == SYS_rt_sigtimedwait;
}

bool signal_is_noticed(pid_t pid, int signo)
{
	_cleanup_free_ char *text = NULL;
	char path[32];
	const char *pids;

	snprintf(path, sizeof path, "/proc/%d/status", pid);
	if (file_read(path, 65536, &text, NULL) < 0)
		return true;
	/* One for each namespace, the innermost last. */
	pids = strstr(text, "\nNSpid:");
	if (pids && strncmp(pids + strcspn(pids + 1, "\n") - 1, "\t1", 2) != 0)
		return true;
	return set_has(text, "\nSigCgt:", signo) || set_has(text, "\nSigBlk:", signo) ||
	       set_has(text, "\nSigIgn:", signo) || waits_for_signals(pid);
}

int process_signal(struct process *p, int signo, struct err *e)
{
	if (p->setup && p->pid <= 0) {
		/* Told by its stage soon: then it gets this first of all. */
		if (p->early_signal != SIGKILL)
			p->early_signal = signo;
		return 0;
	}
	/* Until we have reaped it the number is its own. */
	if (p->exited || p->pid <= 0)
		return err_set(e, ERR_SYSTEM, ESRCH, "the process has ended");
	return kill(p->pid, signo) < 0 ? err_sys(e, errno, "send signal %d", signo) : 0;
}

bool process_exited(const struct process *p)
{
	return p->exited;
}

int process_exit_status(const struct process *p)
{
	return p->status;
}

int process_watch_exit(struct process *p, void (*fn)(struct process *p, int status, void *userdata), void *userdata,
		       struct process_watch **ret)
{
	struct process_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct process_watch){ .fn = fn, .userdata = userdata };
	list_append(&p->watches, &w->node);
	if (p->exited && !p->late_timer && loop_add_timer(p->c->loop, 0, on_late, p, &p->late_timer) < 0) {
		process_unwatch(w);
		return -ENOMEM;
	}
	if (ret)
		*ret = w;
	return 0;
}

void process_unwatch(struct process_watch *w)
{
	if (!w)
		return;
	list_remove(&w->node);
	free(w);
}

int process_stdin_fd(const struct process *p)
{
	return p->in_fd;
}

int process_stdout_fd(const struct process *p)
{
	return p->out_fd;
}

int process_stderr_fd(const struct process *p)
{
	return p->err_fd;
}

bool process_has_terminal(const struct process *p)
{
	return p->terminal;
}

void process_close_stdin(struct process *p)
{
	/* A terminal has one descriptor for both directions; its end of input is a character (^D). */
	if (!p->terminal)
		fd_close(&p->in_fd);
}

bool process_keep_terminal(struct process *p)
{
	if (!p->terminal || p->exited || p->slave_fd >= 0)
		return false;
	/*
	 * Not before it is needed: with a terminal that somebody has open the end of its session's leader is a SIGHUP
	 * for what it left in the background. Once all had closed it, it is no session's terminal any more.
	 */
	p->slave_fd = ioctl(p->in_fd, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	return p->slave_fd >= 0;
}

int process_resize(struct process *p, uint16_t rows, uint16_t columns, struct err *e)
{
	int r;

	if (!p->terminal)
		return err_set(e, ERR_CONFIG, ENOTTY, "the process has no terminal");
	r = pty_resize(p->in_fd, rows, columns);
	return r < 0 ? err_sys(e, -r, "resize the terminal") : 0;
}
