/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting an owner. It tells through a pipe how it went: nothing but the pipe's end is the text of an error, a single
 * NUL byte that it serves.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/strv.h"
#include "cli/owner.h"
#include "sys/spawn.h"

#define START_TIMEOUT_MS 60000

/* What it says until it serves or ends. */
static int await_word(int fd, char *text, size_t size, const char *sandbox, struct err *e)
{
	uint64_t deadline = clock_ms() + START_TIMEOUT_MS;
	struct pollfd p = { .fd = fd, .events = POLLIN };
	size_t len = 0;
	ssize_t n;

	for (;;) {
		uint64_t now = clock_ms();

		if (now >= deadline)
			return err_set(e, ERR_LIMIT, ETIMEDOUT, "the owner of %s does not come up", sandbox);
		if (poll(&p, 1, (int)(deadline - now)) <= 0)
			continue;
		n = read(fd, text + len, size - 1 - len);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		len += (size_t)n;
		if (text[len - 1] == '\0')
			return 0;
		if (len == size - 1)
			break;
	}
	text[len] = '\0';
	return err_set(e, ERR_SYSTEM, EEXIST, "%s%s", len ? text : "the owner ended at once: ", len ? "" : sandbox);
}

/* The program that we are, whatever became of its name. */
static int own_program(char *path, size_t size)
{
	ssize_t n = readlink("/proc/self/exe", path, size - 1);

	if (n < 0)
		return -errno;
	path[n] = '\0';
	if (access(path, X_OK) < 0)
		snprintf(path, size, "/proc/self/exe");
	return 0;
}

int owner_start(const struct globals *g, const char *sandbox, struct err *e)
{
	_cleanup_close_ int ready_r = -1, ready_w = -1, pidfd = -1;
	_cleanup_strv_ struct strv argv = { 0 };
	char program[PATH_MAX], text[ERR_TEXT_MAX];
	int p[2], r;
	pid_t pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return err_sys(e, errno, "cannot start the owner of %s", sandbox);
	ready_r = p[0];
	ready_w = p[1];
	r = own_program(program, sizeof program);
	if (r == 0)
		r = strv_add(&argv, "caisson") | strv_addf(&argv, "--root=%s", g->root);
	if (r == 0 && g->config[0])
		r = strv_addf(&argv, "--config=%s", g->config);
	if (r == 0 && g->log_level >= LOG_LEVEL_DEBUG)
		r = strv_add(&argv, "--debug");
	if (r == 0)
		r = strv_add(&argv, "pod-owner") | strv_addf(&argv, "%d", ready_w) | strv_add(&argv, sandbox);
	if (r < 0)
		return err_sys(e, -r, "cannot start the owner of %s", sandbox);
	r = spawn_start(&(struct spawn){ .path = program,
					 .argv = argv.v,
					 .cwd = "/",
					 .stdin_fd = -1,
					 .stdout_fd = -1,
					 .stderr_fd = -1,
					 .keep_fds = &ready_w,
					 .n_keep_fds = 1,
					 .die_with_parent = true, /* the owner sees to it itself soon */
					 .own_session = true },
			&pid, &pidfd, e);
	if (r < 0)
		return r;
	fd_close(&ready_w);
	r = await_word(ready_r, text, sizeof text, sandbox, e);
	if (r < 0)
		spawn_stop(pid, pidfd, 0);
	return r;
}
