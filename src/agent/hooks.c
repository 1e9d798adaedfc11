/* SPDX-License-Identifier: Apache-2.0 */
/* See hooks.h. */
#include "agent/hooks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "sys/spawn.h"

#define TIMEOUT_MAX_S 30

static int put_string(struct buf *b, const char *key, const char *value)
{
	int r = buf_printf(b, "\"");

	for (const char *texts[2] = { key, value }, **t = texts; t < texts + 2 && r >= 0; t++) {
		for (const unsigned char *p = (const unsigned char *)*t; *p && r >= 0; p++)
			r = *p < 0x20 || *p == '"' || *p == '\\' ? buf_printf(b, "\\u%04x", *p) : buf_append(b, p, 1);
		if (r >= 0)
			r = buf_puts(b, t == texts ? "\":\"" : "\"");
	}
	return r;
}

int hook_state_json(const struct hook_state *s, struct buf *b)
{
	const char *version = str_empty(s->spec->version) ? "1.1.0" : s->spec->version;
	bool failed = buf_puts(b, "{") < 0 || put_string(b, "ociVersion", version) < 0 || buf_puts(b, ",") < 0 ||
		      put_string(b, "id", s->id) < 0 || buf_puts(b, ",") < 0 ||
		      put_string(b, "status", s->status) < 0 || buf_puts(b, ",") < 0 ||
		      put_string(b, "bundle", s->bundle) < 0 || buf_puts(b, ",\"annotations\":{") < 0;

	for (size_t i = 0; i < s->spec->n_annotations && !failed; i++)
		failed = (i && buf_puts(b, ",") < 0) ||
			 put_string(b, s->spec->annotations[i]->key, s->spec->annotations[i]->value) < 0;
	failed = failed || buf_puts(b, "}") < 0;
	if (!failed && s->pid > 0)
		failed = buf_printf(b, ",\"pid\":%d", s->pid) < 0;
	return failed || buf_puts(b, "}") < 0 ? -ENOMEM : 0;
}

static long long timeout_s(const Grpc__Hook *hook)
{
	return hook->timeout > 0 && hook->timeout < TIMEOUT_MAX_S ? hook->timeout : TIMEOUT_MAX_S;
}

