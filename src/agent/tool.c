/* SPDX-License-Identifier: Apache-2.0 */
/* See tool.h. The program has ended when the reaper says so: what it wrote is in the pipes then. */
#include "agent/tool.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/spawn.h"

#define FOLDERS "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct tool {
	struct reaper *reaper;
	char *name;
	pid_t pid; /* 0: it has ended */
	int in_fd, out_fd, err_fd;
	struct loop_source *in, *out, *err, *timer;
	struct buf input, output;
	size_t output_max;
	char complaint[256]; /* how its stderr begins */
	size_t n_complaint;
	unsigned timeout_ms;
	int failed; /* it was killed for this: an errno */
	tool_done_fn fn;
	void *userdata;
};

static void tool_free(struct tool *t)
{
	loop_source_free(t->in);
	loop_source_free(t->out);
	loop_source_free(t->err);
	loop_source_free(t->timer);
	fd_close(&t->in_fd);
	fd_close(&t->out_fd);
	fd_close(&t->err_fd);
	buf_fini(&t->input);
	buf_fini(&t->output);
	free(t->name);
	free(t);
}

/* Its children, too: it leads a session. */
static void kill_all(const struct tool *t)
{
	if (t->pid)
		kill(-t->pid, SIGKILL);
}

void tool_cancel(struct tool *t)
{
	if (!t)
		return;
	if (t->pid) {
		reaper_unwatch(t->reaper, t->pid);
		kill_all(t);
	}
	tool_free(t);
}

/* ---- its streams ---- */

static void give_up(struct tool *t, int reason)
{
	if (!t->failed)
		t->failed = reason;
	kill_all(t);
}

static void close_input(struct tool *t)
{
	loop_source_free(take_ptr(t->in));
	fd_close(&t->in_fd);
}

/* A program that reads no more has its reason, and tells it. */
static void on_input(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct tool *t = userdata;
	ssize_t n = write(fd, t->input.data, t->input.len);

	(void)s;
	(void)revents;
	if (n > 0)
		buf_consume(&t->input, (size_t)n);
	else if (n < 0 && errno != EAGAIN && errno != EINTR)
		t->input.len = 0;
	if (!t->input.len)
		close_input(t);
}

/* False: there is nothing more for now, or ever. */
static bool read_output(struct tool *t)
{
	char data[4096];
	ssize_t n = read(t->out_fd, data, sizeof data);

	if (n <= 0)
		return n < 0 && errno == EINTR;
	if (t->output.len + (size_t)n > t->output_max)
		give_up(t, EFBIG);
	else if (buf_append(&t->output, data, (size_t)n) < 0)
		give_up(t, ENOMEM);
	return !t->failed;
}

static bool read_complaint(struct tool *t)
{
	char data[1024];
	ssize_t n = read(t->err_fd, data, sizeof data);
	size_t room = sizeof t->complaint - 1 - t->n_complaint;

	if (n <= 0)
		return n < 0 && errno == EINTR;
	room = room < (size_t)n ? room : (size_t)n;
	memcpy(t->complaint + t->n_complaint, data, room);
	t->n_complaint += room;
	return true;
}

static void on_output(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct tool *t = userdata;

	(void)s;
	(void)fd;
	if (!read_output(t) && (t->failed || revents & EPOLLHUP))
		loop_source_free(take_ptr(t->out));
}

static void on_complaint(struct loop_source *s, int fd, uint32_t revents, void *userdata)
{
	struct tool *t = userdata;

	(void)s;
	(void)fd;
	if (!read_complaint(t) && revents & EPOLLHUP)
		loop_source_free(take_ptr(t->err));
}

/* ---- its end ---- */

static int judge(const struct tool *t, int status, struct err *e)
{
	int code = EIO, r;

	if (t->failed == ETIMEDOUT)
		r = err_set(e, ERR_LIMIT, code = ETIMEDOUT, "killed after %u ms", t->timeout_ms);
	else if (t->failed == EFBIG)
		r = err_set(e, ERR_LIMIT, code = EFBIG, "killed: it wrote more than %zu bytes", t->output_max);
	else if (t->failed)
		r = err_sys(e, t->failed, "killed");
	else if (WIFSIGNALED(status))
		r = err_set(e, ERR_SYSTEM, code, "killed by signal %d", WTERMSIG(status));
	else if (WEXITSTATUS(status))
		r = err_set(e, ERR_SYSTEM, code, "exit status %d", WEXITSTATUS(status));
	else
		return 0;
	if (*t->complaint)
		err_append(e, ": %s", t->complaint);
	err_wrap(e, "%s", t->name);
	return r;
}

