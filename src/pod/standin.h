/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A stand-in is the host's process for a process in the guest: clients get its pid. It lives in the pod's network
 * namespace (so that /proc/PID/ns/net is the pod's), holds the streams that its maker had, passes on the signals that
 * others send it, and ends with the guest process's exit status. Who makes it decides whose child it is: made by
 * `caisson create`, which ends, it becomes the child of the nearest subreaper (conmon, containerd-shim-runc-v2). Where
 * that is allowed it has a pid namespace and a /proc to itself, and mounts: its maker's, until it is shown the
 * container's.
 *
 * The two ends talk over a Unix socket pair in messages: owner → stand-in "exit with status N" (one byte), "this is the
 * container's root" (paths); stand-in → owner, one byte, "got signal N", "the window changed". When the owner's end
 * closes, the stand-in ends with 255; when the stand-in is killed, the owner sees the end of file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/err.h"

#define STANDIN_KEEP_MAX 4

struct standin_params {
	const char *netns; /* path of the network namespace it enters; NULL: the caller's */
	bool new_netns;    /* or a new one, made for it, with lo up */
	const char *name;  /* comm, 15 bytes count */
	char *const *args; /* its command line, as far as the kernel can show it; with none it is its maker's */
	size_t n_args;
	bool keep_stdio;     /* it holds the caller's descriptors 0, 1, 2; else the terminal's, or /dev/null */
	int terminal_fd;     /* slave of a pty that becomes its controlling terminal; -1: none */
	const int *keep_fds; /* more descriptors to hold, under the same numbers; at most STANDIN_KEEP_MAX */
	size_t n_keep_fds;
};

/*
 * Fork one. *ret_pid: the child; *ret_fd: the owner's end of the pair. It can be made in a process with threads: the
 * child calls only what is safe after fork(2). When this returns it is in its namespace.
 */
int standin_start(const struct standin_params *params, pid_t *ret_pid, int *ret_fd, struct err *e);

/*
 * What is mounted in the container, by its paths on the host and in the container. source NULL: what the guest has
 * there is not on the host, which shows an empty folder that cannot be written, so that nobody believes to have written
 * there.
 */
struct standin_bind {
	const char *source, *target;
	bool readonly;
};
#define STANDIN_BINDS_MAX 64 /* more of them are left out */
/*
 * Owner: the folder that is the container's root (binds[0], whose target is "/") becomes the stand-in's, with the
 * others on it, as its maker sees them: what clients then find and leave below /proc/PID/root, or in its mount
 * namespace (podman cp), is the container's. Not waited for; a stand-in that may not mount, or does not see the folder,
 * stays where it is. Binds that it does not see are left out.
 * root_mount: a detached mount that is put on the root's folder first, where the maker does not see what the owner has
 * mounted there; stays the caller's. -1: none.
 */
void standin_show(int fd, int root_mount, const struct standin_bind *binds, size_t n);
/* Owner: let it end with this status. 0 or -errno. */
int standin_end(int fd, int status);

enum standin_word { STANDIN_GONE, STANDIN_SIGNAL, STANDIN_WINCH, STANDIN_NOTHING };
/*
 * Owner, when fd is readable: what it says; *ret_signo for STANDIN_SIGNAL. Does not block. STANDIN_WINCH: its terminal
 * has another size (the owner asks the terminal for it).
 */
enum standin_word standin_read(int fd, int *ret_signo);
