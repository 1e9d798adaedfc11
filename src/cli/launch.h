/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Making a process of the OCI commands: its stand-in, which is a child of ours until we end, its terminal, and the
 * requests to the owner of its pod. For `create`, runc's way of `run`, and `exec`.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "cli/console.h"
#include "cli/globals.h"
#include "cli/owner_link.h"
#include "proto/oci.pb-c.h"

struct launch {
	struct owner_link link;
	struct console console; /* its master stays with us when there is no console socket */
	pid_t pid;              /* of the stand-in */
	int standin_fd;
	int offer_fd; /* the owner keeps what we offered while this is open */
};

#define LAUNCH_NONE                                                                                                    \
	{                                                                                                              \
		.console = { .master = -1, .slave = -1 }, .standin_fd = -1, .offer_fd = -1                             \
	}

struct launch_streams {
	bool terminal;
	const char *console_socket; /* NULL: none */
	bool detached;              /* we shall not stay to serve the terminal */
	uint32_t rows, columns;     /* of a new terminal; 0: unknown */
	uint64_t preserve_fds;      /* as of launch_check_fds() */
};

/*
 * --preserve-fds N: the process is to have our descriptors 3 to 2 + N. In a VM it cannot: -ENOTSUP, but for N = 0. When
 * its environment names them LISTEN_FDS, only a warning: podman hands on what systemd gave to podman itself, and nobody
 * need have asked for it. process NULL: it has no environment.
 */
int launch_check_fds(uint64_t n, const Grpc__Process *process, struct err *e);
/* The container of a bundle, created. bundle: absolute. l: LAUNCH_NONE; launch_end() in any case. */
int launch_container(struct launch *l, const struct globals *g, const char *id, const char *bundle,
		     struct launch_streams *streams, struct err *e);
/*
 * Another process in a container, started. args: what the host shows of it; process: JSON of the spec; l->link is open.
 */
int launch_exec(struct launch *l, const struct globals *g, const char *exec_id, char *const *args, size_t n_args,
		const char *process, const struct launch_streams *streams, struct err *e);
/* The stand-in lives on, unless it failed: then it is ended and reaped. */
void launch_end(struct launch *l, bool failed);

/* Write the stand-in's pid to a file, if path is not NULL. */
int launch_write_pid(const struct launch *l, const char *path, struct err *e);