static void on_end(pid_t pid, int status, void *userdata)
{
	struct tool *t = userdata;
	struct err e = { 0 };
	int r;

	(void)pid;
	t->pid = 0;
	while (!t->failed && read_output(t))
		;
	while (t->n_complaint < sizeof t->complaint - 1 && read_complaint(t))
		;
	t->complaint[strcspn(t->complaint, "\n")] = '\0';
	utf8_repair(t->complaint);
	r = judge(t, status, &e);
	t->fn(r, &t->output, &e, t->userdata);
	tool_free(t);
}

static void on_late(struct loop_source *s, void *userdata)
{
	(void)s;
	give_up(userdata, ETIMEDOUT);
}

/* ---- its start ---- */

/* NULL: it is nowhere, or there is no memory. */
static char *find(const char *name)
{
	const char *folders = getenv("PATH");
	_cleanup_free_ char *copy = strdup(str_empty(folders) ? FOLDERS : folders);
	char *rest = copy, *folder;

	while ((folder = strsep(&rest, ":"))) {
		char *path = *folder == '/' ? str_printf("%s/%s", folder, name) : NULL;

		if (path && access(path, X_OK) == 0)
			return path;
		free(path);
	}
	return NULL;
}

/* ours: the end that is kept, and never blocks. */
static int make_pipe(int *ours, int *its, bool we_write)
{
	int p[2];

	if (pipe2(p, O_CLOEXEC) < 0)
		return -errno;
	*ours = p[we_write];
	*its = p[!we_write];
	return fd_set_nonblock(*ours, true);
}

static int start(struct tool *t, const struct tool_params *params, const char *path, struct err *e)
{
	_cleanup_close_ int in = -1, out = -1, err = -1;
	struct spawn s = { .path = path, .argv = params->argv, .own_session = true };
	int r;

	if ((r = make_pipe(&t->in_fd, &in, true)) < 0 || (r = make_pipe(&t->out_fd, &out, false)) < 0 ||
	    (r = make_pipe(&t->err_fd, &err, false)) < 0 ||
	    (r = params->n_input ? buf_append(&t->input, params->input, params->n_input) : 0) < 0 ||
	    (r = loop_add_io(params->loop, t->in_fd, EPOLLOUT, on_input, t, &t->in)) < 0 ||
	    (r = loop_add_io(params->loop, t->out_fd, EPOLLIN, on_output, t, &t->out)) < 0 ||
	    (r = loop_add_io(params->loop, t->err_fd, EPOLLIN, on_complaint, t, &t->err)) < 0 ||
	    (r = loop_add_timer(params->loop, params->timeout_ms, on_late, t, &t->timer)) < 0)
		return err_sys(e, -r, "prepare its streams");
	s.stdin_fd = in;
	s.stdout_fd = out;
	s.stderr_fd = err;
	r = spawn_start(&s, &t->pid, NULL, e);
	if (r < 0) {
		t->pid = 0;
		return r;
	}
	if (reaper_watch(t->reaper, t->pid, on_end, t) < 0) {
		kill_all(t);
		t->pid = 0;
		return err_sys(e, ENOMEM, "watch it");
	}
	return 0;
}

int tool_start(const struct tool_params *params, tool_done_fn fn, void *userdata, struct tool **ret, struct err *e)
{
	_cleanup_free_ char *path = find(params->name);
	struct tool *t;
	int r;

	if (!path)
		return err_set(e, ERR_CONFIG, ENOSYS, "the guest has no program %s", params->name);
	t = calloc(1, sizeof *t);
	if (!t)
		return err_sys(e, ENOMEM, "%s", params->name);
	t->reaper = params->reaper;
	t->in_fd = t->out_fd = t->err_fd = -1;
	t->output_max = params->output_max;
	t->timeout_ms = params->timeout_ms;
	t->fn = fn;
	t->userdata = userdata;
	t->name = strdup(params->name);
	r = t->name ? start(t, params, path, e) : err_sys(e, ENOMEM, "start it");
	if (r < 0) {
		err_wrap(e, "%s", params->name);
		tool_free(t);
		return r;
	}
	*ret = t;
	return 0;
}
