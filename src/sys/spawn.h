/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Start helper programs (VMM, file server, passt): with chosen descriptors, in a network namespace, dying with us.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define SPAWN_PASS_MAX 8

struct spawn {
	const char *path;    /* absolute, or a name looked up in PATH */
	char *const *argv;   /* NULL-terminated, argv[0] included */
	char *const *env;    /* NULL: ours */
	const char *cwd;     /* NULL: ours */
	int stdin_fd;        /* -1: /dev/null */
	int stdout_fd;       /* -1: /dev/null */
	int stderr_fd;       /* -1: /dev/null */
	const int *keep_fds; /* stay open under the same numbers; all others are closed */
	size_t n_keep_fds;
	const int *pass_fds; /* become descriptors 3, 4, 5 …, in this order; not together with keep_fds */
	size_t n_pass_fds;
	const char *netns;    /* path of a network namespace to enter; NULL: ours */
	bool die_with_parent; /* SIGKILL when the thread that called us ends */
	bool own_session;     /* setsid(2): keyboard signals do not reach it */
};

/*
 * Start it. *ret_pid: the child, to be reaped by the caller; *ret_pidfd (may be NULL): its pidfd, close-on-exec.
 * A program that cannot be executed is an error here: -ENOENT, -EACCES, -ENOEXEC …
 */
int spawn_start(const struct spawn *s, pid_t *ret_pid, int *ret_pidfd, struct err *e);

/* For the child of a fork: every signal at its default and none blocked, as a new program expects it. */
void spawn_reset_signals(void);

/*
 * Once at the start of a program: children stay until they are waited for. Whoever started us may ignore SIGCHLD, which
 * execve(2) passes on, and then the kernel waits for them and nobody learns how they ended.
 */
void spawn_keep_children(void);

/* SIGTERM, wait at most grace_ms, SIGKILL, reap. pid <= 0 does nothing. Returns the wait(2) status, or -1. */
int spawn_stop(pid_t pid, int pidfd, int grace_ms);