/* ret_pidfd: may be NULL. */
static int start_one(const Grpc__Hook *hook, const struct hook_state *state, pid_t *ret, int *ret_pidfd, struct err *e)
{
	_cleanup_buf_ struct buf json = { 0 };
	_cleanup_strv_ struct strv argv = { 0 }, env = { 0 };
	/* A file, not a pipe: a hook that does not read cannot block us. */
	_cleanup_close_ int input = memfd_create("state", MFD_CLOEXEC);
	struct spawn s = { .path = hook->path,
			   .stdin_fd = input,
			   .stdout_fd = STDERR_FILENO,
			   .stderr_fd = STDERR_FILENO,
			   .own_session = true };

	if (hook->path[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "the path is not absolute");
	if (hook_state_json(state, &json) < 0 || strv_copy(&argv, hook->args, hook->n_args) < 0 ||
	    (!hook->n_args && strv_add(&argv, hook->path) < 0) || strv_copy(&env, hook->env, hook->n_env) < 0)
		return err_sys(e, ENOMEM, "start it");
	if (input < 0 || fd_write_full(input, json.data, json.len) < 0 || lseek(input, 0, SEEK_SET) < 0)
		return err_sys(e, errno, "write the state");
	s.argv = argv.v;
	s.env = env.v ? env.v : state->env ? state->env : (char *[]){ NULL };
	if (access(state->bundle, X_OK) == 0)
		s.cwd = state->bundle;
	return spawn_start(&s, ret, ret_pidfd, e);
}

/* Its children, too: it leads a session. */
static void kill_one(pid_t pid)
{
	kill(-pid, SIGKILL);
}

static int set_late(const Grpc__Hook *hook, struct err *e)
{
	return err_set(e, ERR_LIMIT, ETIMEDOUT, "killed after its timeout of %lld s", timeout_s(hook));
}

static int judge(int status, struct err *e)
{
	if (WIFSIGNALED(status))
		return err_set(e, ERR_CONFIG, ECANCELED, "killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, ERR_CONFIG, ECANCELED, "exit status %d", WEXITSTATUS(status));
	return 0;
}

/* ---- waiting here ---- */

static int run_one(const Grpc__Hook *hook, const struct hook_state *state, struct err *e)
{
	uint64_t end = clock_ms() + (uint64_t)timeout_s(hook) * 1000;
	_cleanup_close_ int pidfd = -1;
	pid_t pid;
	int status, r = start_one(hook, state, &pid, &pidfd, e);

	if (r < 0)
		return r;
	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		uint64_t now = clock_ms();

		if (poll(&p, 1, now < end ? (int)(end - now) : 0) > 0 || now >= end)
			break;
	}
	if (waitpid(pid, &status, WNOHANG) != pid) {
		kill_one(pid);
		spawn_stop(pid, pidfd, 0);
		return set_late(hook, e);
	}
	return judge(status, e);
}

int hooks_run(const char *kind, Grpc__Hook *const *hooks, size_t n, const struct hook_state *state, struct err *e)
{
	int r = 0;

	for (size_t i = 0; i < n && r == 0; i++) {
		r = run_one(hooks[i], state, e);
		if (r < 0)
			err_wrap(e, "%s hook %s", kind, hooks[i]->path);
	}
	return r;
}

/* ---- waiting in the loop ---- */

struct hook_run {
	struct reaper *reaper;
	const char *kind;
	Grpc__Hook *const *hooks;
	size_t n, at;
	struct hook_state state;
	pid_t pid;                 /* of the one at `at`; 0: it is to be started */
	struct loop_source *timer; /* for its start, then for its end */
	hooks_done_fn fn;
	void *userdata;
};

static void run_free(struct hook_run *run)
{
	loop_source_free(run->timer);
	free(run);
}

static void finish(struct hook_run *run, int r, struct err *e)
{
	hooks_done_fn fn = run->fn;
	void *userdata = run->userdata;

	if (r < 0)
		err_wrap(e, "%s hook %s", run->kind, run->hooks[run->at]->path);
	run_free(run);
	fn(r, e, userdata);
}

static void on_end(pid_t pid, int status, void *userdata)
{
	struct hook_run *run = userdata;
	struct err e = { 0 };
	int r = judge(status, &e);

	(void)pid;
	run->pid = 0;
	if (r < 0 || ++run->at == run->n)
		finish(run, r, &e);
	else
		loop_timer_set(run->timer, 0);
}

static void on_timer(struct loop_source *s, void *userdata)
{
	struct hook_run *run = userdata;
	const Grpc__Hook *hook = run->at < run->n ? run->hooks[run->at] : NULL;
	struct err e = { 0 };
	int r = 0;

	if (hook && run->pid) {
		reaper_unwatch(run->reaper, run->pid);
		kill_one(run->pid);
		r = set_late(hook, &e);
	} else if (hook) {
		r = start_one(hook, &run->state, &run->pid, NULL, &e);
		if (r == 0 && reaper_watch(run->reaper, run->pid, on_end, run) < 0) {
			kill_one(run->pid);
			r = err_sys(&e, ENOMEM, "watch it");
		}
		loop_timer_set(s, (uint64_t)timeout_s(hook) * 1000);
	}
	if (r < 0 || !hook)
		finish(run, r, &e);
}

struct hook_run *hooks_start(struct loop *loop, struct reaper *reaper, const char *kind, Grpc__Hook *const *hooks,
			     size_t n, const struct hook_state *state, hooks_done_fn fn, void *userdata)
{
	struct hook_run *run = calloc(1, sizeof(*run));

	if (!run)
		return NULL;
	*run = (struct hook_run){
		.reaper = reaper, .kind = kind, .hooks = hooks, .n = n, .state = *state, .fn = fn, .userdata = userdata
	};
	if (loop_add_timer(loop, 0, on_timer, run, &run->timer) < 0) {
		free(run);
		return NULL;
	}
	return run;
}

void hooks_cancel(struct hook_run *run)
{
	if (!run)
		return;
	if (run->pid) {
		reaper_unwatch(run->reaper, run->pid);
		kill_one(run->pid);
	}
	run_free(run);
}
