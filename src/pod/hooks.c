/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See hooks.h. A hook gets its state from a file without a name, so that one that does not read it cannot hold us up;
 * of what it says on stderr the last line is kept for the error.
 */
#include "pod/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "base/strv.h"
#include "codec/json.h"
#include "oci/spec.h"
#include "sys/spawn.h"

#define DEFAULT_TIMEOUT_S 30
#define LAST_LINE_MAX     256

/* The state of the OCI runtime spec (runtime.md, "State"), as text in a file to be read from its start. */
static int state_file(const struct hook_state *state, int *ret_fd, struct err *e)
{
	_cleanup_json_ struct json_object *o = json_object_make();
	struct json_object *annotations = json_object_make();
	_cleanup_close_ int fd = memfd_create("hook-state", MFD_CLOEXEC);
	_cleanup_free_ char *text = NULL;
	int r;

	json_set_str(o, "ociVersion", state->spec->version);
	json_set_str(o, "id", state->id);
	json_set_str(o, "status", state->status);
	if (state->pid > 0)
		json_set_u64(o, "pid", (uint64_t)state->pid);
	json_set_str(o, "bundle", state->bundle);
	for (size_t i = 0; i < state->spec->n_annotations; i++)
		json_set_str(annotations, state->spec->annotations[i]->key, state->spec->annotations[i]->value);
	json_set(o, "annotations", annotations);
	text = json_write(o, false);
	r = !text ? -ENOMEM : fd < 0 ? -errno : fd_write_full(fd, text, strlen(text));
	if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot write the state for the hooks of %s", state->id);
	*ret_fd = take_fd(&fd);
	return 0;
}

/* The last line that is not empty, however much there is. */
struct last_line {
	char text[LAST_LINE_MAX];
	size_t len;
	bool ended;
};

static void last_line_add(struct last_line *l, const char *data, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		if (data[i] == '\n') {
			l->ended = true;
			continue;
		}
		if (l->ended)
			l->len = 0;
		l->ended = false;
		if (l->len + 1 < sizeof l->text)
			l->text[l->len++] = data[i];
	}
	l->text[l->len] = '\0';
}

/* Take what is there without waiting. false: the stream has ended. */
static bool drain(int fd, struct last_line *l)
{
	char data[1024];
	ssize_t n;

	while ((n = read(fd, data, sizeof data)) > 0)
		last_line_add(l, data, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == EINTR);
}

/* Until it ends: what it leaves running may keep stderr open. 0 or -ETIMEDOUT. */
static int await(int pidfd, int stderr_fd, uint64_t timeout_ms, struct last_line *l)
{
	uint64_t deadline = clock_ms() + timeout_ms;
	struct pollfd p[2] = { { .fd = pidfd, .events = POLLIN }, { .fd = stderr_fd, .events = POLLIN } };

	for (;;) {
		uint64_t now = clock_ms();

		if (now >= deadline)
			return -ETIMEDOUT;
		if (poll(p, 2, deadline - now > INT32_MAX ? INT32_MAX : (int)(deadline - now)) < 0)
			continue;
		if (p[1].revents && !drain(stderr_fd, l))
			p[1].fd = -1;
		if (p[0].revents)
			return 0;
	}
}

static int failure(const Grpc__Hook *hook, int status, const struct last_line *l, struct err *e)
{
	int r;

	if (WIFSIGNALED(status))
		r = err_set(e, ERR_SYSTEM, ECANCELED, "%s was ended by signal %d", hook->path, WTERMSIG(status));
	else
		r = err_set(e, ERR_SYSTEM, ECANCELED, "%s exited with status %d", hook->path, WEXITSTATUS(status));
	if (l->len)
		err_append(e, ": %s", l->text);
	return r;
}

static int run_hook(const Grpc__Hook *hook, const struct hook_state *state, const char *netns, int stdin_fd,
		    struct err *e)
{
	int64_t timeout_s = hook->timeout > 0 ? hook->timeout : DEFAULT_TIMEOUT_S;
	_cleanup_strv_ struct strv argv = { 0 }, env = { 0 };
	_cleanup_close_ int err_r = -1, err_w = -1, pidfd = -1;
	struct last_line last = { 0 };
	int p[2], status, r;
	pid_t pid;

	r = strv_copy(&argv, hook->args, hook->n_args);
	if (r == 0 && !argv.len)
		r = strv_add(&argv, hook->path);
	if (r == 0)
		r = strv_copy(&env, hook->env, hook->n_env);
	if (r == 0 && pipe2(p, O_CLOEXEC) < 0)
		r = -errno;
	if (r < 0)
		return err_sys(e, -r, "cannot start %s", hook->path);
	err_r = p[0];
	err_w = p[1];
	fd_set_nonblock(err_r, true);
	r = spawn_start(&(struct spawn){ .path = hook->path,
					 .argv = argv.v,
					 .env = env.len ? env.v : NULL,
					 .cwd = state->cwd ? state->cwd : state->bundle,
					 .stdin_fd = stdin_fd,
					 .stdout_fd = -1,
					 .stderr_fd = err_w,
					 .netns = netns,
					 .die_with_parent = true,
					 .own_session = true },
			&pid, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(&err_w);
	if (await(pidfd, err_r, (uint64_t)timeout_s * 1000, &last) < 0) {
		/* It leads a session: what it started goes with it. */
		kill(-pid, SIGKILL);
		spawn_stop(pid, pidfd, 0);
		return err_set(e, ERR_LIMIT, ETIMEDOUT, "%s did not end within %lld s", hook->path,
			       (long long)timeout_s);
	}
	status = spawn_stop(pid, pidfd, 0);
	drain(err_r, &last);
	return status == 0 ? 0 : failure(hook, status, &last, e);
}

static int run_numbered(Grpc__Hook *const *hooks, size_t i, const char *kind, const struct hook_state *state,
			const char *netns, struct err *e)
{
	_cleanup_close_ int fd = -1;
	int r = state_file(state, &fd, e);

	if (r == 0)
		r = run_hook(hooks[i], state, netns, fd, e);
	if (r < 0)
		err_wrap(e, "%s hook %zu of %s", kind, i, state->id);
	return r;
}

int hooks_run(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state, const char *netns,
	      struct err *e)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < n; i++)
		r = run_numbered(hooks, i, kind, state, netns, e);
	return r;
}

void hooks_run_all(Grpc__Hook *const *hooks, size_t n, const char *kind, const struct hook_state *state)
{
	for (size_t i = 0; i < n; i++) {
		struct err e = { 0 };

		if (run_numbered(hooks, i, kind, state, NULL, &e) < 0)
			log_warn("%s", e.text);
	}
}

void hooks_run_poststop_left(const char *id, const char *bundle)
{
	_cleanup_free_ char *path = realpath(bundle, NULL);
	_cleanup_spec_ Grpc__Spec *spec = NULL;
	struct hook_state state = { .id = id, .status = "stopped", .bundle = path };

	if (!path || oci_spec_load(path, &spec, NULL, NULL) < 0 || !spec->hooks)
		return;
	state.spec = spec;
	hooks_run_all(spec->hooks->poststop, spec->hooks->n_poststop, "poststop", &state);
}
