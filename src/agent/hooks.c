/* SPDX-License-Identifier: Apache-2.0 */
/* See hooks.h. */
#include "agent/hooks.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
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

static int run_one(const Grpc__Hook *hook, const struct hook_state *state, int input_fd, struct err *e)
{
	_cleanup_close_ int pidfd = -1;
	_cleanup_strv_ struct strv argv = { 0 }, env = { 0 };
	int64_t seconds = hook->timeout > 0 && hook->timeout < TIMEOUT_MAX_S ? hook->timeout : TIMEOUT_MAX_S;
	uint64_t end = clock_ms() + (uint64_t)seconds * 1000;
	struct spawn s = { .path = hook->path,
			   .stdin_fd = input_fd,
			   .stdout_fd = STDERR_FILENO,
			   .stderr_fd = STDERR_FILENO,
			   .own_session = true };
	pid_t pid;
	int status, r;

	if (hook->path[0] != '/')
		return err_set(e, ERR_CONFIG, EINVAL, "the path is not absolute");
	if (strv_copy(&argv, hook->args, hook->n_args) < 0 || (!hook->n_args && strv_add(&argv, hook->path) < 0) ||
	    strv_copy(&env, hook->env, hook->n_env) < 0)
		return err_sys(e, ENOMEM, "start it");
	s.argv = argv.v;
	s.env = env.v ? env.v : (char *[]){ NULL };
	if (access(state->bundle, X_OK) == 0)
		s.cwd = state->bundle;
	r = spawn_start(&s, &pid, &pidfd, e);
	if (r < 0)
		return r;
	for (;;) {
		struct pollfd p = { .fd = pidfd, .events = POLLIN };
		uint64_t now = clock_ms();

		if (poll(&p, 1, now < end ? (int)(end - now) : 0) > 0 || now >= end)
			break;
	}
	if (waitpid(pid, &status, WNOHANG) != pid) {
		kill(-pid, SIGKILL); /* its children too: it leads a session */
		spawn_stop(pid, pidfd, 0);
		return err_set(e, ERR_LIMIT, ETIMEDOUT, "killed after its timeout of %lld s", (long long)seconds);
	}
	if (WIFSIGNALED(status))
		return err_set(e, ERR_CONFIG, ECANCELED, "killed by signal %d", WTERMSIG(status));
	if (WEXITSTATUS(status))
		return err_set(e, ERR_CONFIG, ECANCELED, "exit status %d", WEXITSTATUS(status));
	return 0;
}

int hooks_run(const char *kind, Grpc__Hook *const *hooks, size_t n, const struct hook_state *state, struct err *e)
{
	_cleanup_buf_ struct buf json = { 0 };
	int r = 0;

	if (!n)
		return 0;
	if (hook_state_json(state, &json) < 0)
		return err_sys(e, ENOMEM, "%s hook", kind);
	for (size_t i = 0; i < n; i++) {
		/* A file, not a pipe: a hook that does not read cannot block us. */
		_cleanup_close_ int fd = memfd_create("state", MFD_CLOEXEC);

		if (fd < 0 || fd_write_full(fd, json.data, json.len) < 0 || lseek(fd, 0, SEEK_SET) < 0)
			return err_sys(e, errno, "%s hook: state", kind);
		r = run_one(hooks[i], state, fd, e);
		if (r < 0) {
			err_wrap(e, "%s hook %s", kind, hooks[i]->path);
			return r;
		}
	}
	return r;
}
