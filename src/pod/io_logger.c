/* SPDX-License-Identifier: Apache-2.0 */
#include "pod/io_logger.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/strv.h"
#include "pod/io_end.h"
#include "sys/spawn.h"

#define READY_MS  10000 /* to be ready */
#define FINISH_MS 10000 /* to write what it has after the end, as containerd allows */
#define TERM_MS   2000  /* to end when told to */

struct io_logger {
	struct loop *loop;
	void (*gone)(void *userdata);
	void *userdata;
	pid_t pid; /* 0: it has ended */
	int pidfd;
	struct loop_source *child, *timer;
	bool finishing, told;
};

/* containerd passes each key and, behind it, its first value. */
int io_logger_argv(const char *uri, struct strv *ret)
{
	const char *path = str_after(uri, "binary://"), *query = path ? strchr(path, '?') : NULL;
	int r;

	if (!path || *path != '/')
		return -EINVAL;
	r = strv_add_take(ret, io_uri_decode(path, query ? (size_t)(query - path) : strlen(path)));
	for (const char *at = query; r == 0 && at && *at;) {
		size_t n = strcspn(++at, "&");
		const char *eq = memchr(at, '=', n);
		size_t key = eq ? (size_t)(eq - at) : n;

		if (n) {
			r = strv_add_take(ret, io_uri_decode(at, key));
			if (r == 0 && eq && key + 1 < n)
				r = strv_add_take(ret, io_uri_decode(eq + 1, n - key - 1));
		}
		at += n;
	}
	return r;
}

static int logger_env(const struct io_logger_params *p, struct strv *ret)
{
	int r = 0;
	_cleanup_free_ char *id = str_printf("CONTAINER_ID=%s", p->container_id);
	_cleanup_free_ char *ns = str_printf("CONTAINER_NAMESPACE=%s", p->namespace ? p->namespace : "");

	for (char **v = environ; r == 0 && *v; v++)
		r = strv_add(ret, *v);
	if (r < 0 || !id || !ns)
		return -ENOMEM;
	r = strv_set_env(ret, id);
	return r < 0 ? r : strv_set_env(ret, ns);
}

/* It closes the descriptor, or writes to it, or ends. */
static int wait_ready(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	int r = poll(&p, 1, READY_MS);

	return r < 0 ? -errno : r == 0 ? -ETIMEDOUT : 0;
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct io_logger *l = userdata;

	if (l->pid > 0) {
		log_warn("the logging program (process %d) does not end: %s", (int)l->pid,
			 l->told ? "killed" : "SIGTERM");
		kill(l->pid, l->told ? SIGKILL : SIGTERM);
		l->told = true;
		loop_timer_set(s, TERM_MS);
		return;
	}
	l->gone(l->userdata);
}

static void on_exit_status(struct loop_source *s, pid_t pid, int wait_status, void *userdata)
{
	struct io_logger *l = userdata;

	l->pid = 0;
	fd_close(&l->pidfd);
	loop_source_free(take_ptr(l->child));
	if (l->finishing)
		loop_timer_set(l->timer, 0);
	else
		log_warn("the logging program ended before the process that it logs");
}

static int start(struct io_logger *l, const struct io_logger_params *p, const int fds[3], struct err *e)
{
	_cleanup_strv_ struct strv argv = { 0 }, env = { 0 };
	struct spawn s = { .stdin_fd = -1, .stdout_fd = -1, .stderr_fd = -1, .pass_fds = fds, .n_pass_fds = 3 };
	int r = io_logger_argv(p->uri, &argv);

	if (r == 0)
		r = logger_env(p, &env);
	if (r < 0)
		return err_sys(e, -r, "%.300s", p->uri);
	s.path = argv.v[0];
	s.argv = argv.v;
	s.env = env.v;
	r = spawn_start(&s, &l->pid, &l->pidfd, e);
	if (r < 0)
		return r;
	r = loop_add_child(l->loop, l->pid, on_exit_status, l, &l->child);
	return r < 0 ? err_sys(e, -r, "cannot wait for %s", s.path) : 0;
}

static int make_pipes(int reading[3], int writing[3])
{
	for (int i = 0; i < 3; i++) {
		int p[2];

		if (pipe2(p, O_CLOEXEC) < 0)
			return -errno;
		reading[i] = p[0];
		writing[i] = p[1];
	}
	return 0;
}

int io_logger_start(const struct io_logger_params *p, struct io_logger **ret, int *ret_out, int *ret_err, struct err *e)
{
	struct io_logger *l = calloc(1, sizeof *l);
	int reading[3] = { -1, -1, -1 }, writing[3] = { -1, -1, -1 }, r = -ENOMEM;

	if (l) {
		*l = (struct io_logger){ .loop = p->loop, .gone = p->gone, .userdata = p->userdata, .pidfd = -1 };
		r = loop_add_timer(p->loop, UINT64_MAX, on_timer, l, &l->timer);
	}
	if (r == 0)
		r = make_pipes(reading, writing);
	if (r < 0)
		err_sys(e, -r, "cannot start a logging program");
	if (r == 0) /* it reads the first two and writes the third */
		r = start(l, p, (const int[]){ reading[0], reading[1], writing[2] }, e);
	fd_close(&writing[2]);
	if (r == 0 && (r = wait_ready(reading[2])) < 0)
		err_sys(e, -r, "%.300s is not ready", p->uri);
	if (r == 0) {
		*ret = take_ptr(l);
		*ret_out = take_fd(&writing[0]);
		*ret_err = take_fd(&writing[1]);
	}
	for (int i = 0; i < 3; i++) {
		fd_close(&reading[i]);
		fd_close(&writing[i]);
	}
	io_logger_free(l);
	return r;
}

void io_logger_finish(struct io_logger *l)
{
	l->finishing = true;
	loop_timer_set(l->timer, l->pid > 0 ? FINISH_MS : 0);
}

void io_logger_free(struct io_logger *l)
{
	if (!l)
		return;
	loop_source_free(l->child);
	loop_source_free(l->timer);
	spawn_stop(l->pid, l->pidfd, 0);
	fd_close(&l->pidfd);
	free(l);
}
